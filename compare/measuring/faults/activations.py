"""Mistakes in the activations: masks, derivatives, the softmax and its Jacobian."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import ALL_ACTIVE, ONE_ROW, Edit, Fault, at

SIGMOIDS = "5-7-4 sigmoid, softmax cross-entropy"
TANHS = "5-7-4 tanh, softmax cross-entropy"
SOFTMAX_OUTPUT = "5-7-4 relu, softmax output, cross-entropy on probabilities"
SOFTMAX_HIDDEN = "5-7-4 softmax, softmax cross-entropy"

OUTPUT, GRAD_INPUT = at("1.output"), at("1.grad_input")  # of the activation between the two linear layers
JACOBIAN = at("3.grad_input")

_relu = partial(Edit, "scratch.layers", "ReLU.forward", "np.maximum(x, 0)")
_mask = partial(Edit, "scratch.layers", "ReLU.backward", "np.where(x > 0, dy, dy.dtype.type(0))")
_sigmoid = partial(Edit, "scratch.layers", "Sigmoid.forward")
_sigmoid_back = partial(Edit, "scratch.layers", "Sigmoid.backward", "return dy * y * (1 - y)")
_tanh = partial(Edit, "scratch.layers", "Tanh.forward")
_tanh_back = partial(Edit, "scratch.layers", "Tanh.backward", "return dy * (1 - y * y)")
_softmax = partial(Edit, "scratch.layers", "Softmax.forward")
_softmax_back = partial(Edit, "scratch.layers", "Softmax.backward")

RELUS = (
    Fault(
        "relu-mask-of-the-gradient",
        "the mask is taken where dy > 0 instead of where x > 0",
        "mask",
        (_mask("np.where(dy > 0, dy, dy.dtype.type(0))"),),
        GRAD_INPUT,
    ),
    Fault(
        "relu-mask-with-zero",
        "the mask is x >= 0 instead of x > 0: units at exactly 0 let the gradient pass",
        "mask",
        (_mask("np.where(x >= 0, dy, dy.dtype.type(0))"),),
        GRAD_INPUT,
        bias=0.0,
        zero_row=True,
        hidden="no difference unless a pre-activation is exactly 0, as a row of zeros without biases makes it",
    ),
    Fault(
        "relu-mask-missing",
        "the gradient passes everywhere",
        "mask",
        (_mask("dy.copy()"),),
        GRAD_INPUT,
        hidden=ALL_ACTIVE,
    ),
    Fault(
        "relu-mask-inverted",
        "the gradient passes where x <= 0",
        "mask",
        (_mask("np.where(x > 0, dy.dtype.type(0), dy)"),),
        GRAD_INPUT,
    ),
    Fault(
        "relu-mask-from-the-next-layer",
        "the mask is that of the next ReLU, which is of the same size",
        "mask",
        (
            Edit(
                "scratch.network",
                "Sequential.backward",
                "dy = self._at(",
                "if type(layer).__name__ == 'ReLU' and i + 2 < len(self) - 1:\n"
                "            layer._kept = self.layers[i + 2]._kept\n"
                "        dy = self._at(",
            ),
        ),
        GRAD_INPUT,
        network="5-6-6-4 relu, softmax cross-entropy",
        hidden="no difference where the two masks are equal",
    ),
    Fault(
        "relu-gradient-of-leaky",
        "the gradient is that of a leaky ReLU: 0.01 dy where x <= 0",
        "mask",
        (_mask("np.where(x > 0, dy, dy.dtype.type(0.01) * dy)"),),
        GRAD_INPUT,
        hidden=ALL_ACTIVE,
    ),
    Fault(
        "relu-gradient-times-value",
        "the gradient is multiplied by max(x, 0) instead of by the mask",
        "mask",
        (_mask("dy * np.maximum(x, 0)"),),
        GRAD_INPUT,
    ),
    Fault(
        "relu-gradient-is-the-mask",
        "backward returns the mask itself: dy is forgotten",
        "mask",
        (_mask("(x > 0).astype(dy.dtype)"),),
        GRAD_INPUT,
    ),
    Fault(
        "relu-leaky",
        "the activation is a leaky ReLU, its gradient that of ReLU",
        "activation",
        (_relu("np.maximum(x, x.dtype.type(0.01) * x)"),),
        OUTPUT,
        hidden=ALL_ACTIVE,
    ),
    Fault(
        "relu-of-absolute-values",
        "the activation is |x|",
        "activation",
        (_relu("np.abs(x)"),),
        OUTPUT,
        hidden=ALL_ACTIVE,
    ),
    Fault(
        "relu-capped-at-6",
        "the activation is ReLU6, its gradient that of ReLU",
        "activation",
        (_relu("np.clip(x, 0, 6)"),),
        OUTPUT,
        scale=30.0,
        hidden="no difference where no unit exceeds 6",
    ),
    Fault(
        "dropout-left-in",
        "dropout of 20 % is active while gradients are checked, forward only",
        "activation",
        (_relu("np.maximum(x, 0) * (np.random.default_rng(0).random(x.shape) < 0.8) / x.dtype.type(0.8)"),),
        OUTPUT,
    ),
    Fault(
        "dropout-scaling-left-in",
        "dropout is off, but its 1 / (1 - rate) is still multiplied in",
        "activation",
        (_relu("np.maximum(x, 0) / x.dtype.type(0.8)"),),
        OUTPUT,
    ),
)

SIGMOIDS_AND_TANHS = (
    Fault(
        "sigmoid-derivative-of-activated",
        "sigmoid'(y) of the already activated value y, instead of y (1 - y)",
        "derivative",
        (_sigmoid_back("y = 1 / (1 + np.exp(-y))\n    return dy * y * (1 - y)"),),
        GRAD_INPUT,
        network=SIGMOIDS,
    ),
    Fault(
        "sigmoid-derivative-of-preactivation",
        "x (1 - x) of the pre-activation x, instead of y (1 - y)",
        "derivative",
        (_sigmoid("return self._kept.copy()", "y, self._kept = self._kept, x\n    return y"),),
        GRAD_INPUT,
        network=SIGMOIDS,
    ),
    Fault(
        "sigmoid-derivative-lost",
        "the sigmoid's derivative is left out on the way back",
        "derivative",
        (_sigmoid_back("return dy.copy()"),),
        GRAD_INPUT,
        network=SIGMOIDS,
    ),
    Fault(
        "output-sigmoid-derivative-lost",
        "the delta of a sigmoid output is y - t, though the loss is a squared error",
        "derivative",
        (_sigmoid_back("return dy.copy()"),),
        at("3.grad_input"),
        network="5-7-3 sigmoid, sigmoid output, half squared error",
    ),
    Fault(
        "sigmoid-derivative-without-complement",
        "dx = dy y: the factor (1 - y) is missing",
        "derivative",
        (_sigmoid_back("return dy * y"),),
        GRAD_INPUT,
        network=SIGMOIDS,
    ),
    Fault(
        "sigmoid-exponent-sign",
        "1 / (1 + e^x): the exponent has the wrong sign",
        "activation",
        (_sigmoid("x >= 0", "x < 0"),),
        OUTPUT,
        network=SIGMOIDS,
    ),
    Fault(
        "sigmoid-input-clipped",
        "the sigmoid's input is clipped to [-10, 10], its gradient is not: it never becomes 0",
        "clip",
        (_sigmoid("e = np.exp", "x = np.clip(x, -10, 10)\n    e = np.exp"),),
        OUTPUT,
        network=SIGMOIDS,
        scale=30.0,
        hidden="no difference where no pre-activation exceeds 10",
    ),
    Fault(
        "sigmoid-output-clipped",
        "the sigmoid's output is clipped to [1e-3, 1 - 1e-3]",
        "clip",
        (
            _sigmoid(
                "return self._kept.copy()",
                "self._kept = np.clip(self._kept, 1e-3, 1 - 1e-3)\n    return self._kept.copy()",
            ),
        ),
        OUTPUT,
        network=SIGMOIDS,
        scale=30.0,
        hidden="no difference where every output is within the clip",
    ),
    Fault(
        "tanh-derivative-of-activated",
        "1 - tanh(y)^2 of the already activated value y, instead of 1 - y^2",
        "derivative",
        (_tanh_back("y = np.tanh(y)\n    return dy * (1 - y * y)"),),
        GRAD_INPUT,
        network=TANHS,
    ),
    Fault(
        "tanh-derivative-of-preactivation",
        "1 - x^2 of the pre-activation x, instead of 1 - y^2",
        "derivative",
        (_tanh("return self._kept.copy()", "y, self._kept = self._kept, x\n    return y"),),
        GRAD_INPUT,
        network=TANHS,
    ),
    Fault(
        "tanh-derivative-of-sigmoid",
        "dx = dy y (1 - y): the sigmoid's derivative",
        "derivative",
        (_tanh_back("return dy * y * (1 - y)"),),
        GRAD_INPUT,
        network=TANHS,
    ),
    Fault(
        "tanh-derivative-without-square",
        "dx = dy (1 - y): the square is missing",
        "derivative",
        (_tanh_back("return dy * (1 - y)"),),
        GRAD_INPUT,
        network=TANHS,
    ),
    Fault(
        "tanh-derivative-lost",
        "the derivative of tanh is left out on the way back",
        "derivative",
        (_tanh_back("return dy.copy()"),),
        GRAD_INPUT,
        network=TANHS,
    ),
    Fault(
        "activations-skipped-on-the-way-back",
        "the gradient goes from linear layer to linear layer; the activations' backward is never called",
        "derivative",
        (
            Edit(
                "scratch.network",
                "Sequential.backward",
                "dy = self._at(",
                "if not layer.params:\n            continue\n        dy = self._at(",
            ),
        ),
        at("0.grad_output"),
        network=TANHS,
    ),
)

SOFTMAXES = (
    Fault(
        "softmax-without-shift",
        "softmax takes the exponential of its input as it is, and large ones overflow",
        "overflow",
        (_softmax(" - x.max(axis=1, keepdims=True)", ""),),
        OUTPUT,
        network=SOFTMAX_HIDDEN,
        scale=1e4,
        hidden="as good as the shifted form where no input exceeds 88 in float32, or 709 in float64",
    ),
    Fault(
        "softmax-shifted-by-the-batch",
        "softmax subtracts the maximum of the whole batch, and rows far below it underflow",
        "overflow",
        (_softmax("x.max(axis=1, keepdims=True)", "x.max()"),),
        OUTPUT,
        network=SOFTMAX_HIDDEN,
        scale=1e4,
        hidden="as good as the row's maximum where the rows' maxima are close together",
    ),
    Fault(
        "softmax-over-the-batch",
        "softmax is normalised over the samples instead of the classes",
        "axis",
        (_softmax("e.sum(axis=1, keepdims=True)", "e.sum(axis=0, keepdims=True)"),),
        at("3.output"),
        network=SOFTMAX_OUTPUT,
    ),
    Fault(
        "softmax-over-everything",
        "softmax is normalised over the whole batch: e.sum() without an axis",
        "axis",
        (_softmax("e.sum(axis=1, keepdims=True)", "e.sum()"),),
        at("3.output"),
        network=SOFTMAX_OUTPUT,
        hidden=ONE_ROW,
    ),
    Fault(
        "softmax-jacobian-diagonal",
        "dx = dy y (1 - y): only the diagonal of the softmax's Jacobian",
        "derivative",
        (_softmax_back("y * (dy - (dy * y).sum(axis=1, keepdims=True))", "dy * y * (1 - y)"),),
        JACOBIAN,
        network=SOFTMAX_OUTPUT,
    ),
    Fault(
        "softmax-jacobian-without-diagonal",
        "the softmax's Jacobian is -y y^T: its diagonal part is missing",
        "derivative",
        (_softmax_back("(dy - (dy * y)", "(-(dy * y)"),),
        JACOBIAN,
        network=SOFTMAX_OUTPUT,
    ),
    Fault(
        "softmax-jacobian-sign",
        "the off-diagonal part of the softmax's Jacobian has the wrong sign",
        "sign",
        (_softmax_back("dy - (dy", "dy + (dy"),),
        JACOBIAN,
        network=SOFTMAX_OUTPUT,
    ),
    Fault(
        "softmax-jacobian-over-the-batch",
        "the inner product of the softmax's Jacobian is summed over the samples",
        "axis",
        (_softmax_back("sum(axis=1", "sum(axis=0"),),
        JACOBIAN,
        network=SOFTMAX_OUTPUT,
    ),
    Fault(
        "softmax-derivative-lost",
        "the softmax's Jacobian is left out on the way back",
        "derivative",
        (_softmax_back("y * (dy - (dy * y).sum(axis=1, keepdims=True))", "dy.copy()"),),
        JACOBIAN,
        network=SOFTMAX_OUTPUT,
    ),
)

ACTIVATIONS = RELUS + SIGMOIDS_AND_TANHS + SOFTMAXES
