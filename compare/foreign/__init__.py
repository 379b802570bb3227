"""Foreign: somebody's own code, read as records."""
