"""Training: both backends side by side."""
