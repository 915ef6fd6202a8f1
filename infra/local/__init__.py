"""PostgreSQL, Prefect, MLflow, S3 and two workers as processes on this machine."""
