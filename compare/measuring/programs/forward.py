"""Forward: the lines from a batch to the network's output."""

from __future__ import annotations

from compare.measuring.programs.activations import activation, has_function, softmax_sum, takes_twice
from compare.measuring.programs.marks import mark
from compare.measuring.programs.notation import Notation


def forward(c: Notation) -> list[str]:
    return [line for k in range(1, c.style.layers + 1) for line in _layer(c, k)]


def _layer(c: Notation, k: int) -> list[str]:
    kind = c.style.activations[k - 1]
    z = weighted_sum(c, k)
    if kind == "linear":
        return [f"{c.out(k)} = {z}"]
    if kind == "softmax" and not c.style.helpers and c.style.names % 3 == 0:
        return _softmax_in_steps(c, k, z)
    if is_bound(c, k):
        return [f"{c.pre(k)} = {z}", f"{c.out(k)} = {activation(c, kind, k, c.pre(k))}"]
    return [f"{c.out(k)} = {activation(c, kind, k, z)}"]


def _softmax_in_steps(c: Notation, k: int, z: str) -> list[str]:
    """e = exp(z); p = e / sum."""
    e = "exps" if c.style.form != "class" else "self.exps"
    p = mark("activation", k, f"{e} / {softmax_sum(c, e)}")
    return [f"{c.pre(k)} = {z}", f"{e} = np.exp({c.pre(k)})", f"{c.out(k)} = {p}"]


def is_bound(c: Notation, k: int) -> bool:
    """Whether what enters the activation of layer k has a name."""
    kind = c.style.activations[k - 1]
    if kind == "linear":
        return False
    twice = (kind == "softmax" and not c.style.helpers) or (kind != "softmax" and takes_twice(c.style, kind))
    return c.style.bind_pre or (twice and not has_function(c, kind))


def weighted_sum(c: Notation, k: int) -> str:
    """W x + b."""
    product = mark("product", k, c.write.forward(mark("weight_forward", k, c.weight(k)), c.entering(k)))
    if c.style.bias == "apart":
        product = f"{product} + {mark('bias', k, c.bias(k))}"
    return mark("pre", k, product)
