"""Findings: the conventions that a candidate was found to follow, in words, with a warning where two would fit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from compare.foreign import layout
from compare.foreign.convention import factors, nearest
from compare.foreign.naming.named import Named, Names

SAMPLED = ("output", "grad_output", "grad_input")  # tensors of one row a sample, as input and target are
PARAMETERS_GRADIENTS = (".grad_weight", ".grad_bias")
BETWEEN = (".grad_output", ".grad_input")


def describe(names: Names) -> list[str]:
    """One sentence a finding: layouts, the bias's place, the loss's factor, rates, what is ambiguous."""
    return [*_layouts(names), *_factor(names), *_guard(names), *_between(names), *_updates(names), *_ambiguous(names)]


def listed(words: Iterable[object]) -> str:
    """a; a and b; a, b and c. Equal ones once."""
    *first, last = dict.fromkeys(map(str, words))
    return f"{', '.join(first)} and {last}" if first else last


def _layouts(names: Names) -> Iterator[str]:
    """Torch's own layout is said only where both are there."""
    kept: dict[str, list[str]] = defaultdict(list)
    for name, named in names.tensors.items():
        for words in _layout(name, named):
            kept[words].append(named.observation.name)
    mixed = sum(words.startswith("weights are") for words in kept) > 1
    for words, held in kept.items():
        if mixed or not words.endswith(layout.OUT_IN):
            yield f"{words} ({listed(held)})"


def _layout(name: str, named: Named) -> Iterator[str]:
    """How this tensor is kept; nothing where that is torch's way, or cannot be told from it by its shape."""
    part, view = name.rpartition(".")[2], named.view
    if part == "weight" and 1 not in view.array.shape:
        yield f"weights are {view.layout}"
    if part == "weight" and view.attached != layout.SEPARATE:
        yield f"the bias is the {view.attached} of the weight"
    sampled = name in ("input", "target") or part in SAMPLED
    if sampled and 1 not in view.array.shape and view.layout == layout.COLUMNS:
        yield "samples are columns"


def _factor(names: Names) -> Iterator[str]:
    if names.uphill:
        yield "your gradient is that of the negative loss, and the step adds it: this is descent on the loss itself"
    loss, finals = names.tensors.get("loss"), _factors(names)
    reported = loss if loss is not None and loss.exact else None
    scale = reported.scale if reported else max(finals, default=1.0)
    if scale == 1:
        return
    found = nearest(scale, factors(names.m, names.network.sizes[-1]))
    words = found.words if found else ""
    if reported:
        yield (
            f"your loss ({reported.observation.origin}) is {scale:g} times the network's "
            f"({words or 'no factor that is known'}); its gradient is expected to have the same factor"
        )
    elif finals:
        yield (
            f"your gradient is that of {scale:g} times the network's loss{f' ({words})' if words else ''}; no loss was "
            "seen: this is a convention if your loss has the same factor, and a mistake if it has not"
        )


def _factors(names: Names) -> set[float]:
    """Of the parameter gradients, the learning rate left out."""
    return {named.factor for name, named in names.tensors.items() if name.endswith(PARAMETERS_GRADIENTS)}


def _between(names: Names) -> Iterator[str]:
    finals = _factors(names)
    if len(finals) != 1:
        return
    final = next(iter(finals))
    between = [named for name, named in names.tensors.items() if name.endswith(BETWEEN) and named.scale != final]
    for scale, named in {named.scale: named for named in reversed(between)}.items():
        yield (
            f"the gradients between layers ({named.observation.origin}) are {scale / final:g} times those of the "
            f"weights: {'divided' if abs(scale) > abs(final) else 'multiplied'} later"
        )


def _updates(names: Names) -> Iterator[str]:
    if names.recovered:
        held = listed(names.tensors[name].observation.name for name in names.recovered)
        yield f"some gradients were not bound to a name; they are {held}, divided by the learning rate"
    if names.rate is not None:
        yield f"the weights move by {names.rate:g} times the gradient"


def _guard(names: Names) -> Iterator[str]:
    if names.guard:
        yield (
            f"your loss ({names.tensors['loss'].observation.origin}) keeps its logarithms finite by {names.guard:g}: "
            "it is not judged, and the gradient is held against the loss without it"
        )


def _ambiguous(names: Names) -> Iterator[str]:
    if names.m == 1:
        yield "warning: there is one sample, so a sum and a mean over the samples are the same"
    if names.unbiased:
        yield _without_bias(names.unbiased)
    square = [named for name, named in names.tensors.items() if name.endswith(".weight") and _is_square(named)]
    if square:
        are, layouts = ("are", "their layouts are") if len(square) > 1 else ("is", "its layout is")
        yield (
            f"{listed(named.observation.name for named in square)} {are} square, so {layouts} known from what is "
            "computed, not from the shape"
        )


def _without_bias(layers: list[int]) -> str:
    if len(layers) == 1:
        return (
            f"warning: layer {layers[0]} is computed without a bias and is checked that way; "
            "in the network as it was given, it has one"
        )
    return (
        f"warning: layers {listed(layers)} are computed without a bias and are checked that way; "
        "in the network as it was given, they have one"
    )


def _is_square(named: Named) -> bool:
    return named.view.array.shape[0] == named.view.array.shape[1] > 1
