"""Mistakes that can be made in the step of any optimiser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from compare.numbers.bounded import Bounded
from compare.operations.letters import Absent, Letters
from compare.operations.mistake import Guess, fitted, wrong_factor
from compare.operations.mistake import Mistake as M


def updated(e: Letters, **changes: Any) -> Bounded:
    """The parameter, or the part of the state, after one step of a variant of the optimiser, or along another `g`."""
    found: Bounded = e.operation.written(e, **changes)
    return found


def decays(e: Letters, decay: str, usual: str, times: int = 1) -> tuple[float, float]:
    """(coupled, decoupled) weight decay, for a `decay` of right, none, coupled, decoupled or doubled.

    Absent where this is no other than what is usual.
    """
    rate = e.option("weight_decay")
    if decay == usual or (decay != "right" and not rate and times):
        raise Absent("weight decay")
    how = usual if decay in ("right", "doubled") else decay
    rate *= 2 if decay == "doubled" else 1
    return (rate if how == "coupled" else 0.0), (rate if how == "decoupled" else 0.0)


def rates(e: Letters) -> Iterator[Guess]:
    """The step taken, over the step that should have been."""
    before = e.before_update.value
    factor, words = fitted(e, e.got - before, e.ref.value - before)
    if float(factor.value) not in (0.0, 1.0, -1.0, 2.0):
        yield e.before_update + (e.ref - e.before_update) * factor, words


def other_gradients(e: Letters) -> Iterator[Guess]:
    yield updated(e, g=e.g_before), "that of the step before"
    if e.part:
        yield updated(e, g=-e.g), "its negative: the step goes uphill"


gradients_of_others = wrong_factor(("grad_weight", "grad_bias"), lambda e: e.g, lambda e, g: updated(e, g=g))


def states_of_others(e: Letters) -> Iterator[Guess]:
    """Another parameter's state, before or after its own step."""
    rate = e.option("momentum") if e.part == "momentum_buffer" else e.option("beta1")
    share = 1.0 - e.option("dampening") if e.part == "momentum_buffer" else 1 - e.option("beta1")
    for name, other in e.others(e.state(e.part), (e.part,)):
        yield rate * other + share * e.g, name


# What examples have in common: their cases, and the correct expressions.
PLAIN = {"optimizer": {"kind": "SGD", "lr": 0.1}}
DECAYED = {"optimizer": {"kind": "SGD", "lr": 0.1, "weight_decay": 0.1}}

# fmt: off
MISTAKES = {
    "parameter": [
        M("weight-decay-missing", lambda e: updated(e, decay="none"), "the weight decay is missing",
          wrong="p - lr * g", right="p - lr * (g + wd * p)", case=DECAYED),
        M("weight-decay-coupled", lambda e: updated(e, decay="coupled"),
          "the weight decay is added to the gradient, not taken from the weight (Adam, not AdamW)",
          wrong="p - lr * (b1 * m + (1 - b1) * (g + wd * p)) / (1 - b1 ** step) / (np.sqrt((b2 * v + (1 - b2) * (g "
            "+ wd * p) ** 2) / (1 - b2 ** step)) + eps)",
          right="p * (1 - lr * wd) - lr * (new_m / (1 - b1 ** step)) / (np.sqrt(new_v / (1 - b2 ** step)) + eps)",
          case={"optimizer": {"kind": "AdamW", "lr": 0.1, "weight_decay": 0.1}}),
        M("weight-decay-decoupled", lambda e: updated(e, decay="decoupled"),
          "the weight decay is taken from the weight, not added to the gradient",
          wrong="p * (1 - lr * wd) - lr * (b1 * m + (1 - b1) * g) / (1 - b1 ** step) / (np.sqrt((b2 * v + (1 - b2) "
            "* g ** 2) / (1 - b2 ** step)) + eps)",
          right="p - lr * (new_m / (1 - b1 ** step)) / (np.sqrt(new_v / (1 - b2 ** step)) + eps)",
          case={"optimizer": {"kind": "Adam", "lr": 0.1, "weight_decay": 0.1}}),
        M("weight-decay-doubled", lambda e: updated(e, decay="doubled"), "the weight decay is taken twice",
          wrong="p * (1 - lr * wd) - lr * (g + wd * p)", right="p * (1 - lr * wd) - lr * g", case=DECAYED),
        M("update-doubled", lambda e: updated(e, times=2), "the step is taken twice",
          wrong="p - lr * g - lr * g", right="p - lr * g", case=PLAIN),
        M("update-sign", lambda e: updated(e, times=-1), "the step is added, not subtracted",
          wrong="p + lr * g", right="p - lr * g", case=PLAIN),
        M("update-missing", lambda e: updated(e, times=0, decay="none"), "the parameter is not updated",
          wrong="p", right="p - lr * g", case=PLAIN),
        M("weight-decay-unasked", lambda e: updated(e) - e.before_update * e.option("lr") * 0.01,
          "a weight decay of 0.01 is applied",
          wrong="p - lr * (g + 0.01 * p)", right="p - lr * g", case=PLAIN),
        M("wrong-gradient", other_gradients, "the gradient is {}",
          wrong="p - lr * before.g if step > 1 else p", right="p - lr * g", case=PLAIN),
        M("learning-rate-missing", lambda e: e.before_update - (e.before_update - e.ref) / e.option("lr"),
          "the learning rate is missing",
          wrong="p - g", right="p - lr * g", case=PLAIN),
        M("learning-rate-twice", lambda e: e.before_update - (e.before_update - e.ref) * e.option("lr"),
          "the learning rate is applied twice",
          wrong="p - lr * (lr * g)", right="p - lr * g", case=PLAIN),
        M("learning-rate-decays", lambda e: e.before_update + (e.ref - e.before_update) / e.step,
          "the learning rate falls as 1 / t",
          wrong="p - lr / step * g", right="p - lr * g", case=PLAIN),
        M("wrong-gradient", gradients_of_others, "the gradient is {}", rank=1,
          wrong='p - lr * tensor("0.grad_weight")', right="p - lr * g",
          case={"optimizer": {"kind": "SGD", "lr": 0.1}, "network": "5-5-5 relu, softmax cross-entropy"}),
        M("sign-of-gradient", lambda e: updated(e, g=Bounded.of(np.sign(e.g.value), e.p)),
          "the step follows the gradient's sign, not the gradient",
          wrong="p - lr * np.sign(g)", right="p - lr * g", case=PLAIN),
        M("weight-decay-without-rate", lambda e: updated(e, decay="none") - e.before_update * e.option("weight_decay"),
          "the parameter shrinks by 1 - wd, without the learning rate",
          wrong="(1 - wd) * p - lr * g", right="(1 - lr * wd) * p - lr * g", case=DECAYED),
        M("weight-decay-sign",
          lambda e: updated(e, decay="none") + e.before_update * (e.option("lr") * e.option("weight_decay")),
          "the weight decay has the wrong sign: the parameter grows",
          wrong="p - lr * (g - wd * p)", right="p - lr * (g + wd * p)", case=DECAYED),
        M("weight-decay-after-step",
          lambda e: updated(e, decay="none") * (1 - e.option("lr") * e.option("weight_decay")),
          "the weight decay is applied after the step, not before it",
          wrong="(p - lr * g) * (1 - lr * wd)", right="p * (1 - lr * wd) - lr * g", case=DECAYED),
        M("wrong-learning-rate", rates, "the step is {} x what it should be", rank=1,
          wrong="p - 0.3 * lr * g", right="p - lr * g", case=PLAIN),
    ],
}
# fmt: on
