"""GRU: h_t = (1 - z) n + z h_{t-1}."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

import scratch
import torch_ref.recurrent
from compare.operations.mistake import Mistake as M
from compare.operations.operation import Layer
from compare.operations.recurrent import (
    GRADIENTS,
    OF,
    Deltas,
    Passed,
    Recurrent,
    Weights,
    back,
    blocks_in_another_order,
    in_another_order,
    mistakes_of,
    parts_of,
    through,
)

GATES = "r, z, n"


@dataclass(frozen=True)
class GRU(Recurrent, Layer):  # type: ignore[misc]
    """With torch's names, its gates in torch's order, r, z, n, and the reset applied after the product with W_hh."""

    kind = "gru"
    scratch_type, torch_type = scratch.GRU, torch_ref.recurrent.GRU
    gates = 3
    parts: ClassVar = parts_of(
        "h_t = (1 - z) n + z h_{t-1}, n = tanh(a_t + r q_t), r z of a_t + q_t, a_t = W_ih x_t + b_ih, "
        "q_t = W_hh h_{t-1} + b_hh",
        "da_t from dh_t = dy_t + z dh_{t+1} + dq_{t+1} W_hh, dq_t = da_t, but r da_t in n",
        "dq_t",
    )

    def by_torch(self, x: Tensor, state: Tensor, weights: list[Tensor]) -> Tensor:
        y: Tensor = torch.gru(x, state, weights, self.bias, 1, 0.0, False, False, True)[0]
        return y

    def passed(
        self,
        x: Any,
        w: Weights,
        *,
        carries: bool = True,
        before: bool = False,
        exchanged: bool = False,
        resets: bool = True,
        **other: Any,
    ) -> Passed:
        """Whether r is applied `before` the product, z and 1 - z are exchanged, and r applied at all."""
        h = [x.step(0).zeros(self.hidden_size)]
        kept: dict[str, list[Any]] = {name: [] for name in ("r", "z", "n", "q")}
        for t in range(x.shape[1]):
            state = h[t if carries else 0]
            a, q = x.step(t).affine(w.ih, addends=w.b_ih), state.affine(w.hh, addends=w.b_hh)
            r, z = ((a.block(k, 3) + q.block(k, 3)).sigmoid() for k in (0, 1))
            q = (r * state).affine(w.hh, addends=w.b_hh) if before else q
            new = q.block(2, 3) if before or not resets else r * q.block(2, 3)
            n = (a.block(2, 3) + new).tanh()
            h.append(z * n + (1.0 - z) * state if exchanged else (1.0 - z) * n + z * state)
            for name, each in {"r": r, "z": z, "n": n, "q": q.block(2, 3)}.items():
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
        exchanged: bool = False,
        direct: bool = True,
        resets: bool = True,
        through_reset: bool = True,
        **other: Any,
    ) -> Deltas:
        """Whether z and 1 - z are exchanged, z dh goes on, dq has its r, and r has a gradient."""
        last = dy.shape[1] - 1
        dh = dy.step(0).zeros(self.hidden_size)
        da: list[Any] = []
        dq: list[Any] = []
        for t in range(last, -1, -1):
            r, z, n, q = (s.kept[name][t] for name in ("r", "z", "n", "q"))
            dh = dy.step(t) + dh if adds or t == last else dh
            dn = dh * (z if exchanged else 1.0 - z) * n.tanh_slope()
            dz = dh * (s.h[t] - n) * z.sigmoid_slope()
            dr = dn * q * r.sigmoid_slope() if through_reset else dn * 0.0
            da.append(dy.joined((dr, dz, dn)))
            dq.append(dy.joined((dr, dz, dn * r if resets else dn)))
            on = dq[-1].affine(w.hh.T)
            on = on + dh * (1.0 - z if exchanged else z) if direct else on
            dh = on if carries else dh * 0.0
        return Deltas(da[::-1], dq[::-1])


# --- what people get wrong ---

CALL = f"gru{OF}"
Y = f"{CALL})['output']"

# fmt: off
MISTAKES = mistakes_of(
    "gru",
    [
        M("gates-in-another-order", in_another_order(GATES),
          "blocks of the weights are taken for the gates {}, not for r, z, n", listed=True,
          wrong=f"{CALL}, order=[1, 0, 2])['output']", right=Y),
        M("reset-before-product", through(before=True), "r is applied to h before the product with W_hh, not after it: "
          "Cho's form, not torch's",
          wrong=f"{CALL}, before=True)['output']", right=Y),
        M("update-gate-exchanged", through(exchanged=True), "z and 1 - z are exchanged: h_t = z n + (1 - z) h",
          wrong=f"{CALL}, exchanged=True)['output']", right=Y),
        M("reset-left-out", through(resets=False), "r is not applied: n = tanh(a_t + q_t)",
          wrong=f"{CALL}, resets=False)['output']", right=Y),
    ],
    [
        ("update-gate-exchanged", "z and 1 - z are exchanged on the way back", {"exchanged": True}, "exchanged=True"),
        ("direct-path-lost", "z dh_t does not go on to the step before: only the path through W_hh is left",
         {"direct": False}, "direct=False"),
        ("reset-path-lost", "the reset gate has no gradient", {"through_reset": False}, "through_reset=False"),
    ],
)
for _part in (*GRADIENTS, "grad_input"):
    MISTAKES[_part].append(
        M("reset-left-out", back(resets=False), "dq_t = da_t: r is left out in the block n",
          wrong=f"{CALL}, dy, resets=False)['{_part}']", right=f"{CALL}, dy)['{_part}']"))
for _part in GRADIENTS:
    MISTAKES[_part].append(
        M("gates-in-another-order", blocks_in_another_order(GATES), "its blocks are those of the gates {}, not of "
          "r, z, n", listed=True,
          wrong=f"gates({CALL}, dy)['{_part}'], [1, 0, 2])", right=f"{CALL}, dy)['{_part}']"))
# fmt: on

GRU.mistakes = MISTAKES
