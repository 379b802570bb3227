"""Ranks: one training step by several processes."""
