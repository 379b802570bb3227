"""Network: what is to be computed, and the same network on the other side."""
