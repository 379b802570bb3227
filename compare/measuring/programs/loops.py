"""Loops: the epochs, and the batches or samples in each."""

from __future__ import annotations

from collections.abc import Sequence

from compare.measuring.programs.data import are_columns
from compare.measuring.programs.marks import SEEN, mark
from compare.measuring.programs.notation import Notation


def indented(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def training(c: Notation, step: Sequence[str], closing: Sequence[str]) -> list[str]:
    """The whole loop around one step; `closing` comes after the samples of an accumulated epoch."""
    epoch = [*_opening(c), *_steps(c, step), *closing, *_ending(c)]
    start = ["losses = []".replace("losses", c.names.losses)] if c.style.report == "list" else []
    return [*start, f"for {c.names.epoch} in range({c.names.epochs}):", *indented(epoch)]


def seen(c: Notation, x: str, t: str) -> str:
    """The statement by which a run is watched: the batch and the weights before the step."""
    parameters = ", ".join(f"[{', '.join(c.outside.parameters(k))}]" for k in range(1, c.style.layers + 1))
    return f"{SEEN}({x}, {t}, [{parameters}])"


def _opening(c: Notation) -> list[str]:
    lines = []
    if c.style.schedule == "inverse":
        rate = c.rate.replace("self", c.names.net)
        lines.append(f"{rate} = {c.style.rate} / (1 + 0.1 * {c.names.epoch})")
    if c.style.report == "sum" or (c.style.loop == "accumulated" and c.style.report != "none"):
        lines.append(f"{c.names.total} = 0")
    return lines


def _ending(c: Notation) -> list[str]:
    lines = []
    if c.style.schedule == "steps":
        lines.append(f"{c.rate.replace('self', c.names.net)} *= 0.9")
    return [*lines, *reported(c)]


def reported(c: Notation) -> list[str]:
    """What is done with the loss at the end of an epoch."""
    s = c.style
    if s.report == "none":
        return []
    shown = c.names.total if s.report == "sum" or s.loop == "accumulated" else c.names.loss
    if s.report == "list":
        return [f"{c.names.losses}.append({shown})"]
    return [f"print({c.names.epoch}, {shown})"]


def _steps(c: Notation, step: Sequence[str]) -> list[str]:
    return _KINDS[c.style.loop](c, step)


def _batch(c: Notation, step: Sequence[str]) -> list[str]:
    return [seen(c, c.names.inputs, c.names.targets), *step]


def _mini(c: Notation, step: Sequence[str]) -> list[str]:
    n, start = c.names.count, "start"
    part = f"{start}:{start} + {c.style.batch}"
    lines = [f"{c.names.x} = {_indexed(c, c.names.inputs, part)}"]
    lines += [f"{c.names.t} = {_indexed(c, c.names.targets, part)}", seen(c, c.names.x, c.names.t), *step]
    return [f"for {start} in range(0, {n}, {c.style.batch}):", *indented(lines)]


def _shuffled(c: Notation, step: Sequence[str]) -> list[str]:
    order = f"{_random(c)}.permutation({c.names.count})"
    if c.style.names % 2:
        X, T = (_indexed(c, a, "order") for a in (c.names.inputs, c.names.targets))
        return [f"order = {order}", f"{c.names.inputs}, {c.names.targets} = {X}, {T}", *_mini(c, step)]
    part = f"order[start:start + {c.style.batch}]"
    lines = [f"idx = {part}", f"{c.names.x} = {_indexed(c, c.names.inputs, 'idx')}"]
    lines += [f"{c.names.t} = {_indexed(c, c.names.targets, mark('drawn', 0, 'idx'))}"]
    lines += [seen(c, c.names.x, c.names.t), *step]
    return [f"order = {order}", f"for start in range(0, {c.names.count}, {c.style.batch}):", *indented(lines)]


def _random(c: Notation) -> str:
    return "rng" if c.style.random == "default_rng" else "np.random"


def _indexed(c: Notation, a: str, part: str) -> str:
    """Some samples of the data set."""
    is_list = a == c.names.targets and c.style.target == "integers"
    return f"{a}[:, {part}]" if are_columns(c) and not is_list else f"{a}[{part}]"


def _one(c: Notation, step: Sequence[str]) -> list[str]:
    return _samples(c, [seen(c, c.names.x, c.names.t), *step])


def _accumulated(c: Notation, step: Sequence[str]) -> list[str]:
    zeros = [f"{g} = np.zeros_like({p})" for k in range(1, c.style.layers + 1)
             for g, p in zip(c.gradients(k), c.parameters(k), strict=True)]  # fmt: skip
    return [seen(c, c.names.inputs, c.names.targets), *zeros, *_samples(c, step)]


def _samples(c: Notation, body: Sequence[str]) -> list[str]:
    """A loop over single samples."""
    x, t, i = c.names.x, c.names.t, c.names.index
    shape = {"rows": "(1, -1)", "columns": "(-1, 1)"}.get(c.style.samples, "")
    plain = c.style.target == "integers"
    if c.style.pairs:
        return [f"for {x}, {t} in pairs:", *indented(body)]
    if c.style.names % 2 or (shape and c.style.samples == "columns"):
        reshaped = [f"{x} = {x}.reshape{shape}", *([] if plain else [f"{t} = {t}.reshape{shape}"])] if shape else []
        return [f"for {x}, {t} in zip({c.names.inputs}, {c.names.targets}):", *indented([*reshaped, *body])]
    part = f"{i}:{i} + 1" if shape else i
    lines = [f"{x} = {c.names.inputs}[{part}]", f"{t} = {c.names.targets}[{i if plain else part}]"]
    return [f"for {i} in range(len({c.names.inputs})):", *indented([*lines, *body])]


def pairs(c: Notation) -> list[str]:
    """The samples as a list of pairs, where the loop goes over one."""
    if not c.style.pairs:
        return []
    X, T, shape = c.names.inputs, c.names.targets, {"rows": "(1, -1)", "columns": "(-1, 1)"}.get(c.style.samples, "")
    if not shape:
        return [f"pairs = list(zip({X}, {T}))"]
    t = "t" if c.style.target == "integers" else f"t.reshape{shape}"
    return [f"pairs = [(x.reshape{shape}, {t}) for x, t in zip({X}, {T})]"]


_KINDS = {"batch": _batch, "mini": _mini, "shuffled": _shuffled, "one": _one, "accumulated": _accumulated}
