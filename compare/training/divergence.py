"""Divergence: after how many steps two backends part by more than rounding, parameter by parameter."""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

from scratch.history import History
from scratch.learner import Learner


class Distance(NamedTuple):
    """One parameter after `step` updates: how far scratch is from torch, and how far rounding alone could take it.

    relative is ||a - b|| / ||a|| (a: scratch, b: torch), max_abs the largest |a - b|. aligned and aligned_max_abs are
    the same with the aligned run's parameter for a; envelope and allowed bound these two.
    """

    step: int
    parameter: str
    relative: float
    max_abs: float
    aligned: float
    envelope: float
    aligned_max_abs: float
    allowed: float

    @property
    def ratio(self) -> float:
        """The larger of the two aligned differences over their bounds; infinite for what is not finite."""
        return max(over(self.aligned, self.envelope), over(self.aligned_max_abs, self.allowed))

    @property
    def inside(self) -> bool:
        return self.ratio <= 1


class MaskFlip(NamedTuple):
    """A unit of a ReLU that is on in one backend and off in the other, in the forward pass of update `step`; or a
    window of a max pooling in which they take other elements (what: "ReLU mask" or "maximum").

    row is the sample's place in the batch, sample its row in the training set. ours and theirs are the number whose
    sign decides: of a unit its input; of a window NumPy's element less PyTorch's. allowed bounds |ours - theirs|.
    """

    step: int
    layer: str
    row: int
    sample: int
    unit: int | tuple[int, ...]
    ours: float
    theirs: float
    allowed: float
    what: str = "ReLU mask"

    @property
    def by_rounding(self) -> bool:
        """Whether rounding alone can have moved it across zero."""
        return abs(self.ours - self.theirs) <= self.allowed

    def __str__(self) -> str:
        where = f"step {self.step}, layer {self.layer}, sample {self.sample} (row {self.row} of its batch)"
        unit = f"unit {self.unit}"
        if self.what == "maximum":
            unit = f"window {self.unit}, NumPy's element less PyTorch's"
        how = "within" if self.by_rounding else "MORE than"
        apart = f"{abs(self.ours - self.theirs):.1e} apart, {how} the {self.allowed:.1e} of rounding"
        return f"{where}, {unit}: NumPy {self.ours:.9g}, PyTorch {self.theirs:.9g}, {apart}"


class Divergence:
    """What a run in lockstep showed: `rows` in the order of steps and parameters, flips of masks, first step outside.

    `first_flip` is the first ReLU mask or maximum that differs (by step, layer, row, unit), or None; `flips` counts
    them all, and is None where they could not be compared; `ties` counts those that the aligned run took over because
    rounding alone had decided them; `decisions` says in words what there is of them. `learners` are "scratch" and
    "torch" as they are now, `history` is that of scratch.
    """

    def __init__(self, every: int, title: str = "", dtype: str = "") -> None:
        self.every, self.title, self.dtype = every, title, dtype
        self.rows: list[Distance] = []
        self.flips: int | None = 0
        self.ties = 0
        self.decisions = "ReLU masks"
        self.first_flip: MaskFlip | None = None
        self.learners: dict[str, Learner] = {}
        self.history = History()

    @property
    def steps(self) -> int:
        """The last step that was looked at."""
        return self.rows[-1].step

    @property
    def parameters(self) -> list[str]:
        return list(dict.fromkeys(row.parameter for row in self.rows))

    @property
    def outside(self) -> list[Distance]:
        """The rows outside of the first step that has any, the worst first; empty if every step stays inside."""
        step = next((row.step for row in self.rows if not row.inside), None)
        found = [row for row in self.rows if row.step == step and not row.inside]
        return sorted(found, key=lambda row: -row.ratio)

    @property
    def first_outside(self) -> Distance | None:
        """The worst parameter of the first step that is outside, or None."""
        return next(iter(self.outside), None)

    @property
    def worst(self) -> Distance:
        """The row that is nearest to its bounds, or farthest outside."""
        return max(self.rows, key=lambda row: row.ratio)

    def of(self, parameter: str) -> list[Distance]:
        return [row for row in self.rows if row.parameter == parameter]

    @property
    def summary(self) -> list[str]:
        """Plain lines: how far apart, the first mask that differs, and the first step outside."""
        last = max((row for row in self.rows if row.step == self.steps), key=lambda row: row.relative)
        found = [
            f"{count(self.steps, 'step')} in {self.dtype}, compared every {count(self.every, 'step')}: "
            f"at the end the weights are at most {last.relative:.1e} apart ({last.parameter})"
        ]
        if self.flips is None:
            unseen = "not compared (the two networks do not show the same layers that have them)"
            found.append(f"{self.decisions}: {unseen}; one that rounding turns may look like a step outside")
        elif self.first_flip is None:
            found.append(f"{self.decisions}: none differs")
        else:
            found.append(f"first {self.first_flip.what} that differs: {self.first_flip}")
            found.append(f"{self.decisions} that differ: {self.flips}; ties that rounding alone decided: {self.ties}")
        return [*found, self._verdict]

    @property
    def progress(self) -> str:
        """Where it is now, in a line."""
        now = [row for row in self.rows if row.step == self.steps]
        apart, aligned = max(now, key=lambda row: row.relative), max(now, key=lambda row: row.ratio)
        return (
            f"step {self.steps}: weights at most {apart.relative:.1e} apart ({apart.parameter}); with masks aligned "
            f"{aligned.aligned:.1e} of {aligned.envelope:.1e} ({aligned.parameter})"
        )

    @property
    def _verdict(self) -> str:
        first, worst = self.first_outside, self.worst
        masks = ", once NumPy takes PyTorch's side in the ties" if self.ties else ""
        if first is None:
            return (
                f"INSIDE the envelope of rounding at every step{masks}: nearest to it {worst.parameter} at step "
                f"{worst.step}, {worst.aligned:.1e} of {worst.envelope:.1e} (at its largest element "
                f"{worst.aligned_max_abs:.1e} of {worst.allowed:.1e})"
            )
        before = max((row.step for row in self.rows if row.step < first.step), default=0)
        since = f" (inside at step {before})" if self.every > 1 else ""
        others = [row.parameter for row in self.outside[1:]]
        also = f"; also {', '.join(others)}" if others else ""
        return (
            f"OUTSIDE the envelope of rounding at step {first.step}{since}: {first.parameter}, {first.aligned:.1e} of "
            f"{first.envelope:.1e} (at its largest element {first.aligned_max_abs:.1e} of {first.allowed:.1e}){also}"
        )

    def write(self, path: str | os.PathLike[str]) -> None:
        """A CSV file, a line each row."""
        beside = Path(f"{os.fspath(path)}.new")
        with beside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*Distance._fields, "inside"])
            writer.writerows([*map(_plain, row), int(row.inside)] for row in self.rows)
        beside.replace(path)

    def __str__(self) -> str:
        return "\n".join(self.summary)


def over(difference: float, bound: float) -> float:
    """difference / bound; 0 / 0 is 0, and what is not finite infinitely far."""
    if difference == 0:
        return 0.0
    return difference / bound if bound and math.isfinite(difference / bound) else math.inf


def count(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def _plain(value: Any) -> Any:
    return repr(value) if isinstance(value, float) else value
