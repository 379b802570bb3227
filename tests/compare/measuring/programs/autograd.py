"""What a right program does to its weights, by PyTorch's autograd in float64; written apart from the programs."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from compare.measuring.programs.program import Seen
from compare.measuring.programs.style import Style

ACTIVATIONS = {"relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}


def trajectory(style: Style, seen: list[Seen]) -> list[list[list[np.ndarray]]]:
    """The parameters before each step, from those before the first and the batches, in the program's own layout."""
    layers = [[torch.tensor(p, dtype=torch.float64, requires_grad=True) for p in layer] for layer in seen[0].parameters]
    optimizer = optimiser(style, [p for layer in layers for p in layer])
    found = [copied(layers)]
    for step, now in enumerate(seen[:-1]):
        optimizer.param_groups[0]["lr"] = rate(style, step)
        optimizer.zero_grad()
        loss(style, layers, now).backward()
        clip(style, [p for layer in layers for p in layer])
        decay(style, layers, rate(style, step))
        optimizer.step()
        found.append(copied(layers))
    return found


def copied(layers: list[list[torch.Tensor]]) -> list[list[np.ndarray]]:
    return [[p.detach().numpy().copy() for p in layer] for layer in layers]


def optimiser(style: Style, parameters: list[torch.Tensor]) -> torch.optim.Optimizer:
    if style.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=style.rate)
    if style.optimizer == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=style.rate, alpha=0.9)
    if style.optimizer == "adagrad":
        return torch.optim.Adagrad(parameters, lr=style.rate, eps=1e-8)
    if style.optimizer == "nesterov":
        return torch.optim.SGD(parameters, lr=style.rate, momentum=0.9, nesterov=True)
    if style.optimizer == "velocity":
        return Velocity(parameters)
    options = {"torch momentum": {"momentum": 0.9}, "average": {"momentum": 0.9}}.get(style.optimizer, {})
    if style.optimizer == "average":  # 0.9 v + 0.1 g from 0: torch's dampening does not hold in the first step
        return Average(parameters)
    return torch.optim.SGD(parameters, lr=style.rate, **options)


class Velocity(torch.optim.Optimizer):
    """v <- 0.9 v - lr g; p <- p + v."""

    def __init__(self, parameters):
        super().__init__(parameters, {"lr": 0.0})

    @torch.no_grad()
    def step(self):
        for p in self.param_groups[0]["params"]:
            v = self.state[p].get("v", torch.zeros_like(p))
            self.state[p]["v"] = self.moved(v, p.grad)
            p += self.step_of(self.state[p]["v"])

    def moved(self, v, g):
        return 0.9 * v - self.param_groups[0]["lr"] * g

    def step_of(self, v):
        return v


class Average(Velocity):
    """v <- 0.9 v + 0.1 g; p <- p - lr v."""

    def moved(self, v, g):
        return torch.lerp(g, v, 0.9)

    def step_of(self, v):
        return -self.param_groups[0]["lr"] * v


def steps_an_epoch(style: Style) -> int:
    return {"batch": 1, "accumulated": 1, "one": style.count}.get(style.loop, -(-style.count // style.batch))


def rate(style: Style, step: int) -> float:
    epoch = step // steps_an_epoch(style)
    if style.schedule == "inverse":
        return style.rate / (1 + 0.1 * epoch)
    return style.rate * 0.9**epoch if style.schedule == "steps" else style.rate


def clip(style: Style, parameters: list[torch.Tensor]) -> None:
    """Without the 1e-6 that torch adds to a norm."""
    if style.clip == "value":
        torch.nn.utils.clip_grad_value_(parameters, style.clip_at)
    groups = {"norm": [[p] for p in parameters], "norm of all": [parameters]}.get(style.clip, [])
    for group in groups:
        norm = torch.linalg.vector_norm(torch.cat([p.grad.ravel() for p in group]))
        for p in group:
            p.grad *= min(1.0, style.clip_at / norm)


@torch.no_grad()
def decay(style: Style, layers: list[list[torch.Tensor]], lr: float) -> None:
    """Decoupled: the weight shrinks before the step, whose gradient was computed already."""
    for weight, *_ in layers:
        weight *= 1 - lr * style.decay


def loss(style: Style, layers: list[list[torch.Tensor]], seen: Seen) -> torch.Tensor:
    x, t = batch(style, seen)
    for (weight, *bias), kind in zip(layers, (*style.hidden, style.output), strict=True):
        W = weight if style.out_in else weight.T
        b = bias[0].reshape(-1) if bias else torch.zeros(len(W), dtype=torch.float64)
        if style.bias == "last column":
            W, b = W[:, :-1], W[:, -1]
        z = nn.functional.linear(x, W, b)
        x = ACTIVATIONS[kind](z) if kind in ACTIVATIONS else z  # the softmax is in the loss
    return data_loss(style, x, t) + penalty(style, layers)


def batch(style: Style, seen: Seen) -> tuple[torch.Tensor, torch.Tensor]:
    x, t = torch.tensor(seen.x, dtype=torch.float64), torch.tensor(seen.t)
    if style.target == "integers":
        t = t.reshape(-1).long()
    if style.loop == "one":
        return x.reshape(1, -1), t if style.target == "integers" else t.double().reshape(1, -1)
    columns = style.samples == "columns" and style.loop != "accumulated"
    return (x.T if columns else x), t if style.target == "integers" else (t.T if columns else t).double()


def data_loss(style: Style, y: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    how = "mean" if style.reduction == "mean" else "sum"
    if style.loss == "mse":
        return nn.functional.mse_loss(y, t, reduction=how)
    if style.loss == "half squared error":
        return nn.functional.mse_loss(y, t, reduction="sum") / 2 / (len(y) if how == "mean" else 1)
    if style.loss == "binary cross-entropy":
        return nn.functional.binary_cross_entropy(y, t, reduction=how)
    return nn.functional.cross_entropy(y, t, reduction=how)


def penalty(style: Style, layers: list[list[torch.Tensor]]) -> torch.Tensor:
    weights = [weight for weight, *_ in layers]
    sums = {"half l2": lambda w: (w**2).sum() / 2, "l2": lambda w: (w**2).sum(), "l1": lambda w: w.abs().sum()}
    if style.penalty == "none":
        return torch.zeros(())
    return style.penalty_factor * sum(sums[style.penalty](w) for w in weights)
