"""RMSprop: each step is divided by the root of a running mean of g^2, so that all weights move alike."""

import numpy as np

from scratch.layers import Array, Layer
from scratch.optim import Optimizer, State


class RMSprop(Optimizer):
    """v <- alpha v + (1 - alpha) g^2;  p <- p - lr g / (sqrt(v) + eps).

    With `momentum`, b <- mu b + g / (sqrt(v) + eps) and p <- p - lr b. With `centered`, v - a^2 stands in the place of
    v, where a <- alpha a + (1 - alpha) g. Weight decay is coupled: g <- g + wd p first. ValueError for an option that
    is below 0, or an alpha that is not below 1. (Hinton, Neural Networks for Machine Learning, 2012, lecture 6e;
    centered: Graves, Generating Sequences With Recurrent Neural Networks, 2013, section 4.2; torch.optim.RMSprop)
    """

    def __init__(
        self,
        network: Layer,
        lr: float = 1e-2,
        *,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        super().__init__(network, lr, weight_decay)
        self.alpha, self.eps, self.momentum, self.centered = alpha, eps, momentum, centered
        self._at_least_zero(eps=eps, momentum=momentum)
        if not 0 <= alpha < 1:
            raise ValueError(f"RMSprop: got alpha={alpha}, expected it in [0, 1)")

    def update(self, p: Array, g: Array, state: State) -> None:
        if self.weight_decay:
            g = g + self.weight_decay * p
        step = g / (np.sqrt(self._mean_square(g, state)) + self.eps)
        p -= self.lr * (self._velocity(step, state) if self.momentum else step)

    def _mean_square(self, g: Array, state: State) -> Array:
        """v, or v - a^2, the variance of g."""
        v = state.setdefault("square_avg", np.zeros_like(g))
        v *= self.alpha
        v += (1 - self.alpha) * (g * g)
        if not self.centered:
            return v
        a = state.setdefault("grad_avg", np.zeros_like(g))
        a += (1 - self.alpha) * (g - a)
        return v - a * a

    def _velocity(self, step: Array, state: State) -> Array:
        b = state.setdefault("momentum_buffer", np.zeros_like(step))
        b *= self.momentum
        b += step
        return b

    @property
    def options(self) -> dict[str, float | bool]:
        return {
            "lr": self.lr,
            "alpha": self.alpha,
            "eps": self.eps,
            "weight_decay": self.weight_decay,
            "momentum": self.momentum,
            "centered": self.centered,
        }
