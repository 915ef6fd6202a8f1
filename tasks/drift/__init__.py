"""Distribution drift from mergeable daily sketches, and the trigger that acts on it."""
