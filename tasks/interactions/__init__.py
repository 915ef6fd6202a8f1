"""Interaction logs and catalogues: reading, staging, accounting, and their Delta tables."""
