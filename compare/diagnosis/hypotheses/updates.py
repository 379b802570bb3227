"""Mistakes in the optimiser's step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from compare.diagnosis.evidence import Absent, Evidence
from compare.diagnosis.hypotheses.hypothesis import EPSILONS, Formula, Guess, fitted, shortest
from compare.diagnosis.hypotheses.hypothesis import Hypothesis as H
from compare.numbers.bounded import Bounded, absolute, clip, sqrt


@dataclass(frozen=True)
class Variant:
    """A variant of the optimiser: what a candidate may have done instead."""

    lr: float = 1.0  # times the learning rate
    decay: str = "right"  # right, none, coupled, decoupled, doubled
    corrections: str = "mv"  # which moments are corrected for their bias
    powerless: str = ""  # for which of them by 1 - beta at every step
    offset: int = 0  # of the step count
    eps: str = "outside"  # outside, inside, none, or before: not divided by the correction
    swapped: bool = False  # the betas
    root: bool = True
    momentum: str = "right"  # right, none, lr-inside, averaged, reset
    nesterov: bool | None = None
    times: int = 1
    epsilon: float | None = None  # another value
    first: bool = True  # the velocity is the gradient at the first step


SGD_VARIES = ("lr", "decay", "momentum", "nesterov", "times", "first")


def updated(e: Evidence, variant: Variant, g: Bounded | None = None) -> Bounded:
    """The parameter, or the part of the state, after one step of this variant."""
    optimizer = e.sweep.record.optimizer
    if optimizer is None:
        raise Absent("optimizer")
    g = e.g if g is None else g
    return _sgd(e, variant, g) if optimizer.kind == "SGD" else _adam(e, variant, g, optimizer.kind)


def _decay(e: Evidence, variant: Variant, kind: str) -> tuple[float, float]:
    """(coupled, decoupled) weight decay of a variant. Absent where the variant is no other than the rule."""
    rate = e.option("weight_decay")
    usual = "decoupled" if kind == "AdamW" else "coupled"
    if variant.decay == usual or (variant.decay != "right" and not rate and variant.times):
        raise Absent("weight decay")
    how = usual if variant.decay in ("right", "doubled") else variant.decay
    rate *= 2 if variant.decay == "doubled" else 1
    return (rate if how == "coupled" else 0.0), (rate if how == "decoupled" else 0.0)


def _sgd(e: Evidence, variant: Variant, g: Bounded) -> Bounded:
    if variant != replace(Variant(), **{name: getattr(variant, name) for name in SGD_VARIES}):
        raise Absent("SGD has no such part")
    lr, mu, damp = e.option("lr"), e.option("momentum"), e.option("dampening")
    coupled, decoupled = _decay(e, variant, "SGD")
    p = e.before_update
    g = g + coupled * p if coupled else g
    v = _velocity(e, variant, g, mu, damp)
    if e.part:
        return v
    nesterov = bool(e.option("nesterov")) if variant.nesterov is None else variant.nesterov
    direction = (g + mu * v if nesterov else v) if mu else g
    step = direction if variant.momentum == "lr-inside" else lr * variant.lr * direction
    return p * (1 - lr * decoupled) - step * float(variant.times)


def _velocity(e: Evidence, variant: Variant, g: Bounded, mu: float, damp: float) -> Bounded:
    held = e.state("momentum_buffer")
    if not mu and (variant.momentum != "right" or variant.nesterov is not None):
        raise Absent("momentum")
    if variant.momentum in ("none", "reset"):
        return g
    if variant.first and f"{e.parameter}.momentum_buffer" not in e.sweep.known:
        return e.option("lr") * g if variant.momentum == "lr-inside" else g
    if variant.momentum == "averaged":
        return mu * held + (1 - mu) * g
    if variant.momentum == "lr-inside":
        return mu * held + e.option("lr") * g
    if variant.momentum == "dampened":
        return mu * (held + g)
    return mu * held + (1 - damp) * g


def _adam(e: Evidence, variant: Variant, g: Bounded, kind: str) -> Bounded:
    if (variant.momentum, variant.nesterov) != ("right", None):
        raise Absent("Adam has no such part")
    lr, eps = e.option("lr") * variant.lr, e.option("eps") if variant.epsilon is None else variant.epsilon
    b1, b2 = e.option("beta1"), e.option("beta2")
    if variant.swapped:
        b1, b2 = b2, b1
    coupled, decoupled = _decay(e, variant, kind)
    p, t = e.before_update, e.sweep.record.step + variant.offset
    g = g + coupled * p if coupled else g
    m = b1 * e.state("exp_avg") + (1 - b1) * g
    v = b2 * e.state("exp_avg_sq") + (1 - b2) * (g * g)
    if e.part:
        return m if e.part == "exp_avg" else v
    m_hat = m / (1 - b1 ** (1 if "m" in variant.powerless else t)) if "m" in variant.corrections else m
    v_hat = v / (1 - b2 ** (1 if "v" in variant.powerless else t)) if "v" in variant.corrections else v
    if variant.eps == "inside":
        root = sqrt(v_hat + eps)
    elif variant.eps == "before":
        root = (sqrt(v) + eps) / np.sqrt(1 - b2**t)
    else:
        divisor = sqrt(v_hat) if variant.root else v / float(np.sqrt(1 - b2**t))
        root = divisor + (0.0 if variant.eps == "none" else eps)
    return p * (1 - lr * decoupled) - lr * float(variant.times) * m_hat / root


def _variant(cause: str, words: str, **changes: Any) -> H:
    return H("update.parameter", cause, lambda e: updated(e, Variant(**changes)), words)


def _state_variant(part: str, cause: str, words: str, **changes: Any) -> H:
    return H(f"update.{part}", cause, lambda e: updated(e, Variant(**changes)), words)


def _rates(e: Evidence) -> Iterator[Guess]:
    """The step taken, over the step that should have been."""
    before = e.before_update.value
    factor, words = fitted(e, e.got - before, e.ref.value - before)
    if float(factor.value) not in (0.0, 1.0, -1.0, 2.0):
        yield e.before_update + (e.ref - e.before_update) * factor, words


def _other_gradients(e: Evidence) -> Iterator[Guess]:
    yield updated(e, Variant(), e.g_before), "that of the step before"
    if e.part:
        yield updated(e, Variant(), -e.g), "its negative: the step goes uphill"


def _gradients_of_others(e: Evidence) -> Iterator[Guess]:
    for name, other in e.others(e.g, ("grad_weight", "grad_bias")):
        yield updated(e, Variant(), other), name


def _states_of_others(e: Evidence) -> Iterator[Guess]:
    """Another parameter's state, before or after its own step."""
    rate = e.option("momentum") if e.part == "momentum_buffer" else e.option("beta1")
    share = 1.0 - e.option("dampening") if e.part == "momentum_buffer" else 1 - e.option("beta1")
    for name, other in e.others(e.state(e.part), (e.part,)):
        yield rate * other + share * e.g, name


def _initial_state(e: Evidence) -> Iterator[Guess]:
    """At the first step: new = b start + what it should be."""
    if e.sweep.record.step > 1 or e.part not in ("exp_avg", "exp_avg_sq"):
        raise Absent("the first step")
    beta = e.option("beta1" if e.part == "exp_avg" else "beta2")
    start, words = fitted(e, e.got - e.ref.value, np.full(e.got.shape, beta))
    yield e.ref + beta * start, words


def _shrunk(e: Evidence) -> Bounded:
    return e.before_update * (1 - e.option("lr") * e.option("weight_decay"))


def _other_epsilons(e: Evidence) -> Iterator[Guess]:
    for eps in EPSILONS:
        if eps != e.option("eps"):
            yield updated(e, Variant(epsilon=eps)), f"{eps:g}"


def _implied(e: Evidence) -> Bounded:
    """The gradient that explains a plain SGD step: (before - after) / lr. Absent for any other optimiser."""
    optimizer = e.sweep.record.optimizer
    if optimizer is None or optimizer.kind != "SGD" or e.option("momentum") or e.option("weight_decay"):
        raise Absent("a plain SGD step")
    return Bounded((e.before_update.value - e.got) / e.option("lr"), e.ref.error / e.option("lr"), e.p)


def _clipped_gradient(e: Evidence) -> Iterator[Guess]:
    implied = _implied(e)
    limit = shortest(float(np.abs(implied.value).max()), 2 * float(implied.error.max()))
    if limit < np.abs(e.g.value).max():
        yield updated(e, Variant(), clip(e.g, -limit, limit)), f"[-{limit:g}, {limit:g}]"


def _clipped_gradient_norm(e: Evidence) -> Iterator[Guess]:
    implied = _implied(e)
    error = 2 * float(np.linalg.norm(implied.error))
    norm, true = shortest(float(np.linalg.norm(implied.value)), error), float(np.linalg.norm(e.g.value))
    if norm < true:
        scale = Bounded(np.array(norm / true), np.array(error / true), e.p)
        yield updated(e, Variant(), e.g * scale), f"{norm:g}"


def _other_beta(name: str, power: int) -> Formula:
    """Solve new = b old + (1 - b) g^power for b."""

    def guesses(e: Evidence) -> Iterator[Guess]:
        old, g = e.state(name), e.g * e.g if power == 2 else e.g
        b, words = fitted(e, e.got - g.value, (old - g).value)
        if 0 < float(b.value) < 1:
            yield g + b * (old - g), words

    return guesses


def _with(e: Evidence, option: str) -> float:
    """The option's value, where it is not 0: else these mistakes cannot be made."""
    value = e.option(option)
    if not value:
        raise Absent(option)
    return value


def _undampened(e: Evidence) -> Bounded:
    """mu v + g, where g should be dampened."""
    _with(e, "dampening")
    return e.option("momentum") * e.state("momentum_buffer") + e.g


def _not_averaged(e: Evidence, beta: str, name: str, g: Bounded) -> Bounded:
    return e.state(name) + (1 - e.option(beta)) * g


# fmt: off
UPDATES = [
    _variant("weight-decay-missing", "the weight decay is missing", decay="none"),
    _variant("weight-decay-coupled",
      "the weight decay is added to the gradient, not taken from the weight (Adam, not AdamW)", decay="coupled"),
    _variant("weight-decay-decoupled",
      "the weight decay is taken from the weight, not added to the gradient", decay="decoupled"),
    _variant("weight-decay-doubled", "the weight decay is taken twice", decay="doubled"),
    _variant("bias-correction-missing", "neither moment is corrected for its bias", corrections=""),
    _variant("bias-correction-missing", "the first moment is not corrected for its bias", corrections="v"),
    _variant("bias-correction-missing", "the second moment is not corrected for its bias", corrections="m"),
    _variant("bias-correction-off-by-one", "the bias correction counts one step too many: t + 1", offset=1),
    _variant("bias-correction-off-by-one", "the bias correction counts from 0: t - 1", offset=-1),
    _variant("bias-correction-without-power",
      "the bias correction is 1 - beta at every step: beta is not raised to the power t", powerless="mv"),
    _variant("bias-correction-without-power",
      "the first moment's correction is 1 - beta1 at every step: beta1 is not raised to the power t", powerless="m"),
    _variant("bias-correction-without-power",
      "the second moment's correction is 1 - beta2 at every step: beta2 is not raised to the power t", powerless="v"),
    _variant("epsilon-inside-root", "epsilon is added inside the root", eps="inside"),
    _variant("epsilon-before-correction", "epsilon is added before the correction of the second moment", eps="before"),
    H("update.parameter", "epsilon-missing", lambda e: updated(e, Variant(eps="none")), "epsilon is missing",
      overflows=True),
    _variant("betas-swapped", "beta1 and beta2 are swapped", swapped=True),
    _variant("root-missing", "the root of the second moment is missing", root=False),
    H("update.parameter", "root-missing", lambda e: _without_root(e), "the root of the second moment is missing"),
    _variant("update-doubled", "the step is taken twice", times=2),
    _variant("update-sign", "the step is added, not subtracted", times=-1),
    _variant("update-missing", "the parameter is not updated", times=0, decay="none"),
    _variant("momentum-missing", "the momentum is left out", momentum="none"),
    _variant("nesterov-missing", "it is the plain momentum step, not Nesterov's", nesterov=False),
    _variant("nesterov-unasked", "it is Nesterov's step, not the plain one", nesterov=True),
    _variant("momentum-order", "the step uses the velocity with the learning rate inside", momentum="lr-inside"),
    H("update.parameter", "momentum-order",
      lambda e: e.before_update - (_with(e, "momentum") and e.option("lr")) * e.state("momentum_buffer"),
      "the step is taken before the velocity takes in the gradient"),
    H("update.parameter", "weight-decay-unasked",
      lambda e: updated(e, Variant()) - e.before_update * e.option("lr") * 0.01, "a weight decay of 0.01 is applied"),
    H("update.parameter", "wrong-gradient", _other_gradients, "the gradient is {}"),
    H("update.parameter", "momentum-and-gradient",
      lambda e: e.before_update - e.option("lr") * (e.g + e.tensor(f"{_new_name(e)}.momentum_buffer")),
      "both the velocity and the gradient itself move the parameter"),
    H("update.parameter", "learning-rate-missing",
      lambda e: e.before_update - (e.before_update - e.ref) / e.option("lr"), "the learning rate is missing"),
    H("update.parameter", "learning-rate-twice",
      lambda e: e.before_update - (e.before_update - e.ref) * e.option("lr"), "the learning rate is applied twice"),
    H("update.parameter", "learning-rate-decays",
      lambda e: e.before_update + (e.ref - e.before_update) / e.sweep.record.step, "the learning rate falls as 1 / t"),
    H("update.parameter", "wrong-gradient", _gradients_of_others, "the gradient is {}", 1),
    H("update.momentum_buffer", "wrong-gradient", _gradients_of_others, "the gradient is {}", 1),
    H("update.exp_avg", "wrong-gradient", _gradients_of_others, "the gradient is {}", 1),
    H("update.momentum_buffer", "state-shared", _states_of_others, "its velocity before the step is {}", 1),
    H("update.exp_avg", "state-shared", _states_of_others, "its average before the step is {}", 1),
    H("update.parameter", "momentum-order",
      lambda e: e.before_update
      - e.option("lr") * (e.tensor(f"{_new_name(e)}.momentum_buffer") + _with(e, "momentum") * e.g),
      "v + mu g in the place of g + mu v"),
    H("update.parameter", "other-epsilon", _other_epsilons, "epsilon is {}", 1),
    H("update.exp_avg_sq", "square-of-product",
      lambda e: e.option("beta2") * e.state("exp_avg_sq")
      + ((1 - e.option("beta2")) * e.g) * ((1 - e.option("beta2")) * e.g), "the factor 1 - b2 is squared as well"),
    H("update.exp_avg_sq", "betas-swapped",
      lambda e: e.option("beta1") * e.state("exp_avg_sq") + (1 - e.option("beta2")) * (e.g * e.g),
      "v <- b1 v + (1 - b2) g^2: beta1 in the place of beta2"),
    H("update.exp_avg", "betas-swapped",
      lambda e: e.option("beta2") * e.state("exp_avg") + (1 - e.option("beta1")) * e.g,
      "m <- b2 m + (1 - b1) g: beta2 in the place of beta1"),
    H("update.exp_avg", "weight-decay-coupled",
      lambda e: updated(e, Variant(decay="none"), e.g + e.option("weight_decay") * _shrunk(e)),
      "the weight decay is in the gradient as well (Adam's), after it was taken from the weight (AdamW's)"),
    H("update.parameter", "sign-of-gradient", lambda e: updated(e, Variant(), _sign(e.g)),
      "the step follows the gradient's sign, not the gradient"),
    H("update.parameter", "weight-decay-without-rate",
      lambda e: updated(e, Variant(decay="none")) - e.before_update * e.option("weight_decay"),
      "the parameter shrinks by 1 - wd, without the learning rate"),
    H("update.parameter", "weight-decay-sign",
      lambda e: updated(e, Variant(decay="none")) + e.before_update * (e.option("lr") * e.option("weight_decay")),
      "the weight decay has the wrong sign: the parameter grows"),
    H("update.parameter", "weight-decay-after-step",
      lambda e: updated(e, Variant(decay="none")) * (1 - e.option("lr") * e.option("weight_decay")),
      "the weight decay is applied after the step, not before it"),
    H("update.parameter", "moments-swapped", lambda e: _moments_swapped(e),
      "m and v are exchanged in the step"),
    H("update.parameter", "gradient-clipped", _clipped_gradient, "the gradient is clipped to {} before the step", 1),
    H("update.parameter", "gradient-clipped", _clipped_gradient_norm,
      "the gradient is scaled to a norm of {} before the step", 1),
    H("update.momentum_buffer", "moving-average-not-decayed", lambda e: e.state("momentum_buffer") + e.g,
      "v <- v + g: what it held is not multiplied by mu"),
    H("update.momentum_buffer", "dampening-missing",
      lambda e: _undampened(e),
      "the gradient lacks its factor 1 - dampening"),
    H("update.exp_avg", "moving-average-not-decayed", lambda e: _not_averaged(e, "beta1", "exp_avg", e.g),
      "m <- m + (1 - b1) g: what it held is not multiplied by b1"),
    H("update.exp_avg_sq", "moving-average-not-decayed", lambda e: _not_averaged(e, "beta2", "exp_avg_sq", e.g * e.g),
      "v <- v + (1 - b2) g^2: what it held is not multiplied by b2"),
    H("update.exp_avg", "other-beta", _other_beta("exp_avg", 1), "beta1 is {}", 1),
    H("update.exp_avg_sq", "other-beta", _other_beta("exp_avg_sq", 2), "beta2 is {}", 1),
    H("update.parameter", "wrong-learning-rate", _rates, "the step is {} x what it should be", 1),
    _state_variant("momentum_buffer", "momentum-averaged", "v <- mu v + (1 - mu) g", momentum="averaged"),
    _state_variant("momentum_buffer", "momentum-averaged", "v <- mu v + (1 - mu) g", momentum="averaged", first=False),
    _state_variant("momentum_buffer", "momentum-order",
      "v <- mu v + lr g: the learning rate is inside", momentum="lr-inside"),
    _state_variant("momentum_buffer", "momentum-missing", "v <- g: the momentum is left out", momentum="reset"),
    _state_variant("momentum_buffer", "momentum-order",
      "v <- mu (v + g): the gradient is added before the decay", momentum="dampened"),
    _state_variant("momentum_buffer", "weight-decay-missing", "the weight decay is missing", decay="none"),
    H("update.momentum_buffer", "wrong-gradient", _other_gradients, "the gradient is {}"),
    _state_variant("exp_avg", "betas-swapped", "beta2 is used for the first moment", swapped=True),
    _state_variant("exp_avg", "weight-decay-coupled",
      "the weight decay is added to the gradient (Adam, not AdamW)", decay="coupled"),
    _state_variant("exp_avg", "weight-decay-missing", "the weight decay is missing from the gradient", decay="none"),
    _state_variant("exp_avg", "weight-decay-missing",
      "the weight decay is missing from the gradient", decay="decoupled"),
    H("update.exp_avg", "correction-kept", lambda e: e.ref / (1 - e.option("beta1") ** e.sweep.record.step),
      "the moment is kept corrected for its bias: the correction belongs to the step alone"),
    H("update.exp_avg_sq", "correction-kept", lambda e: e.ref / (1 - e.option("beta2") ** e.sweep.record.step),
      "the moment is kept corrected for its bias: the correction belongs to the step alone"),
    H("update.exp_avg", "state-not-zero", _initial_state, "it does not start at 0 but at {}", 1),
    H("update.exp_avg_sq", "state-not-zero", _initial_state, "it does not start at 0 but at {}", 1),
    H("update.exp_avg", "moving-average-weight", lambda e: e.option("beta1") * e.state("exp_avg") + e.g,
      "m <- b1 m + g: the factor 1 - b1 is missing"),
    H("update.exp_avg", "momentum-missing", lambda e: e.g * 1.0, "m <- g: nothing is averaged"),
    H("update.exp_avg", "moving-average-reset", lambda e: (1 - e.option("beta1")) * e.g,
      "m <- (1 - b1) g: the average is lost from step to step"),
    H("update.exp_avg", "moments-swapped",
      lambda e: e.option("beta1") * e.state("exp_avg") + (1 - e.option("beta1")) * (e.g * e.g),
      "it averages g^2, which is the second moment's"),
    H("update.exp_avg", "wrong-gradient", _other_gradients, "the gradient is {}"),
    _state_variant("exp_avg_sq", "betas-swapped", "beta1 is used for the second moment", swapped=True),
    H("update.exp_avg_sq", "moving-average-weight", lambda e: e.option("beta2") * e.state("exp_avg_sq") + e.g * e.g,
      "v <- b2 v + g^2: the factor 1 - b2 is missing"),
    H("update.exp_avg_sq", "square-missing",
      lambda e: e.option("beta2") * e.state("exp_avg_sq") + (1 - e.option("beta2")) * e.g, "it averages g, not g^2"),
    H("update.exp_avg_sq", "square-missing",
      lambda e: e.option("beta2") * e.state("exp_avg_sq") + (1 - e.option("beta2")) * absolute(e.g),
      "it averages |g|, not g^2"),
    H("update.exp_avg_sq", "moving-average-reset", lambda e: (1 - e.option("beta2")) * (e.g * e.g),
      "v <- (1 - b2) g^2: the average is lost from step to step"),
    H("update.exp_avg_sq", "momentum-squared",
      lambda e: e.option("beta2") * e.state("exp_avg_sq") + (1 - e.option("beta2")) * _moment(e) * _moment(e),
      "it averages m^2, not g^2"),
]
# fmt: on


def _moment(e: Evidence) -> Bounded:
    return e.tensor(e.row.tensor.replace("exp_avg_sq", "exp_avg"))


def _new_name(e: Evidence) -> str:
    return e.row.tensor.partition(".")[0] + ".new_" + e.parameter.partition(".")[2]


def _sign(a: Bounded) -> Bounded:
    return Bounded.exact(np.sign(a.value), a.p)


def _moments_swapped(e: Evidence) -> Bounded:
    """p - lr v^ / (sqrt|m^| + eps), with the corrections where they were."""
    m, v = (e.tensor(f"{_new_name(e)}.{name}") for name in ("exp_avg", "exp_avg_sq"))
    step = e.sweep.record.step
    correct_m, correct_v = 1 - e.option("beta1") ** step, 1 - e.option("beta2") ** step
    shrunk = e.before_update * (1 - e.option("lr") * e.option("weight_decay"))
    root = sqrt(absolute(m)) / float(np.sqrt(correct_v)) + e.option("eps")
    return shrunk - (e.option("lr") / correct_m) * v / root


def _without_root(e: Evidence) -> Bounded:
    """p - lr m^ / (v^ + eps)."""
    m, v = (e.tensor(f"{_new_name(e)}.{name}") for name in ("exp_avg", "exp_avg_sq"))
    step = e.sweep.record.step
    shrunk = e.before_update * (1 - e.option("lr") * e.option("weight_decay"))
    m_hat, v_hat = m / (1 - e.option("beta1") ** step), v / (1 - e.option("beta2") ** step)
    return shrunk - e.option("lr") * m_hat / (v_hat + e.option("eps"))
