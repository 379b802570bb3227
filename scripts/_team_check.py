"""`torchrun --nproc-per-node N scripts/check_parity.py LAB`: the step of all ranks together, judged by rank 0."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

from _exit_code import UsageError
from _team_run import expect_device_for_each, helped, led

from compare import Report
from compare.measuring.faults import Case, Fault, find
from compare.ranks.ranks import check_ranks
from compare.recording.batches import Batch
from scratch import Loss, Optimizer, Sequential
from torch_ref.team import Team

Job = tuple[Sequential, Loss, Optimizer, list[Batch]]


def reports(jobs: Iterable[Job], device: str, fault: Fault | None = None) -> list[Report]:
    """On rank 0: the Report on each job by all ranks; and on NumPy's own run of it, where that is not in parity."""
    found: list[Report] = []
    expect_device_for_each(device)

    def work(team: Team) -> None:
        for job in jobs:
            team.tell((fault.name if fault else None, job))
            found.extend(_checked(team, fault, job))

    led(work, device)
    return found


def cases(fault: Fault, dtypes: Sequence[str], seed: int) -> Iterator[Job]:
    """What shows the fault, in each precision."""
    for dtype in dtypes:
        case = Case.of(fault, dtype, seed)
        yield case.network, case.loss, case.optimizer, case.batches


def help_check() -> int:
    """On every other rank."""

    def work(team: Team, order: tuple[str | None, Any]) -> bool:
        name, job = order
        _checked(team, find(name) if name else None, job)
        return False

    return helped(work)


def _checked(team: Team, fault: Fault | None, job: Job) -> list[Report]:
    try:
        with fault.planted() if fault else nullcontext():
            both = check_ranks(*job, team)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if both is None:
        return []
    report, ours = both
    return [report] if ours.verdict == "parity" else [report, ours]
