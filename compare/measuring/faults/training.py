"""Mistakes between the formulas: the order of a training step, what is kept from one call to the next, and the data."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import ALL_ACTIVE, FIRST_STEP, ONE_ROW, Edit, Fault, at
from compare.measuring.faults.linear import GRAD_BIAS, GRAD_INPUT, GRAD_WEIGHT
from compare.measuring.faults.losses import GRADIENT, VALUE

TWO_RELUS = "5-6-6-4 relu, softmax cross-entropy"

INPUT, TARGET = at("input", "0"), at("target", "loss")
TAKE = "x, t = data[0][rows], data[1][rows]"
BACK = "self.network.backward(self.loss.backward())"

_step = partial(Edit, "scratch.learner", "ScratchLearner.train_step")
_linear = partial(Edit, "scratch.layers", "Linear.forward")
_linear_back = partial(Edit, "scratch.layers", "Linear.backward")
_tanh = partial(Edit, "scratch.layers", "Tanh.forward")
_loss = partial(Edit, "scratch.losses", "CrossEntropyLoss.forward")
_way_back = partial(Edit, "scratch.network", "Sequential.backward")
_relu = partial(Edit, "scratch.layers", "ReLU.forward")
_relu_back = partial(Edit, "scratch.layers", "ReLU.backward")
_dw = partial(_linear_back, 'self.grads["weight"] = dy.T @ x')
_dx = partial(_linear_back, 'dx: Array = dy @ self.params["weight"]')

ORDER = (
    Fault(
        "weights-updated-before-the-gradient-passed",
        "each layer updates its weights in backward, and only then passes the gradient on, through the new ones",
        "order",
        (
            _dx('self.params["weight"] -= 0.1 * self.grads["weight"]\n    dx: Array = dy @ self.params["weight"]'),
            Edit("scratch.optim", "SGD.update", "p -= self.lr * g", "if p.ndim == 1:\n        p -= self.lr * g"),
        ),
        GRAD_INPUT,
        hidden="no difference in a network of one layer",
    ),
    Fault(
        "update-before-backward",
        "the optimiser steps before the gradients of this batch are there, with those of the one before",
        "order",
        (
            _step(
                BACK,
                "if self.network.grads:\n                self.optimizer.step()\n"
                "            self.network.backward(self.loss.backward())",
            ),
            _step("correct = self._correct(y, t)\n        self.optimizer.step()", "correct = self._correct(y, t)"),
        ),
        at("0.new_weight"),
    ),
    Fault(
        "layers-backward-in-forward-order",
        "the gradient is handed to the first layer first, where all sizes are equal",
        "order",
        (_way_back("reversed(list(enumerate(self.layers)))", "enumerate(self.layers)"),),
        GRADIENT,
        network="6-6-6 relu, softmax cross-entropy",
        rows=(5, 3),
        hidden="no difference in a network of one layer; with sizes that differ it crashes",
    ),
    Fault(
        "backward-twice",
        "backward is called twice, and gradients accumulate",
        "order",
        (
            _dw('self.grads["weight"] = self.grads.get("weight", 0) + dy.T @ x'),
            _step(BACK, f"{BACK}\n            {BACK}"),
            _step(
                "self.optimizer.step()",
                "self.optimizer.step()\n        for layer in self.network:\n            layer.grads.clear()",
            ),
        ),
        GRAD_WEIGHT,
    ),
    Fault(
        "first-layer-left-out",
        "the way back ends before the first layer, whose gradients stay the zeros that they were set up with",
        "order",
        (
            _way_back("reversed(list(enumerate(self.layers)))", "reversed(list(enumerate(self.layers))[1:])"),
            _way_back(
                "return dy",
                "self.layers[0].grads = {name: 0 * p for name, p in self.layers[0].params.items()}\n    return dy",
            ),
        ),
        at("0.grad_weight"),
    ),
    Fault(
        "backward-gradient-clipped",
        "the gradient is clipped to [-0.01, 0.01] between the layers",
        "clip",
        (
            Edit(
                "scratch.network",
                "Sequential.backward",
                "dy = self._at(i, layer.backward, dy)",
                "dy = self._at(i, layer.backward, dy).clip(-0.01, 0.01)",
            ),
        ),
        at("1.grad_output"),
        hidden="no difference where every gradient is within the clip",
    ),
    Fault(
        "output-layer-left-in",
        "the softmax that belongs to prediction is left in while training on a loss that takes logits",
        "order",
        (
            _step(
                "y = self.network.forward(x)",
                "from scratch.layers import Softmax\n"
                "        output = Softmax()\n"
                "        y = output.forward(self.network.forward(x))",
            ),
            _step("self.loss.backward()", "output.backward(self.loss.backward())"),
        ),
        VALUE,
    ),
    Fault(
        "cache-overwritten-by-a-second-forward",
        "between forward and backward the network is run on other samples, and overwrites what was kept",
        "memory",
        (_step(BACK, f"self.network.forward(x[::-1])\n            {BACK}"),),
        INPUT,
        hidden=ONE_ROW,
    ),
)

MEMORY = (
    Fault(
        "gradient-of-the-previous-batch",
        "the weights' gradient that is handed out is that of the batch before",
        "memory",
        (_dw('dw = dy.T @ x\n    self.grads["weight"], self._before = getattr(self, "_before", dw), dw'),),
        GRAD_WEIGHT,
        step=2,
        hidden=FIRST_STEP,
    ),
    Fault(
        "weight-gradients-accumulated",
        "the weights' gradient is added to that of the batches before: it is never set to zero",
        "memory",
        (_dw('self.grads["weight"] = self.grads.get("weight", 0) + dy.T @ x'),),
        GRAD_WEIGHT,
        step=2,
        hidden=FIRST_STEP,
    ),
    Fault(
        "bias-gradients-accumulated",
        "the biases' gradient is added to that of the batches before: it is never set to zero",
        "memory",
        (_linear_back("dy.sum(axis=0)", 'self.grads.get("bias", 0) + dy.sum(axis=0)'),),
        GRAD_BIAS,
        step=2,
        hidden=FIRST_STEP,
    ),
    Fault(
        "loss-gradient-of-the-first-batch",
        "the loss keeps what its gradient needs at the first batch only",
        "memory",
        (_loss("self._kept = log_p, t", "self._kept = self._kept or (log_p, t)"),),
        GRADIENT,
        rows=(6, 6),
        step=2,
        hidden=FIRST_STEP,
    ),
    Fault(
        "input-of-the-first-batch",
        "the linear layer keeps its input at the first batch only",
        "memory",
        (_linear("self._kept = x", "self._kept = x.copy() if self._kept is None else self._kept"),),
        GRAD_WEIGHT,
        rows=(6, 6),
        step=2,
        hidden=FIRST_STEP,
    ),
    Fault(
        "mask-of-the-first-batch",
        "the ReLU's mask is computed at the first batch only",
        "memory",
        (_relu("self._kept = x", "self._kept = x.copy() if self._kept is None else self._kept"),),
        at("1.grad_input"),
        rows=(6, 6),
        step=2,
        hidden=FIRST_STEP,
    ),
    Fault(
        "stale-weights-backward",
        "the way back goes through a copy of the weights made at the first step",
        "memory",
        (_dx('self._copy = getattr(self, "_copy", self.params["weight"].copy())\n    dx: Array = dy @ self._copy'),),
        GRAD_INPUT,
        step=2,
        hidden=FIRST_STEP,
    ),
    Fault(
        "stale-weights-forward",
        "forward uses a transposed copy of the weights made at the first step",
        "memory",
        (
            _linear(
                'y: Array = x @ self.params["weight"].T',
                'self._copy = getattr(self, "_copy", self.params["weight"].T.copy())\n    y: Array = x @ self._copy',
            ),
        ),
        at("0.output"),
        step=2,
        hidden=FIRST_STEP,
    ),
    Fault(
        "buffer-shared-between-layers",
        "all ReLUs write into one buffer: the second overwrites what the linear layer after the first has kept",
        "memory",
        (
            _relu("def forward(self, x: Array)", "def forward(self, x: Array, buffers={})"),
            _relu("np.maximum(x, 0)", "np.maximum(x, 0, out=buffers.setdefault(x.shape, np.empty_like(x)))"),
        ),
        GRAD_WEIGHT,
        network=TWO_RELUS,
        hidden="no difference in a network without two ReLUs of one size",
    ),
    Fault(
        "cache-overwritten-in-place",
        "ReLU works in place: it overwrites what the layer before has returned",
        "side effect",
        (_relu("np.maximum(x, 0)", "np.maximum(x, 0, out=x)"),),
        at("0.output") | at("1.input"),
        hidden=f"{ALL_ACTIVE}, and never one in a gradient",
    ),
    Fault(
        "activation-overwritten-before-backward",
        "tanh squares its output in place for the derivative while the next layer still needs it",
        "memory",
        (
            _tanh("return self._kept.copy()", "self.square = self._kept\n    return self._kept"),
            Edit(
                "scratch.network",
                "Sequential.backward",
                'last layer first."""',
                'last layer first."""\n'
                "    for layer in self.layers:\n"
                '        if hasattr(layer, "square"):\n'
                "            layer.square *= layer.square",
            ),
            Edit("scratch.layers", "Tanh.backward", "y * y", "y"),
        ),
        GRAD_WEIGHT,
        network="5-7-4 tanh, softmax cross-entropy",
    ),
    Fault(
        "activation-changed-by-backward",
        "tanh squares its output in place in backward, an array that others hold too",
        "side effect",
        (
            _tanh("return self._kept.copy()", "return self._kept"),
            Edit("scratch.layers", "Tanh.backward", "return dy * (1 - y * y)", "y *= y\n    return dy * (1 - y)"),
        ),
        at("1.output") | at("2.input"),
        network="5-7-4 tanh, softmax cross-entropy",
    ),
    Fault(
        "upstream-gradient-overwritten",
        "ReLU's backward zeroes its argument in place",
        "side effect",
        (_relu_back("return np.where(x > 0, dy, dy.dtype.type(0))", "dy[x <= 0] = 0\n    return dy"),),
        at("1.grad_output"),
        hidden=ALL_ACTIVE,
    ),
    Fault(
        "input-normalised-in-place",
        "the linear layer subtracts its input's mean in place before it uses it for dW",
        "memory",
        (_dw('x -= x.mean(axis=0)\n    self.grads["weight"] = dy.T @ x'),),
        GRAD_WEIGHT,
        hidden="no difference for inputs of mean 0",
    ),
)

DATA = (
    Fault(
        "targets-shuffled",
        "the targets are in another order than the inputs",
        "data",
        (_step(TAKE, "x, t = data[0][rows], np.roll(data[1][rows], 1, axis=0)"),),
        TARGET,
        hidden=ONE_ROW,
    ),
    Fault(
        "inputs-shuffled",
        "the inputs are shuffled without their targets",
        "data",
        (_step(TAKE, "x, t = np.roll(data[0][rows], 1, axis=0), data[1][rows]"),),
        INPUT,
        hidden=ONE_ROW,
    ),
    Fault(
        "one-label-off",
        "one label of the batch is wrong by one",
        "data",
        (_step(TAKE, f"{TAKE}\n    t[0] = (t[0] + 1) % self.network.layers[-1].out_features"),),
        TARGET,
    ),
    Fault(
        "labels-counted-from-one",
        "labels are counted from 1: every one is too large by one, and the last wraps around",
        "data",
        (_step(TAKE, f"{TAKE}\n    t = (t + 1) % self.network.layers[-1].out_features"),),
        TARGET,
    ),
    Fault(
        "data-normalised-twice",
        "the inputs are normalised once more in the training step",
        "data",
        (_step(TAKE, f"{TAKE}\n    x = (x - x.mean(axis=0)) / x.std(axis=0)"),),
        INPUT,
        hidden="no difference, but for rounding, for inputs that are normalised already",
    ),
    Fault(
        "data-scaled-twice",
        "the pixels are divided by 255 once more in the training step",
        "data",
        (_step(TAKE, f"{TAKE}\n    x = x / 255"),),
        INPUT,
        hidden="no difference for inputs that are all zero",
    ),
    Fault(
        "last-batch-only",
        "the batch is run in two parts, and only the last one's loss and gradient are kept",
        "data",
        (
            _step(
                TAKE,
                "halves = np.array_split(rows, 2)\n"
                "    self.network.backward(self.loss.backward()) if self.loss.forward("
                "self.network.forward(data[0][halves[0]]), data[1][halves[0]]) else None\n"
                "    rows = halves[-1]\n"
                f"    {TAKE}",
            ),
        ),
        INPUT,
        hidden="no difference where the data fit into one batch",
    ),
    Fault(
        "loss-of-the-last-batch",
        "the loss that is reported is that of the last part of the batch, the gradient that of all",
        "data",
        (
            _loss(
                "return -(t * log_p).sum() / self._per(len(s))",
                "last = len(s) // 2\n    return -(t * log_p)[last:].sum() / self._per(len(s) - last)",
            ),
        ),
        VALUE,
        hidden=ONE_ROW,
    ),
    Fault(
        "bias-column-in-the-data",
        "the last column of the inputs is overwritten with ones, though the layers have biases",
        "data",
        (_step(TAKE, f"{TAKE}\n    x[:, -1] = 1"),),
        INPUT,
    ),
)

INITIALISATION = (
    Fault(
        "weights-initialised-equal",
        "all weights start equal, not at the values that were given",
        "initialisation",
        (Edit("scratch.initializers", "linear_default", "rng.uniform(-bound, bound, shape)", "np.full(shape, bound)"),),
        at("0.weight"),
        hidden="no mistake in a gradient: it shows only against the weights that were given",
    ),
    Fault(
        "initialisation-without-root",
        "the weights are drawn with the variance in place of the standard deviation",
        "initialisation",
        (Edit("scratch.initializers", "linear_default", "1 / np.sqrt(fans[0])", "1 / fans[0]"),),
        at("0.weight"),
        hidden="no mistake in a gradient: it shows only against the weights that were given",
    ),
)

TRAINING = ORDER + MEMORY + DATA + INITIALISATION
