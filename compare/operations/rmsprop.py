"""RMSprop: p <- p - lr g / (sqrt(v) + eps), v a running mean of g^2."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.optim.rmsprop import rmsprop

import scratch
from compare.numbers.allowance import Allowance, Precision, over_root
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, absolute, sqrt
from compare.operations.any_update import decays, gradients_of_others, other_gradients, updated
from compare.operations.letters import Absent, Letters
from compare.operations.mistake import EPSILONS, Guess, fitted
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Optimizer, Options

DECAYED = 3  # u: of g + wd p, the factor, the product and the sum
KEPT = 3  # u: of what an average held, see RMSprop.allowed
TAKEN = 5  # u: of what an average takes in
STEP = 7  # u: of lr g / (sqrt(v) + eps)
VELOCITY = 6  # u: of mu b + g / (sqrt(v) + eps)

Divisor = Callable[[Bounded, float], Bounded]


def _root_and_epsilon(v: Bounded, eps: float) -> Bounded:
    return sqrt(v) + eps


class RMSprop(Optimizer):
    """torch.optim.RMSprop: plain, with momentum, or centered."""

    kind = "RMSprop"
    scratch_type, torch_type = scratch.RMSprop, torch.optim.RMSprop
    states = ("square_avg", "grad_avg", "momentum_buffer")
    options = ("lr", "alpha", "eps", "weight_decay", "momentum", "centered")
    parts: ClassVar = {
        "": "p <- p - lr g / (sqrt(v) + eps), or p - lr b with momentum; v - a^2 for v if centered",
        "square_avg": "v <- alpha v + (1 - alpha) g^2",
        "grad_avg": "a <- alpha a + (1 - alpha) g",
        "momentum_buffer": "b <- mu b + g / (sqrt(v) + eps)",
    }

    def kept(self, options: Options) -> tuple[str, ...]:
        asked = {"grad_avg": options.get("centered"), "momentum_buffer": options.get("momentum")}
        return tuple(name for name in self.states if asked.get(name, True))

    def stepped(
        self, options: Options, step: int, parameter: Tensor, g: Tensor, state: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        kept = self.kept(options)
        held = {name: [state.get(name, torch.zeros_like(parameter))] if name in kept else [] for name in self.states}
        v, a, b = held.values()
        steps = [torch.tensor(step - 1.0)]
        rmsprop([parameter], [g], v, a, b, steps, foreach=False, **options)  # type: ignore[arg-type]
        return {name: held[name][0] for name in kept}

    def allowed(
        self, options: Options, step: int, before: Array, g: Array, state: Mapping[str, Array], p: Precision
    ) -> dict[str, Allowance]:
        """p - lr g / (r + eps), r = sqrt(v): every error is carried on to the next formula.

        - g + wd p: 3 u of the sizes of both. Without a decay g is exact.
        - An average of h, as alpha v + (1 - alpha) h, as v + (1 - alpha) (h - v), or for alpha up to 1/2 as
          h - alpha (h - v). On v, factor, product and sum are 3 u alpha; in the second form the sum's u alpha, and
          difference, factor and product 3 u (1 - alpha); in the third u alpha, 3 u alpha and u (1 - alpha) for an alpha
          made as 1 - (1 - alpha): never more than 3 u |v|. On h they are 3 u (1 - alpha), 4 u (1 - alpha), and
          2 u (1 - alpha) + 3 u alpha, which is 5 u (1 - alpha) at most. g^2 brings twice g's error, and its own u.
        - Centered, v - a^2: the errors of v and of a^2, and a rounding each of square and difference. Where v is
          smaller than that error, a correct v - a^2 may be negative and its root NaN: nothing can be said there.
        - The root is off by min(d / r, sqrt(d)) for a v that is off by d.
        - The step: 2 u for root or eps and their sum, 1 each for quotient, lr, the two products of lr (1 / (r + eps)) g
          and the difference: 7 u. With momentum 6 u of mu b and of the quotient, for b with or without the rate in it
          (root and sum or mu and product 2 u, quotient, product with lr, sum, division by lr), and 3 u more for lr,
          product and difference. p itself is rounded once.

        Where g^2 may overflow the root may be infinite and the step 0: nothing can be said either.
        """
        lr, alpha, eps, decay = (float(options[name]) for name in ("lr", "alpha", "eps", "weight_decay"))
        mu, centered = float(options.get("momentum", 0)), bool(options.get("centered"))
        v, a, b = (state.get(name, np.zeros_like(before)) for name in self.states)
        along, size = g + decay * before, np.abs(g) + decay * np.abs(before)
        own = DECAYED if decay else 0
        square_avg = _average(v, size * size, alpha, 2 * own + 1, p)
        grad_avg = _average(a, size, alpha, own, p)
        v = alpha * v + (1 - alpha) * along * along
        v_error = square_avg.wide
        if centered:
            a = alpha * a + (1 - alpha) * along
            v_error = v_error + (2 * np.abs(a) + grad_avg.wide) * grad_avg.wide + p.u * (a * a + v)
            v = np.maximum(v - a * a, 0)
        quotient, carried, underflow = over_root(size, own * p.u * size, v, v_error, eps, p)
        velocity = mu * np.abs(b) + quotient
        buffer = VELOCITY * p.u * velocity + carried + underflow
        moved = (VELOCITY + 3 if mu else STEP) * p.u * velocity + carried
        allowed = p.u * np.abs(before) + lr * moved + (1 + lr) * underflow
        reach = np.maximum(square_avg.reach, np.abs(before) + max(lr, 1.0) * np.maximum(size, velocity))
        unknown = (reach >= p.largest) | (centered & (v < v_error))
        return {
            "": _unless(unknown, allowed, reach),
            "square_avg": square_avg,
            "grad_avg": grad_avg,
            "momentum_buffer": _unless(unknown, buffer, reach),
        }

    def written(
        self,
        e: Letters,
        g: Bounded | None = None,
        decay: str = "right",
        times: int = 1,
        divisor: Divisor = _root_and_epsilon,
        centered: bool | None = None,
        momentum: float | None = None,
    ) -> Bounded:
        """p - lr g / divisor(v, eps), or p - lr b; `momentum` is another than the optimiser's own."""
        coupled, decoupled = decays(e, decay, "coupled", times)
        lr, alpha, before, g = e.option("lr"), e.option("alpha"), e.before_update, e.g if g is None else g
        g = g + coupled * before if coupled else g
        v = alpha * e.state("square_avg") + (1 - alpha) * (g * g)
        a = alpha * e.state("grad_avg") + (1 - alpha) * g
        if e.part in ("square_avg", "grad_avg"):
            return v if e.part == "square_avg" else a
        centered = bool(e.option("centered")) if centered is None else centered
        step = g / divisor(v - a * a if centered else v, e.option("eps"))
        mu = e.option("momentum") if momentum is None else momentum
        step = mu * e.state("momentum_buffer") + step if mu or e.part else step
        return step if e.part else before * (1 - lr * decoupled) - lr * float(times) * step


def _average(held: Array, size: Array, alpha: float, own: int, p: Precision) -> Allowance:
    """Of alpha held + (1 - alpha) h, where h is of this size and has `own` roundings of its own."""
    allowed = p.u * (KEPT * np.abs(held) + (own + TAKEN) * (1 - alpha) * size)
    return Allowance(allowed, floor=4 * p.subnormal, reach=(1 + (own + TAKEN) * p.u) * (np.abs(held) + size))


def _unless(unknown: Array, allowed: Array, reach: Array) -> Allowance:
    return Allowance(np.where(unknown | np.isnan(allowed), np.inf, allowed), reach=reach)


# --- what people get wrong ---


def _averaged(e: Letters, h: Bounded, keep: float | None = None, take: float | None = None) -> Bounded:
    """alpha v + (1 - alpha) h of this average, with another factor of what it held, or of what it takes in."""
    alpha = e.option("alpha")
    return (alpha if keep is None else keep) * e.state(e.part) + (1 - alpha if take is None else take) * h


def _other_alpha(e: Letters) -> Iterator[Guess]:
    """Solve new = alpha old + (1 - alpha) h for alpha."""
    old, h = e.state(e.part), e.g * e.g if e.part == "square_avg" else e.g
    alpha, words = fitted(e, e.got - h.value, (old - h).value)
    if 0 < float(alpha.value) < 1:
        yield h + alpha * (old - h), words


def _other_epsilons(e: Letters) -> Iterator[Guess]:
    for eps in EPSILONS:
        if eps != e.option("eps"):
            yield updated(e, divisor=lambda v, _, eps=eps: sqrt(v) + eps), f"{eps:g}"


def _initial_average(e: Letters) -> Iterator[Guess]:
    """At the first step: new = alpha start + what it should be."""
    if e.step > 1:
        raise Absent("the first step")
    start, words = fitted(e, e.got - e.ref.value, np.full(e.got.shape, e.option("alpha")))
    yield e.ref + e.option("alpha") * start, words


def _averages_of_others(e: Letters) -> Iterator[Guess]:
    """Another parameter's average, before or after its own step."""
    for name, other in e.others(e.state(e.part), (e.part,)):
        yield e.option("alpha") * other + (1 - e.option("alpha")) * (e.g * e.g), name


def _only_with(e: Letters, option: str) -> Letters:
    """Absent where the option is 0: else these mistakes cannot be made."""
    if not e.option(option):
        raise Absent(option)
    return e


def _corrected(e: Letters) -> Bounded:
    correction = 1 - e.option("alpha") ** e.step
    return updated(e, divisor=lambda v, eps: sqrt(v / correction) + eps)


def _from_the_average_before(e: Letters) -> Bounded:
    held = e.state("square_avg")
    return updated(e, centered=False, divisor=lambda v, eps: sqrt(held) + eps)


def _divided(e: Letters) -> Bounded:
    """g / (sqrt(v) + eps)."""
    return updated(e, momentum=0.0)


# What examples have in common: their cases, and the correct expressions.
PLAIN = {"optimizer": {"kind": "RMSprop", "lr": 0.01}}
COARSE = {"optimizer": {"kind": "RMSprop", "lr": 0.01, "eps": 1e-3}}
DECAYED_WEIGHTS = {"optimizer": {"kind": "RMSprop", "lr": 0.01, "weight_decay": 0.1}}
MOMENTUM = {"optimizer": {"kind": "RMSprop", "lr": 0.01, "momentum": 0.9}}
CENTERED = {"optimizer": {"kind": "RMSprop", "lr": 0.01, "centered": True}}
ALIKE = {**PLAIN, "network": "5-5-5 relu, softmax cross-entropy"}
UPDATE = "p - lr * g / (np.sqrt(new_sq) + eps)"
AVERAGE = "alpha * sq + (1 - alpha) * g ** 2"
MEAN = "alpha * avg + (1 - alpha) * g"
BUFFER = "mu * mom + g / (np.sqrt(new_sq) + eps)"

# fmt: off
MISTAKES = {
    "parameter": [
        M("epsilon-inside-root", lambda e: updated(e, divisor=lambda v, eps: sqrt(v + eps)),
          "epsilon is added inside the root",
          wrong="p - lr * g / np.sqrt(new_sq + eps)", right=UPDATE, case=PLAIN),
        M("epsilon-missing", lambda e: updated(e, divisor=lambda v, eps: sqrt(v)), "epsilon is missing",
          overflows=True, wrong="p - lr * g / np.sqrt(new_sq)", right=UPDATE, case=COARSE),
        M("root-missing", lambda e: updated(e, divisor=lambda v, eps: v + eps), "the root of the average is missing",
          wrong="p - lr * g / (new_sq + eps)", right=UPDATE, case=PLAIN),
        M("stale-average", _from_the_average_before, "the step divides by the average before it takes in the gradient",
          wrong="p - lr * g / (np.sqrt(sq) + eps)", right=UPDATE, case=PLAIN),
        M("bias-correction-unasked", _corrected, "the average is corrected for its bias, as Adam's is",
          wrong="p - lr * g / (np.sqrt(new_sq / (1 - alpha ** step)) + eps)", right=UPDATE, case=PLAIN),
        M("centering-missing", lambda e: updated(_only_with(e, "centered"), centered=False),
          "it is not centered: a^2 is not subtracted from v",
          wrong=UPDATE, right="p - lr * g / (np.sqrt(new_sq - new_avg ** 2) + eps)", case=CENTERED),
        M("square-missing",
          lambda e: updated(_only_with(e, "centered"), centered=False,
                            divisor=lambda v, eps: sqrt(v - e.tensor(e.parameter.new.with_state("grad_avg"))) + eps),
          "v - a in the place of v - a^2", overflows=True,
          wrong="p - lr * g / (np.sqrt(new_sq - new_avg) + eps)",
          right="p - lr * g / (np.sqrt(new_sq - new_avg ** 2) + eps)", case=CENTERED),
        M("momentum-missing", lambda e: updated(_only_with(e, "momentum"), momentum=0.0), "the momentum is left out",
          wrong=UPDATE, right="p - lr * new_mom", case={**MOMENTUM, "steps": [2, 3]}),
        M("momentum-order",
          lambda e: e.before_update - e.option("lr") * _only_with(e, "momentum").state("momentum_buffer"),
          "the step is taken before the velocity takes in the gradient",
          wrong="p - lr * mom", right="p - lr * new_mom", case=MOMENTUM),
        M("gradient-undivided", lambda e: e.before_update - e.option("lr") * e.g,
          "it is the step of SGD: the gradient is not divided by the root of the average",
          wrong="p - lr * g", right=UPDATE, case=PLAIN),
        M("other-epsilon", _other_epsilons, "epsilon is {}", rank=1,
          wrong="p - lr * g / (np.sqrt(new_sq) + 1e-3)", right=UPDATE, case=PLAIN),
    ],
    "square_avg": [
        M("alpha-exchanged", lambda e: _averaged(e, e.g * e.g, 1 - e.option("alpha"), e.option("alpha")),
          "v <- (1 - alpha) v + alpha g^2: alpha and 1 - alpha are exchanged",
          wrong="(1 - alpha) * sq + alpha * g ** 2", right=AVERAGE, case=PLAIN),
        M("square-missing", lambda e: _averaged(e, e.g), "it averages g, not g^2",
          wrong="alpha * sq + (1 - alpha) * g", right=AVERAGE, case=PLAIN),
        M("square-missing", lambda e: _averaged(e, absolute(e.g)), "it averages |g|, not g^2",
          wrong="alpha * sq + (1 - alpha) * np.abs(g)", right=AVERAGE, case=PLAIN),
        M("square-of-product", lambda e: _averaged(e, e.g * e.g, take=(1 - e.option("alpha")) ** 2),
          "the factor 1 - alpha is squared as well",
          wrong="alpha * sq + ((1 - alpha) * g) ** 2", right=AVERAGE, case=PLAIN),
        M("square-of-weights", lambda e: _averaged(e, e.before_update * e.before_update),
          "it averages the square of the parameter, not of its gradient",
          wrong="alpha * sq + (1 - alpha) * p ** 2", right=AVERAGE, case=PLAIN),
        M("moving-average-not-decayed", lambda e: _averaged(e, e.g * e.g, keep=1),
          "v <- v + (1 - alpha) g^2: what it held is not multiplied by alpha",
          wrong="sq + (1 - alpha) * g ** 2", right=AVERAGE, case=PLAIN),
        M("moving-average-weight", lambda e: _averaged(e, e.g * e.g, take=1),
          "v <- alpha v + g^2: the factor 1 - alpha is missing",
          wrong="alpha * sq + g ** 2", right=AVERAGE, case=PLAIN),
        M("summed-not-averaged", lambda e: _averaged(e, e.g * e.g, 1, 1), "v <- v + g^2: it is Adagrad's sum",
          wrong="sq + g ** 2", right=AVERAGE, case=PLAIN),
        M("moving-average-reset", lambda e: _averaged(e, e.g * e.g, keep=0),
          "v <- (1 - alpha) g^2: the average is lost from step to step",
          wrong="(1 - alpha) * g ** 2", right=AVERAGE, case=PLAIN),
        M("moving-average-missing", lambda e: _averaged(e, e.g * e.g, 0, 1), "v <- g^2: nothing is averaged",
          wrong="g ** 2", right=AVERAGE, case=PLAIN),
        M("correction-kept", lambda e: e.ref / (1 - e.option("alpha") ** e.step),
          "the average is corrected for its bias, as Adam's is, and kept so",
          wrong="(alpha * sq + (1 - alpha) * g ** 2) / (1 - alpha ** step)", right=AVERAGE, case=PLAIN),
        M("weight-decay-missing", lambda e: updated(e, decay="none"), "the weight decay is missing from the gradient",
          wrong=AVERAGE, right="alpha * sq + (1 - alpha) * (g + wd * p) ** 2", case=DECAYED_WEIGHTS),
        M("state-not-zero", _initial_average, "it does not start at 0 but at {}", rank=1,
          wrong="alpha * (sq if step > 1 else np.ones_like(p)) + (1 - alpha) * g ** 2", right=AVERAGE, case=PLAIN),
        M("other-alpha", _other_alpha, "alpha is {}", rank=1,
          wrong="0.9 * sq + (1 - 0.9) * g ** 2", right=AVERAGE, case=PLAIN),
        M("wrong-gradient", gradients_of_others, "the gradient is {}", rank=1,
          wrong='alpha * sq + (1 - alpha) * tensor("0.grad_weight") ** 2', right=AVERAGE, case=ALIKE),
        M("state-shared", _averages_of_others, "its average before the step is {}", rank=1,
          wrong='alpha * tensor("0.new_weight.square_avg") + (1 - alpha) * g ** 2', right=AVERAGE, case=ALIKE),
    ],
    "grad_avg": [
        M("alpha-exchanged", lambda e: _averaged(e, e.g, 1 - e.option("alpha"), e.option("alpha")),
          "a <- (1 - alpha) a + alpha g: alpha and 1 - alpha are exchanged",
          wrong="(1 - alpha) * avg + alpha * g", right=MEAN, case=CENTERED),
        M("moving-average-not-decayed", lambda e: _averaged(e, e.g, keep=1),
          "a <- a + (1 - alpha) g: what it held is not multiplied by alpha",
          wrong="avg + (1 - alpha) * g", right=MEAN, case=CENTERED),
        M("moving-average-weight", lambda e: _averaged(e, e.g, take=1),
          "a <- alpha a + g: the factor 1 - alpha is missing", wrong="alpha * avg + g", right=MEAN, case=CENTERED),
        M("moving-average-reset", lambda e: _averaged(e, e.g, keep=0),
          "a <- (1 - alpha) g: the average is lost from step to step",
          wrong="(1 - alpha) * g", right=MEAN, case=CENTERED),
        M("moments-swapped", lambda e: _averaged(e, e.g * e.g), "it averages g^2, not g",
          wrong="alpha * avg + (1 - alpha) * g ** 2", right=MEAN, case=CENTERED),
        M("other-alpha", _other_alpha, "alpha is {}", rank=1,
          wrong="0.9 * avg + (1 - 0.9) * g", right=MEAN, case=CENTERED),
        M("wrong-gradient", other_gradients, "the gradient is {}",
          wrong="alpha * avg - (1 - alpha) * g", right=MEAN, case=CENTERED),
    ],
    "momentum_buffer": [
        M("momentum-order", lambda e: e.option("momentum") * e.state(e.part) + e.g,
          "b <- mu b + g: the gradient is not divided by the root of the average",
          wrong="mu * mom + g", right=BUFFER, case=MOMENTUM),
        M("momentum-order", lambda e: e.option("momentum") * e.state(e.part) + e.option("lr") * _divided(e),
          "b <- mu b + lr g / (sqrt(v) + eps): the learning rate is inside",
          wrong="mu * mom + lr * g / (np.sqrt(new_sq) + eps)", right=BUFFER, case=MOMENTUM),
        M("moving-average-not-decayed", lambda e: updated(e, momentum=1.0),
          "b <- b + g / (sqrt(v) + eps): what it held is not multiplied by mu",
          wrong="mom + g / (np.sqrt(new_sq) + eps)", right=BUFFER, case=MOMENTUM),
        M("momentum-averaged", lambda e: e.option("momentum") * (e.state(e.part) - _divided(e)) + _divided(e),
          "b <- mu b + (1 - mu) g / (sqrt(v) + eps)",
          wrong="mu * mom + (1 - mu) * g / (np.sqrt(new_sq) + eps)", right=BUFFER, case=MOMENTUM),
        M("momentum-missing", _divided, "b <- g / (sqrt(v) + eps): the momentum is left out",
          wrong="g / (np.sqrt(new_sq) + eps)", right=BUFFER, case=MOMENTUM),
        M("epsilon-inside-root", lambda e: updated(e, divisor=lambda v, eps: sqrt(v + eps)),
          "epsilon is added inside the root",
          wrong="mu * mom + g / np.sqrt(new_sq + eps)", right=BUFFER, case=MOMENTUM),
        M("root-missing", lambda e: updated(e, divisor=lambda v, eps: v + eps), "the root of the average is missing",
          wrong="mu * mom + g / (new_sq + eps)", right=BUFFER, case=MOMENTUM),
        M("wrong-gradient", other_gradients, "the gradient is {}",
          wrong="mu * mom - g / (np.sqrt(new_sq) + eps)", right=BUFFER, case=MOMENTUM),
    ],
}
# fmt: on

RMSprop.mistakes = MISTAKES
