"""NAdam: p <- p - lr (mu' m / (1 - M mu') + (1 - mu) g / (1 - M)) / (sqrt(v^) + eps)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.optim.nadam import nadam

import scratch
from compare.numbers.allowance import Allowance, Precision, root_error
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, sqrt
from compare.operations.adam import AVERAGE, SQUARE, Adam
from compare.operations.any_update import decays, updated
from compare.operations.letters import Letters
from compare.operations.mistake import EPSILONS, Formula, Guess
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Options

POWER = 6  # u: of mu, made of a power, a half, a difference and b1, where these are not kept in float64
FACTOR = 4  # u: of lr (1 - mu) / (1 - M) beside what mu and M carry: two differences, a product and a quotient
STEP = 8  # u: of (a g + b m) / (sqrt(v / d) + eps): two products, their sum, v / d, root, the sum with eps, quotient
FLOAT32 = 2.0**-24  # torch keeps M in float32, also for weights in float64

Factors = tuple[float, float]  # of g and of m, without the rate
Divisor = Callable[[Bounded, float, float], Bounded]


def momentum(options: Mapping[str, Any], t: int, half: float = 0.5) -> float:
    """mu of step t."""
    return float(options["beta1"]) * (1 - half * 0.96 ** (t * float(options["momentum_decay"])))


def product(options: Mapping[str, Any], t: int) -> float:
    """M of step t: mu of all steps up to it, multiplied."""
    return float(np.prod([momentum(options, k) for k in range(1, t + 1)]))


def _factors(options: Mapping[str, Any], t: int) -> Factors:
    mu, ahead, through = momentum(options, t), momentum(options, t + 1), product(options, t)
    return (1 - mu) / (1 - through), ahead / (1 - through * ahead)


def _root_and_epsilon(v: Bounded, d: float, eps: float) -> Bounded:
    return sqrt(v / d) + eps


class NAdam(Adam):
    """torch.optim.NAdam, with weight decay coupled or not; m and v are Adam's."""

    kind = "NAdam"
    scratch_type, torch_type = scratch.NAdam, torch.optim.NAdam
    options = ("lr", "beta1", "beta2", "eps", "weight_decay", "momentum_decay", "decoupled_weight_decay")
    parts: ClassVar = {
        **Adam.parts,
        "": "p <- p - lr (mu' m / (1 - M mu') + (1 - mu) g / (1 - M)) / (sqrt(v^) + eps), mu = b1 (1 - 0.96^(t d) / 2)",
    }

    def decay_by(self, options: Options) -> str:
        return "decoupled" if options["decoupled_weight_decay"] else "coupled"

    def stepped(
        self, options: Options, step: int, parameter: Tensor, g: Tensor, state: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        m, v = ([state.get(name, torch.zeros_like(parameter))] for name in self.states)
        before = [torch.tensor(product(options, step - 1), dtype=torch.float64)]
        nadam([parameter], [g], m, v, before, [torch.tensor(step - 1.0)], foreach=False, **options)  # type: ignore[arg-type]
        return dict(zip(self.states, (*m, *v), strict=True))

    def allowed(
        self, options: Options, step: int, before: Array, g: Array, state: Mapping[str, Array], p: Precision
    ) -> dict[str, Allowance]:
        """p <- p - (a g + b m) / r, r = sqrt(v / d) + eps, a = lr (1 - mu) / (1 - M), b = lr mu' / (1 - M mu').

        - mu carries 6 u, so 1 - mu carries 6 u mu / (1 - mu), and M, of t factors, 7 t u. torch multiplies M in
          float32, also for weights in float64: 2 t 2^-24 more. 1 - M carries M / (1 - M) times that. a and b have 4 u
          beside.
        - g carries 3 u where there is a coupled decay; p that much where it is decoupled, of p and of what is taken
          from it; m 7 u, v 11 u, of which the root has half, as in Adam's step.
        - The sum over r adds 8 u. It may be taken from p in two parts: one rounding of p, and of the sum, more.

        Nothing can be said where g^2, or the corrected v, may overflow.
        """
        averages = super().allowed(options, step, before, g, state, p)
        lr, eps, decay = (float(options[name]) for name in ("lr", "eps", "weight_decay"))
        b1, b2 = float(options["beta1"]), float(options["beta2"])
        taken = lr * decay * np.abs(before) if self.decay_by(options) == "decoupled" else 0.0
        decay = 0.0 if self.decay_by(options) == "decoupled" else decay
        size, along = np.abs(g) + decay * np.abs(before), g + decay * before
        m, v = (state.get(name, np.zeros_like(before)) for name in self.states)
        v_terms, v_after = (b2 * v + (1 - b2) * a * a for a in (size, along))
        m_terms = np.abs(m) * (1 + (1 - b1)) + (1 - b1) * size
        root, root_off = (
            a / np.sqrt(1 - b2**step)
            for a in (np.sqrt(v_after), root_error(v_after, SQUARE * p.u * v_terms + 4 * p.subnormal))
        )
        least = np.maximum(root - root_off, 0) + eps
        of_g, of_m = self._carried(options, step, p)
        a, b = (lr * factor for factor in _factors(options, step))
        with np.errstate(divide="ignore", invalid="ignore"):
            quotients = a * size / least, b * m_terms / least
            whole = sum(quotients)
            carried = quotients[0] * (of_g + 3 * p.u) + quotients[1] * (of_m + AVERAGE * p.u)
            carried = carried + whole * (STEP * p.u + root_off / least)
            off = p.u * (3 * (np.abs(before) + taken) + 2 * whole) + carried + 6 * p.subnormal * (1 + (a + b) / least)
        reach = np.maximum(averages["exp_avg_sq"].reach, (1 + 2 * SQUARE * p.u) * v_terms / (1 - b2**step))
        reach = np.maximum(reach, averages["exp_avg"].reach)
        unbounded = np.isnan(off) | (reach >= p.largest)
        return averages | {"": Allowance(np.where(unbounded, np.inf, off), reach=reach)}

    def _carried(self, options: Options, step: int, p: Precision) -> Factors:
        """The relative errors of a and b."""
        mu, ahead, through = momentum(options, step), momentum(options, step + 1), product(options, step)
        further = through * ahead
        of_g = POWER * p.u * mu / (1 - mu) + _of_product(through, step, p) + FACTOR * p.u
        return of_g, POWER * p.u + _of_product(further, step + 1, p) + FACTOR * p.u

    def written(  # type: ignore[override]
        self,
        e: Letters,
        g: Bounded | None = None,
        decay: str = "right",
        times: int = 1,
        factors: Factors | None = None,
        d: float | None = None,
        divisor: Divisor = _root_and_epsilon,
        swapped: bool = False,
    ) -> Bounded:
        """p - lr (a g + b m) / divisor(v, d, eps) with other factors (a, b), d = 1 - b2^t; with `swapped` betas."""
        if e.part:
            return super().written(e, g, decay, times, swapped=swapped)
        coupled, decoupled = decays(e, decay, self.decay_by(e.options), times)
        lr, before, g = e.option("lr"), e.before_update, e.g if g is None else g
        g = g + coupled * before if coupled else g
        b1, b2 = e.option("beta1"), e.option("beta2")
        m = b1 * e.state("exp_avg") + (1 - b1) * g
        v = b2 * e.state("exp_avg_sq") + (1 - b2) * (g * g)
        found = zip(factors or _factors(e.options, e.step), self._carried(e.options, e.step, e.p), strict=True)
        of_g, of_m = (Bounded(np.array(factor), np.array(abs(factor) * off), e.p) for factor, off in found)
        step = of_g * g + of_m * m
        d = 1 - b2**e.step if d is None else d
        return before * (1 - lr * decoupled) - lr * float(times) * step / divisor(v, d, e.option("eps"))


def _of_product(through: float, factors: int, p: Precision) -> float:
    """The relative error of 1 - M."""
    return through / (1 - through) * factors * ((POWER + 1) * p.u + 2 * FLOAT32)


# --- what people get wrong ---


def _with(factors: Callable[[Mapping[str, Any], int], Factors]) -> Formula:
    """With other factors of g and m, from the options and t."""
    return lambda e: updated(e, factors=factors(e.options, e.step))


def _constant_momentum(o: Mapping[str, Any], t: int) -> Factors:
    """mu = b1 at every step, so that M = b1^t."""
    b1 = float(o["beta1"])
    return (1 - b1) / (1 - b1**t), b1 / (1 - b1 ** (t + 1))


def _of_adam(o: Mapping[str, Any], t: int) -> Factors:
    return 0.0, 1 / (1 - float(o["beta1"]) ** t)


def _uncorrected(o: Mapping[str, Any], t: int) -> Factors:
    return 1 - momentum(o, t), momentum(o, t + 1)


def _same_momentum(o: Mapping[str, Any], t: int) -> Factors:
    """mu for mu'."""
    mu, through = momentum(o, t), product(o, t)
    return (1 - mu) / (1 - through), mu / (1 - through * mu)


def _short_product(o: Mapping[str, Any], t: int) -> Factors:
    """1 - M for both."""
    return _factors(o, t)[0], momentum(o, t + 1) / (1 - product(o, t))


def _power_for_product(o: Mapping[str, Any], t: int) -> Factors:
    """M = mu^t."""
    mu, ahead = momentum(o, t), momentum(o, t + 1)
    return (1 - mu) / (1 - mu**t), ahead / (1 - mu**t * ahead)


def _last_for_product(o: Mapping[str, Any], t: int) -> Factors:
    """M = mu."""
    mu, ahead = momentum(o, t), momentum(o, t + 1)
    return 1.0, ahead / (1 - mu * ahead)


def _whole_schedule(o: Mapping[str, Any], t: int) -> Factors:
    """mu = b1 (1 - 0.96^(t d)), without the half."""
    of = [momentum(o, k, half=1.0) for k in range(1, t + 2)]
    through = float(np.prod(of[:-1]))
    return (1 - of[-2]) / (1 - through), of[-1] / (1 - through * of[-1])


def _undamped(o: Mapping[str, Any], t: int) -> Factors:
    """g without its factor 1 - mu."""
    return 1 / (1 - product(o, t)), _factors(o, t)[1]


def _other_epsilons(e: Letters) -> Iterator[Guess]:
    for eps in EPSILONS:
        if eps != e.option("eps"):
            yield updated(e, divisor=lambda v, d, _, eps=eps: sqrt(v / d) + eps), f"{eps:g}"


# What examples have in common: their cases, and the correct expressions.
NADAM = {"optimizer": {"kind": "NAdam", "lr": 0.1, "momentum_decay": 0.5}}
LATER = {**NADAM, "steps": [2, 3]}
COARSE = {"optimizer": {"kind": "NAdam", "lr": 0.1, "momentum_decay": 0.5, "eps": 0.001}}
MU = "b1 * (1 - 0.5 * 0.96 ** (step * fade))"
AHEAD = "b1 * (1 - 0.5 * 0.96 ** ((step + 1) * fade))"
THROUGH = "np.prod(b1 * (1 - 0.5 * 0.96 ** (np.arange(1, step + 1) * fade)))"
ROOT = "(np.sqrt(new_v / (1 - b2 ** step)) + eps)"
OF_G = f"(1 - {MU}) / (1 - {THROUGH}) * g"
OF_M = f"{AHEAD} / (1 - {THROUGH} * {AHEAD}) * new_m"
RIGHT = f"p - lr * ({OF_G} + {OF_M}) / {ROOT}"
DECOUPLED = {"AdamW": {"decoupled_weight_decay": True}}


def _of_averages(part: str) -> list[M]:
    """The mistakes in Adam's averages, with this optimiser in their examples: those of AdamW where its decay is so."""

    def example(m: M) -> dict[str, Any]:
        options = m.case["optimizer"]
        return {**m.case, "optimizer": {**options, "kind": "NAdam", **DECOUPLED.get(options["kind"], {})}}

    return [replace(m, case=example(m)) for m in Adam.mistakes[part]]


# fmt: off
MISTAKES = {
    "parameter": [
        M("look-ahead-missing", _with(_of_adam), "it is Adam's step: the momentum does not look ahead",
          wrong=f"p - lr * new_m / (1 - b1 ** step) / {ROOT}", right=RIGHT, case=NADAM),
        M("look-ahead-missing", _with(lambda o, t: (0.0, _factors(o, t)[1])),
          "the gradient's own term (1 - mu) g / (1 - M) is missing",
          wrong=f"p - lr * ({OF_M}) / {ROOT}", right=RIGHT, case=NADAM),
        M("momentum-missing", _with(lambda o, t: (_factors(o, t)[0], 0.0)),
          "the momentum's term mu' m / (1 - M mu') is missing",
          wrong=f"p - lr * ({OF_G}) / {ROOT}", right=RIGHT, case=NADAM),
        M("momentum-schedule-missing", _with(_constant_momentum),
          "mu is b1 at every step: the factor 1 - 0.96^(t d) / 2 is missing",
          wrong=f"p - lr * ((1 - b1) / (1 - b1 ** step) * g + b1 / (1 - b1 ** (step + 1)) * new_m) / {ROOT}",
          right=RIGHT, case=NADAM),
        M("momentum-schedule-missing", _with(_whole_schedule), "the factor 1/2 of 0.96^(t d) is missing",
          wrong=RIGHT.replace("0.5 * ", ""), right=RIGHT, case=NADAM),
        M("momentum-of-this-step", _with(_same_momentum), "mu stands where mu', that of the next step, is meant",
          wrong=RIGHT.replace(AHEAD, MU), right=RIGHT, case=NADAM),
        M("bias-correction-missing", _with(_uncorrected), "neither term is divided by 1 less the product of mu",
          wrong=f"p - lr * ((1 - {MU}) * g + {AHEAD} * new_m) / {ROOT}", right=RIGHT, case=NADAM),
        M("bias-correction-missing", lambda e: updated(e, d=1.0), "the second moment is not corrected for its bias",
          wrong=f"p - lr * ({OF_G} + {OF_M}) / (np.sqrt(new_v) + eps)", right=RIGHT, case=NADAM),
        M("momentum-product-short", _with(_short_product),
          "m is divided by 1 - M, not by 1 - M mu': the next step's mu is left out of the product",
          wrong=RIGHT.replace(f"{THROUGH} * {AHEAD}", THROUGH), right=RIGHT, case=NADAM),
        M("momentum-power-for-product", _with(_power_for_product),
          "mu^t stands in the place of the product of mu of all steps",
          wrong=RIGHT.replace(THROUGH, f"({MU}) ** step"), right=RIGHT, case=LATER),
        M("momentum-product-forgotten", _with(_last_for_product),
          "the product of mu is not kept: mu of this step alone stands in its place",
          wrong=RIGHT.replace(THROUGH, MU), right=RIGHT, case=LATER),
        M("gradient-undamped", _with(_undamped), "the gradient's term lacks its factor 1 - mu",
          wrong=RIGHT.replace(f"(1 - {MU}) / (1 - {THROUGH}) * g", f"1 / (1 - {THROUGH}) * g"), right=RIGHT,
          case=NADAM),
        M("epsilon-inside-root", lambda e: updated(e, divisor=lambda v, d, eps: sqrt(v / d + eps)),
          "epsilon is added inside the root",
          wrong=RIGHT.replace(ROOT, "np.sqrt(new_v / (1 - b2 ** step) + eps)"), right=RIGHT, case=NADAM),
        M("epsilon-missing", lambda e: updated(e, divisor=lambda v, d, eps: sqrt(v / d)), "epsilon is missing",
          overflows=True,
          wrong=RIGHT.replace(" + eps)", ")"), right=RIGHT, case=COARSE),
        M("root-missing", lambda e: updated(e, divisor=lambda v, d, eps: v / d + eps),
          "the root of the second moment is missing",
          wrong=RIGHT.replace("np.sqrt(new_v / (1 - b2 ** step))", "new_v / (1 - b2 ** step)"), right=RIGHT,
          case=NADAM),
        M("other-epsilon", _other_epsilons, "epsilon is {}", rank=1,
          wrong=RIGHT.replace("+ eps", "+ 1e-3"), right=RIGHT, case=NADAM),
    ],
    "exp_avg": _of_averages("exp_avg"),
    "exp_avg_sq": _of_averages("exp_avg_sq"),
}
# fmt: on

NAdam.mistakes = MISTAKES
