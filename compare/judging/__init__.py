"""Judging: every tensor of a step against what it should be."""
