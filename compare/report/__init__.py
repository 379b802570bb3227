"""Report: what a check found, in words and figures."""
