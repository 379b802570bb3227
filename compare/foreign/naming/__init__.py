"""Naming: which of somebody's arrays is which tensor of the step, found by value.

What the network computes from the candidate's own data and weights is known; an array that equals it, up to layout and
a factor, *is* that tensor. Weights, biases and inputs are found together, as those whose product is among the arrays. A
tensor that nothing equals is wrong or absent: it is then the array of its shape from which the next tensors follow, or
else the nearest. What the code calls its arrays is asked only where values cannot tell (see hints). Naming is generous;
whether the array is right is judged afterwards by the check, on these names and by its own bounds.
"""
