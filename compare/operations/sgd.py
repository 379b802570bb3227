"""SGD: plain, with momentum, or Nesterov's; v <- mu v + (1 - dampening) g, p <- p - lr v."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.optim.sgd import sgd

import scratch
from compare.numbers.allowance import Allowance, Precision
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, clip
from compare.operations.any_update import decays, gradients_of_others, other_gradients, states_of_others, updated
from compare.operations.letters import Absent, Letters
from compare.operations.mistake import Guess, shortest
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Optimizer, Options

Velocity = Callable[[Bounded, Bounded, float], Bounded]  # what it becomes, of what it was, the gradient and mu


class SGD(Optimizer):
    """torch.optim.SGD."""

    kind = "SGD"
    scratch_type, torch_type = scratch.SGD, torch.optim.SGD
    states = ("momentum_buffer",)
    options = ("lr", "momentum", "dampening", "weight_decay", "nesterov")
    parts: ClassVar = {"": "p <- p - lr v", "momentum_buffer": "v <- mu v + g (v = g at the first step)"}

    def kept(self, options: Options) -> tuple[str, ...]:
        return self.states if options.get("momentum") else ()

    def allowed(
        self, options: Options, step: int, before: Array, g: Array, state: Mapping[str, Array], p: Precision
    ) -> dict[str, Allowance]:
        """p - lr v: so many roundings on each term of the update, of the sum of the sizes of all.

        g + wd p has 3 on wd p (factor, product, sum), and lr and the difference add 3: 6. The velocity adds 3 (the
        factor 1 - dampening, its product, the sum): 9, of which it carries 6 itself. Nesterov's g + mu v is never
        dampened, and adds 4 to the 6 (the velocity's sum, mu, its product, the sum): 10. What may overflow on the way
        is the sum of the sizes before lr, or a dampening, makes them smaller.
        """
        lr, mu = float(options["lr"]), float(options.get("momentum", 0))
        terms = np.abs(g) + float(options.get("weight_decay", 0)) * np.abs(before)
        buffer = terms
        if "momentum_buffer" in state:
            buffer = mu * np.abs(state["momentum_buffer"]) + abs(1 - float(options.get("dampening", 0))) * terms
        direction = terms + mu * buffer if options.get("nesterov") else (buffer if mu else terms)
        on_the_way = np.maximum(terms, buffer)
        reach = np.abs(before) + np.maximum(on_the_way, direction)
        roundings = 10 if options.get("nesterov") else 9 if mu else 6
        allowances = {"": _allowed(roundings, np.abs(before) + lr * direction, p, reach)}
        return allowances | ({"momentum_buffer": _allowed(6, buffer, p, on_the_way)} if mu else {})

    def stepped(
        self, options: Options, step: int, parameter: Tensor, g: Tensor, state: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        buffers = [state.get("momentum_buffer")]
        sgd([parameter], [g], buffers, maximize=False, foreach=False, **options)  # type: ignore[arg-type]
        return {"momentum_buffer": buffers[0]} if buffers[0] is not None else {}

    def written(
        self,
        e: Letters,
        g: Bounded | None = None,
        decay: str = "right",
        times: int = 1,
        nesterov: bool | None = None,
        velocity: Velocity | None = None,
        first: bool = True,
    ) -> Bounded:
        """`velocity`: another than mu v + (1 - dampening) g. `first`: it begins as g."""
        lr, mu = e.option("lr"), e.option("momentum")
        coupled, decoupled = decays(e, decay, "coupled", times)
        before, g = e.before_update, e.g if g is None else g
        g = g + coupled * before if coupled else g
        if not mu and (velocity or nesterov is not None):
            raise Absent("momentum")
        held, v = e.state("momentum_buffer"), g
        if not first or e.has(e.parameter.with_state("momentum_buffer")):
            v = velocity(held, g, mu) if velocity else mu * held + (1 - e.option("dampening")) * g
        if e.part:
            return v
        nesterov = bool(e.option("nesterov")) if nesterov is None else nesterov
        direction = (g + mu * v if nesterov else v) if mu else g
        return before * (1 - lr * decoupled) - lr * direction * float(times)


def _averaged(v: Bounded, g: Bounded, mu: float) -> Bounded:
    return mu * v + (1 - mu) * g


def _allowed(roundings: int, terms: Array, p: Precision, reach: Array) -> Allowance:
    return Allowance(roundings * p.u * terms + 4 * p.subnormal, reach=(1 + roundings * p.u) * reach)


# --- what people get wrong ---


def _implied(e: Letters) -> Bounded:
    """The gradient that explains a plain SGD step: (before - after) / lr. Absent for any other optimiser."""
    if e.option("momentum") or e.option("weight_decay"):
        raise Absent("a plain SGD step")
    return Bounded((e.before_update.value - e.got) / e.option("lr"), e.ref.error / e.option("lr"), e.p)


def _clipped_gradient(e: Letters) -> Iterator[Guess]:
    implied = _implied(e)
    limit = shortest(float(np.abs(implied.value).max()), 2 * float(implied.error.max()))
    if limit < np.abs(e.g.value).max():
        yield updated(e, g=clip(e.g, -limit, limit)), f"[-{limit:g}, {limit:g}]"


def _clipped_gradient_norm(e: Letters) -> Iterator[Guess]:
    implied = _implied(e)
    error = 2 * float(np.linalg.norm(implied.error))
    norm, true = shortest(float(np.linalg.norm(implied.value)), error), float(np.linalg.norm(e.g.value))
    if norm < true:
        scale = Bounded(np.array(norm / true), np.array(error / true), e.p)
        yield updated(e, g=e.g * scale), f"{norm:g}"


def _with(e: Letters, option: str) -> float:
    """The option's value, where it is not 0: else these mistakes cannot be made."""
    value = e.option(option)
    if not value:
        raise Absent(option)
    return value


def _undampened(e: Letters) -> Bounded:
    """mu v + g, where g should be dampened."""
    _with(e, "dampening")
    return e.option("momentum") * e.state("momentum_buffer") + e.g


# What examples have in common: their cases, and the correct expressions.
MOMENTUM = {"optimizer": {"kind": "SGD", "lr": 0.1, "momentum": 0.9}}
PLAIN = {"optimizer": {"kind": "SGD", "lr": 0.1}}

# fmt: off
MISTAKES = {
    "parameter": [
        M("momentum-missing", lambda e: updated(e, velocity=lambda v, g, mu: g), "the momentum is left out",
          wrong="p - lr * g", right="p - lr * new_mom", case=MOMENTUM),
        M("nesterov-missing", lambda e: updated(e, nesterov=False), "it is the plain momentum step, not Nesterov's",
          wrong="p - lr * new_mom", right="p - lr * (g + mu * new_mom)",
          case={"optimizer": {"kind": "SGD", "lr": 0.1, "momentum": 0.9, "nesterov": True}}),
        M("nesterov-unasked", lambda e: updated(e, nesterov=True), "it is Nesterov's step, not the plain one",
          wrong="p - lr * (g + mu * new_mom)", right="p - lr * new_mom", case=MOMENTUM),
        M("momentum-order", lambda e: updated(e, velocity=lambda v, g, mu: mu * v / e.option("lr") + g),
          "the step uses the velocity with the learning rate inside",
          wrong="p - (mu * mom + lr * g)", right="p - lr * (mu * mom + g)", case=MOMENTUM),
        M("momentum-order",
          lambda e: e.before_update - (_with(e, "momentum") and e.option("lr")) * e.state("momentum_buffer"),
          "the step is taken before the velocity takes in the gradient",
          wrong="p - lr * mom", right="p - lr * new_mom", case=MOMENTUM),
        M("momentum-and-gradient",
          lambda e: e.before_update - e.option("lr") * (e.g + e.tensor(f"{e.parameter.new}.momentum_buffer")),
          "both the velocity and the gradient itself move the parameter",
          wrong="p - lr * (g + new_mom)", right="p - lr * new_mom", case=MOMENTUM),
        M("momentum-order",
          lambda e: e.before_update - e.option("lr") * (e.tensor(f"{e.parameter.new}.momentum_buffer") + _with(e,
          "momentum") * e.g), "v + mu g in the place of g + mu v",
          wrong="p - lr * (new_mom + mu * g)", right="p - lr * (g + mu * new_mom)",
          case={"optimizer": {"kind": "SGD", "lr": 0.1, "momentum": 0.9, "nesterov": True}}),
        M("gradient-clipped", _clipped_gradient, "the gradient is clipped to {} before the step", rank=1,
          wrong="p - lr * np.clip(g, -0.01, 0.01)", right="p - lr * g", case=PLAIN),
        M("gradient-clipped", _clipped_gradient_norm, "the gradient is scaled to a norm of {} before the step", rank=1,
          wrong="p - lr * g * (0.1 / np.linalg.norm(g))", right="p - lr * g", case=PLAIN),
    ],
    "momentum_buffer": [
        M("wrong-gradient", gradients_of_others, "the gradient is {}", rank=1,
          wrong="mu * mom + tensor(\"0.grad_weight\")", right="mu * mom + g",
          case={"optimizer": {"kind": "SGD", "lr": 0.1, "momentum": 0.9},
          "network": "5-5-5 relu, softmax cross-entropy"}),
        M("state-shared", states_of_others, "its velocity before the step is {}", rank=1,
          wrong="mu * tensor(\"0.new_weight.momentum_buffer\") + g", right="mu * mom + g",
          case={"optimizer": {"kind": "SGD", "lr": 0.1, "momentum": 0.9},
          "network": "5-5-5 relu, softmax cross-entropy"}),
        M("moving-average-not-decayed", lambda e: e.state("momentum_buffer") + e.g,
          "v <- v + g: what it held is not multiplied by mu",
          wrong="mom + g", right="mu * mom + g", case=MOMENTUM),
        M("dampening-missing", _undampened, "the gradient lacks its factor 1 - dampening",
          wrong="mu * mom + g", right="mu * mom + (1 - damp) * g if step > 1 else g",
          case={"optimizer": {"kind": "SGD", "lr": 0.1, "momentum": 0.9, "dampening": 0.5}}),
        M("momentum-averaged", lambda e: updated(e, velocity=_averaged), "v <- mu v + (1 - mu) g",
          wrong="mu * mom + (1 - mu) * g if step > 1 else g", right="mu * mom + g", case=MOMENTUM),
        M("momentum-averaged", lambda e: updated(e, velocity=_averaged, first=False), "v <- mu v + (1 - mu) g",
          wrong="mu * mom + (1 - mu) * g", right="mu * mom + g",
          case={"optimizer": {"kind": "SGD", "lr": 0.05, "momentum": 0.9}}),
        M("momentum-order", lambda e: updated(e, velocity=lambda v, g, mu: mu * v + e.option("lr") * g, first=False),
          "v <- mu v + lr g: the learning rate is inside",
          wrong="mu * mom + lr * g", right="mu * mom + g",
          case={"optimizer": {"kind": "SGD", "lr": 0.05, "momentum": 0.9}}),
        M("momentum-missing", lambda e: updated(e, velocity=lambda v, g, mu: g), "v <- g: the momentum is left out",
          wrong="g", right="mu * mom + g", case=MOMENTUM),
        M("momentum-order", lambda e: updated(e, velocity=lambda v, g, mu: mu * (v + g)),
          "v <- mu (v + g): the gradient is added before the decay",
          wrong="mu * (mom + g) if step > 1 else g", right="mu * mom + g", case=MOMENTUM),
        M("weight-decay-missing", lambda e: updated(e, decay="none"), "the weight decay is missing",
          wrong="mu * mom + g", right="mu * mom + g + wd * p",
          case={"optimizer": {"kind": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}}),
        M("wrong-gradient", other_gradients, "the gradient is {}",
          wrong="mu * mom - g", right="mu * mom + g", case=MOMENTUM),
    ],
}
# fmt: on

SGD.mistakes = MISTAKES
