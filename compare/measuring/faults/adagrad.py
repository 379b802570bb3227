"""Mistakes in Adagrad, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import FIRST_STEP, Edit, Fault, at
from compare.network.optimizer import OptimizerSpec

_spec = partial(OptimizerSpec, "Adagrad")
PLAIN = _spec({"lr": 0.05})
COARSE = _spec({"lr": 0.05, "eps": 1e-3})
STARTED = _spec({"lr": 0.05, "initial_accumulator_value": 0.1})
FALLING = _spec({"lr": 0.05, "lr_decay": 0.2})

_update = partial(Edit, "scratch.adagrad", "Adagrad.update")
_fault = partial(Fault, family="adagrad", rows=(6, 3, 6), optimizer=PLAIN)
WEIGHT, SUM = at("0.new_weight"), at("0.new_weight.sum")

FAULTS = (
    _fault(
        "adagrad-epsilon-under-the-root",
        "Adagrad divides by sqrt(s + eps)",
        edits=(_update("np.sqrt(s) + self.eps", "np.sqrt(s + self.eps)"),),
        where=WEIGHT,
        optimizer=COARSE,
    ),
    _fault(
        "adagrad-without-epsilon",
        "Adagrad's eps is left out",
        edits=(_update(" + self.eps", ""),),
        where=WEIGHT,
        optimizer=COARSE,
    ),
    _fault(
        "adagrad-without-root",
        "Adagrad divides by the sum of squares itself",
        edits=(_update("np.sqrt(s)", "s"),),
        where=WEIGHT,
    ),
    _fault(
        "adagrad-sums-gradients",
        "the gradients are added up, not their squares",
        edits=(_update("g * g", "g"),),
        where=SUM,
    ),
    _fault(
        "adagrad-forgets-its-sum",
        "the sum is the last square alone",
        edits=(_update("s += g * g", "s[...] = g * g"),),
        where=SUM,
        step=2,
        hidden=FIRST_STEP,
    ),
    _fault(
        "adagrad-sum-lost",
        "s = s + g^2 makes a new array, and the state keeps the old one",
        edits=(_update("s += g * g", "s = s + g * g"),),
        where=SUM,
        optimizer=STARTED,
    ),
    _fault(
        "adagrad-starts-at-zero",
        "the sum starts at 0 whatever was asked for",
        edits=(_update("np.full_like(p, self.initial_accumulator_value)", "np.zeros_like(p)"),),
        where=SUM,
        optimizer=STARTED,
    ),
    _fault(
        "adagrad-rate-falls-too-early",
        "the rate is divided by 1 + t lr_decay",
        edits=(_update("(self.steps - 1)", "self.steps"),),
        where=WEIGHT,
        optimizer=FALLING,
    ),
    _fault(
        "adagrad-rate-does-not-fall",
        "the rate stays as it is in spite of lr_decay",
        edits=(_update(" / (1 + (self.steps - 1) * self.lr_decay)", ""),),
        where=WEIGHT,
        step=2,
        optimizer=FALLING,
        hidden=FIRST_STEP,
    ),
    _fault(
        "adagrad-decay-lost",
        "the weight decay is not added to the gradient",
        edits=(_update("g = g + self.weight_decay * p", "pass"),),
        where=SUM,
        optimizer=_spec({"lr": 0.05, "weight_decay": 0.1}),
    ),
)
CAUSES = {
    "adagrad-epsilon-under-the-root": "epsilon-inside-root",
    "adagrad-without-epsilon": "epsilon-missing",
    "adagrad-without-root": "root-missing",
    "adagrad-sums-gradients": "square-missing",
    "adagrad-forgets-its-sum": "sum-reset",
    "adagrad-sum-lost": "state-not-kept",
    "adagrad-starts-at-zero": "start-missing",
    "adagrad-rate-falls-too-early": "learning-rate-decay-off-by-one",
    "adagrad-rate-does-not-fall": "learning-rate-decay-missing",
    "adagrad-decay-lost": "weight-decay-missing",
}
