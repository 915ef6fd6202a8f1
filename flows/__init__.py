"""Prefect flows, each a table of contents of what happens; and the command line."""
