"""PyTorch as a PyTorch user would write it: one of the two sides, so it imports nothing of the other."""
