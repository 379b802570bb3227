"""Checking: what was recorded of one candidate, judged, diagnosed, and reported, each once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Self

from compare.diagnosis.confidence import SEEN
from compare.diagnosis.diagnosis import diagnose
from compare.diagnosis.power import power
from compare.diagnosis.seen import seen
from compare.judging.judged_step import JudgedStep, Wrong, judgement, roots, updated_names
from compare.judging.reasons import Diagnosis, Unknown
from compare.judging.step import Rule, rules
from compare.judging.verdict import Row
from compare.network.tensor_name import TensorName
from compare.numbers.array import Array
from compare.operations import STATES
from compare.recording.notes import (
    AlsoWrong,
    LaterStep,
    LaterStepsRight,
    Note,
    RateDependence,
    UpdateNotJudged,
)
from compare.recording.record import Record, left_behind
from compare.recording.recorded import Recorded
from compare.report.outcome import Proof, first_off
from compare.report.report import Report
from compare.report.words import in_words

PATTERNS = ("unknown", "computed-in-float32", "few-elements")  # causes that explain no update


def check_records(records: Sequence[Record], given: Mapping[str, Array] | None = None, **more: Any) -> Report:
    """The Report on consecutive training steps of one candidate.

    `given` holds the tensors that were handed to the candidate before the first step (`input`, `target`, weights),
    which must be found in its record bit for bit; `inputs` of later steps may be given as "2/input". `more` are other
    fields of the Report.
    """
    return check_recorded(Recorded(records, given or {}), **more)


def check_recorded(recorded: Recorded, **more: Any) -> Report:
    """The Report on what was recorded of a candidate; on what was recorded later, where only that is wrong."""
    judged = Judged.of(recorded.records, recorded.given)
    if unproven := _unproven(recorded, judged):
        return check_recorded(_without(recorded, unproven), **more)
    judged.expected.extend(_unjudged(recorded))
    later = recorded.later() if judged.first is None else None
    if later is None:
        return _reported(recorded, judged, **more)
    report = check_recorded(later.recorded, **more)
    if later.completes or report.first is not None or any(_unjudged(later.recorded)):
        return report
    right = [LaterStepsRight(_right(later.recorded, report))] if report.verdict == "parity" else []
    return _reported(replace(recorded, notes=[*recorded.notes, *later.notes, *right]), judged, **more)


def _unproven(recorded: Recorded, judged: Judged) -> list[Row]:
    """Updates that follow no rule and no known mistake, of code whose optimiser nobody said: they accuse nobody."""
    first = judged.first
    if first is None or first.check != "update" or TensorName(first.tensor).state or not recorded.sources:
        return []
    is_known = any(found.cause not in PATTERNS for found in _diagnosis(judged, recorded.notes))
    return [] if is_known else [r for r in judged.rows if (r.status, r.check, r.step) == ("off", "update", first.step)]


def _without(recorded: Recorded, rows: Sequence[Row]) -> Recorded:
    """What was recorded, without these tensors: they are said not to be judged."""
    step, names = rows[0].step, [row.tensor for row in rows]
    records = [r.without(names) if r.step == step else r for r in recorded.records]
    moved = tuple(name for name in map(TensorName, names) if name.is_new)
    return replace(recorded, records=records, notes=[*recorded.notes, UpdateNotJudged(moved)])


def _right(recorded: Recorded, report: Report) -> tuple[tuple[int, int], ...]:
    """This later step, and those after it that its report names."""
    own = [(note.number, note.rows) for note in recorded.notes if isinstance(note, LaterStep)]
    further = [step for note in report.notes if isinstance(note, LaterStepsRight) for step in note.steps]
    return (*own, *further)


def _unjudged(recorded: Recorded) -> Iterator[tuple[int, str]]:
    """New values of parameters that nothing says anything of: without them there is no parity."""
    for note in recorded.notes:
        if isinstance(note, UpdateNotJudged):
            yield from ((r.step, name) for r in recorded.records for name in note.tensors if name not in r)


def check_exactly(
    records: Sequence[Record], given: Mapping[str, Array], exact: Callable[[Record, Rule], Rule], proof: Proof
) -> Report:
    """The Report by exact rules, which allow no difference. What is off is explained by the usual ones.

    Where a fault left operands on which the proof fails, what follows is not checked, and the fault's own row is off.
    """
    judged = Judged.of(records, given, exact)
    judged.rows[:] = map(_by_proof, judged.rows)
    usual = Judged.of(records, given) if judged.first else None
    diagnosis = _diagnosis(usual) if usual else []
    return _reported(Recorded(records, given), judged, diagnosis, proof=proof, ambiguous=0, power_of=None)


def check_beside(
    recorded: Recorded, beside: Mapping[Row, Wrong], causes: Callable[[Row], list[Diagnosis]], **more: Any
) -> Report:
    """The Report with rows that were judged beside the records; `causes` of the first divergence come first."""
    judged = Judged.of(recorded.records, recorded.given)
    rows = _in_order(judged.rows, beside)
    first, found = first_off(rows), []
    if first is not None:
        known = _diagnosis(judged, recorded.notes) if first is judged.first else []
        unknown = Diagnosis("unknown", first.layer, 0.0, first.tensor, Unknown())
        found = [*causes(first), *known][:2] or [unknown]
    judgement_of = lambda row: beside[row] if row in beside else judgement(row, judged.steps)  # noqa: E731
    return _reported(recorded, judged, found, rows=rows, judgement_of=judgement_of, **more)


@dataclass(frozen=True)
class Judged:
    """Consecutive steps, tensor by tensor, and the (step, name) of every tensor that complete records hold."""

    rows: list[Row]
    steps: list[JudgedStep]
    expected: list[tuple[int, str]]

    @classmethod
    def of(
        cls,
        records: Sequence[Record],
        given: Mapping[str, Array],
        as_rule: Callable[[Record, Rule], Rule] = lambda record, rule: rule,
    ) -> Self:
        """Each record by what was given, and by what the step before left behind."""
        judged = cls([], [], [])
        before: Record | None = None
        for record in records:
            known = _given_at(record.step, given, before)
            step_rules = [as_rule(record, r) for r in rules(record.network, record.optimizer, record.step, record)]
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


def _reported(recorded: Recorded, judged: Judged, diagnosis: Sequence[Diagnosis] | None = None, **more: Any) -> Report:
    notes = [*recorded.notes, *_also_wrong(recorded, judged)]
    found = _diagnosis(judged, notes) if diagnosis is None else diagnosis
    fields = {
        "rows": judged.rows,
        "ambiguous": sum(step.ambiguous for step in judged.steps),
        "power_of": cache(lambda: power(judged.rows, judged.steps)),
        "judgement_of": lambda row: judgement(row, judged.steps),
        "notes": notes,
        **more,
    }
    words = in_words(recorded, notes, first_off(fields["rows"]), found)
    return Report.of(recorded.records, expected=judged.expected, **fields, **words)


def _in_order(rows: Sequence[Row], beside: Mapping[Row, Wrong]) -> list[Row]:
    """Of each step: parameters that differ, what was computed with them, what else differs, updates."""

    def phase(row: Row) -> int:
        if row in beside:
            return 0 if row.kind == "parameter" else 2
        return 3 if row.kind == "update" else 1

    return sorted([*beside, *rows], key=lambda row: (row.step, phase(row)))


def _also_wrong(recorded: Recorded, judged: Judged) -> Iterator[AlsoWrong]:
    """What else is wrong in the step of the first divergence, in code that was watched: each is its own mistake."""
    first = judged.first
    if first is None or not recorded.sources:
        return
    others = [r for r in judged.rows if r.status == "off" and r.step == first.step and r.tensor != first.tensor]
    places = recorded.places_of(first.step)
    if shown := tuple((r.tensor, places[r.tensor]) for r in others if r.tensor in places):
        yield AlsoWrong(shown)


def _diagnosis(judged: Judged, notes: Sequence[Note] = ()) -> list[Diagnosis]:
    """What was seen to be wrong in the code; else what explains the tensor; else an update that came early."""
    first = judged.first
    if first is None:
        return []
    if proven := seen(first, notes):
        return proven
    found = diagnose(first, judged.rows, judged.steps)
    early = [note for note in notes if isinstance(note, RateDependence)] if found[0].cause == "unknown" else []
    return [Diagnosis("updated-weights", note.layer, SEEN, note.tensor, note) for note in early] or found


def _by_proof(row: Row) -> Row:
    if row.status == "not checked" and math.isinf(row.allowed):
        return replace(row, note="its operands are not those of the proof: see what is off before it")
    return row


# --- what records hold ------------------------------------------------------------------------------------------------


def _given_at(step: int, given: Mapping[str, Array], before: Record | None) -> dict[str, Array]:
    """What is known of this step's roots: as given for it, else what the step before left behind."""
    of_step = {n.removeprefix(f"{step}/"): a for n, a in given.items() if n.startswith(f"{step}/")}
    if before is not None:
        return of_step | left_behind(before)
    return {name: a for name, a in given.items() if "/" not in name} | of_step


def _required(record: Record, step_rules: Sequence[Rule], known: Mapping[str, Array]) -> list[str]:
    """The tensors that a complete record holds and that can be checked."""
    found = [name for name in roots(record) if name in known]
    return found + [rule.name for rule in step_rules if not rule.optional or rule.name in record]


def _expect_known_names(record: Record, step_rules: Sequence[Rule]) -> None:
    names = {*roots(record), *(rule.name for rule in step_rules)}
    if record.optimizer is None:
        states = (name.with_state(part) for name in record.network.parameters() for part in STATES)
        names |= {*updated_names(record), *states}
    for name in record:
        if name not in names:
            raise ValueError(f"{name}: no such tensor in {record.network}; expected one of {', '.join(sorted(names))}")
