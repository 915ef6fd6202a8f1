"""Model versions in MLflow, the champion alias, and the journal of what happened when."""
