"""Findings: the sentence of each note on somebody's code. compare/recording/notes.py says what the notes mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from compare.judging.verdict import Diagnosis, Row
from compare.recording import notes
from compare.recording.notes import Note, Summed
from compare.recording.place import Place
from compare.recording.recorded import Recorded

OTHERS = 3  # tensors that are wrong, too, and are named in one line
AROUND = 2  # lines of source shown before and after the one that is wrong
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


def in_words(
    recorded: Recorded, found: Sequence[Note], first: Row | None, diagnosis: Sequence[Diagnosis]
) -> dict[str, Any]:
    """The fields of a report that are words: on these notes, and on where tensors, and the first divergence, are."""
    wrong = recorded.place(first.step, first.tensor) if first else None
    return {
        "findings": findings(found),
        "origins": {name: str(place) for places in recorded.places[:1] for name, place in places.items()},
        "side_effects": side_effects(found, diagnosis, first is not None),
        "code": code(wrong, recorded.sources).strip(),
        "excerpt": excerpt(wrong, recorded.sources),
    }


def findings(found: Iterable[Note]) -> list[str]:
    """One sentence a note, in the order of SENTENCES; none of side effects."""
    order = list(SENTENCES)
    told = [note for note in found if type(note) in SENTENCES]
    return [sentence(note) for note in sorted(told, key=lambda note: order.index(type(note)))]


def sentence(note: Note) -> str:
    """The note in words."""
    return SENTENCES[type(note)](note)


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


def code(place: Place | None, sources: Mapping[str, Sequence[str]]) -> str:
    """The line of a place; "" where it has none."""
    lines = sources.get(place.file, ()) if place else ()
    return lines[place.line - 1] if place and 0 < place.line <= len(lines) else ""


def excerpt(place: Place | None, sources: Mapping[str, Sequence[str]]) -> str:
    """The source around the line of a place, marked; "" where it has none."""
    if place is None or not place.line or not (lines := sources.get(place.file)):
        return ""
    first = max(place.line - AROUND, 1)
    shown = enumerate(lines[first - 1 : place.line + AROUND], first)
    return "\n".join(f"{'>' if k == place.line else ' '} {k:4} {line.rstrip()}" for k, line in shown)


def listed(words: Iterable[object]) -> str:
    """a; a and b; a, b and c. Equal ones once."""
    *first, last = dict.fromkeys(map(str, words))
    return f"{', '.join(first)} and {last}" if first else last


def never_updated(tensor: str) -> str:
    """Why the new value of a parameter is wrong."""
    return f"{tensor}: it is never updated: the second step begins with the same values"


# --- the sentences ----------------------------------------------------------------------------------------------------


def _layout(note: notes.LayoutFound) -> str:
    if note.part == "bias":
        return f"the bias is the {note.layout} of the weight ({listed(note.held)})"
    return f"{note.part} are {note.layout} ({listed(note.held)})"


def _uphill(note: notes.UphillFound) -> str:
    return "your gradient is that of the negative loss, and the step adds it: this is descent on the loss itself"


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


def _guard(note: notes.GuardFound) -> str:
    return (
        f"your loss ({note.loss}) keeps its logarithms finite by {note.guard:g}: "
        "it is not judged, and the gradient is held against the loss without it"
    )


def _between(note: notes.BetweenFound) -> str:
    return (
        f"the gradients between layers ({note.place}) are {note.ratio:g} times those of the weights: "
        f"{'divided' if note.divided else 'multiplied'} later"
    )


def _recovered(note: notes.RecoveredFound) -> str:
    return f"some gradients were not bound to a name; they are {listed(note.held)}, divided by the learning rate"


def _rate(note: notes.RateFound) -> str:
    return f"the weights move by {note.rate:g} times the gradient"


def _one_sample(note: notes.OneSample) -> str:
    return "warning: there is one sample, so a sum and a mean over the samples are the same"


def _without_bias(note: notes.WithoutBias) -> str:
    if len(note.layers) == 1:
        return (
            f"warning: layer {note.layers[0]} is computed without a bias and is checked that way; "
            "in the network as it was given, it has one"
        )
    return (
        f"warning: layers {listed(note.layers)} are computed without a bias and are checked that way; "
        "in the network as it was given, they have one"
    )


def _square(note: notes.SquareWeights) -> str:
    are, layouts = ("are", "their layouts are") if len(note.held) > 1 else ("is", "its layout is")
    return f"{listed(note.held)} {are} square, so {layouts} known from what is computed, not from the shape"


def _also_wrong(note: notes.AlsoWrong) -> str:
    shown = [f"{tensor} ({place})" for tensor, place in note.tensors[:OTHERS]]
    more = f" and {len(note.tensors) - OTHERS} more" if len(note.tensors) > OTHERS else ""
    return f"also wrong, on its own inputs: {', '.join(shown)}{more}"


def _did_not_end(note: notes.DidNotEnd) -> str:
    return f"the code did not run to its end: {note.how}"


def _rate_dependence(note: notes.RateDependence) -> str:
    one, other = note.rates
    return (
        f"update before delta: the weights of layer {note.layer} are updated before the gradient goes back through "
        f"them; at the rates {one:g} and {other:g} the change of {note.tensor} over the rate "
        f"differs by {note.difference:.2g}, and may by {note.allowed:.2g}"
    )


def _not_updated(note: notes.NotUpdated) -> str:
    return f"{note.tensor} ({note.held}) is not updated in the first step, and no gradient of it was seen"


def _second_step(note: notes.SecondStep) -> str:
    return "this is the second step: in the first one, from the initial weights, nothing is wrong"


def _second_step_right(note: notes.SecondStepRight) -> str:
    return "a second step, from the updated weights, is right too"


# In the order in which they are told.
def _penalty(note: notes.PenaltyFound) -> str:
    on = f"{note.amount:g} {note.kind} on {listed(note.held)}"
    if note.where == "both":
        return f"the loss has a penalty, {on}, and so has its gradient"
    return f"the gradient has {on}, which the loss beside it has not (weight decay)"


def _momentum(note: notes.MomentumFound) -> str:
    return f"the step has momentum {note.momentum:g}"


def _not_judged(note: notes.UpdateNotJudged) -> str:
    return f"the update was not judged: {listed(note.tensors)} moved by no rule that is known"


def _step_not_found(note: notes.StepNotFound) -> str:
    return f"no training step was found: {note.why}"


SENTENCES: Mapping[type, Callable[[Any], str]] = {
    notes.LayoutFound: _layout,
    notes.UphillFound: _uphill,
    notes.FactorFound: _factor,
    notes.GuardFound: _guard,
    notes.BetweenFound: _between,
    notes.RecoveredFound: _recovered,
    notes.RateFound: _rate,
    notes.PenaltyFound: _penalty,
    notes.MomentumFound: _momentum,
    notes.UpdateNotJudged: _not_judged,
    notes.OneSample: _one_sample,
    notes.WithoutBias: _without_bias,
    notes.SquareWeights: _square,
    notes.AlsoWrong: _also_wrong,
    notes.StepNotFound: _step_not_found,
    notes.DidNotEnd: _did_not_end,
    notes.RateDependence: _rate_dependence,
    notes.NotUpdated: _not_updated,
    notes.SecondStep: _second_step,
    notes.SecondStepRight: _second_step_right,
}
