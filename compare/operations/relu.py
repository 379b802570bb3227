"""ReLU: y = max(x, 0)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

import scratch
from compare.numbers.allowance import Allowance, Precision
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded, clip, relu, sigmoid, tanh, where
from compare.operations.any_activation import dropout_scaling, other_slope
from compare.operations.letters import Letters
from compare.operations.mistake import LIMITS, Guess, Unseen, dropped
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Activation, Part


@dataclass(frozen=True)
class ReLU(Activation):
    """It selects, so no difference is allowed in either of its tensors; torch's derivative at 0 is 0."""

    kind = "relu"
    scratch_type, torch_type = scratch.ReLU, nn.ReLU
    parts: ClassVar = {
        "output": Part.of("y = max(x, 0)", "x"),
        "grad_input": Part.of("dx = dy where x > 0, else 0", "x dy"),
    }
    function = staticmethod(torch.relu)
    bounded = staticmethod(relu)
    kinked = True
    unseen = Unseen("no pre-activation is negative", lambda e: bool((e.x.value > 0).all()))

    def allowed(self, x: Array, y: Array, p: Precision) -> Allowance:
        return Allowance.none(y.shape)

    def allowed_grad(self, x: Array, dy: Array, p: Precision) -> Allowance:
        return Allowance.none(dy.shape)

    def needs(self, part: str, has: Callable[[str], bool]) -> tuple[str, ...]:
        """The mask of y is that of x; y serves where only that was handed in."""
        if part == "grad_input" and has("y") and not has("x"):
            return "y", "dy"
        return super().needs(part, has)


# --- what people get wrong ---


def _masks(e: Letters) -> Iterator[Guess]:
    for name, other in e.others(e.x, ("input", "output", "grad_output")):
        yield where(other.value > 0, e.dy, 0.0, e.p), name


def _mask_of_row(e: Letters, row: int) -> Bounded:
    return where(np.broadcast_to(e.x.value[row] > 0, e.x.shape), e.dy, 0.0, e.p)


def _overwritten_mask(e: Letters) -> Iterator[Guess]:
    for name, words in ((f"{e.k - 1}.output", "x"), (f"{e.k}.input", "x"), (f"{e.k}.output", "y")):
        if name in e.touched:
            yield where(e.now(name).value > 0, e.dy, 0.0, e.p), words


# fmt: off
MISTAKES = {
    "output": [
        M("activation-missing", lambda e: e.x * 1.0, "the activation is missing: y = x",
          wrong="x", right="relu(x)"),
        M("leaky-relu", other_slope(lambda e: e.x), "a leaky ReLU of slope {} where x < 0, not max(x, 0)",
          wrong="np.where(x > 0, x, 0.01 * x)", right="np.where(x > 0, x, 0)"),
        M("relu-wrong-side", lambda e: where(e.x.value < 0, e.x, 0.0, e.p), "y = min(x, 0): the wrong side",
          wrong="np.minimum(x, 0)", right="np.maximum(x, 0)"),
        M("absolute-value", lambda e: where(e.x.value > 0, e.x, -e.x, e.p), "y = |x|, not max(x, 0)",
          wrong="np.abs(x)", right="(x + np.abs(x)) / 2"),
        M("dropout-left-in", dropped, "some elements are dropped, {}: dropout is left on", rank=1,
          wrong="relu(x) * (np.random.default_rng(step).random(x.shape) < 0.8) / 0.8", right="relu(x)"),
        M("relu-clipped", lambda e: ((clip(relu(e.x), 0, c), f"{c:g}") for c in LIMITS), "y is cut off at {}",
          listed=True,
          wrong="np.clip(x, 0, 6)", right="relu(x)", case={"scale": 20}),
        M("wrong-activation", lambda e: sigmoid(e.x), "the activation is a sigmoid, not ReLU",
          wrong="1 / (1 + np.exp(-x))", right="relu(x)"),
        M("wrong-activation", lambda e: tanh(e.x), "the activation is a tanh, not ReLU",
          wrong="np.tanh(x)", right="relu(x)"),
        M("dropout-scaling", dropout_scaling, "it is {}: dropout's scaling is left in", rank=1,
          wrong="relu(x) / 0.8", right="relu(x)"),
    ],
    "grad_input": [
        M("overwritten-before-use", _overwritten_mask, "the mask is taken of {} after it was overwritten",
          wrong="dy * (after('0.output') > 0)", right="dy * (x > 0)", case={"touched": {"0.output": "it - 0.3"}}),
        M("derivative-missing", lambda e: e.dy * 1.0, "the mask is missing: dx = dy everywhere",
          wrong="dy", right="dy * (x > 0)"),
        M("relu-mask-at-zero", lambda e: where(e.x.value >= 0, e.dy, 0.0, e.p),
          "the mask is x >= 0, and lets the gradient through at x = 0",
          unseen=Unseen("no pre-activation is exactly 0", lambda e: not (e.x.value == 0).any()),
          wrong="dy * (x >= 0)", right="dy * (x > 0)", case={"zero_row": True, "bias": 0}),
        M("relu-mask-inverted", lambda e: where(e.x.value <= 0, e.dy, 0.0, e.p),
          "the mask is inverted: dx = dy where x <= 0",
          wrong="dy * (x <= 0)", right="dy * (x > 0)"),
        M("relu-mask-inverted", lambda e: where(e.x.value < 0, e.dy, 0.0, e.p),
          "the mask is inverted: dx = dy where x < 0",
          wrong="dy * (x < 0)", right="dy * (x > 0)", case={"zero_row": True, "bias": 0}),
        M("relu-mask-from-gradient", lambda e: where(e.dy.value > 0, e.dy, 0.0, e.p),
          "the mask is dy > 0: it must come from x, not from the gradient",
          wrong="dy * (dy > 0)", right="dy * (x > 0)"),
        M("relu-mask-from-gradient", lambda e: where((e.dy.value > 0) & (e.x.value > 0), e.dy, 0.0, e.p),
          "the mask is x > 0 and dy > 0: only x counts",
          wrong="dy * ((x > 0) & (dy > 0))", right="dy * (x > 0)"),
        M("leaky-relu", other_slope(lambda e: e.dy), "the derivative where x < 0 is {}, not 0",
          wrong="np.where(x > 0, dy, 0.01 * dy)", right="np.where(x > 0, dy, 0)"),
        M("upstream-gradient-missing", lambda e: where(e.x.value > 0, e.dy * 0.0 + 1.0, 0.0, e.p),
          "dx is the mask alone: dy is left out",
          wrong="np.where(x > 0, 1, 0)", right="dy * np.where(x > 0, 1, 0)"),
        M("value-for-derivative", lambda e: e.dy * relu(e.x), "dx = dy y: the output is taken for the derivative",
          wrong="dy * np.maximum(x, 0)", right="dy * (x > 0)"),
        M("value-for-derivative", lambda e: e.dy * e.x, "dx = dy x: the input is taken for the derivative",
          wrong="dy * x", right="dy * (x > 0)"),
        M("relu-sign-for-mask", lambda e: e.dy * np.sign(e.x.value), "the derivative is sign(x): -1 where x < 0, not 0",
          wrong="dy * np.sign(x)", right="dy * np.heaviside(x, 0)"),
        M("relu-mask-of-integers", lambda e: where(np.trunc(e.x.value) > 0, e.dy, 0.0, e.p),
          "the mask is x >= 1: x is cut to whole numbers first",
          wrong="dy * (x.astype(int) > 0)", right="dy * (x > 0)", case={"scale": 3}),
        M("relu-mask-of-one-sample", lambda e: _mask_of_row(e, -1), "the mask of the last sample is applied to all",
          wrong="dy * (x[-1] > 0)", right="dy * (x > 0)"),
        M("relu-mask-of-one-sample", lambda e: _mask_of_row(e, 0), "the mask of the first sample is applied to all",
          wrong="dy * (x[0] > 0)", right="dy * (x > 0)"),
        M("value-for-gradient", lambda e: relu(e.x), "dx is the output y: no gradient at all",
          wrong="np.maximum(x, 0)", right="dy * (x > 0)"),
        M("previous-batch", lambda e: where(e.before(f"{e.k}.input").value > 0, e.dy, 0.0, e.p),
          "the mask is that of the step before",
          wrong="dy * (before.x > 0)", right="dy * (x > 0)", case={"rows": (6, 6, 6)}),
        M("relu-mask-from-elsewhere", _masks, "the mask is that of {}", rank=1,
          wrong="dy * (tensor('1.input') > 0)", right="dy * (tensor('3.input') > 0)",
          case={"network": "5-6-6-6 relu, softmax cross-entropy", "layer": 3}),
    ],
}
# fmt: on

ReLU.mistakes = MISTAKES
