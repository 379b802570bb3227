"""Checking: the records of one candidate, judged, diagnosed, and reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from numpy.typing import NDArray

from compare.diagnosis.diagnosis import diagnose
from compare.diagnosis.power import power
from compare.judging.step import Rule, rules
from compare.judging.sweep import Sweep, judgement, roots, updated_names
from compare.judging.verdict import Row
from compare.operations import STATES
from compare.recording.record import Record
from compare.report.report import Report

Array = NDArray[Any]


def check_records(records: Sequence[Record], given: Mapping[str, Array] | None = None) -> Report:
    """The Report on consecutive training steps of one candidate.

    `given` holds the tensors that were handed to the candidate before the first step (`input`, `target`, weights),
    which must be found in its record bit for bit; `inputs` of later steps may be given as "2/input".
    """
    given = dict(given or {})
    rows: list[Row] = []
    sweeps: list[Sweep] = []
    expected_names: list[tuple[int, str]] = []
    before: Record | None = None
    for record in records:
        known = _given_at(record.step, given, before)
        step_rules = rules(record.network, record.optimizer, record.step, record)
        _expect_known_names(record, step_rules)
        sweeps.append(Sweep(record, step_rules, known))
        rows += sweeps[-1].rows()
        expected_names += [(record.step, name) for name in _required(record, step_rules, known)]
        before = record
    report = Report.of(records, rows, expected_names)
    report.diagnosis = diagnose(report, sweeps)
    report.ambiguous = sum(sweep.ambiguous for sweep in sweeps)
    report.power_of = cache(lambda: power(report.rows, sweeps))
    report.judgement_of = lambda row: judgement(row, sweeps)
    return report


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
