"""Forms: how the pieces of a program are put together: on top level, in functions, in a class."""

from __future__ import annotations

import re
from collections.abc import Sequence

from compare.measuring.programs import activations, data, layer_objects, losses
from compare.measuring.programs.backward import backward, updates
from compare.measuring.programs.forward import forward
from compare.measuring.programs.loops import indented, pairs, training
from compare.measuring.programs.naming import containers
from compare.measuring.programs.notation import Notation
from compare.measuring.programs.penalties import penalty_in_loss
from compare.measuring.programs.updates import counted, state_lines


def lines(c: Notation) -> list[str]:
    """The whole program."""
    head = ["import numpy as np", *activations.functions(c), *loss_function(c)]
    return [*head, *_FORMS[c.style.form](c)]


def loss_function(c: Notation) -> list[str]:
    if c.style.report != "function":
        return []
    m = c.samples_in("t") if c.style.target != "integers" else "len(t)"
    return [f"def {_loss_name(c)}(y, t):", f"    return {losses.loss(c, 'y', 't', m)}"]


def _loss_name(c: Notation) -> str:
    return "mean_squared_error" if c.style.loss == "mse" else "compute_loss"


def loss_lines(c: Notation, y: str) -> list[str]:
    """What a step computes of the loss."""
    s = c.style
    if s.report == "none":
        return []
    text = f"{_loss_name(c)}({y}, {c.t})" if s.report == "function" else losses.loss(c, y, c.t, c.m)
    if s.loop == "accumulated":
        return [f"{c.names.total} += {text}"]
    if added := penalty_in_loss(c):
        text = f"{text} + {added}"
    return [f"{c.names.total} += {text}"] if s.report == "sum" else [f"{c.names.loss} = {text}"]


def _settings(c: Notation) -> list[str]:
    rate = [] if c.style.form in ("class", "layers") else [f"{c.names.rate} = {c.style.rate}"]
    lam = [f"{c.names.penalty} = {c.style.penalty_factor}"] if c.style.penalty != "none" else []
    count = [f"{c.names.count} = {c.names.inputs}.shape[{1 if data.are_columns(c) else 0}]"] if _counts(c) else []
    return [*rate, *lam, *count, f"{c.names.epochs} = {c.style.epochs}"]


def _counts(c: Notation) -> bool:
    return c.style.loop in ("mini", "shuffled") or c.m == c.names.count


def _begin(c: Notation) -> list[str]:
    return [*data.generator(c), *data.samples(c), *pairs(c), *_settings(c)]


def _closing(c: Notation) -> list[str]:
    """What follows the samples of an epoch whose gradients are added up."""
    if c.style.loop != "accumulated":
        return []
    done: list[str] = []
    if c.style.report != "none":
        if c.style.reduction == "mean":
            done.append(f"{c.names.total} /= {losses.plain_denominator(c)}")
        if added := penalty_in_loss(c):
            done.append(f"{c.names.total} += {added}")
    return [*done, *counted(c), *updates(c)]


def _step(c: Notation) -> list[str]:
    """Forward, loss, backward and update in one stretch."""
    last = c.out(c.style.layers)
    step = [*forward(c), *loss_lines(c, last)]
    if c.style.update == "between":
        return [*step, *counted(c), *backward(c)]
    ending = [] if c.style.loop == "accumulated" else [*counted(c), *updates(c)]
    return [*step, *backward(c), *ending]


def _stretch(c: Notation) -> list[str]:
    made = containers(c.names, c.style.layers, state_names(c))
    return [*made, *data.weights(c), *state_lines(c), *training(c, _step(c), _closing(c))]


def state_names(c: Notation) -> list[str]:
    return [line.partition(" = ")[0] for line in state_lines(c)]


def _top(c: Notation) -> list[str]:
    return [*_begin(c), *_stretch(c)]


def _main(c: Notation) -> list[str]:
    return ["def main():", *indented([*_begin(c), *_stretch(c)]), "if __name__ == '__main__':", "    main()"]


def _function(c: Notation) -> list[str]:
    """A function that trains, called with the data."""
    arguments = [c.names.inputs, c.names.targets, *(["pairs"] if c.style.pairs else [])]
    arguments += [c.names.rate, c.names.epochs]
    count = [f"{c.names.count} = {c.names.inputs}.shape[{1 if data.are_columns(c) else 0}]"] if _counts(c) else []
    returned = [p for k in range(1, c.style.layers + 1) for p in c.parameters(k)]
    body = [*count, *_stretch(c), f"return {', '.join(returned)}"]
    begin = [line for line in _begin(c) if line not in count]
    return [*begin, f"def train({', '.join(arguments)}):", *indented(body), f"trained = train({', '.join(arguments)})"]


def _functions(c: Notation) -> list[str]:
    """A function for the way forward and one for the way back."""
    weights = [p for k in range(1, c.style.layers + 1) for p in c.parameters(k)]
    ahead = forward(c)
    values = [v for v in bound(ahead) if "exps" not in v]
    back = backward(c)
    gradients = [g for k in range(1, c.style.layers + 1) for g in c.gradients(k)]
    kept = [v for v in values if uses(back, v)]
    taken = [c.x, c.t, *kept, *(w for w in weights if uses(back, w))]
    passed = list(dict.fromkeys([*kept, c.out(c.style.layers)]))
    definitions = [
        f"def forward({', '.join([c.x, *weights])}):",
        *indented([*ahead, f"return {', '.join(passed)}"]),
        f"def backward({', '.join(taken)}):",
        *indented([*back, f"return {', '.join(gradients)}"]),
    ]
    step = [
        f"{', '.join(passed)} = forward({', '.join([c.x, *weights])})",
        *loss_lines(c, c.out(c.style.layers)),
        f"{', '.join(gradients)} = backward({', '.join(taken)})",
        *counted(c),
        *updates(c),
    ]
    begin = [*_begin(c), *data.weights(c), *state_lines(c)]
    return [*definitions, *begin, *training(c, step, [])]


def bound(code: Sequence[str]) -> list[str]:
    """The names that these lines bind."""
    targets = (line.partition(" = ")[0] for line in code if " = " in line)
    return list(dict.fromkeys(target for target in targets if "[" not in target))


def uses(code: Sequence[str], name: str) -> bool:
    return any(re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", line) for line in code)


def _class(c: Notation) -> list[str]:
    """A class with forward, backward and update."""
    begin = [f"{c.rate} = {c.style.rate}", *data.weights(c), *state_lines(c)]
    x, t, net = c.names.x, c.names.t, c.names.net
    members = [
        "def __init__(self):",
        *indented(begin),
        f"def forward(self, {x}):",
        *indented([*forward(c), f"return {c.out(c.style.layers)}"]),
        f"def backward(self, {x}, {t}):",
        *indented(backward(c)),
        "def update(self):",
        *indented([*counted(c), *updates(c)]),
    ]
    outside = c.outside
    batch = (c.names.inputs, c.names.targets) if c.style.loop == "batch" else (x, t)
    answer = "y_pred" if c.style.names % 2 else "scores"
    calls = [f"{answer} = {net}.forward({batch[0]})"]
    calls += loss_outside(outside, answer, batch)
    calls += [f"{net}.backward({batch[0]}, {batch[1]})", f"{net}.update()"]
    return [*data.generator(c), "class Network:", *indented(members), *_begin(c)[1:], f"{net} = Network()",
            *training(c, calls, [])]  # fmt: skip


def _layers(c: Notation) -> list[str]:
    """A class of which every layer is an object."""
    begin = [*_begin(c)[1:], *layer_objects.network(c)]
    step = layer_objects.step(c, loss_lines(c, c.out(c.style.layers)))
    return [*data.generator(c), *layer_objects.definition(c), *begin, *training(c, step, [])]


def loss_outside(c: Notation, y: str, batch: tuple[str, str]) -> list[str]:
    """The loss where the training loop computes it from what forward returned."""
    code = loss_lines(c, y)
    if c.style.loop != "batch":
        return code
    pattern = {c.names.x: batch[0], c.names.t: batch[1]}
    return [re.sub(r"(?<![\w.])\w+", lambda m: pattern.get(m[0], m[0]), line) for line in code]


_FORMS = {
    "top": _top,
    "main": _main,
    "function": _function,
    "functions": _functions,
    "class": _class,
    "layers": _layers,
}
