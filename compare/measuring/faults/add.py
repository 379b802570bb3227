"""Mistakes in residual sums, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import Edit, Fault, at

NETWORK = "Linear(5, 6), ReLU, Linear(6, 6), Add(0), Linear(6, 4); CrossEntropyLoss"

_forward = partial(Edit, "scratch.add", "Add.forward")
_backward = partial(Edit, "scratch.add", "Add.backward")
_graph = partial(Edit, "scratch.graph", "Graph.backward")
_fault = partial(Fault, family="residual", network=NETWORK)
GIVEN_BACK = "return dy.copy(), dy.copy()"

FAULTS = (
    _fault(
        "residual-forgets-the-shortcut",
        "y = x",
        edits=(_forward("return x + z", "return x.copy()"),),
        where=at("3.output"),
    ),
    _fault("residual-subtracts", "y = x - z", edits=(_forward("x + z", "x - z"),), where=at("3.output")),
    _fault("residual-is-a-mean", "y = (x + z) / 2", edits=(_forward("x + z", "(x + z) / 2"),), where=at("3.output")),
    _fault("residual-is-a-product", "y = x z", edits=(_forward("x + z", "x * z"),), where=at("3.output")),
    _fault(
        "residual-shares-out-its-gradient",
        "dx = dz = dy / 2",
        edits=(_backward(GIVEN_BACK, "return dy / 2, dy / 2"),),
        where=at("3.grad_input"),
    ),
    _fault(
        "residual-gives-the-shortcut-nothing",
        "dz = 0",
        edits=(_backward(GIVEN_BACK, "return dy.copy(), 0 * dy"),),
        where=at("3.grad_other"),
    ),
    _fault(
        "residual-turns-the-shortcut-around",
        "dz = -dy",
        edits=(_backward(GIVEN_BACK, "return dy.copy(), -dy"),),
        where=at("3.grad_other"),
    ),
    _fault(
        "branches-overwrite-each-other",
        "what two layers took gets the gradient of one of them",
        edits=(_graph("returned[j] + each if j in returned else each", "each"),),
        where=at("0.grad_output"),
    ),
    _fault(
        "branches-are-averaged",
        "what two layers took gets the mean of their gradients",
        edits=(_graph("returned[j] + each if j", "(returned[j] + each) / 2 if j"),),
        where=at("0.grad_output"),
    ),
)
CAUSES = {
    "residual-forgets-the-shortcut": "residual-missing",
    "residual-subtracts": "residual-subtracted",
    "residual-is-a-mean": "residual-averaged",
    "residual-is-a-product": "residual-multiplied",
    "residual-shares-out-its-gradient": "gradient-shared-out",
    "residual-gives-the-shortcut-nothing": "zero",
    "residual-turns-the-shortcut-around": "sign",
    "branches-overwrite-each-other": "branch-missing",
    "branches-are-averaged": "gradient-shared-out",
}
