"""LSTM: c_t = f c_{t-1} + i g, h_t = o tanh(c_t)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

import scratch
import torch_ref.recurrent
from compare.numbers.bounded import Bounded
from compare.operations.letters import Absent, Letters
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Layer
from compare.operations.recurrent import (
    GRADIENTS,
    OF,
    Deltas,
    Passed,
    Recurrent,
    Weights,
    blocks_in_another_order,
    forward,
    in_another_order,
    mistakes_of,
    output,
    parts_of,
    through,
)

GATES = "i, f, g, o"


@dataclass(frozen=True)
class LSTM(Recurrent, Layer):  # type: ignore[misc]
    """With torch's names, and its gates in torch's order: i, f, g, o."""

    kind = "lstm"
    scratch_type, torch_type = scratch.LSTM, torch_ref.recurrent.LSTM
    gates = 4
    parts: ClassVar = parts_of(
        "h_t = o tanh(c_t), c_t = f c_{t-1} + i g, i f g o of a_t = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh",
        "da_t from dh_t = dy_t + da_{t+1} W_hh and dc_t = dh_t o (1 - tanh^2 c_t) + f_{t+1} dc_{t+1}",
    )

    def by_torch(self, x: Tensor, state: Tensor, weights: list[Tensor]) -> Tensor:
        y: Tensor = torch.lstm(x, (state, state), weights, self.bias, 1, 0.0, False, False, True)[0]
        return y

    def passed(
        self,
        x: Any,
        w: Weights,
        *,
        carries: bool = True,
        keeps: bool = True,
        forgets: bool = True,
        squashes: bool = True,
        **other: Any,
    ) -> Passed:
        """Whether the cell is kept from step to step, is multiplied by f, and goes through a tanh."""
        h = [x.step(0).zeros(self.hidden_size)]
        kept: dict[str, list[Any]] = {"c": h[:], **{name: [] for name in ("i", "f", "g", "o", "s")}}
        for t in range(x.shape[1]):
            a = x.step(t).affine(w.ih, (h[t if carries else 0], w.hh), addends=(*w.b_ih, *w.b_hh))
            i, f, o = (a.block(k, 4).sigmoid() for k in (0, 1, 3))
            g = a.block(2, 4).tanh()
            before = kept["c"][t if keeps else 0]
            c = (f * before if forgets else before) + i * g
            s = c.tanh() if squashes else c
            h.append(o * s)
            for name, each in {"c": c, "i": i, "f": f, "g": g, "o": o, "s": s}.items():
                kept[name].append(each)
        return Passed(h, kept)

    def deltas(
        self,
        s: Passed,
        w: Weights,
        dy: Any,
        *,
        carries: bool = True,
        adds: bool = True,
        keeps: bool = True,
        forgets: bool = True,
        squashes: bool = True,
        sums: bool = True,
        **other: Any,
    ) -> Deltas:
        """Whether dc is kept from step to step, multiplied by f and by tanh', and added to that of h."""
        last = dy.shape[1] - 1
        dh = dc = dy.step(0).zeros(self.hidden_size)
        da: list[Any] = []
        for t in range(last, -1, -1):
            c, i, f, g, o, z = (s.kept[name][t] for name in ("c", "i", "f", "g", "o", "s"))
            dh = dy.step(t) + dh if adds or t == last else dh
            of_h = dh * o * z.tanh_slope() if squashes else dh * o
            dc = dc + of_h if sums or t == last else dc
            gates = (
                dc * g * i.sigmoid_slope(),
                dc * c * f.sigmoid_slope(),
                dc * i * g.tanh_slope(),
                dh * z * o.sigmoid_slope(),
            )
            da.append(dy.joined(gates))
            dc = (dc * f if forgets else dc) if keeps else dc * 0.0
            dh = da[-1].affine(w.hh.T) if carries else dh * 0.0
        back = da[::-1]
        return Deltas(back, back)


# --- what people get wrong ---


def _forget_bias(e: Letters) -> Bounded:
    """1 added to the forget gate's."""
    w, h = Weights.in_letters(e), e.operation.hidden_size
    if not w.b_ih:
        raise Absent("a bias")
    one = np.zeros(4 * h)
    one[h : 2 * h] = 1
    return output(e, w=replace(w, b_ih=(w.b_ih[0] + one,)))


def _cell(e: Letters) -> Bounded:
    kept: list[Any] = forward(e).kept["c"][1:]
    found: Bounded = kept[0].stacked(kept).bounded(e.p)
    return found


CALL = f"lstm{OF}"
Y = f"{CALL})['output']"

# fmt: off
MISTAKES = mistakes_of(
    "lstm",
    [
        M("gates-in-another-order", in_another_order(GATES),
          "blocks of the weights are taken for the gates {}, not for i, f, g, o", listed=True,
          wrong=f"{CALL}, order=[0, 1, 3, 2])['output']", right=Y),
        M("cell-not-squashed", through(squashes=False), "h_t = o c_t: the tanh of the cell is left out",
          wrong=f"{CALL}, squashes=False)['output']", right=Y),
        M("cell-not-forgotten", through(forgets=False), "c_t = c + i g: the forget gate is left out",
          wrong=f"{CALL}, forgets=False)['output']", right=Y),
        M("cell-not-carried", through(keeps=False), "c_t = i g: the cell of the step before is lost",
          wrong=f"{CALL}, keeps=False)['output']", right=Y),
        M("forget-bias-added", _forget_bias, "1 is added to the bias of the forget gate",
          wrong=f"{CALL.replace('b_ih', 'b_ih + np.repeat([0, 1, 0, 0], 6)')})['output']", right=Y),
        M("cell-for-state", _cell, "y_t is the cell c_t, not the state h_t",
          wrong=f"{CALL})['cell']", right=Y),
    ],
    [
        ("cell-gradient-not-carried", "dc is not carried back: the cell's own path is lost", {"keeps": False},
         "keeps=False"),
        ("forget-path-lost", "dc is carried back without the forget gate", {"forgets": False},
         "forgets=False"),
        ("cell-derivative-missing", "dc_t = dh_t o: the derivative of the cell's tanh is left out",
         {"squashes": False}, "squashes=False"),
        ("cell-gradient-overwritten", "dc_t is the carried one alone: that of h_t is not added, but in the last step",
         {"sums": False}, "sums=False"),
    ],
)
for _part in GRADIENTS:
    MISTAKES[_part].append(
        M("gates-in-another-order", blocks_in_another_order(GATES),
          "its blocks are those of the gates {}, not of i, f, g, o", listed=True,
          wrong=f"gates({CALL}, dy)['{_part}'], [0, 1, 3, 2])", right=f"{CALL}, dy)['{_part}']"))
# fmt: on

LSTM.mistakes = MISTAKES
