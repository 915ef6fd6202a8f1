"""Data quality: a Great Expectations suite for a staged day, and which rows broke it."""
