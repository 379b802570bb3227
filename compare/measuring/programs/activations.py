"""Activations: how a program writes them and their derivatives."""

from __future__ import annotations

from compare.measuring.programs.marks import mark
from compare.measuring.programs.notation import Notation
from compare.measuring.programs.style import Style

RELU = {
    "maximum": "np.maximum(0, {z})",
    "mask": "({z}) * (({z}) > 0)",
    "where": "np.where(({z}) > 0, {z}, 0)",
    "abs": "(({z}) + np.abs({z})) / 2",
}
SIGMOID = {
    "exp(-z)": "1 / (1 + np.exp(-({z})))",
    "1.0": "1.0 / (1.0 + np.exp(-({z})))",
    "np.power": "np.power(1 + np.exp(-({z})), -1)",
}
TANH = {
    "np.tanh": "np.tanh({z})",
    "exponentials": "(np.exp({z}) - np.exp(-({z}))) / (np.exp({z}) + np.exp(-({z})))",
    "by sigmoid": "2 / (1 + np.exp(-2 * ({z}))) - 1",
}
SQUARES = {"square": "1 - ({h}) ** 2", "product": "1 - ({h}) * ({h})", "both sides": "(1 + ({h})) * (1 - ({h}))"}
RELU_DERIVATIVES = {"mask": "({z}) > 0", "float": "(({z}) > 0).astype(float)", "where": "np.where(({z}) > 0, 1, 0)"}


def formula(style: Style, kind: str, z: str) -> str:
    """The activation of an expression, written out."""
    forms = {"relu": RELU[style.relu], "sigmoid": SIGMOID[style.sigmoid], "tanh": TANH[style.tanh], "linear": "{z}"}
    return forms[kind].format(z=z)


def takes_twice(style: Style, kind: str) -> bool:
    """Whether the formula has its argument more than once: it needs a name."""
    return formula(style, kind, "{z}").count("{z}") > 1


def activation(c: Notation, kind: str, k: int, z: str) -> str:
    """The activation of layer k, by its function where the program has one."""
    if kind == "softmax":
        return mark("activation", k, softmax(c, z))
    written = f"{function_name(c, kind)}({z})" if has_function(c, kind) else formula(c.style, kind, z)
    return mark("activation", k, written) if kind != "linear" else written


def softmax(c: Notation, z: str) -> str:
    if c.style.helpers:
        return f"{c.names.softmax}({z})"
    return f"np.exp({z}) / {softmax_sum(c, f'np.exp({z})')}"


def softmax_sum(c: Notation, e: str) -> str:
    """Over the classes of each sample."""
    if c.style.samples == "vectors":
        return f"np.sum({e})"
    return mark("classes", 0, f"np.sum({e}, axis={0 if c.style.samples == 'columns' else 1}, keepdims=True)")


def derivative(c: Notation, k: int) -> str:
    """Of layer k's activation, from its output or its argument; "" for a linear one."""
    kind = c.style.activations[k - 1]
    if kind == "linear":
        return ""
    at_pre = c.style.derivative_at == "pre"
    argument = mark("argument", k, c.pre(k) if at_pre else c.out(k))
    if kind == "relu":
        written = RELU_DERIVATIVES[_relu_form(c.style)].format(z=argument)
    elif has_function(c, kind):
        written = f"{c.names.derivative.format(f=function_name(c, kind))}({argument})"
    elif at_pre:
        written = _from_output(c.style, kind, formula(c.style, kind, argument))
    else:
        written = _from_output(c.style, kind, argument)
    return mark("derivative", k, written)


def _relu_form(style: Style) -> str:
    return "mask" if style.relu_derivative == "in place" else style.relu_derivative


def _from_output(style: Style, kind: str, h: str) -> str:
    return f"({h}) * (1 - ({h}))" if kind == "sigmoid" else SQUARES[style.tanh_derivative].format(h=h)


def has_function(c: Notation, kind: str) -> bool:
    return c.style.helpers and kind in ("sigmoid", "relu", "tanh") and (kind != "tanh" or c.style.tanh != "np.tanh")


def function_name(c: Notation, kind: str) -> str:
    return {"sigmoid": c.names.sigmoid, "relu": c.names.relu, "tanh": "tanh", "softmax": c.names.softmax}[kind]


def functions(c: Notation) -> list[str]:
    """The definitions of those that the program uses."""
    lines: list[str] = []
    for kind in dict.fromkeys(c.style.activations):
        if has_function(c, kind):
            lines += [f"def {function_name(c, kind)}(z):", f"    return {formula(c.style, kind, 'z')}"]
        if has_function(c, kind) and kind != "relu":
            lines += _derivative_function(c, kind)
        if kind == "softmax" and c.style.helpers:
            lines += [f"def {c.names.softmax}(z):", *_softmax_body(c)]
    return lines


def _derivative_function(c: Notation, kind: str) -> list[str]:
    name = c.names.derivative.format(f=function_name(c, kind))
    if c.style.derivative_at == "output":
        return [f"def {name}(a):", f"    return {mark('inside', 0, _from_output(c.style, kind, 'a'))}"]
    lines = [f"def {name}(z):", f"    s = {function_name(c, kind)}(z)"]
    return [*lines, f"    return {mark('inside', 0, _from_output(c.style, kind, 's'))}"]


def _softmax_body(c: Notation) -> list[str]:
    axis = {"rows": "axis=1, keepdims=True", "columns": "axis=0, keepdims=True", "vectors": ""}[c.style.samples]
    shift = f"np.max(z, {axis})" if axis else "np.max(z)"
    return [f"    e = np.exp(z - {shift})", f"    return e / {softmax_sum(c, 'e')}"]
