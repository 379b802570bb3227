"""Mistakes in Conv2d, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import ONE_ROW, ZERO_BIAS, Edit, Fault, at

NETWORK = "Conv2d(2, 4, 3, stride=2, padding=1), ReLU, Flatten, Linear(48, 4); CrossEntropyLoss"
SQUARE = "Conv2d(3, 3, 3, padding=1), ReLU, Flatten, Linear(105, 4); CrossEntropyLoss"
AS_WIDE = "Conv2d(2, 3, 3, stride=2, padding=1), ReLU, Flatten, Linear(36, 4); CrossEntropyLoss"
GROUPS = "Conv2d(4, 4, 3, groups=2), ReLU, Flatten, Linear(60, 4); CrossEntropyLoss"

_forward = partial(Edit, "scratch.conv2d", "Conv2d.forward")
_backward = partial(Edit, "scratch.conv2d", "Conv2d.backward")
_of = partial(Edit, "scratch.windows", "Windows.of")
_add_up = partial(Edit, "scratch.windows", "Windows.add_up")
_fault = partial(Fault, family="convolution", network=NETWORK)
OUTPUT, GRAD_WEIGHT, GRAD_BIAS, GRAD_INPUT = map(at, ("0.output", "0.grad_weight", "0.grad_bias", "0.grad_input"))
BIAS = "[:, np.newaxis, np.newaxis]"
NEXT_TO_EACH_OTHER = (
    "Windows(self.kernel_size, (1, 1), self.padding).of(x)[..., : windows.shape[4], : windows.shape[5]]"
)

FORWARD = (
    _fault(
        "conv-bias-missing",
        "the bias is not added",
        edits=(_forward(f'y += self.params["bias"]{BIAS}', "pass"),),
        where=OUTPUT,
        hidden=ZERO_BIAS,
    ),
    _fault(
        "conv-bias-along-width",
        "y + b without new axes: NumPy adds one number to each column, where the image is as wide as there are filters",
        edits=(_forward(BIAS, ""),),
        where=OUTPUT,
        network=AS_WIDE,
        hidden=ZERO_BIAS,
    ),
    _fault(
        "conv-filters-flipped",
        "a convolution of the mathematics in the forward pass",
        edits=(_forward("self.windows.of(x)", "self.windows.of(x)[:, :, ::-1, ::-1]"),),
        where=OUTPUT,
    ),
    _fault(
        "conv-filters-transposed",
        "rows and columns of the filters are swapped in the forward pass",
        edits=(_forward("self.windows.of(x)", "self.windows.of(x).swapaxes(2, 3)"),),
        where=OUTPUT,
    ),
    _fault(
        "conv-channels-reversed",
        "BGR for RGB: the channels of the input are in reverse order",
        edits=(_forward("self._columns(windows)", "self._columns(windows[:, ::-1])"),),
        where=OUTPUT,
    ),
    _fault(
        "conv-groups-interleaved",
        "every second channel belongs to a group, not every half of them",
        edits=(_forward("self._columns(windows)", "self._columns(windows[:, [0, 2, 1, 3]])"),),
        where=OUTPUT,
        network=GROUPS,
    ),
    _fault(
        "conv-padding-at-one-end",
        "all the padding is below the image and on its right",
        edits=(_of("padded[self._inside(x.shape)]", "padded[:, :, : x.shape[2], : x.shape[3]]"),),
        where=OUTPUT,
    ),
    _fault(
        "conv-stride-forgotten-in-forward",
        "a window at every element, whatever the stride",
        edits=(_of("::sh, ::sw", "::1, ::1"),),
        where=OUTPUT,
    ),
)

BACKWARD = (
    _fault(
        "conv-weight-gradient-flipped",
        "dW is a convolution of the mathematics",
        edits=(
            _backward(
                'dw.reshape(self.params["weight"].shape)',
                'dw.reshape(self.params["weight"].shape)[:, :, ::-1, ::-1].copy()',
            ),
        ),
        where=GRAD_WEIGHT,
    ),
    _fault(
        "conv-weight-gradient-of-swapped-channels",
        "channels of x stand for channels of y in dW, where there are as many",
        edits=(
            _backward(
                'dw.reshape(self.params["weight"].shape)',
                'dw.reshape(self.params["weight"].shape).swapaxes(0, 1).copy()',
            ),
        ),
        where=GRAD_WEIGHT,
        network=SQUARE,
    ),
    _fault(
        "conv-weight-gradient-channels-last",
        "the elements of dW are in the order height, width, channel, and reshaped to channel, height, width",
        edits=(_backward("self._columns(windows)", "self._columns(windows.transpose(0, 2, 3, 1, 4, 5))"),),
        where=GRAD_WEIGHT,
    ),
    _fault(
        "conv-weight-gradient-without-stride",
        "the windows of x are next to each other in backward",
        edits=(_backward("self._columns(windows)", f"self._columns({NEXT_TO_EACH_OTHER})"),),
        where=GRAD_WEIGHT,
    ),
    _fault(
        "conv-weight-gradient-averaged-over-positions",
        "dW is divided by the number of windows of an image",
        edits=(_backward(".sum(axis=0)", ".sum(axis=0) / d.shape[-1]"),),
        where=GRAD_WEIGHT,
    ),
    _fault(
        "conv-weight-gradient-averaged-again",
        "dW is the mean over the batch of a gradient that has its 1/m already",
        edits=(_backward(".sum(axis=0)", ".mean(axis=0)"),),
        where=GRAD_WEIGHT,
        hidden=ONE_ROW,
    ),
    _fault(
        "conv-weight-gradient-of-the-last-sample",
        "dW = in a loop over the samples, where += should be",
        edits=(_backward(".sum(axis=0)", "[-1]"),),
        where=GRAD_WEIGHT,
        hidden=ONE_ROW,
    ),
    _fault(
        "conv-weight-gradient-of-interleaved-groups",
        "every second channel belongs to a group in dW",
        edits=(_backward("self._columns(windows)", "self._columns(windows[:, [0, 2, 1, 3]])"),),
        where=GRAD_WEIGHT,
        network=GROUPS,
    ),
    _fault(
        "conv-bias-gradient-of-every-position",
        "db is summed over the batch only, and has a number for each position",
        edits=(_backward("dy.sum(axis=(0, 2, 3))", "dy.sum(axis=0)"),),
        where=GRAD_BIAS,
    ),
    _fault(
        "conv-bias-gradient-of-the-first-position",
        "db is summed over the batch, and its first position taken",
        edits=(_backward("dy.sum(axis=(0, 2, 3))", "dy.sum(axis=0)[:, 0, 0]"),),
        where=GRAD_BIAS,
    ),
    _fault(
        "conv-bias-gradient-averaged",
        "db is the mean over the batch and the positions",
        edits=(_backward("dy.sum(axis=(0, 2, 3))", "dy.mean(axis=(0, 2, 3))"),),
        where=GRAD_BIAS,
    ),
    _fault(
        "conv-bias-gradient-averaged-over-positions",
        "db is the mean over the positions, summed over the batch",
        edits=(_backward("dy.sum(axis=(0, 2, 3))", "dy.mean(axis=(2, 3)).sum(axis=0)"),),
        where=GRAD_BIAS,
    ),
    _fault(
        "conv-windows-overwritten",
        "= for += where windows overlap in the gradient of the input",
        edits=(_add_up("+= d[:, :, i, j]", "= d[:, :, i, j]"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "conv-input-gradient-with-flipped-filters",
        "the filters are flipped on the way back, where what is added up needs them as they are",
        edits=(_backward("dcolumns.reshape(windows.shape)", "dcolumns.reshape(windows.shape)[:, :, ::-1, ::-1]"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "conv-input-gradient-padded",
        "the padding is not cut off the gradient of the input",
        edits=(_add_up("padded[self._inside(shape)].copy()", "padded"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "conv-input-gradient-cut-at-one-end",
        "all the padding is cut off below and on the right",
        edits=(_add_up("padded[self._inside(shape)]", "padded[:, :, : shape[2], : shape[3]]"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "conv-input-gradient-without-stride",
        "windows are laid next to each other in the gradient of the input",
        edits=(_add_up("self.stride, self.dilation", "(1, 1), self.dilation"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "conv-input-gradient-of-interleaved-groups",
        "every second channel belongs to a group in dx",
        edits=(_backward("dcolumns.reshape(windows.shape)", "dcolumns.reshape(windows.shape)[:, [0, 2, 1, 3]]"),),
        where=GRAD_INPUT,
        network=GROUPS,
    ),
)

FAULTS = FORWARD + BACKWARD
CAUSES = {
    "conv-bias-missing": "bias-missing",
    "conv-bias-along-width": "bias-along-width",
    "conv-filters-flipped": "filters-flipped",
    "conv-filters-transposed": "filters-transposed",
    "conv-channels-reversed": "channels-in-another-order",
    "conv-groups-interleaved": "groups-mixed",
    "conv-padding-at-one-end": "padding-at-one-end",
    "conv-stride-forgotten-in-forward": "stride-forgotten",
    "conv-weight-gradient-flipped": "filters-flipped",
    "conv-weight-gradient-of-swapped-channels": "channels-swapped",
    "conv-weight-gradient-channels-last": "channels-in-another-order",
    "conv-weight-gradient-without-stride": "stride-forgotten",
    "conv-weight-gradient-averaged-over-positions": "mean-over-positions",
    "conv-weight-gradient-averaged-again": "mean-doubled",
    "conv-weight-gradient-of-the-last-sample": "last-sample-only",
    "conv-weight-gradient-of-interleaved-groups": "groups-mixed",
    "conv-bias-gradient-of-every-position": "bias-over-batch-only",
    "conv-bias-gradient-of-the-first-position": "bias-over-batch-only",
    "conv-bias-gradient-averaged": "mean-over-positions",
    "conv-bias-gradient-averaged-over-positions": "mean-over-positions",
    "conv-windows-overwritten": "windows-not-added-up",
    "conv-input-gradient-with-flipped-filters": "filters-not-flipped",
    "conv-input-gradient-padded": "padding-not-cut",
    "conv-input-gradient-cut-at-one-end": "padding-cut-wrongly",
    "conv-input-gradient-without-stride": "stride-forgotten",
    "conv-input-gradient-of-interleaved-groups": "groups-mixed",
}
