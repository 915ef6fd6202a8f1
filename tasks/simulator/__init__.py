"""A news portal whose true click probabilities are known."""
