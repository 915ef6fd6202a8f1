"""Which labels a fine-tuning sees, and what is learned without labels."""
