"""Findings about a Dayspring's health, and what of it needs no pipeline to be judged."""
