"""Exact: a check without tolerance."""
