"""Mistakes in the linear layer: weights, bias, and their gradients."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import ONE_ROW, ZERO_BIAS, Edit, Fault, at

SQUARE = "6-6-6 relu, softmax cross-entropy"  # all weights square; elsewhere the shapes would not fit
OTHERWISE = "with sizes that differ it crashes; no difference for a symmetric matrix"

GRAD_WEIGHT, GRAD_BIAS, GRAD_INPUT = at("2.grad_weight"), at("2.grad_bias"), at("2.grad_input")
OUTPUT = at("0.output")

_forward = partial(Edit, "scratch.layers", "Linear.forward")
_backward = partial(Edit, "scratch.layers", "Linear.backward")

WEIGHTS = (
    Fault(
        "weight-not-transposed",
        "y = x W instead of x W^T, where W is square",
        "weight",
        (_forward('self.params["weight"].T', 'self.params["weight"]'),),
        OUTPUT,
        network=SQUARE,
        rows=(5, 3),
        hidden=OTHERWISE,
    ),
    Fault(
        "weight-gradient-transposed",
        "dW = x^T dy instead of dy^T x, where W is square",
        "weight",
        (_backward("dy.T @ x", "x.T @ dy"),),
        GRAD_WEIGHT,
        network=SQUARE,
        rows=(5, 3),
        hidden=OTHERWISE,
    ),
    Fault(
        "weight-transposed-on-the-way-back",
        "dx = dy W^T instead of dy W, where W is square",
        "weight",
        (_backward('dy @ self.params["weight"]', 'dy @ self.params["weight"].T'),),
        GRAD_INPUT,
        network=SQUARE,
        rows=(5, 3),
        hidden=OTHERWISE,
    ),
    Fault(
        "weight-gradient-operands-swapped",
        "dW = x dy^T: the operands in the wrong order, in a batch as large as the layers are wide",
        "weight",
        (_backward("dy.T @ x", "x @ dy.T"),),
        GRAD_WEIGHT,
        network=SQUARE,
        rows=(6, 6),
        hidden=OTHERWISE,
    ),
    Fault(
        "input-gradient-operands-swapped",
        "dx = W dy instead of dy W, in a batch as large as the layers are wide",
        "weight",
        (_backward('dy @ self.params["weight"]', 'self.params["weight"] @ dy'),),
        GRAD_INPUT,
        network=SQUARE,
        rows=(6, 6),
        hidden="with sizes that differ it crashes; no difference where the two matrices commute",
    ),
    Fault(
        "weight-gradient-of-own-output",
        "dW = dy^T y: the layer's own output is kept instead of its input, where both are of one size",
        "weight",
        (_forward("self._kept = x", "pass"), _forward("return y", "self._kept = y\n    return y")),
        GRAD_WEIGHT,
        network=SQUARE,
        rows=(5, 3),
    ),
    Fault(
        "weight-gradient-averaged-again",
        "the loss divides by the batch size already, and dW is divided by it once more",
        "mean",
        (_backward("dy.T @ x", "dy.T @ x / len(x)"),),
        GRAD_WEIGHT,
        hidden=ONE_ROW,
    ),
    Fault(
        "weight-gradient-averaged-over-inputs",
        "dW is divided by the number of inputs of the layer",
        "mean",
        (_backward("dy.T @ x", "dy.T @ x / x.shape[1]"),),
        GRAD_WEIGHT,
        hidden="no difference for a layer with one input",
    ),
    Fault(
        "weight-gradient-of-the-last-sample",
        "dW is that of the last sample only",
        "weight",
        (_backward("dy.T @ x", "dy[-1:].T @ x[-1:]"),),
        GRAD_WEIGHT,
        hidden=ONE_ROW,
    ),
    Fault(
        "weight-gradient-sign",
        "dW has the wrong sign",
        "sign",
        (_backward("dy.T @ x", "-dy.T @ x"),),
        GRAD_WEIGHT,
    ),
    Fault(
        "weight-gradient-zero",
        "dW is set up with zeros and never filled",
        "weight",
        (_backward("dy.T @ x", "0 * dy.T @ x"),),
        GRAD_WEIGHT,
    ),
    Fault(
        "weight-gradient-of-absolute-values",
        "dW uses the absolute values of the input",
        "weight",
        (_backward("dy.T @ x", "dy.T @ abs(x)"),),
        at("0.grad_weight"),
        hidden="no difference where no input is negative, as after a ReLU or for pixels",
    ),
    Fault(
        "penalty-left-in-the-gradient",
        "a penalty's 0.01 W is added to dW, though the loss has no penalty",
        "weight",
        (_backward("dy.T @ x", 'dy.T @ x + 0.01 * self.params["weight"]'),),
        GRAD_WEIGHT,
    ),
    Fault(
        "input-gradient-sign",
        "dx has the wrong sign",
        "sign",
        (_backward('dy @ self.params["weight"]', '-dy @ self.params["weight"]'),),
        GRAD_INPUT,
    ),
    Fault(
        "input-gradient-averaged",
        "dx is divided by the batch size",
        "mean",
        (_backward('dy @ self.params["weight"]', 'dy @ self.params["weight"] / len(x)'),),
        GRAD_INPUT,
        hidden=ONE_ROW,
    ),
    Fault(
        "input-gradient-with-bias",
        "the bias is added on the way back too: dx = (dy + b) W",
        "bias",
        (_backward('dy @ self.params["weight"]', '(dy + self.params["bias"]) @ self.params["weight"]'),),
        GRAD_INPUT,
        hidden=ZERO_BIAS,
    ),
    Fault(
        "units-swapped",
        "two units of the output are exchanged",
        "weight",
        (_forward("return y", "return y[:, [1, 0, *range(2, y.shape[1])]]"),),
        OUTPUT,
        hidden="no difference where the two units are equal",
    ),
    Fault(
        "units-swapped-in-the-gradient",
        "two rows of dW are exchanged",
        "weight",
        (_backward("dy.T @ x", "(dy.T @ x)[[1, 0, *range(2, dy.shape[1])]]"),),
        GRAD_WEIGHT,
        hidden="no difference where the two units have equal gradients",
    ),
)

BIASES = (
    Fault(
        "bias-missing",
        "the bias is not added",
        "bias",
        (_forward('y += self.params["bias"]', "pass"),),
        OUTPUT,
        hidden=ZERO_BIAS,
    ),
    Fault(
        "bias-added-twice",
        "the bias is added twice",
        "bias",
        (_forward('y += self.params["bias"]', 'y += 2 * self.params["bias"]'),),
        OUTPUT,
        hidden=ZERO_BIAS,
    ),
    Fault(
        "bias-subtracted",
        "the bias is subtracted",
        "sign",
        (_forward('y += self.params["bias"]', 'y -= self.params["bias"]'),),
        OUTPUT,
        hidden=ZERO_BIAS,
    ),
    Fault(
        "bias-added-to-the-rows",
        "the bias is added along the batch instead of the features, in a batch as large as the layers are wide",
        "bias",
        (_forward('y += self.params["bias"]', 'y += self.params["bias"][:, None]'),),
        OUTPUT,
        network=SQUARE,
        rows=(6, 6),
        hidden="with sizes that differ it crashes; no difference where all biases are equal",
    ),
    Fault(
        "bias-gradient-averaged",
        "db is the mean of dy over the samples instead of the sum",
        "mean",
        (_backward("dy.sum(axis=0)", "dy.mean(axis=0)"),),
        GRAD_BIAS,
        hidden=ONE_ROW,
    ),
    Fault(
        "bias-gradient-summed-over-features",
        "db is summed over the features instead of the samples, in a batch as large as the layers are wide",
        "bias",
        (_backward("dy.sum(axis=0)", "dy.sum(axis=1)"),),
        GRAD_BIAS,
        network=SQUARE,
        rows=(6, 6),
        hidden="with sizes that differ it crashes; no difference where dy is symmetric",
    ),
    Fault(
        "bias-gradient-summed-to-a-number",
        "db is the sum of all of dy, one number for all biases",
        "bias",
        (_backward("dy.sum(axis=0)", "dy.sum() * np.ones_like(dy[0])"),),
        GRAD_BIAS,
        hidden="no difference for a layer with one output",
    ),
    Fault(
        "bias-gradient-without-axis",
        "db = dy.sum(): a scalar, which NumPy broadcasts in the update",
        "bias",
        (_backward("dy.sum(axis=0)", "dy.sum()"),),
        GRAD_BIAS,
    ),
    Fault(
        "bias-gradient-of-the-last-sample",
        "db is dy of the last sample",
        "bias",
        (_backward("dy.sum(axis=0)", "dy[-1]"),),
        GRAD_BIAS,
        hidden=ONE_ROW,
    ),
    Fault(
        "bias-gradient-zero",
        "db is set up with zeros and never filled",
        "bias",
        (_backward("dy.sum(axis=0)", "np.zeros_like(dy[0])"),),
        GRAD_BIAS,
    ),
    Fault(
        "bias-gradient-doubled",
        "db is added to itself",
        "bias",
        (_backward("dy.sum(axis=0)", "2 * dy.sum(axis=0)"),),
        GRAD_BIAS,
    ),
)

LINEAR_LAYER = WEIGHTS + BIASES
