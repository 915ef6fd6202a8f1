"""Distribution drift from mergeable daily sketches."""
