"""Findings: the conventions that a candidate was found to follow, in words, with a warning where two would fit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from compare import layout
from compare.convention import factors, nearest
from compare.naming import Named, Names


def describe(names: Names) -> list[str]:
    """One sentence a finding: layouts, the bias's place, the loss's factor, rates, what is ambiguous."""
    return [*_layouts(names), *_factor(names), *_between(names), *_updates(names), *_ambiguous(names)]


def _layouts(names: Names) -> Iterator[str]:
    kept: dict[str, list[str]] = defaultdict(list)
    for name, named in names.tensors.items():
        part = name.rpartition(".")[2]
        if part == "weight" and 1 not in named.view.array.shape:
            kept[f"weights are {named.view.layout}"].append(named.observation.name)
        if part == "weight" and named.view.attached != layout.SEPARATE:
            kept[f"the bias is the {named.view.attached} of the weight"].append(named.observation.name)
        if name in ("input", "target") or part in ("output", "grad_output", "grad_input"):
            if 1 not in named.view.array.shape and named.view.layout == layout.COLUMNS:
                kept["samples are columns"].append(named.observation.name)
    several = len({words for words in kept if words.startswith("weights are")}) > 1
    for words, held in kept.items():
        if not words.endswith(layout.OUT_IN) or several:
            yield f"{words} ({', '.join(dict.fromkeys(held))})"


def _factor(names: Names) -> Iterator[str]:
    loss, n = names.tensors.get("loss"), names.network.sizes[-1]
    finals = {named.scale for name, named in names.tensors.items() if name.endswith((".grad_weight", ".grad_bias"))}
    scale = loss.scale if loss is not None and loss.exact else max(finals, default=1.0)
    found = nearest(scale, factors(names.m, n))
    words = found.words if found else ""
    if names.uphill:
        yield "your gradient is that of the negative loss, and the step is added: uphill on -L is downhill on L"
    if scale == 1:
        return
    if loss is not None and loss.exact:
        yield f"your loss ({loss.observation.origin}) is {scale:g} x the network's: {words or 'a factor of its own'}; its gradient is held to the same"
    elif finals:
        yield (
            f"your gradient is that of {scale:g} x the network's loss{f' ({words})' if words else ''}; no loss was seen: "
            "if the loss has the same factor this is a convention, else a mistake"
        )


def _between(names: Names) -> Iterator[str]:
    finals = {named.scale for name, named in names.tensors.items() if name.endswith((".grad_weight", ".grad_bias"))}
    other = {
        named.scale: named
        for name, named in reversed(names.tensors.items())
        if name.endswith((".grad_output", ".grad_input")) and named.scale not in finals
    }
    for scale, named in other.items():
        if len(finals) == 1:
            ratio = scale / next(iter(finals))
            yield f"the gradients between layers ({named.observation.origin}) are {ratio:g} x those of the weights: divided later"


def _updates(names: Names) -> Iterator[str]:
    if names.recovered:
        held = ", ".join(names.tensors[name].observation.name for name in names.recovered)
        yield f"no gradient was bound for these: read off {held}, over the learning rate"
    if names.rate is not None:
        yield f"the weights move by {names.rate:g} x the gradient"


def _ambiguous(names: Names) -> Iterator[str]:
    if names.m == 1:
        yield "warning: one sample, so a sum and a mean are the same"
    if names.unbiased:
        held = " and ".join(map(str, names.unbiased))
        yield f"warning: layer {held} is computed without a bias, and is checked so; the network's text has one"
    square = [named for name, named in names.tensors.items() if name.endswith(".weight") and _is_square(named)]
    if square:
        held = ", ".join(named.observation.name for named in square)
        yield f"{held}: square, so its layout is known by what it computes, not by its shape"


def _is_square(named: Named) -> bool:
    return named.view.array.shape[0] == named.view.array.shape[1] > 1
