"""Submissions: a class's programs, each checked by itself."""
