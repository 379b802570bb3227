"""Measuring: how good the checker is. No part of a check."""
