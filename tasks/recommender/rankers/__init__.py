"""Rankers that read user and item as text: `cross_encoder` and `prompt`."""
