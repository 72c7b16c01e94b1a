"""Claims about attention in training."""
