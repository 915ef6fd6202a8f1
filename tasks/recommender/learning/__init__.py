"""What a training step minimises, whatever the ranker is made of."""
