"""Mistakes in the update: weight decay, moments, bias correction, epsilon, momentum, rate."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import FIRST_STEP, ZERO_BIAS, Edit, Fault, at
from compare.measuring.faults.linear import GRAD_WEIGHT
from compare.measuring.faults.losses import GRADIENT
from compare.network.optimizer import OptimizerSpec

THREE = (6, 3, 6)  # rows of three steps

ADAM = OptimizerSpec("Adam", {"lr": 0.1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.1})
ADAMW = OptimizerSpec("AdamW", {"lr": 0.1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.1})
LARGE_EPS = OptimizerSpec("AdamW", {"lr": 0.1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-3, "weight_decay": 0.1})
DECAY = OptimizerSpec("SGD", {"lr": 0.3, "weight_decay": 0.1})
MOMENTUM = OptimizerSpec("SGD", {"lr": 0.3, "momentum": 0.9})
DAMPENED = OptimizerSpec("SGD", {"lr": 0.3, "momentum": 0.9, "dampening": 0.5})
NESTEROV = OptimizerSpec("SGD", {"lr": 0.3, "momentum": 0.9, "nesterov": True})
PLAIN = OptimizerSpec("SGD", {"lr": 0.3})

WEIGHT = at("0.new_weight")
FIRST_MOMENT, SECOND_MOMENT = at("0.new_weight.exp_avg"), at("0.new_weight.exp_avg_sq")
VELOCITY = at("0.new_weight.momentum_buffer")

_sgd = partial(Edit, "scratch.optim", "SGD.update")
_velocity = partial(Edit, "scratch.optim", "SGD._velocity")
_moments = partial(Edit, "scratch.optim", "Adam._adaptive")
_adamw = partial(Edit, "scratch.optim", "AdamW.update")
_adamw_decay = partial(_adamw, "p *= 1 - self.lr * self.weight_decay")
_clip = partial(_sgd, "if self.weight_decay:")


def _of_adamw(name: str, summary: str, family: str, *edits: Edit, **rest: object) -> Fault:
    """A fault that AdamW shows in the first weight that it updates, unless told otherwise."""
    known: dict[str, object] = {"where": WEIGHT, "optimizer": ADAMW, "rows": THREE}
    return Fault(name, summary, family, tuple(edits), **known | rest)  # type: ignore[arg-type]


def _of_sgd(name: str, summary: str, family: str, *edits: Edit, **rest: object) -> Fault:
    """A fault that plain SGD shows in the first weight that it updates, unless told otherwise."""
    return _of_adamw(name, summary, family, *edits, **{"optimizer": PLAIN, **rest})


DECAYS = (
    _of_adamw(
        "decay-coupled",
        "AdamW adds wd p to the gradient, as Adam does",
        "decay",
        _adamw_decay("g = g + self.weight_decay * p"),
        where=FIRST_MOMENT,
    ),
    _of_adamw(
        "decay-decoupled",
        "Adam's weight decay shrinks the weights, as AdamW's does",
        "decay",
        Edit(
            "scratch.optim",
            "Adam.update",
            "self._adaptive(p, g + self.weight_decay * p if self.weight_decay else g, state)",
            "p *= 1 - self.lr * self.weight_decay\n    self._adaptive(p, g, state)",
        ),
        where=FIRST_MOMENT,
        optimizer=ADAM,
    ),
    _of_adamw(
        "decay-not-on-biases",
        "the weight decay leaves the biases out, though it is said to be on all parameters",
        "decay",
        _adamw_decay("p *= 1 - self.lr * self.weight_decay * (p.ndim > 1)"),
        where=at("0.new_bias"),
        hidden=ZERO_BIAS,
    ),
    _of_adamw("decay-missing", "AdamW does no weight decay", "decay", _adamw_decay("pass")),
    _of_adamw(
        "decay-without-rate",
        "AdamW shrinks by 1 - wd instead of 1 - lr wd",
        "decay",
        _adamw_decay("p *= 1 - self.weight_decay"),
    ),
    _of_adamw(
        "decay-grows",
        "AdamW's weight decay has the wrong sign",
        "decay",
        _adamw_decay("p *= 1 + self.lr * self.weight_decay"),
    ),
    _of_adamw(
        "decay-after-the-step",
        "AdamW shrinks the weights after the step instead of before it",
        "decay",
        _adamw_decay("pass"),
        _adamw("self._adaptive(p, g, state)", "self._adaptive(p, g, state)\n    p *= 1 - self.lr * self.weight_decay"),
    ),
    _of_sgd(
        "sgd-decay-doubled",
        "SGD adds 2 wd p, the gradient of wd p^2, instead of wd p",
        "decay",
        _sgd("g + self.weight_decay * p", "g + 2 * self.weight_decay * p"),
        optimizer=DECAY,
    ),
    _of_sgd(
        "sgd-decay-missing",
        "SGD does no weight decay",
        "decay",
        _sgd("g = g + self.weight_decay * p", "pass"),
        optimizer=DECAY,
    ),
)

ADAMS = (
    _of_adamw(
        "bias-correction-missing",
        "Adam's moments are not corrected for their start at zero",
        "bias correction",
        _moments(" / math.sqrt(1 - b2**self.steps)", ""),
        _moments("(self.lr / (1 - b1**self.steps))", "self.lr"),
    ),
    _of_adamw(
        "bias-correction-of-m-missing",
        "Adam's first moment is not corrected for its start at zero",
        "bias correction",
        _moments("(self.lr / (1 - b1**self.steps))", "self.lr"),
    ),
    _of_adamw(
        "bias-correction-of-v-missing",
        "Adam's second moment is not corrected for its start at zero",
        "bias correction",
        _moments(" / math.sqrt(1 - b2**self.steps)", ""),
    ),
    _of_adamw(
        "bias-correction-one-step-off",
        "Adam's bias correction uses t + 1 instead of t",
        "bias correction",
        _moments("b2**self.steps", "b2**(self.steps + 1)"),
        _moments("b1**self.steps", "b1**(self.steps + 1)"),
    ),
    _of_adamw(
        "bias-correction-per-parameter",
        "the step counter of Adam is raised with every parameter instead of every step",
        "bias correction",
        Edit(
            "scratch.optim",
            "Optimizer.step",
            "self.update(p, grads[name], self.state[name])",
            "self.update(p, grads[name], self.state[name])\n        self.steps += 1",
        ),
        where=at("0.new_bias"),
        hidden="no difference with one parameter, in the first step",
    ),
    _of_adamw(
        "epsilon-inside-the-root",
        "Adam divides by sqrt(v^ + eps) instead of sqrt(v^) + eps",
        "epsilon",
        _moments(
            "np.sqrt(v) / math.sqrt(1 - b2**self.steps) + self.eps", "np.sqrt(v / (1 - b2**self.steps) + self.eps)"
        ),
        optimizer=LARGE_EPS,
    ),
    _of_adamw(
        "epsilon-before-the-correction",
        "Adam adds eps to the root of the uncorrected second moment",
        "epsilon",
        _moments(
            "np.sqrt(v) / math.sqrt(1 - b2**self.steps) + self.eps",
            "(np.sqrt(v) + self.eps) / math.sqrt(1 - b2**self.steps)",
        ),
        optimizer=LARGE_EPS,
        hidden="no difference with eps 0; hardly any where gradients are much larger than eps",
    ),
    _of_adamw(
        "epsilon-missing",
        "Adam divides by the root without eps",
        "epsilon",
        _moments(" + self.eps", ""),
        optimizer=LARGE_EPS,
        hidden="no difference with eps 0; hardly any where gradients are much larger than eps",
    ),
    _of_adamw("root-missing", "Adam divides by v^ instead of its root", "moments", _moments("np.sqrt(v)", "v")),
    _of_adamw(
        "second-moment-of-absolute-values",
        "Adam's second moment averages |g| instead of g^2",
        "moments",
        _moments("(g * g)", "np.abs(g)"),
        where=SECOND_MOMENT,
    ),
    _of_adamw(
        "betas-swapped",
        "the two betas are exchanged",
        "moments",
        _moments("b1, b2 = self.betas", "b2, b1 = self.betas"),
        where=FIRST_MOMENT,
    ),
    _of_adamw(
        "beta2-hard-coded",
        "beta2 is 0.99 whatever was asked for",
        "moments",
        _moments("b1, b2 = self.betas", "b1, b2 = self.betas[0], 0.99"),
        where=SECOND_MOMENT,
        hidden="no difference where 0.99 is what was asked for",
    ),
    _of_adamw(
        "moments-swapped",
        "m and v are exchanged in Adam's step",
        "moments",
        _moments("np.sqrt(v)", "np.sqrt(np.abs(m))"),
        _moments("* m / root", "* v / root"),
    ),
    _of_adamw(
        "first-moment-not-decayed",
        "Adam's first moment is m + (1 - b1) g: what it held is not multiplied by b1",
        "moments",
        _moments("(g - m)", "g"),
        where=FIRST_MOMENT,
        step=2,
        hidden=FIRST_STEP,
    ),
    _of_adamw(
        "moments-forgotten",
        "Adam's moments start from zero at every step",
        "moments",
        _moments('state.setdefault("exp_avg", np.zeros_like(p))', 'state["exp_avg"] = np.zeros_like(p)'),
        _moments('state.setdefault("exp_avg_sq", np.zeros_like(p))', 'state["exp_avg_sq"] = np.zeros_like(p)'),
        where=FIRST_MOMENT,
        step=2,
        hidden=FIRST_STEP,
    ),
)

MOMENTA = (
    _of_sgd(
        "momentum-after-the-step",
        "the weights are moved by the velocity as it was before this gradient",
        "momentum",
        _sgd(
            "v = self._velocity(g, state)",
            'v = state.get("momentum_buffer", np.zeros_like(g)).copy()\n        self._velocity(g, state)',
        ),
        optimizer=MOMENTUM,
    ),
    _of_sgd(
        "momentum-as-an-average",
        "the velocity is mu v + (1 - mu) g instead of mu v + g",
        "momentum",
        _velocity("(1 - self.dampening) * g", "(1 - self.momentum) * g"),
        where=VELOCITY,
        step=2,
        optimizer=MOMENTUM,
        hidden=FIRST_STEP,
    ),
    _of_sgd(
        "momentum-forgotten",
        "the velocity starts anew at every step",
        "momentum",
        _velocity('if "momentum_buffer" not in state', "if True"),
        where=VELOCITY,
        step=2,
        optimizer=MOMENTUM,
        hidden=FIRST_STEP,
    ),
    _of_sgd(
        "momentum-not-decayed",
        "the velocity is v + g: gradients are summed up without momentum's factor",
        "momentum",
        _velocity('state["momentum_buffer"] *= self.momentum', "pass"),
        where=VELOCITY,
        step=2,
        optimizer=MOMENTUM,
        hidden=FIRST_STEP,
    ),
    _of_sgd(
        "momentum-on-both",
        "both the velocity and the gradient itself move the weights",
        "momentum",
        _sgd("if self.nesterov else v", "if self.nesterov else g + v"),
        optimizer=MOMENTUM,
    ),
    _of_sgd(
        "dampening-ignored",
        "the gradient enters the velocity without its factor 1 - dampening",
        "momentum",
        _velocity("(1 - self.dampening) * g", "g"),
        where=VELOCITY,
        step=2,
        optimizer=DAMPENED,
        hidden=FIRST_STEP,
    ),
    _of_sgd(
        "nesterov-ignored",
        "the step is that of plain momentum, though Nesterov's is asked for",
        "momentum",
        _sgd("g + self.momentum * v if self.nesterov else v", "v"),
        optimizer=NESTEROV,
    ),
)

STEPS = (
    _of_sgd("update-sign", "the weights move along the gradient, uphill", "sign", _sgd("p -= ", "p += ")),
    _of_sgd("rate-applied-twice", "the step is lr^2 g", "rate", _sgd("self.lr * g", "self.lr * self.lr * g")),
    _of_sgd(
        "rate-missing",
        "the step is g, without the learning rate",
        "rate",
        _sgd("self.lr * g", "g"),
        hidden="no difference with a rate of 1",
    ),
    _of_sgd(
        "update-lost",
        "p = p - lr g makes a new array, and the network keeps the old one",
        "update",
        _sgd("p -= self.lr * g", "p = p - self.lr * g"),
    ),
    _of_sgd(
        "biases-not-updated",
        "only the weights are updated",
        "update",
        _sgd("p -= self.lr * g", "p -= self.lr * g * (p.ndim > 1)"),
        where=at("0.new_bias"),
    ),
    _of_sgd(
        "gradient-clipping-left-in",
        "each gradient is clipped to [-0.01, 0.01] before the step",
        "clip",
        _clip("g = np.clip(g, -0.01, 0.01)\n    if self.weight_decay:"),
        hidden="no difference where every gradient is within the clip",
    ),
    _of_sgd(
        "norm-clipping-left-in",
        "each gradient is scaled down to a norm of 0.05 before the step",
        "clip",
        _clip("g = g * min(1, 0.05 / float(np.linalg.norm(g)))\n    if self.weight_decay:"),
        hidden="no difference where the gradient's norm is below that",
    ),
    _of_sgd(
        "gradient-normalised",
        "the step follows the sign of the gradient, not the gradient",
        "update",
        _sgd("self.lr * g", "self.lr * np.sign(g)"),
    ),
    _of_sgd(
        "factors-that-cancel",
        "the weights' gradient is doubled and the rate halved: the weights come out right",
        "cancelling",
        Edit("scratch.layers", "Linear.backward", "dy.T @ x", "2 * dy.T @ x"),
        Edit("scratch.layers", "Linear.backward", "dy.sum(axis=0)", "2 * dy.sum(axis=0)"),
        _sgd("self.lr * g", "0.5 * self.lr * g"),
        where=GRAD_WEIGHT,
    ),
    _of_sgd(
        "signs-that-cancel",
        "the gradient of the loss is t - p and the update adds it: the weights come out right",
        "cancelling",
        Edit("scratch.losses", "CrossEntropyLoss.backward", "ds: Array = (", "ds: Array = -("),
        _sgd("p -= ", "p += "),
        where=GRADIENT,
    ),
)

OPTIMIZERS = DECAYS + ADAMS + MOMENTA + STEPS
