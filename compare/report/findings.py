"""Findings: the sentence of each note on somebody's code. compare/recording/notes.py says what the notes mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from compare.judging.reasons import Diagnosis
from compare.recording import notes
from compare.recording.notes import Note, Summed

Words = str | Callable[[Any], str]

OTHERS = 3  # tensors that are wrong, too, and are named in one line
CALLERS = {"input": "x", "target": "t"}

TIMES = {0.5: "half", 2.0: "doubled", -1.0: "negative", -0.5: "half, negative"}
SUMS = {
    Summed.SAMPLES: "summed over the samples, not their mean",
    Summed.ELEMENTS: "summed over all elements, not their mean",
    Summed.OUTPUTS: "summed over the outputs",
    Summed.DIVIDED_BY_OUTPUTS: "divided by the outputs too",
    Summed.DIVIDED_TWICE: "divided by the samples twice",
    Summed.TIMES_SAMPLES: "summed over the samples, times their number",
}


def findings(found: Iterable[Note]) -> list[str]:
    """One sentence a note, in the order of SENTENCES; none of side effects."""
    order = list(SENTENCES)
    told = [note for note in found if type(note) in SENTENCES]
    return [sentence(note) for note in sorted(told, key=lambda note: order.index(type(note)))]


def sentence(note: Note) -> str:
    """The note in words."""
    return said(SENTENCES[type(note)], note)


def said(words: Words, about: object) -> str:
    """A text with the fields of what it is about."""
    return words.format_map(vars(about)) if isinstance(words, str) else words(about)


def side_effects(found: Iterable[Note], diagnosis: Sequence[Diagnosis], is_wrong: bool) -> list[str]:
    """What was written into, where, and whether it did harm; and names that stand for one array."""
    told = []
    for note in found:
        if isinstance(note, notes.Written):
            told.append(_written(note) + _harm(diagnosis, is_wrong))
        elif isinstance(note, notes.SharedArray):
            told.append(f"{note.one} and {note.other} are one array: what was in it first is written over")
    return told


def _written(note: notes.Written) -> str:
    name = CALLERS.get(note.tensor, note.tensor)
    if note.place is None:
        return f"{name} is not what it was after the step: compute on a copy"
    return f"{name} is written into ({note.place})"


def _harm(diagnosis: Sequence[Diagnosis], is_wrong: bool) -> str:
    if any(d.cause == "overwritten-before-use" for d in diagnosis[:1]):
        return ", and a gradient is computed from what it became"
    return "" if is_wrong else "; the gradients are right all the same"


def listed(words: Iterable[object]) -> str:
    """a; a and b; a, b and c. Equal ones once."""
    *first, last = dict.fromkeys(map(str, words))
    return f"{', '.join(first)} and {last}" if first else last


# --- the sentences ----------------------------------------------------------------------------------------------------


def _layout(note: notes.LayoutFound) -> str:
    if note.part == "bias":
        return f"the bias is the {note.layout} of the weight ({listed(note.held)})"
    return f"{note.part} are {note.layout} ({listed(note.held)})"


def _factor(note: notes.FactorFound) -> str:
    words = multiple(note.times, note.summed)
    if note.loss is not None:
        return (
            f"your loss ({note.loss}) is {note.scale:g} times the network's ({words or 'no factor that is known'}); "
            "its gradient is expected to have the same factor"
        )
    return (
        f"your gradient is that of {note.scale:g} times the network's loss{f' ({words})' if words else ''}; no loss "
        "was seen: this is a convention if your loss has the same factor, and a mistake if it has not"
    )


def multiple(times: float, summed: Summed | None) -> str:
    """half, summed over the outputs; "" where no sum is known, or where it is the mean itself."""
    words = (TIMES.get(times, ""), SUMS.get(summed, "")) if summed else ()
    return ", ".join(word for word in words if word)


def _between(note: notes.BetweenFound) -> str:
    return (
        f"the gradients between layers ({note.place}) are {note.ratio:g} times those of the weights: "
        f"{'divided' if note.divided else 'multiplied'} later"
    )


def _without_bias(note: notes.WithoutBias) -> str:
    layers, are, they_have = ("layers", "are", "they have") if len(note.layers) > 1 else ("layer", "is", "it has")
    return (
        f"warning: {layers} {listed(note.layers)} {are} computed without a bias and {are} checked that way; "
        f"in the network as it was given, {they_have} one"
    )


def _square(note: notes.SquareWeights) -> str:
    are, layouts = ("are", "their layouts are") if len(note.held) > 1 else ("is", "its layout is")
    return f"{listed(note.held)} {are} square, so {layouts} known from what is computed, not from the shape"


def _also_wrong(note: notes.AlsoWrong) -> str:
    shown = [f"{tensor} ({place})" for tensor, place in note.tensors[:OTHERS]]
    more = f" and {len(note.tensors) - OTHERS} more" if len(note.tensors) > OTHERS else ""
    return f"also wrong, on its own inputs: {', '.join(shown)}{more}"


def _recovered(note: notes.RecoveredFound) -> str:
    return f"some gradients were not bound to a name; they are {listed(note.held)}, divided by the learning rate"


def _several_ranks(note: notes.SeveralRanks) -> str:
    shards = "; ".join("+".join(map(str, rows)) for rows in note.shards)
    alike = "; weights, gradients and updates have the same bits on all of them" if note.alike else ""
    return f"{len(note.shards[0])} ranks with shards of {shards} rows{alike}"


def _own_run(note: notes.OwnRun) -> str:
    worst = f", worst ratio {note.ratio:.2g} ({note.tensor})" if note.tensor else ""
    return f"NumPy's own run on the whole batches by the same bounds: {note.verdict}{worst}"


def _penalty(note: notes.PenaltyFound) -> str:
    on = f"{note.amount:g} {note.kind} on {listed(note.held)}"
    if note.where == "text":
        return f"the gradient has {on}, as the network's text says"
    if note.where == "both":
        return f"the loss has a penalty, {on}, and so has its gradient"
    return f"the gradient has {on}, which the loss beside it has not (weight decay)"


def _penalty_differs(note: notes.PenaltyDiffers) -> str:
    if note.declared is None:
        return f"the penalty of the loss is {note.loss:g} {note.kind}, that in {note.tensor} is {note.gradient:g}"
    found = note.loss if note.tensor == "loss" else note.gradient
    return f"the penalty in the network's text is {note.declared:g} {note.kind}, that in {note.tensor} is {found:g}"


def _not_judged(note: notes.UpdateNotJudged) -> str:
    how = "moved by no rule that is known" if note.moved else "do not move: no step of an optimiser was seen"
    return f"the update was not judged: {listed(note.tensors)} {how}"


def _later_step(note: notes.LaterStep) -> str:
    if note.number == 2:
        return "this is the second step: in the first one, from the initial weights, nothing is wrong"
    return f"this is step {note.number}, on {_samples(note.rows)}: in those that were judged before it nothing is wrong"


def _later_steps_right(note: notes.LaterStepsRight) -> str:
    if [number for number, _ in note.steps] == [2]:
        return "a second step, from the updated weights, is right too"
    return "steps " + listed([f"{number} ({_samples(rows)})" for number, rows in note.steps]) + " are right too"


def _samples(rows: int) -> str:
    return f"{rows} sample{'s' * (rows > 1)}"


# In the order in which they are told; a text has the note's fields in braces.
SENTENCES: Mapping[type[Note], Words] = {
    notes.NetworkRead: "nobody said the network: it is the one that the code computes, with the loss that fits it best",
    notes.LayoutFound: _layout,
    notes.FactorFound: _factor,
    notes.GuardFound: "your loss ({loss}) keeps its logarithms finite by {guard:g}: it is not judged, and the gradient "
    "is held against the loss without it",
    notes.BetweenFound: _between,
    notes.RecoveredFound: _recovered,
    notes.RateFound: "the weights move by {rate:g} times the gradient",
    notes.PenaltyFound: _penalty,
    notes.PenaltyDiffers: _penalty_differs,
    notes.MomentumFound: lambda note: f"the step has {'Nesterov ' * note.nesterov}momentum {note.momentum:g}",
    notes.DirectionFound: "the step takes the gradient {how}",
    notes.UpdateNotJudged: _not_judged,
    notes.OneSample: "warning: there is one sample, so a sum and a mean over the samples are the same",
    notes.WithoutBias: _without_bias,
    notes.SquareWeights: _square,
    notes.AlsoWrong: _also_wrong,
    notes.StepNotFound: "no training step was found: {why}",
    notes.DidNotEnd: "the code did not run to its end: {how}",
    notes.Unseen: lambda note: f"not all that the code does is seen, so there is no parity: {'; '.join(note.how[:3])}",
    notes.RateDependence: "update before delta: the weights of layer {layer} are updated before the gradient goes back "
    "through them; at the rates {rates[0]:g} and {rates[1]:g} the change of {tensor} over the rate differs by "
    "{difference:.2g}, and may by {allowed:.2g}",
    notes.NotUpdated: "{tensor} ({held}) is not updated in the first step, and no gradient of it was seen",
    notes.LaterStep: _later_step,
    notes.LaterStepsRight: _later_steps_right,
    notes.SeveralRanks: _several_ranks,
    notes.OwnRun: _own_run,
}
