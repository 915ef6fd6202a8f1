"""When to spend a fine-tuning run, and what the runs that were spent have brought."""
