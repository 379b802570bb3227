"""Mistakes in shortcuts, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import Edit, Fault, at

NETWORK = "Linear(5, 6), ReLU, Linear(6, 4), Take(0), Linear(6, 4), Add(2); CrossEntropyLoss"

_sources = partial(Edit, "scratch.graph", "Graph.sources")
_backward = partial(Edit, "scratch.take", "Take.backward")
_fault = partial(Fault, family="residual", network=NETWORK)

FAULTS = (
    _fault(
        "shortcut-begins-a-layer-late",
        "it takes the activated output",
        edits=(_sources("layer.instead\n", "layer.instead + 1\n"),),
        where=at("3.input"),
    ),
    _fault(
        "shortcut-gives-nothing-back",
        "dx = 0",
        edits=(_backward("return dy.copy()", "return 0 * dy"),),
        where=at("3.grad_input"),
    ),
    _fault(
        "shortcut-gives-half-back",
        "dx = dy / 2",
        edits=(_backward("return dy.copy()", "return dy / 2"),),
        where=at("3.grad_input"),
    ),
)
CAUSES = {
    "shortcut-begins-a-layer-late": "wrong-gradient activation-missing",
    "shortcut-gives-nothing-back": "zero",
    "shortcut-gives-half-back": "gradient-shared-out",
}
