"""What of a pretrained network is trained, exchangeable by the recipe's `tuning`."""
