"""Adagrad: each step is divided by the root of all squared gradients so far, so that rare features keep their rate."""

import numpy as np

from scratch.layers import Array, Layer
from scratch.optim import Optimizer, State


class Adagrad(Optimizer):
    """s <- s + g^2;  p <- p - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps) at step t = 1, 2, ...

    s begins at `initial_accumulator_value`. Weight decay is coupled: g <- g + wd p first. ValueError for an option that
    is below 0. (Duchi, Hazan and Singer, Adaptive Subgradient Methods, JMLR 12, 2011, figure 1 with the diagonal
    matrix; torch.optim.Adagrad)
    """

    def __init__(
        self,
        network: Layer,
        lr: float = 1e-2,
        *,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        super().__init__(network, lr, weight_decay)
        self.lr_decay, self.initial_accumulator_value, self.eps = lr_decay, initial_accumulator_value, eps
        self._at_least_zero(lr_decay=lr_decay, initial_accumulator_value=initial_accumulator_value, eps=eps)

    def update(self, p: Array, g: Array, state: State) -> None:
        if self.weight_decay:
            g = g + self.weight_decay * p
        s = state.setdefault("sum", np.full_like(p, self.initial_accumulator_value))
        s += g * g
        rate = self.lr / (1 + (self.steps - 1) * self.lr_decay)
        p -= rate * g / (np.sqrt(s) + self.eps)

    @property
    def options(self) -> dict[str, float | bool]:
        return {
            "lr": self.lr,
            "lr_decay": self.lr_decay,
            "eps": self.eps,
            "weight_decay": self.weight_decay,
            "initial_accumulator_value": self.initial_accumulator_value,
        }
