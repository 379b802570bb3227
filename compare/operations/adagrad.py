"""Adagrad: p <- p - lr g / (sqrt(s) + eps), s the sum of all g^2 so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.optim.adagrad import adagrad

import scratch
from compare.numbers.allowance import Allowance, Precision, over_root
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, absolute, sqrt
from compare.operations.any_update import decays, gradients_of_others, updated
from compare.operations.letters import Absent, Letters
from compare.operations.mistake import EPSILONS, Guess, fitted
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Optimizer, Options

DECAYED = 3  # u: of g + wd p, the factor, the product and the sum
STEP = 7  # u: of lr g / (sqrt(s) + eps)
RATE = 4  # u: of a rate that falls, its decay, the product with t - 1, the sum and the quotient

Divisor = Callable[[Bounded, float], Bounded]


def _root_and_epsilon(s: Bounded, eps: float) -> Bounded:
    return sqrt(s) + eps


class Adagrad(Optimizer):
    """torch.optim.Adagrad."""

    kind = "Adagrad"
    scratch_type, torch_type = scratch.Adagrad, torch.optim.Adagrad
    states = ("sum",)
    counts = True
    options = ("lr", "lr_decay", "eps", "weight_decay", "initial_accumulator_value")
    parts: ClassVar = {"": "p <- p - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)", "sum": "s <- s + g^2"}

    def kept(self, options: Options) -> tuple[str, ...]:
        return self.states

    def stepped(
        self, options: Options, step: int, parameter: Tensor, g: Tensor, state: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        rule = dict(options)
        begin = torch.full_like(parameter, float(rule.pop("initial_accumulator_value")))
        sums, steps = [state.get("sum", begin)], [torch.tensor(step - 1.0)]
        adagrad([parameter], [g], sums, steps, maximize=False, foreach=False, **rule)  # type: ignore[arg-type]
        return {"sum": sums[0]}

    def allowed(
        self, options: Options, step: int, before: Array, g: Array, state: Mapping[str, Array], p: Precision
    ) -> dict[str, Allowance]:
        """p - rate g / (r + eps), r = sqrt(s), rate = lr / (1 + (t - 1) lr_decay).

        - g + wd p: 3 u of the sizes of both. Without a decay g is exact.
        - s + g^2: the sum is rounded, and so is the number at which s begins: 2 u s. g^2 brings twice g's error, and
          square and sum are 2 u.
        - The root is off by min(d / r, sqrt(d)) for an s that is off by d.
        - The step: 2 u for root or eps and their sum, 1 each for quotient, lr, the two products of lr (1 / (r + eps)) g
          and the difference: 7 u. A rate that falls has 4 more, whether g or the divisor is multiplied. p itself is
          rounded once.

        Where g^2 may overflow the root may be infinite and the step 0: nothing can be said of the parameter there.
        """
        lr, lr_decay, eps, decay = (float(options[name]) for name in ("lr", "lr_decay", "eps", "weight_decay"))
        held = state.get("sum", np.full_like(before, float(options["initial_accumulator_value"])))
        along, size = g + decay * before, np.abs(g) + decay * np.abs(before)
        own = DECAYED if decay else 0
        roundings = 2 * own + 2
        reach = (1 + roundings * p.u) * (held + size * size)
        total = Allowance(p.u * (2 * held + roundings * size * size), floor=2 * p.subnormal, reach=reach)
        s = held + along * along
        quotient, carried, underflow = over_root(size, own * p.u * size, s, total.wide, eps, p)
        rate, falls = lr / (1 + (step - 1) * lr_decay), RATE if lr_decay else 0
        moved = (STEP + falls) * p.u * quotient + carried
        allowed = p.u * np.abs(before) + rate * moved + (1 + lr) * underflow
        reach = np.maximum(reach, np.abs(before) + max(lr, 1.0) * np.maximum(size, quotient))
        unknown = (reach >= p.largest) | np.isnan(allowed)
        return {"": Allowance(np.where(unknown, np.inf, allowed), reach=reach), "sum": total}

    def written(
        self,
        e: Letters,
        g: Bounded | None = None,
        decay: str = "right",
        times: int = 1,
        divisor: Divisor = _root_and_epsilon,
        t: float | None = None,
    ) -> Bounded:
        """p - rate g / divisor(s, eps), the rate that of another step `t`."""
        coupled, decoupled = decays(e, decay, "coupled", times)
        lr, before, g = e.option("lr"), e.before_update, e.g if g is None else g
        g = g + coupled * before if coupled else g
        s = _held(e) + g * g
        if e.part:
            return s
        rate = lr / (1 + ((e.step if t is None else t) - 1) * e.option("lr_decay"))
        return before * (1 - lr * decoupled) - rate * float(times) * g / divisor(s, e.option("eps"))


def _held(e: Letters) -> Bounded:
    """The sum before the step, or the number at which it begins."""
    try:
        return e.tensor(e.parameter.with_state("sum"))
    except Absent:
        return e.before_update * 0.0 + e.option("initial_accumulator_value")


# --- what people get wrong ---


def _other_epsilons(e: Letters) -> Iterator[Guess]:
    for eps in EPSILONS:
        if eps != e.option("eps"):
            yield updated(e, divisor=lambda s, _, eps=eps: sqrt(s) + eps), f"{eps:g}"


def _from_the_sum_before(e: Letters) -> Bounded:
    held = _held(e)
    return updated(e, divisor=lambda s, eps: sqrt(held) + eps)


def _with_rate_of(e: Letters, t: float) -> Bounded:
    """The step with the rate of step t. Absent where the rate does not fall."""
    if not e.option("lr_decay"):
        raise Absent("lr_decay")
    return updated(e, t=t)


def _averaged(e: Letters) -> Iterator[Guess]:
    """Solve new = alpha old + (1 - alpha) g^2 for alpha."""
    old, h = _held(e), e.g * e.g
    alpha, words = fitted(e, e.got - h.value, (old - h).value)
    if 0 < float(alpha.value) < 1:
        yield h + alpha * (old - h), words


def _other_start(e: Letters) -> Iterator[Guess]:
    """At the first step: new = start + g^2."""
    if e.step > 1:
        raise Absent("the first step")
    start, words = fitted(e, e.got - (e.g * e.g).value, np.ones(e.got.shape))
    yield e.g * e.g + start, words


def _from_zero(e: Letters) -> Bounded:
    if e.step > 1 or not e.option("initial_accumulator_value"):
        raise Absent("the number at which the sum begins")
    return e.g * e.g


def _sums_of_others(e: Letters) -> Iterator[Guess]:
    """Another parameter's sum, before or after its own step."""
    for name, other in e.others(_held(e), (e.part,)):
        yield other + e.g * e.g, name


# What examples have in common: their cases, and the correct expressions.
PLAIN = {"optimizer": {"kind": "Adagrad", "lr": 0.05}}
COARSE = {"optimizer": {"kind": "Adagrad", "lr": 0.05, "eps": 1e-3}}
FALLING = {"optimizer": {"kind": "Adagrad", "lr": 0.05, "lr_decay": 0.1}}
DECAYED_WEIGHTS = {"optimizer": {"kind": "Adagrad", "lr": 0.05, "weight_decay": 0.1}}
STARTED = {"optimizer": {"kind": "Adagrad", "lr": 0.05, "initial_accumulator_value": 0.1}}
ALIKE = {**PLAIN, "network": "5-5-5 relu, softmax cross-entropy"}
UPDATE = "p - lr * g / (np.sqrt(new_acc) + eps)"
SUM = "acc + g ** 2"

# fmt: off
MISTAKES = {
    "parameter": [
        M("epsilon-inside-root", lambda e: updated(e, divisor=lambda s, eps: sqrt(s + eps)),
          "epsilon is added inside the root", wrong="p - lr * g / np.sqrt(new_acc + eps)", right=UPDATE, case=COARSE),
        M("epsilon-missing", lambda e: updated(e, divisor=lambda s, eps: sqrt(s)), "epsilon is missing",
          overflows=True, wrong="p - lr * g / np.sqrt(new_acc)", right=UPDATE, case=COARSE),
        M("root-missing", lambda e: updated(e, divisor=lambda s, eps: s + eps), "the root of the sum is missing",
          wrong="p - lr * g / (new_acc + eps)", right=UPDATE, case=PLAIN),
        M("stale-average", _from_the_sum_before, "the step divides by the sum before it takes in the gradient",
          wrong="p - lr * g / (np.sqrt(acc) + eps)", right=UPDATE, case=PLAIN),
        M("learning-rate-decay-missing", lambda e: _with_rate_of(e, 1), "the learning rate does not fall",
          wrong=UPDATE, right="p - lr / (1 + (step - 1) * fall) * g / (np.sqrt(new_acc) + eps)",
          case={**FALLING, "steps": [2, 3]}),
        M("learning-rate-decay-off-by-one", lambda e: _with_rate_of(e, e.step + 1),
          "the learning rate falls one step too early: lr / (1 + t lr_decay)",
          wrong="p - lr / (1 + step * fall) * g / (np.sqrt(new_acc) + eps)",
          right="p - lr / (1 + (step - 1) * fall) * g / (np.sqrt(new_acc) + eps)", case=FALLING),
        M("gradient-undivided", lambda e: e.before_update - e.option("lr") * e.g,
          "it is the step of SGD: the gradient is not divided by the root of the sum",
          wrong="p - lr * g", right=UPDATE, case=PLAIN),
        M("other-epsilon", _other_epsilons, "epsilon is {}", rank=1,
          wrong="p - lr * g / (np.sqrt(new_acc) + 1e-3)", right=UPDATE, case=PLAIN),
    ],
    "sum": [
        M("square-missing", lambda e: _held(e) + e.g, "it sums g, not g^2", wrong="acc + g", right=SUM, case=PLAIN),
        M("square-missing", lambda e: _held(e) + absolute(e.g), "it sums |g|, not g^2",
          wrong="acc + np.abs(g)", right=SUM, case=PLAIN),
        M("square-of-weights", lambda e: _held(e) + e.before_update * e.before_update,
          "it sums the squares of the parameter, not of its gradient", wrong="acc + p ** 2", right=SUM, case=PLAIN),
        M("sum-reset", lambda e: e.g * e.g, "s <- g^2: the sum is lost from step to step",
          wrong="g ** 2", right=SUM, case={**PLAIN, "steps": [2, 3]}),
        M("state-not-kept", lambda e: _held(e) * 1.0, "it stays as it was: what is added is not kept",
          wrong="acc if step > 1 else 0 * p + 0.1", right="right", case=STARTED),
        M("start-missing", _from_zero, "it starts at 0, not at initial_accumulator_value",
          wrong="acc + g ** 2 if step > 1 else g ** 2", right="right", case=STARTED),
        M("state-not-zero", _other_start, "it starts at {}", rank=1,
          wrong="acc + g ** 2 + (step == 1)", right=SUM, case=PLAIN),
        M("averaged-not-summed", _averaged, "s <- {0} s + (1 - {0}) g^2: it is RMSprop's average", rank=1,
          wrong="0.9 * acc + 0.1 * g ** 2", right=SUM, case=PLAIN),
        M("weight-decay-missing", lambda e: updated(e, decay="none"), "the weight decay is missing from the gradient",
          wrong=SUM, right="acc + (g + wd * p) ** 2", case=DECAYED_WEIGHTS),
        M("wrong-gradient", lambda e: updated(e, g=e.g_before), "the gradient is that of the step before",
          wrong="acc + before.g ** 2 if step > 1 else acc", right=SUM, case=PLAIN),
        M("wrong-gradient", gradients_of_others, "the gradient is {}", rank=1,
          wrong='acc + tensor("0.grad_weight") ** 2', right=SUM, case=ALIKE),
        M("state-shared", _sums_of_others, "its sum before the step is {}", rank=1,
          wrong='tensor("0.new_weight.sum") + g ** 2', right=SUM, case=ALIKE),
    ],
}
# fmt: on

Adagrad.mistakes = MISTAKES
