"""RNN: h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

import scratch
import torch_ref.recurrent
from compare.numbers.allowance import Precision
from compare.numbers.array import Array
from compare.numbers.bounded import Bounded
from compare.numbers.carried import Carried
from compare.operations.letters import Letters
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Layer
from compare.operations.recurrent import (
    OF,
    Deltas,
    Passed,
    Recurrent,
    Weights,
    forward,
    mistakes_of,
    output,
    parts_of,
    through,
)

Nonlinearity = Literal["tanh", "relu"]


@dataclass(frozen=True)
class RNN(Recurrent, Layer):  # type: ignore[misc]
    """Elman's network, with torch's names; `nonlinearity` may be relu."""

    kind = "rnn"
    scratch_type, torch_type = scratch.RNN, torch_ref.recurrent.RNN
    gates = 1
    parts: ClassVar = parts_of(
        "h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), f tanh or ReLU",
        "da_t = (dy_t + da_{t+1} W_hh) f'",
    )

    nonlinearity: Nonlinearity = "tanh"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNN: got nonlinearity={self.nonlinearity!r}, expected 'tanh' or 'relu'")

    def by_torch(self, x: Tensor, state: Tensor, weights: list[Tensor]) -> Tensor:
        run = torch.rnn_tanh if self.nonlinearity == "tanh" else torch.rnn_relu
        y: Tensor = run(x, state, weights, self.bias, 1, 0.0, False, False, True)[0]
        return y

    def decided(self, arrays: Sequence[Array], p: Precision) -> bool:
        if self.nonlinearity == "tanh":
            return True
        s = self._run(arrays[: 1 + len(self.parameters())], lambda a: Carried.of(a, p))
        return not any(bool(a.relu_slope().error.any()) for a in s.kept["a"])

    def passed(
        self, x: Any, w: Weights, *, carries: bool = True, nonlinearity: Nonlinearity | None = None, **other: Any
    ) -> Passed:
        tanh = (nonlinearity or self.nonlinearity) == "tanh"
        a: list[Any] = []
        h = [x.step(0).zeros(self.hidden_size)]
        for t in range(x.shape[1]):
            a.append(x.step(t).affine(w.ih, (h[t if carries else 0], w.hh), addends=(*w.b_ih, *w.b_hh)))
            h.append(a[t].tanh() if tanh else a[t].relu())
        return Passed(h, {"a": a})

    def slope(self, s: Passed, t: int) -> Any:
        """f' of step t."""
        return s.h[t + 1].tanh_slope() if self.nonlinearity == "tanh" else s.kept["a"][t].relu_slope()

    def deltas(
        self,
        s: Passed,
        w: Weights,
        dy: Any,
        *,
        carries: bool = True,
        adds: bool = True,
        reach: int | None = None,
        transposed: bool = False,
        slope: Callable[[Passed, int], Any] | None = None,
        **other: Any,
    ) -> Deltas:
        """`reach` says over how many steps the gradient goes back; `slope` stands for f'."""
        last, matrix, f = dy.shape[1] - 1, w.hh if transposed else w.hh.T, slope or self.slope
        da: list[Any] = []
        dh = alone = dy.step(0).zeros(self.hidden_size)
        for t in range(last, -1, -1):
            da.append((dy.step(t) + dh if adds or t == last else dh) * f(s, t))
            alone = dy.step(t) * f(s, t)
            dh = (da[-1] if reach is None else alone).affine(matrix) if carries else alone * 0.0
        back = da[::-1]
        return Deltas(back, back)


# --- what people get wrong ---


def _transposed(e: Letters) -> Bounded:
    w = Weights.in_letters(e)
    return output(e, w=replace(w, hh=w.hh.T))


def _arguments(e: Letters) -> Bounded:
    a: list[Any] = forward(e).kept["a"]
    found: Bounded = a[0].stacked(a).bounded(e.p)
    return found


CALL = f"rnn{OF}"
Y = f"{CALL})['output']"
RELU = {"network": "RNN(3, 6, nonlinearity='relu', batch_first=True), Flatten, Linear(30, 4); CrossEntropyLoss"}

# fmt: off
MISTAKES = mistakes_of(
    "rnn",
    [
        M("weight-transposed", _transposed, "W_hh is transposed: h W_hh, not h W_hh^T",
          wrong=Y.replace("W_hh", "W_hh.T"), right=Y),
        M("wrong-activation", through(nonlinearity="relu"), "the activation is a ReLU, not a tanh",
          wrong=f"{CALL}, f=relu)['output']", right=Y),
        M("wrong-activation", through(nonlinearity="tanh"), "the activation is a tanh, not a ReLU",
          wrong=Y, right=f"{CALL}, f=relu)['output']", case=RELU),
        M("activation-missing", _arguments,
          "the activation is not applied to what leaves: y_t is its argument",
          wrong=f"np.arctanh({Y})", right=Y),
    ],
    [
        ("truncated", "the gradient goes back one time step only", {"reach": 1}, "reach=1"),
        ("weight-transposed", "W_hh is transposed on the way back: da W_hh^T, not da W_hh", {"transposed": True},
         "transposed=True"),
        ("derivative-missing", "the derivative of the tanh is left out", {"slope": lambda s, t: s.h[t + 1] * 0.0 + 1.0},
         "slope=lambda a, h, before: 1"),
        ("wrong-derivative", "1 - a_t^2 in the place of 1 - h_t^2: the tanh's derivative at its argument",
         {"slope": lambda s, t: s.kept["a"][t].tanh_slope()}, "slope=lambda a, h, before: 1 - a**2"),
        ("wrong-derivative", "the tanh's derivative is taken of the state before each step, not of that after it",
         {"slope": lambda s, t: s.h[t].tanh_slope()}, "slope=lambda a, h, before: 1 - before**2"),
        ("wrong-derivative", "1 - h_t in the place of 1 - h_t^2", {"slope": lambda s, t: 1.0 - s.h[t + 1]},
         "slope=lambda a, h, before: 1 - h"),
    ],
)
# fmt: on

RNN.mistakes = MISTAKES
