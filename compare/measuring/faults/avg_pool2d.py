"""Mistakes in AvgPool2d, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import Edit, Fault, at

NETWORK = "Conv2d(2, 3, 2), AvgPool2d(3, stride=2, padding=1), Flatten, Linear(18, 4); CrossEntropyLoss"

_forward = partial(Edit, "scratch.avg_pool2d", "AvgPool2d.forward")
_backward = partial(Edit, "scratch.avg_pool2d", "AvgPool2d.backward")
_count = partial(Edit, "scratch.avg_pool2d", "AvgPool2d._count")
_fault = partial(Fault, family="pooling", network=NETWORK)
OUTPUT, GRAD_INPUT = at("1.output"), at("1.grad_input")

FAULTS = (
    _fault(
        "avg-pool-sums",
        "the sum of each window",
        edits=(_forward(" / self._count(x)", ""),),
        where=OUTPUT,
    ),
    _fault(
        "avg-pool-counts-otherwise",
        "the padding is left out of the count, where torch counts it",
        edits=(_count("if self.count_include_pad", "if not self.count_include_pad"),),
        where=OUTPUT,
        hidden="no difference without padding",
    ),
    _fault(
        "avg-pool-takes-the-largest",
        "the largest element of each window",
        edits=(
            _forward(
                "self.windows.of(x).sum(axis=(2, 3)) / self._count(x)",
                "self.windows.of(x, fill=-np.inf).max(axis=(2, 3))",
            ),
        ),
        where=OUTPUT,
    ),
    _fault(
        "avg-pool-gradient-not-divided",
        "every element of a window gets dy",
        edits=(_backward("dy / self._count(x)", "dy"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "avg-pool-gradient-divided-by-the-height",
        "dy is divided by the height of the window, not by its number of elements",
        edits=(_backward("self._count(x)", "self.kernel_size[0]"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "avg-pool-windows-overwritten",
        "= for += where windows overlap in the gradient of the input",
        edits=(Edit("scratch.windows", "Windows.add_up", "+= d[:, :, i, j]", "= d[:, :, i, j]"),),
        where=GRAD_INPUT,
    ),
)
CAUSES = {
    "avg-pool-sums": "sum-for-average",
    "avg-pool-counts-otherwise": "padding-in-the-count",
    "avg-pool-takes-the-largest": "maximum-for-average",
    "avg-pool-gradient-not-divided": "not-divided-by-window",
    "avg-pool-gradient-divided-by-the-height": "one-side-for-the-window",
    "avg-pool-windows-overwritten": "windows-not-added-up",
}
