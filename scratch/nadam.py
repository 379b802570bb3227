"""NAdam: Adam whose momentum looks ahead, as Nesterov's does."""

from __future__ import annotations

import math

import numpy as np

from scratch.layers import Array, Layer
from scratch.optim import Adam, State


class NAdam(Adam):
    """m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;
    p <- p - lr (mu' m / (1 - M mu') + (1 - mu) g / (1 - M)) / (sqrt(v^) + eps).

    mu = b1 (1 - 0.96^(t d) / 2) at step t = 1, 2, ..., d the `momentum_decay`; mu' is that of step t + 1, M the product
    of mu of all steps so far, and v^ = v / (1 - b2^t). Weight decay is coupled, g <- g + wd p first, or, with
    `decoupled_weight_decay`, taken from the weight as AdamW's is, p <- p - lr wd p first. ValueError for an option that
    is below 0, or betas that are not in [0, 1).

    Dozat, Incorporating Nesterov Momentum into Adam, 2016, algorithm 2; torch.optim.NAdam.
    """

    def __init__(
        self,
        network: Layer,
        lr: float = 2e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
    ) -> None:
        super().__init__(network, lr, betas=betas, eps=eps, weight_decay=weight_decay)
        self.momentum_decay, self.decoupled_weight_decay = momentum_decay, decoupled_weight_decay
        self._at_least_zero(momentum_decay=momentum_decay)
        self._product = (0, 1.0)  # the last step whose M is known, and that M

    def update(self, p: Array, g: Array, state: State) -> None:
        if not self.decoupled_weight_decay:
            super().update(p, g, state)
            return
        p *= 1 - self.lr * self.weight_decay
        self._adaptive(p, g, state)

    def _adaptive(self, p: Array, g: Array, state: State) -> None:
        b1, b2 = self.betas
        m = state.setdefault("exp_avg", np.zeros_like(p))
        v = state.setdefault("exp_avg_sq", np.zeros_like(p))
        m += (1 - b1) * (g - m)
        v *= b2
        v += (1 - b2) * (g * g)
        root = np.sqrt(v) / math.sqrt(1 - b2**self.steps) + self.eps
        mu, ahead, product = self._mu(self.steps), self._mu(self.steps + 1), self._mu_product()
        p -= self.lr * (1 - mu) / (1 - product) * g / root
        p -= self.lr * ahead / (1 - product * ahead) * m / root

    def _mu(self, t: int) -> float:
        return self.betas[0] * (1 - 0.5 * 0.96 ** (t * self.momentum_decay))

    def _mu_product(self) -> float:
        """M of this step. An optimiser that goes on from a checkpoint makes it anew."""
        done, product = self._product if self._product[0] <= self.steps else (0, 1.0)
        for t in range(done + 1, self.steps + 1):
            product *= self._mu(t)
        self._product = self.steps, product
        return product

    @property
    def options(self) -> dict[str, float | bool]:
        own = {"momentum_decay": self.momentum_decay, "decoupled_weight_decay": self.decoupled_weight_decay}
        return super().options | own
