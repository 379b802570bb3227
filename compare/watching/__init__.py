"""Watching: what somebody's code computes while it runs.

It imports no more than NumPy, so that a process of its own starts quickly.
"""
