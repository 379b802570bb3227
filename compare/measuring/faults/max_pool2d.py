"""Mistakes in MaxPool2d, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import Edit, Fault, at

NETWORK = "Conv2d(2, 3, 2), MaxPool2d(3, stride=2), Flatten, Linear(6, 4); CrossEntropyLoss"
PADDED = "Conv2d(2, 3, 2), MaxPool2d(3, stride=2, padding=1), Flatten, Linear(18, 4); CrossEntropyLoss"

_forward = partial(Edit, "scratch.max_pool2d", "MaxPool2d.forward")
_backward = partial(Edit, "scratch.max_pool2d", "MaxPool2d.backward")
_fault = partial(Fault, family="pooling", network=PADDED)
OUTPUT, GRAD_INPUT = at("1.output"), at("1.grad_input")
FIRST = "windows.reshape(m, channels, h * w, down, across).argmax(axis=2)"
SENT = "np.put_along_axis(d, first[:, :, np.newaxis], dy[:, :, np.newaxis], axis=2)"
NO_TIES = "no difference where no window has two equal maxima"

FAULTS = (
    _fault(
        "max-pool-averages",
        "the mean of each window",
        edits=(_forward(".max(", ".mean("),),
        where=OUTPUT,
        network=NETWORK,
    ),
    _fault(
        "max-pool-takes-the-least",
        "the least element of each window",
        edits=(_forward(".max(", ".min("),),
        where=OUTPUT,
        network=NETWORK,
    ),
    _fault(
        "max-pool-padded-with-zeros",
        "the padding is 0, and larger than negative elements",
        edits=(_forward("fill=-np.inf", "fill=0"),),
        where=OUTPUT,
        bias=1.0,
        scale=0.3,
        hidden="no difference where every window at the border has a positive element",
    ),
    _fault(
        "max-pool-gradient-to-every-maximum",
        "(x == y) * dy: all of several equal maxima get dy",
        edits=(
            _backward(
                SENT, "d[:] = (windows.reshape(d.shape) == windows.max(axis=(2, 3))[:, :, None]) * dy[:, :, None]"
            ),
        ),
        where=GRAD_INPUT,
        zero_row=True,
        hidden=NO_TIES,
    ),
    _fault(
        "max-pool-gradient-to-the-last-maximum",
        "the last of several equal maxima gets dy: the comparison is >=, where it should be >",
        edits=(_backward(FIRST, f"h * w - 1 - {FIRST.replace('.argmax', '[:, :, ::-1].argmax')}"),),
        where=GRAD_INPUT,
        zero_row=True,
        hidden=NO_TIES,
    ),
    _fault(
        "max-pool-gradient-divided-by-the-window",
        "dy is divided by the number of elements of a window",
        edits=(_backward("dy[:, :, np.newaxis], axis=2)", "dy[:, :, np.newaxis] / (h * w), axis=2)"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "max-pool-gradient-scaled-by-the-window",
        "dy is multiplied by the number of elements of a window",
        edits=(_backward("dy[:, :, np.newaxis], axis=2)", "dy[:, :, np.newaxis] * (h * w), axis=2)"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "max-pool-gradient-spread-evenly",
        "dy is spread over the window, as for an average",
        edits=(_backward(SENT, "d[:] = dy[:, :, np.newaxis] / (h * w)"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "max-pool-gradient-without-mask",
        "every element of a window gets dy",
        edits=(_backward(SENT, "d[:] = dy[:, :, np.newaxis]"),),
        where=GRAD_INPUT,
    ),
)
CAUSES = {
    "max-pool-averages": "average-for-maximum",
    "max-pool-takes-the-least": "minimum-for-maximum",
    "max-pool-padded-with-zeros": "padding-counted",
    "max-pool-gradient-to-every-maximum": "every-maximum",
    "max-pool-gradient-to-the-last-maximum": "last-maximum",
    "max-pool-gradient-divided-by-the-window": "divided-by-window",
    "max-pool-gradient-scaled-by-the-window": "scaled-by-window",
    "max-pool-gradient-spread-evenly": "spread-evenly",
    "max-pool-gradient-without-mask": "mask-missing",
}
