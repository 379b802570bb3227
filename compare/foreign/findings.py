"""Findings: the conventions that a candidate was found to follow, as notes, with a warning where two would fit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from compare.foreign import layout
from compare.foreign.convention import factors, nearest
from compare.foreign.naming.named import Named, Names
from compare.recording.notes import (
    BetweenFound,
    FactorFound,
    GuardFound,
    LayoutFound,
    Note,
    OneSample,
    RateFound,
    RecoveredFound,
    SquareWeights,
    WithoutBias,
)
from compare.watching.rewriting import IN_PLACE, OPERATORS

SAMPLED = ("output", "grad_output", "grad_input")  # tensors of one row a sample, as input and target are
PARAMETERS_GRADIENTS = (".grad_weight", ".grad_bias")
BETWEEN = (".grad_output", ".grad_input")


def describe(names: Names) -> list[Note]:
    """Layouts, the bias's place, the loss's factor, rates, what is ambiguous."""
    return [*_layouts(names), *_factor(names), *_guard(names), *_between(names), *_updates(names), *_ambiguous(names)]


def _layouts(names: Names) -> Iterator[LayoutFound]:
    """Torch's own layout is noted only where both are there."""
    kept: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, named in names.tensors.items():
        for part, held_as in _layout(name, named) if _has_name(named) else ():
            kept[part, held_as].append(named.observation.name)
    mixed = sum(part == "weights" for part, _ in kept) > 1
    for (part, held_as), held in kept.items():
        if mixed or held_as != layout.OUT_IN:
            yield LayoutFound(part, held_as, tuple(held))


def _has_name(named: Named) -> bool:
    """Whether the code calls it something: what stands inside an expression has its operation's name."""
    name = named.observation.name
    return ":" not in name and name not in OPERATORS.values() and name not in IN_PLACE.values()


def _layout(name: str, named: Named) -> Iterator[tuple[str, str]]:
    """How this tensor is kept; nothing where that is torch's way, or cannot be told from it by its shape."""
    part, view = name.rpartition(".")[2], named.view
    if part == "weight" and 1 not in view.array.shape:
        yield "weights", view.layout
    if part == "weight" and view.attached != layout.SEPARATE:
        yield "bias", view.attached
    sampled = name in ("input", "target") or part in SAMPLED
    if sampled and 1 not in view.array.shape and view.layout == layout.COLUMNS:
        yield "samples", view.layout


def _factor(names: Names) -> Iterator[FactorFound]:
    loss, finals = names.tensors.get("loss"), _factors(names)
    reported = loss if loss is not None and loss.equal else None
    scale = reported.scale if reported else max(finals, default=1.0)
    if scale != 1:
        found = nearest(scale, factors(names.m, names.network.sizes[-1]))
        times, summed = (found.times, found.summed) if found else (1.0, None)
        yield FactorFound(scale, times, summed, reported.observation.place if reported else None)


def _factors(names: Names) -> set[float]:
    """Of the parameter gradients, the learning rate left out."""
    return {named.factor for name, named in names.tensors.items() if name.endswith(PARAMETERS_GRADIENTS)}


def _between(names: Names) -> Iterator[BetweenFound]:
    finals = _factors(names)
    if len(finals) != 1:
        return
    final = next(iter(finals))
    between = [named for name, named in names.tensors.items() if name.endswith(BETWEEN) and named.scale != final]
    for scale, named in {named.scale: named for named in reversed(between)}.items():
        yield BetweenFound(named.observation.place, scale / final, divided=abs(scale) > abs(final))


def _updates(names: Names) -> Iterator[RecoveredFound | RateFound]:
    if names.recovered:
        yield RecoveredFound(tuple(names.tensors[name].observation.name for name in names.recovered))
    if names.rate is not None:
        yield RateFound(names.rate)


def _guard(names: Names) -> Iterator[GuardFound]:
    if names.guard:
        yield GuardFound(names.guard, names.tensors["loss"].observation.place)


def _ambiguous(names: Names) -> Iterator[OneSample | WithoutBias | SquareWeights]:
    if names.m == 1:
        yield OneSample()
    if names.unbiased:
        yield WithoutBias(tuple(names.unbiased))
    weights = [named for name, named in names.tensors.items() if name.endswith(".weight")]
    if square := tuple(named.observation.name for named in weights if _is_square(named)):
        yield SquareWeights(square)


def _is_square(named: Named) -> bool:
    return named.view.array.shape[0] == named.view.array.shape[1] > 1
