"""The optimisers, with torch's semantics: the same formulas, defaults, state names and order of operations.

`step()` reads `network.grads` and writes into the arrays of `network.params`. State is kept per parameter under
torch's names, so that it can be compared and saved tensor by tensor.
"""

from __future__ import annotations

import math

import numpy as np

from scratch.layers import Array, Layer

State = dict[str, Array]


class Optimizer:
    """What every optimiser has: the network, the learning rate, the state, and how many steps it has taken."""

    def __init__(self, network: Layer, lr: float, weight_decay: float) -> None:
        self.network, self.lr, self.weight_decay = network, lr, weight_decay
        self.state: dict[str, State] = {name: {} for name in network.params}
        self.steps = 0
        self._at_least_zero(lr=lr, weight_decay=weight_decay)

    def step(self) -> None:
        """One update of every parameter from its gradient. ValueError if one has none; nothing is updated then."""
        params, grads = self.network.params, self.network.grads
        for name in params:
            if name not in grads:
                raise ValueError(f"{name}: no gradient; call backward before step")
        self.steps += 1
        for name, p in params.items():
            self.update(p, grads[name], self.state[name])

    def update(self, p: Array, g: Array, state: State) -> None:
        """One update of p, in place."""
        raise TypeError(f"{type(self).__name__} has no update")

    @property
    def options(self) -> dict[str, float | bool]:
        """The hyper-parameters by torch's names."""
        raise TypeError(f"{type(self).__name__} has no options")

    def _at_least_zero(self, **options: float) -> None:
        for name, value in options.items():
            if not value >= 0:
                raise ValueError(f"{type(self).__name__}: got {name}={value}, expected at least 0")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v}' for k, v in self.options.items())})"


class SGD(Optimizer):
    """g <- g + wd p;  v <- g at the first step, then v <- mu v + (1 - dampening) g;  p <- p - lr v.

    With `nesterov`, p <- p - lr (g + mu v). Without momentum, v is g. (torch.optim.SGD; Sutskever et al. 2013)
    """

    def __init__(
        self,
        network: Layer,
        lr: float = 1e-3,
        *,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(network, lr, weight_decay)
        self.momentum, self.dampening, self.nesterov = momentum, dampening, nesterov
        self._at_least_zero(momentum=momentum)
        if nesterov and (momentum == 0 or dampening != 0):
            raise ValueError("SGD: nesterov needs a momentum above 0 and a dampening of 0")

    def update(self, p: Array, g: Array, state: State) -> None:
        if self.weight_decay:
            g = g + self.weight_decay * p
        if self.momentum:
            v = self._velocity(g, state)
            g = g + self.momentum * v if self.nesterov else v
        p -= self.lr * g

    def _velocity(self, g: Array, state: State) -> Array:
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = g.copy()
        else:
            state["momentum_buffer"] *= self.momentum
            state["momentum_buffer"] += (1 - self.dampening) * g
        return state["momentum_buffer"]

    @property
    def options(self) -> dict[str, float | bool]:
        return {
            "lr": self.lr,
            "momentum": self.momentum,
            "dampening": self.dampening,
            "weight_decay": self.weight_decay,
            "nesterov": self.nesterov,
        }


class Adam(Optimizer):
    """m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;  p <- p - lr m^ / (sqrt(v^) + eps).

    m^ = m / (1 - b1^t) and v^ = v / (1 - b2^t) at step t = 1, 2, ...; weight decay is coupled: g <- g + wd p first.
    (Kingma and Ba 2015, algorithm 1; torch.optim.Adam)
    """

    def __init__(
        self,
        network: Layer,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(network, lr, weight_decay)
        self.betas, self.eps = betas, eps
        self._at_least_zero(eps=eps)
        if not all(0 <= b < 1 for b in betas):
            raise ValueError(f"{type(self).__name__}: got betas={betas}, expected both in [0, 1)")

    def update(self, p: Array, g: Array, state: State) -> None:
        self._adaptive(p, g + self.weight_decay * p if self.weight_decay else g, state)

    def _adaptive(self, p: Array, g: Array, state: State) -> None:
        b1, b2 = self.betas
        m = state.setdefault("exp_avg", np.zeros_like(p))
        v = state.setdefault("exp_avg_sq", np.zeros_like(p))
        m += (1 - b1) * (g - m)
        v *= b2
        v += (1 - b2) * (g * g)
        root = np.sqrt(v) / math.sqrt(1 - b2**self.steps) + self.eps
        p -= (self.lr / (1 - b1**self.steps)) * m / root

    @property
    def options(self) -> dict[str, float | bool]:
        b1, b2 = self.betas
        return {"lr": self.lr, "beta1": b1, "beta2": b2, "eps": self.eps, "weight_decay": self.weight_decay}


class AdamW(Adam):
    """Adam with decoupled weight decay: p <- p - lr wd p first, and the gradient is left alone.

    (Loshchilov and Hutter 2019, algorithm 2; torch.optim.AdamW)
    """

    def __init__(
        self,
        network: Layer,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(network, lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def update(self, p: Array, g: Array, state: State) -> None:
        p *= 1 - self.lr * self.weight_decay
        self._adaptive(p, g, state)
