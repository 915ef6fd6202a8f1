"""One self-contained HTML page a day."""
