"""Checking: what was recorded of one candidate, judged, diagnosed, and reported, each once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

from numpy.typing import NDArray

from compare.diagnosis.confidence import SEEN
from compare.diagnosis.diagnosis import diagnose
from compare.diagnosis.power import power
from compare.judging.judged_step import JudgedStep, judgement, roots, updated_names
from compare.judging.step import Rule, rules
from compare.judging.verdict import Diagnosis, Row
from compare.operations import STATES
from compare.recording.notes import AlsoWrong, NeverUpdated, Note, RateDependence, SecondStepRight
from compare.recording.record import Record
from compare.recording.recorded import Recorded
from compare.report.findings import in_words, never_updated, sentence
from compare.report.outcome import first_off
from compare.report.report import Report

Array = NDArray[Any]



def check_records(records: Sequence[Record], given: Mapping[str, Array] | None = None) -> Report:
    """The Report on consecutive training steps of one candidate.

    `given` holds the tensors that were handed to the candidate before the first step (`input`, `target`, weights),
    which must be found in its record bit for bit; `inputs` of later steps may be given as "2/input".
    """
    return check_recorded(Recorded(records, given or {}))


def check_recorded(recorded: Recorded) -> Report:
    """The Report on what was recorded of a candidate; on what was recorded later, where only that is wrong."""
    judged = Judged.of(recorded.records, recorded.given)
    later = recorded.later() if judged.first is None else None
    if later is None:
        return _report(recorded, judged)
    report = check_recorded(later.recorded)
    if later.completes or report.first is not None:
        return report
    right = [SecondStepRight()] if report.verdict == "parity" else []
    return _report(recorded, judged, [*later.notes, *right])


@dataclass(frozen=True)
class Judged:
    """Consecutive steps, tensor by tensor, and the (step, name) of every tensor that complete records hold."""

    rows: list[Row]
    steps: list[JudgedStep]
    expected: list[tuple[int, str]]

    @classmethod
    def of(cls, records: Sequence[Record], given: Mapping[str, Array]) -> Self:
        """Each record by what was given, and by what the step before left behind."""
        judged = cls([], [], [])
        before: Record | None = None
        for record in records:
            known = _given_at(record.step, given, before)
            step_rules = rules(record.network, record.optimizer, record.step, record)
            _expect_known_names(record, step_rules)
            judged.steps.append(JudgedStep(record, step_rules, known))
            judged.rows.extend(judged.steps[-1].rows())
            judged.expected.extend((record.step, name) for name in _required(record, step_rules, known))
            before = record
        return judged

    @property
    def first(self) -> Row | None:
        """The first divergence in order of execution."""
        return first_off(self.rows)


# --- reporting --------------------------------------------------------------------------------------------------------


def _report(recorded: Recorded, judged: Judged, more: Sequence[Note] = ()) -> Report:
    notes = [*recorded.notes, *_also_wrong(recorded, judged), *more]
    diagnosis = _diagnosis(judged, notes)
    return Report.of(
        recorded.records,
        judged.rows,
        judged.expected,
        diagnosis=diagnosis,
        ambiguous=sum(step.ambiguous for step in judged.steps),
        power_of=cache(lambda: power(judged.rows, judged.steps)),
        judgement_of=lambda row: judgement(row, judged.steps),
        notes=notes,
        **in_words(recorded, notes, judged.first, diagnosis),
    )


def _also_wrong(recorded: Recorded, judged: Judged) -> Iterator[AlsoWrong]:
    """What else is wrong in the step of the first divergence, in code that was watched: each is its own mistake."""
    first = judged.first
    if first is None or not recorded.sources:
        return
    others = [r for r in judged.rows if r.status == "off" and r.step == first.step and r.tensor != first.tensor]
    places = recorded.places[0]
    if shown := tuple((r.tensor, places[r.tensor]) for r in others if r.tensor in places):
        yield AlsoWrong(shown)


def _diagnosis(judged: Judged, notes: Sequence[Note]) -> list[Diagnosis]:
    """A parameter that was seen to stay; else what explains the tensor; else an update that came too early."""
    first = judged.first
    if first is None:
        return []
    if any(isinstance(note, NeverUpdated) and first.tensor in note.tensors for note in notes):
        return [Diagnosis("update-missing", first.layer, SEEN, never_updated(first.tensor))]
    found = diagnose(first, judged.rows, judged.steps)
    early = [note for note in notes if isinstance(note, RateDependence)] if found[0].cause == "unknown" else []
    return [Diagnosis("updated-weights", note.layer, SEEN, sentence(note)) for note in early] or found


# --- what records hold ------------------------------------------------------------------------------------------------


def _given_at(step: int, given: Mapping[str, Array], before: Record | None) -> dict[str, Array]:
    """What is known of this step's roots: as given for it, else what the step before left behind."""
    known = {
        name.removeprefix(f"{step}/"): a for name, a in given.items() if "/" not in name or name.startswith(f"{step}/")
    }
    if before is None:
        return known
    known = {name: a for name, a in known.items() if f"{step}/{name}" in given}
    return known | {name.replace(".new_", "."): a for name, a in before.items() if ".new_" in name}


def _required(record: Record, step_rules: Sequence[Rule], known: Mapping[str, Array]) -> list[str]:
    """The tensors that a complete record holds and that can be checked."""
    found = [name for name in roots(record) if name in known]
    return found + [rule.name for rule in step_rules if not rule.optional or rule.name in record]


def _states_before(record: Record) -> set[str]:
    """The optimiser's state in a record that does not name the optimiser."""
    return {f"{name}.{part}" for name in record.network.parameters() for part in STATES}


def _expect_known_names(record: Record, step_rules: Sequence[Rule]) -> None:
    names = {*roots(record), *(rule.name for rule in step_rules)}
    if record.optimizer is None:
        names |= set(updated_names(record)) | _states_before(record)
    for name in record:
        if name not in names:
            raise ValueError(f"{name}: no such tensor in {record.network}; expected one of {', '.join(sorted(names))}")
