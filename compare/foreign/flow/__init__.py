"""Flow: which of a program's values is which tensor of a training step, read off what was computed from what.

Products with the weights lead forward; what the weights become leads back. Values confirm: a tensor that equals what it
should be is that tensor. One that nothing equals is the array that stands in its place in the graph, or it was not
found. What nothing proves is not accused.
"""
