"""Layer objects: the form in which every layer is an object of one class, and the network a list of them.

All marks are of layer 1, which stands for every layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from compare.measuring.programs import data
from compare.measuring.programs.activations import activation as written_activation
from compare.measuring.programs.activations import derivative
from compare.measuring.programs.backward import bias_gradient, weight_gradient
from compare.measuring.programs.forward import weighted_sum
from compare.measuring.programs.loops import indented
from compare.measuring.programs.losses import last_delta
from compare.measuring.programs.marks import mark
from compare.measuring.programs.naming import Naming
from compare.measuring.programs.notation import Notation
from compare.measuring.programs.penalties import with_penalty
from compare.measuring.programs.updates import counted, state_lines, update

NAMES = Naming(weight="self.W", bias="self.b", pre="self.z", out="self.a", delta="delta", grad_out="grad",
               grad_weight="self.dW", grad_bias="self.db", net="layers")  # fmt: skip


def inside(c: Notation, kind: str = "tanh") -> Notation:
    """As seen from inside of a layer with this activation: a network of one layer."""
    style = replace(c.style, sizes=c.style.sizes[:2], hidden=(), output=kind)
    names = replace(NAMES, rate=c.names.rate, penalty=c.names.penalty, x="self.x", t=c.names.t, sigmoid=c.names.sigmoid)
    return Notation(style, replace(names, relu=c.names.relu, derivative=c.names.derivative, inputs="self.x"))


def kinds(c: Notation) -> list[str]:
    """The activations of the layers: that of a last layer is left to the loss where its derivative cancels."""
    last = c.style.output if c.style.squared else "linear"
    return [*c.style.hidden, last]


def definition(c: Notation) -> list[str]:
    """The class."""
    name = "Layer" if c.style.names % 2 else "Dense"
    one = inside(c)
    members = [
        "def __init__(self, n_in, n_out, activation):",
        *indented(_first_weights(one)),
        "def forward(self, inputs):",
        *indented(["self.x = inputs", f"self.z = {weighted_sum(one, 1)}", *_activated(c), "return self.a"]),
        "def backward(self, grad):",
        *indented(_backward(c)),
    ]
    if c.style.update == "end":
        members += ["def update(self):", *indented([*counted(one), *_updates(one)])]
    return [f"class {name}:", *indented(members)]


def _first_weights(one: Notation) -> list[str]:
    shape = one.write.shape("n_in", "n_out")
    lines = [f"self.W = {data.normal(one, shape)} * 0.5"]
    if one.style.bias == "apart":
        lines.append(f"self.b = {data.first_bias(one, 'n_out')}")
    lr = [f"self.{one.names.rate} = {one.style.rate}"]
    return [*lines, *lr, "self.activation = activation", *state_lines(one)]


def _activated(c: Notation) -> list[str]:
    lines: list[str] = []
    for kind in dict.fromkeys(kinds(c)):
        text = written_activation(inside(c, kind), kind, 1, "self.z")
        lines += [f"{'elif' if lines else 'if'} self.activation == {kind!r}:", f"    self.a = {text}"]
    return lines


def _backward(c: Notation) -> list[str]:
    one = inside(c)
    lines: list[str] = []
    for kind in dict.fromkeys(kinds(c)):
        slope = derivative(inside(c, kind), 1)
        lines += [f"{'elif' if lines else 'if'} self.activation == {kind!r}:",
                  f"    delta = {f'grad * ({slope})' if slope else 'grad'}"]  # fmt: skip
    lines.append(f"self.dW = {with_penalty(one, 1, weight_gradient(one, 1, 'self.x'))}")
    if one.style.bias == "apart":
        lines.append(f"self.db = {bias_gradient(one, 1)}")
    return [*lines, *_handed_back(one)]


def _handed_back(one: Notation) -> list[str]:
    back = mark("back", 1, one.write.back(mark("weight_back", 1, "self.W"), mark("delta_behind", 1, "delta")))
    if one.style.update == "end":
        return [f"return {back}"]
    return [f"passed = {back}", *counted(one), *_updates(one), "return passed"]


def _updates(one: Notation) -> list[str]:
    return update(one, 1, one.gradients(1))


def network(c: Notation) -> list[str]:
    """The line that makes the list."""
    name = "Layer" if c.style.names % 2 else "Dense"
    sizes = zip(c.style.sizes, c.style.sizes[1:], kinds(c), strict=False)
    return [f"layers = [{', '.join(f'{name}({a}, {b}, {kind!r})' for a, b, kind in sizes)}]"]


def step(c: Notation, loss: Sequence[str]) -> list[str]:
    """One training step, with the lines of its loss."""
    y = c.out(c.style.layers)
    lines = [f"{y} = {c.x}", "for layer in layers:", f"    {y} = layer.forward({y})"]
    if c.style.output in ("softmax", "sigmoid") and not c.style.squared:
        lines.append(f"{y} = {written_activation(c, c.style.output, c.style.layers, y)}")
    lines += [
        *loss,
        *last_delta(_left_to_the_layer(c)),
        "for layer in reversed(layers):",
        "    grad = layer.backward(grad)",
    ]
    return lines if c.style.update == "between" else [*lines, "for layer in layers:", "    layer.update()"]


def _left_to_the_layer(c: Notation) -> Notation:
    """Where the derivative of the last activation is the layer's own part."""
    return replace(c, style=replace(c.style, output="linear")) if c.style.squared else c
