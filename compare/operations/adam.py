"""Adam and AdamW: p <- p - lr m^ / (sqrt(v^) + eps)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.optim.adam import adam

import scratch
from compare.numbers.allowance import Allowance, Precision, root_error
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, absolute, sqrt
from compare.operations.any_update import decays, gradients_of_others, other_gradients, states_of_others, updated
from compare.operations.letters import Absent, Letters
from compare.operations.mistake import EPSILONS, Formula, Guess, fitted
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Optimizer, Options

AVERAGE = 7  # u: of b m + (1 - b) g, with g = dL/dp + wd p carrying 3: two factors, a product and a sum
SQUARE = 11  # u: of b v + (1 - b) g^2: the square doubles g's 3, and the rest is two factors, two products and a sum
# u: of p - lr (m / c) / (sqrt(v / d) + eps), with c = 1 - b1^t and d = 1 - b2^t. One each for lr, c, m / c, the root,
# the sum with eps, the quotient, its product with lr and the difference, and half of the 2 for d and v / d.
STEP = 9


def _root_and_epsilon(v: Bounded, d: float, eps: float) -> Bounded:
    return sqrt(v / d) + eps


class Adam(Optimizer):
    """torch.optim.Adam: the weight decay is coupled, part of the gradient."""

    kind = "Adam"
    scratch_type: ClassVar[type] = scratch.Adam
    torch_type: ClassVar[type] = torch.optim.Adam
    states = ("exp_avg", "exp_avg_sq")
    options: ClassVar[tuple[str, ...]] = ("lr", "beta1", "beta2", "eps", "weight_decay")
    parts: ClassVar = {
        "": "p <- p - lr m^ / (sqrt(v^) + eps)",
        "exp_avg": "m <- b1 m + (1 - b1) g",
        "exp_avg_sq": "v <- b2 v + (1 - b2) g^2",
    }
    decay: ClassVar[str] = "coupled"
    counts = True

    def decay_by(self, options: Options) -> str:
        """How it decays weights: "coupled", by the gradient, or "decoupled", taken from the weight."""
        return self.decay

    def kept(self, options: Options) -> tuple[str, ...]:
        return self.states

    def stepped(
        self, options: Options, step: int, parameter: Tensor, g: Tensor, state: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        m, v = ([state.get(name, torch.zeros_like(parameter))] for name in self.states)
        torchs = {"amsgrad": False, "maximize": False, "foreach": False}
        done, is_decoupled = [torch.tensor(step - 1.0)], self.decay == "decoupled"
        adam([parameter], [g], m, v, [], done, **torchs, decoupled_weight_decay=is_decoupled, **options)  # type: ignore[arg-type]
        return dict(zip(self.states, (*m, *v), strict=True))

    def allowed(
        self, options: Options, step: int, before: Array, g: Array, state: Mapping[str, Array], p: Precision
    ) -> dict[str, Allowance]:
        """p <- p - a m / (sqrt(v) / r + eps), a = lr / (1 - b1^t), r = sqrt(1 - b2^t).

        m and v carry 7 u and 11 u of the sizes of their terms; the root halves v's; the step adds 9 u. Where v
        underflows, its root may be off by the root of a few subnormal numbers. Where g^2, or the corrected v, may
        overflow, although v = (1 - b2) g^2 + ... itself does not, the root may be infinite and the step 0: nothing can
        be said of the parameter there, infinite or not.
        """
        lr, eps, decay = (float(options[name]) for name in ("lr", "eps", "weight_decay"))
        b1, b2 = float(options["beta1"]), float(options["beta2"])
        is_coupled = self.decay_by(options) == "coupled"
        size = np.abs(g) + (decay * np.abs(before) if is_coupled else 0.0)
        m_before, v_before = (state.get(name, np.zeros_like(before)) for name in self.states)
        m_terms = np.abs(m_before) * (1 + (1 - b1)) + (1 - b1) * size
        v_terms = b2 * v_before + (1 - b2) * size * size
        v_after = b2 * v_before + (1 - b2) * (g + (decay * before if is_coupled else 0.0)) ** 2
        root = np.sqrt(v_after) / np.sqrt(1 - b2**step)
        root_off = root_error(v_after, SQUARE * p.u * v_terms + 4 * p.subnormal) / np.sqrt(1 - b2**step)
        least = np.maximum(root - root_off, 0) + eps
        rate = lr / (1 - b1**step)
        with np.errstate(divide="ignore", invalid="ignore"):
            quotient = rate * m_terms / least
            carried = quotient * ((AVERAGE + STEP) * p.u + root_off / least)
        shrink = 0.0 if is_coupled else lr * decay * np.abs(before)
        allowed = 3 * p.u * (np.abs(before) + shrink) + carried + 4 * p.subnormal * (1 + rate / least)
        exp_avg = _moving_average(m_terms, p, np.abs(m_before) + size, AVERAGE)
        exp_avg_sq = _moving_average(v_terms, p, size * size, SQUARE)
        corrected = (1 + 2 * SQUARE * p.u) * v_terms / (1 - b2**step)
        reach = np.maximum(np.maximum(exp_avg.reach, exp_avg_sq.reach), corrected)
        unbounded = np.isnan(allowed) | (reach >= p.largest)
        parameter = Allowance(np.where(unbounded, np.inf, allowed), reach=reach)
        return {"": parameter, "exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}

    def written(
        self,
        e: Letters,
        g: Bounded | None = None,
        decay: str = "right",
        times: int = 1,
        swapped: bool = False,
        t: int | None = None,
        c: float | None = None,
        d: float | None = None,
        divisor: Callable[[Bounded, float, float], Bounded] = _root_and_epsilon,
    ) -> Bounded:
        """p - lr (m / c) / divisor(v, d, eps), c = 1 - b1^t and d = 1 - b2^t; with `swapped` betas."""
        b1, b2 = (e.option(name) for name in (("beta2", "beta1") if swapped else ("beta1", "beta2")))
        coupled, decoupled = decays(e, decay, self.decay_by(e.options), times)
        lr, before, g = e.option("lr"), e.before_update, e.g if g is None else g
        g = g + coupled * before if coupled else g
        m = b1 * e.state("exp_avg") + (1 - b1) * g
        v = b2 * e.state("exp_avg_sq") + (1 - b2) * (g * g)
        if e.part:
            return m if e.part == "exp_avg" else v
        t = e.step if t is None else t
        c, d = 1 - b1**t if c is None else c, 1 - b2**t if d is None else d
        return before * (1 - lr * decoupled) - lr * float(times) * (m / c) / divisor(v, d, e.option("eps"))


class AdamW(Adam):
    """torch.optim.AdamW: the weight decay is decoupled, taken from the weight."""

    kind = "AdamW"
    scratch_type, torch_type = scratch.AdamW, torch.optim.AdamW
    parts: ClassVar = {**Adam.parts, "": "p <- p (1 - lr wd) - lr m^ / (sqrt(v^) + eps)"}
    decay = "decoupled"


def _moving_average(terms: Array, p: Precision, reach: Array, roundings: int) -> Allowance:
    """b m + (1 - b) g, or m + (1 - b) (g - m): so many roundings of terms = |m| + (1 - b) |g|, or of those with g^2.

    `reach` is |g| + |m|, or g^2, before 1 - b makes it smaller.
    """
    return Allowance(roundings * p.u * terms + 4 * p.subnormal, reach=(1 + roundings * p.u) * reach)


# --- what people get wrong ---


def _initial_state(e: Letters) -> Iterator[Guess]:
    """At the first step: new = b start + what it should be."""
    if e.step > 1 or e.part not in ("exp_avg", "exp_avg_sq"):
        raise Absent("the first step")
    start, words = fitted(e, e.got - e.ref.value, np.full(e.got.shape, _beta(e)))
    yield e.ref + _beta(e) * start, words


def _shrunk(e: Letters) -> Bounded:
    """p (1 - lr wd)."""
    return e.before_update * (1 - e.option("lr") * e.option("weight_decay"))


def _other_epsilons(e: Letters) -> Iterator[Guess]:
    for eps in EPSILONS:
        if eps != e.option("eps"):
            yield updated(e, divisor=lambda v, d, _, eps=eps: sqrt(v / d) + eps), f"{eps:g}"


def _other_beta(name: str, power: int) -> Formula:
    """Solve new = b old + (1 - b) g^power for b."""

    def guesses(e: Letters) -> Iterator[Guess]:
        old, g = e.state(name), e.g * e.g if power == 2 else e.g
        b, words = fitted(e, e.got - g.value, (old - g).value)
        if 0 < float(b.value) < 1:
            yield g + b * (old - g), words

    return guesses


def _beta(e: Letters) -> float:
    """This moment's own."""
    return e.option("beta1" if e.part == "exp_avg" else "beta2")


def _average(e: Letters, g: Bounded, keep: float | None = None, take: float | None = None) -> Bounded:
    """b m + (1 - b) g, b of this moment, with another factor of what it held, or of what it takes in."""
    keep, take = _beta(e) if keep is None else keep, 1 - _beta(e) if take is None else take
    return keep * e.state(e.part) + take * g


def _moments_swapped(e: Letters) -> Bounded:
    """p - lr v^ / (sqrt|m^| + eps), with the corrections where they were."""
    m, v, correct_m, correct_v = _moments(e)
    root = sqrt(absolute(m)) / float(np.sqrt(correct_v)) + e.option("eps")
    return _decayed(e) - (e.option("lr") / correct_m) * v / root


def _without_root(e: Letters) -> Bounded:
    """p - lr m^ / (v^ + eps)."""
    m, v, correct_m, correct_v = _moments(e)
    return _decayed(e) - e.option("lr") * (m / correct_m) / (v / correct_v + e.option("eps"))


def _moments(e: Letters) -> tuple[Bounded, Bounded, float, float]:
    """m and v after the step, and what each is divided by for its bias."""
    m, v = (e.tensor(e.parameter.new.with_state(name)) for name in ("exp_avg", "exp_avg_sq"))
    return m, v, 1 - e.option("beta1") ** e.step, 1 - e.option("beta2") ** e.step


def _decayed(e: Letters) -> Bounded:
    """The parameter less its decoupled decay; a coupled one is in the moments already."""
    return _shrunk(e) if e.operation.decay == "decoupled" else e.before_update


# What examples have in common: their cases, and the correct expressions.
ADAM = {"optimizer": {"kind": "Adam", "lr": 0.1}}
ADAM_LATER = {"optimizer": {"kind": "Adam", "lr": 0.1}, "steps": [2, 3]}
ADAMW_DECAYED = {"optimizer": {"kind": "AdamW", "lr": 0.1, "weight_decay": 0.1}}
ADAM_STEP = "p - lr * (new_m / (1 - b1 ** step)) / (np.sqrt(new_v / (1 - b2 ** step)) + eps)"
FIRST_MOMENT = "b1 * m + (1 - b1) * g"
SECOND_MOMENT = "b2 * v + (1 - b2) * g ** 2"

# fmt: off
MISTAKES = {
    "parameter": [
        M("bias-correction-missing", lambda e: updated(e, c=1.0, d=1.0), "neither moment is corrected for its bias",
          wrong="p - lr * new_m / (np.sqrt(new_v) + eps)", right=ADAM_STEP, case=ADAM),
        M("bias-correction-missing", lambda e: updated(e, c=1.0),
          "the first moment is not corrected for its bias",
          wrong="p - lr * new_m / (np.sqrt(new_v / (1 - b2 ** step)) + eps)", right=ADAM_STEP, case=ADAM),
        M("bias-correction-missing", lambda e: updated(e, d=1.0),
          "the second moment is not corrected for its bias",
          wrong="p - lr * new_m / (1 - b1 ** step) / (np.sqrt(new_v) + eps)", right=ADAM_STEP, case=ADAM),
        M("bias-correction-off-by-one", lambda e: updated(e, t=e.step + 1),
          "the bias correction counts one step too many: t + 1",
          wrong="p - lr * new_m / (1 - b1 ** (step + 1)) / (np.sqrt(new_v / (1 - b2 ** (step + 1))) + eps)",
          right=ADAM_STEP, case=ADAM),
        M("bias-correction-off-by-one", lambda e: updated(e, t=e.step - 1),
          "the bias correction counts from 0: t - 1", overflows=True,  # at the first step it divides by 0
          wrong="p - lr * new_m / (1 - b1 ** (step - 1)) / (np.sqrt(new_v / (1 - b2 ** (step - 1))) + eps)",
          right=ADAM_STEP, case=ADAM),
        M("bias-correction-without-power", lambda e: updated(e, t=1),
          "the bias correction is 1 - beta at every step: beta is not raised to the power t",
          wrong="p - lr * new_m / (1 - b1) / (np.sqrt(new_v / (1 - b2)) + eps)", right=ADAM_STEP, case=ADAM_LATER),
        M("bias-correction-without-power", lambda e: updated(e, c=1 - e.option("beta1")),
          "the first moment's correction is 1 - beta1 at every step: beta1 is not raised to the power t",
          wrong="p - lr * new_m / (1 - b1) / (np.sqrt(new_v / (1 - b2 ** step)) + eps)", right=ADAM_STEP,
          case=ADAM_LATER),
        M("bias-correction-without-power", lambda e: updated(e, d=1 - e.option("beta2")),
          "the second moment's correction is 1 - beta2 at every step: beta2 is not raised to the power t",
          wrong="p - lr * new_m / (1 - b1 ** step) / (np.sqrt(new_v / (1 - b2)) + eps)", right=ADAM_STEP,
          case=ADAM_LATER),
        M("betas-swapped", lambda e: updated(e, d=1 - e.option("beta1") ** e.step),
          "the second moment's bias is corrected by beta1",
          wrong="p - lr * new_m / (1 - b1 ** step) / (np.sqrt(new_v / (1 - b1 ** step)) + eps)", right=ADAM_STEP,
          case=ADAM),
        M("betas-swapped", lambda e: updated(e, c=1 - e.option("beta2") ** e.step),
          "the first moment's bias is corrected by beta2",
          wrong="p - lr * new_m / (1 - b2 ** step) / (np.sqrt(new_v / (1 - b2 ** step)) + eps)", right=ADAM_STEP,
          case=ADAM),
        M("epsilon-inside-root", lambda e: updated(e, divisor=lambda v, d, eps: sqrt(v / d + eps)),
          "epsilon is added inside the root",
          wrong="p - lr * new_m / (1 - b1 ** step) / np.sqrt(new_v / (1 - b2 ** step) + eps)", right=ADAM_STEP,
          case=ADAM),
        M("epsilon-before-correction", lambda e: updated(e, divisor=lambda v, d, eps: (sqrt(v) + eps) / np.sqrt(d)),
          "epsilon is added before the correction of the second moment",
          wrong="p - lr * new_m / (1 - b1 ** step) / ((np.sqrt(new_v) + eps) / np.sqrt(1 - b2 ** step))",
          right="p - lr * new_m / (1 - b1 ** step) / (np.sqrt(new_v) / np.sqrt(1 - b2 ** step) + eps)",
          case={"optimizer": {"kind": "Adam", "lr": 0.1, "eps": 0.001}}),
        M("epsilon-missing", lambda e: updated(e, divisor=lambda v, d, eps: sqrt(v / d)), "epsilon is missing",
          overflows=True,
          wrong="p - lr * new_m / (1 - b1 ** step) / np.sqrt(new_v / (1 - b2 ** step))", right=ADAM_STEP,
          case={"optimizer": {"kind": "Adam", "lr": 0.1, "eps": 0.001}}),
        M("betas-swapped", lambda e: updated(e, swapped=True), "beta1 and beta2 are swapped",
          wrong="p - lr * (b2 * m + (1 - b2) * g) / (1 - b2 ** step) / (np.sqrt((b1 * v + (1 - b1) * g ** 2) / (1 "
            "- b1 ** step)) + eps)",
          right=ADAM_STEP, case=ADAM_LATER),
        M("root-missing", lambda e: updated(e, divisor=lambda v, d, eps: v / np.sqrt(d) + eps),
          "the root of the second moment is missing",
          wrong="p - lr * new_m / (1 - b1 ** step) / (new_v / np.sqrt(1 - b2 ** step) + eps)",
          right="p - lr * new_m / (1 - b1 ** step) / (np.sqrt(new_v) / np.sqrt(1 - b2 ** step) + eps)", case=ADAM),
        M("root-missing", _without_root, "the root of the second moment is missing",
          wrong="p - lr * (new_m / (1 - b1 ** step)) / (new_v / (1 - b2 ** step) + eps)", right=ADAM_STEP, case=ADAM),
        M("other-epsilon", _other_epsilons, "epsilon is {}", rank=1,
          wrong="p - lr * new_m / (1 - b1 ** step) / (np.sqrt(new_v / (1 - b2 ** step)) + 1e-3)", right=ADAM_STEP,
          case=ADAM),
        M("moments-swapped", _moments_swapped, "m and v are exchanged in the step",
          wrong="p - lr * new_v / (1 - b1 ** step) / (np.sqrt(np.abs(new_m) / (1 - b2 ** step)) + eps)",
          right=ADAM_STEP, case=ADAM),
    ],
    "exp_avg": [
        M("wrong-gradient", gradients_of_others, "the gradient is {}", rank=1,
          wrong='b1 * m + (1 - b1) * tensor("0.grad_weight")', right=FIRST_MOMENT,
          case={"optimizer": {"kind": "Adam", "lr": 0.1}, "network": "5-5-5 relu, softmax cross-entropy"}),
        M("state-shared", states_of_others, "its average before the step is {}", rank=1,
          wrong='b1 * tensor("0.new_weight.exp_avg") + (1 - b1) * g', right=FIRST_MOMENT,
          case={"optimizer": {"kind": "Adam", "lr": 0.1}, "network": "5-5-5 relu, softmax cross-entropy"}),
        M("betas-swapped", lambda e: _average(e, e.g, keep=e.option("beta2")),
          "m <- b2 m + (1 - b1) g: beta2 in the place of beta1",
          wrong="b2 * m + (1 - b1) * g", right=FIRST_MOMENT, case=ADAM),
        M("weight-decay-coupled", lambda e: updated(e, g=e.g + e.option("weight_decay") * _shrunk(e), decay="none"),
          "the weight decay is in the gradient as well (Adam's), after it was taken from the weight (AdamW's)",
          wrong="b1 * m + (1 - b1) * (g + wd * (p - lr * wd * p))", right=FIRST_MOMENT, case=ADAMW_DECAYED),
        M("moving-average-not-decayed", lambda e: _average(e, e.g, keep=1),
          "m <- m + (1 - b1) g: what it held is not multiplied by b1",
          wrong="m + (1 - b1) * g", right=FIRST_MOMENT, case=ADAM),
        M("other-beta", _other_beta("exp_avg", 1), "beta1 is {}", rank=1,
          wrong="0.8 * m + (1 - 0.8) * g", right=FIRST_MOMENT, case=ADAM),
        M("betas-swapped", lambda e: updated(e, swapped=True), "beta2 is used for the first moment",
          wrong="b2 * m + (1 - b2) * g", right=FIRST_MOMENT, case=ADAM),
        M("weight-decay-coupled", lambda e: updated(e, decay="coupled"),
          "the weight decay is added to the gradient (Adam, not AdamW)",
          wrong="b1 * m + (1 - b1) * (g + wd * p)", right=FIRST_MOMENT, case=ADAMW_DECAYED),
        M("weight-decay-missing", lambda e: updated(e, decay="none"), "the weight decay is missing from the gradient",
          wrong=FIRST_MOMENT, right="b1 * m + (1 - b1) * (g + wd * p)",
          case={"optimizer": {"kind": "Adam", "lr": 0.1, "weight_decay": 0.1}}),
        M("correction-kept", lambda e: e.ref / (1 - _beta(e) ** e.step),
          "the moment is kept corrected for its bias: the correction belongs to the step alone",
          wrong="(b1 * m + (1 - b1) * g) / (1 - b1 ** step)", right=FIRST_MOMENT, case=ADAM),
        M("state-not-zero", _initial_state, "it does not start at 0 but at {}", rank=1,
          wrong="b1 * (m if step > 1 else np.ones_like(p)) + (1 - b1) * g", right=FIRST_MOMENT, case=ADAM),
        M("moving-average-weight", lambda e: _average(e, e.g, take=1), "m <- b1 m + g: the factor 1 - b1 is missing",
          wrong="b1 * m + g", right=FIRST_MOMENT, case=ADAM),
        M("momentum-missing", lambda e: e.g * 1.0, "m <- g: nothing is averaged",
          wrong="g", right=FIRST_MOMENT, case=ADAM),
        M("moving-average-reset", lambda e: (1 - _beta(e)) * e.g,
          "m <- (1 - b1) g: the average is lost from step to step",
          wrong="(1 - b1) * g", right=FIRST_MOMENT, case=ADAM),
        M("moments-swapped", lambda e: _average(e, e.g * e.g), "it averages g^2, which is the second moment's",
          wrong="b1 * m + (1 - b1) * g ** 2", right=FIRST_MOMENT, case=ADAM),
        M("wrong-gradient", other_gradients, "the gradient is {}",
          wrong="b1 * m - (1 - b1) * g", right=FIRST_MOMENT, case=ADAM),
    ],
    "exp_avg_sq": [
        M("square-of-product", lambda e: _average(e, e.g * e.g, take=(1 - _beta(e)) ** 2),
          "the factor 1 - b2 is squared as well",
          wrong="b2 * v + ((1 - b2) * g) ** 2", right="b2 * v + (1 - b2) * g ** 2",
          case={"optimizer": {"kind": "Adam", "lr": 0.1}}),
        M("betas-swapped", lambda e: _average(e, e.g * e.g, keep=e.option("beta1")),
          "v <- b1 v + (1 - b2) g^2: beta1 in the place of beta2",
          wrong="b1 * v + (1 - b2) * g ** 2", right=SECOND_MOMENT, case=ADAM),
        M("moving-average-not-decayed", lambda e: _average(e, e.g * e.g, keep=1),
          "v <- v + (1 - b2) g^2: what it held is not multiplied by b2",
          wrong="v + (1 - b2) * g ** 2", right=SECOND_MOMENT, case=ADAM),
        M("other-beta", _other_beta("exp_avg_sq", 2), "beta2 is {}", rank=1,
          wrong="0.99 * v + (1 - 0.99) * g ** 2", right=SECOND_MOMENT, case=ADAM),
        M("correction-kept", lambda e: e.ref / (1 - _beta(e) ** e.step),
          "the moment is kept corrected for its bias: the correction belongs to the step alone",
          wrong="(b2 * v + (1 - b2) * g ** 2) / (1 - b2 ** step)", right=SECOND_MOMENT, case=ADAM),
        M("state-not-zero", _initial_state, "it does not start at 0 but at {}", rank=1,
          wrong="b2 * (v if step > 1 else np.ones_like(p)) + (1 - b2) * g ** 2", right=SECOND_MOMENT, case=ADAM),
        M("betas-swapped", lambda e: updated(e, swapped=True), "beta1 is used for the second moment",
          wrong="b1 * v + (1 - b1) * g ** 2", right=SECOND_MOMENT, case=ADAM),
        M("moving-average-weight", lambda e: _average(e, e.g * e.g, take=1),
          "v <- b2 v + g^2: the factor 1 - b2 is missing",
          wrong="b2 * v + g ** 2", right=SECOND_MOMENT, case=ADAM),
        M("square-missing", lambda e: _average(e, e.g), "it averages g, not g^2",
          wrong="b2 * v + (1 - b2) * g", right=SECOND_MOMENT, case=ADAM),
        M("square-missing", lambda e: _average(e, absolute(e.g)), "it averages |g|, not g^2",
          wrong="b2 * v + (1 - b2) * np.abs(g)", right=SECOND_MOMENT, case=ADAM),
        M("moving-average-reset", lambda e: (1 - _beta(e)) * (e.g * e.g),
          "v <- (1 - b2) g^2: the average is lost from step to step",
          wrong="(1 - b2) * g ** 2", right=SECOND_MOMENT, case=ADAM),
        M("momentum-squared", lambda e: _average(e, _moments(e)[0] * _moments(e)[0]), "it averages m^2, not g^2",
          wrong="b2 * v + (1 - b2) * new_m ** 2", right=SECOND_MOMENT, case=ADAM),
    ],
}
# fmt: on

Adam.mistakes = MISTAKES
