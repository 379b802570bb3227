"""Outcome: what a check found, as data: the rows, the verdict that follows from them, and what belongs to it."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np
import torch

from compare.judging.judged_step import Wrong
from compare.judging.reasons import Diagnosis
from compare.judging.verdict import Power, Row, plain, verdict
from compare.recording.notes import Note, UpdateNotJudged
from compare.recording.record import Record
from torch_ref.tf32 import tf32_is_on


class Proof(Protocol):
    """That every sum of the training steps is exact; its text says how many bits they need."""

    @property
    def alive(self) -> float:
        """The share of the gradients' elements that are not zero."""


@dataclass
class Outcome:
    """What a check found. `verdict` is parity, mismatch or incomplete; `first` is the first row that is off."""

    network: str
    dtype: str
    rows: list[Row]
    missing: list[str]
    needed: list[str]
    layers: list[str]
    steps: int
    batch: int
    total: int
    optimizer: str = ""
    watched: int = 0
    ambiguous: int = 0
    power_of: Callable[[], Power] | None = None
    judgement_of: Callable[[Row], Wrong] | None = None
    diagnosis: list[Diagnosis] = field(default_factory=list)
    reference: Outcome | None = None
    end_to_end: dict[str, float] = field(default_factory=dict)
    notes: Sequence[Note] = ()  # of somebody's own code, as data
    findings: list[str] = field(default_factory=list)  # the notes in words, all but the side effects
    origins: dict[str, str] = field(default_factory=dict)  # tensor -> "student.py line 41, dz1"
    side_effects: list[str] = field(default_factory=list)  # of somebody's own code, in words
    code: str = ""  # the line of source that binds the first divergence
    where: str = ""  # its place as editors open it, "labs/student.py:41:11"
    excerpt: str = ""  # the line marked, the expression underlined, with the lines around it
    proof: Proof | None = None  # in exact mode: why no difference is allowed

    @classmethod
    def of(cls, records: Sequence[Record], *, expected: Sequence[tuple[int, str]], **more: Any) -> Self:
        """From the records, and the (step, name) of every tensor that a complete record holds; `more` has the rest."""
        first = records[0]
        held = {(r.step, name) for r in records for name in (*r, *r.nothing)}
        absent = [(step, name) for step, name in expected if (step, name) not in held]
        last = f"{len(first.network.layers) - 1}.output"
        needed = {last, *(name.gradient for name in first.network.parameters())}
        needed |= {n for note in more.get("notes", ()) if isinstance(note, UpdateNotJudged) for n in note.tensors}
        several = len(records) > 1
        named = [(f"step {step}: {name}" if several else name, name in needed) for step, name in absent]
        return cls(
            network=str(first.network),
            dtype=first.dtype.name,
            missing=[name for name, _ in named],
            needed=[name for name, is_needed in named if is_needed],
            layers=[str(layer) for layer in first.network.layers],
            steps=len(records),
            batch=len(first["input"]) if "input" in first else 0,
            total=len(expected),
            optimizer=str(first.optimizer or ""),
            watched=sum(r.watched for r in records),
            **more,
        )

    @property
    def first(self) -> Row | None:
        """The first divergence in order of execution."""
        return first_off(self.rows)

    @property
    def compared(self) -> int:
        """How many tensors were held against an expected value."""
        return len({(r.step, r.tensor) for r in self.rows if r.status != "not checked" and r.check != "side_effects"})

    @property
    def unjudged(self) -> list[Row]:
        """What was handed in and could not be judged."""
        return [row for row in self.rows if row.status == "not checked"]

    @property
    def verdict(self) -> str:
        """parity, mismatch or incomplete (judging/verdict.py)."""
        return verdict(self.rows, self.needed)

    @property
    def cause(self) -> str | None:
        """Why, in plain words: the best diagnosis."""
        return self.diagnosis[0].explanation if self.diagnosis else None

    @property
    def coverage(self) -> str:
        """The line that ends every report."""
        line = f"{self.compared} of {self.total} tensors compared"
        if self.missing:
            shown = ", ".join(self.missing[:6])
            line += f"; not handed in: {shown}{f' and {len(self.missing) - 6} more' if len(self.missing) > 6 else ''}"
        if unjudged := self.unjudged:
            line += f"; not checked: {', '.join(f'{r.tensor} ({r.note})' for r in unjudged[:3])}"
            line += f" and {len(unjudged) - 3} more" if len(unjudged) > 3 else ""
        return line

    @property
    def power(self) -> Power | None:
        """Which known mistakes this check would have shown; None where that is not known."""
        return self.power_of() if self.power_of else None

    def judgement(self, row: Row) -> Wrong | None:
        """The arrays behind one of the rows, found and expected; None where there is nothing to hold them against."""
        compared = row.status == "ok" or not math.isnan(row.ratio)
        return self.judgement_of(row) if self.judgement_of and compared else None

    @property
    def worst(self) -> Row | None:
        """The row with the largest ratio."""
        return max(self.rows, key=lambda row: -1.0 if math.isnan(row.ratio) else row.ratio, default=None)

    def to_dict(self) -> dict[str, Any]:
        """The report as the JSON schema has it."""
        first = self.first
        keys = ("step", "layer", "kind", "tensor", "check")
        found: dict[str, Any] = {
            "verdict": self.verdict,
            "dtype": self.dtype,
            "network": self.network,
            "first_divergence": {key: getattr(first, key) for key in keys} if first else None,
            "diagnosis": [d.to_dict() for d in self.diagnosis],
            "rows": [row.to_dict() for row in self.rows],
            "coverage": {"compared": self.compared, "total": self.total},
            "environment": environment(),
        }
        ends = {name: plain(value) for name, value in self.end_to_end.items()}
        said = {"findings": self.findings, "side_effects": self.side_effects, "origins": self.origins}
        found |= {name: value for name, value in (said | {"end_to_end": ends}).items() if value}
        if self.reference:
            found["reference"] = {"verdict": self.reference.verdict, "rows": [r.to_dict() for r in self.reference.rows]}
            if self.reference.diagnosis:
                found["reference"]["diagnosis"] = [d.to_dict() for d in self.reference.diagnosis]
        if self.proof:
            found |= {"mode": "exact", "proof": str(self.proof)}
        return found


def first_off(rows: Sequence[Row]) -> Row | None:
    """The first of these, in order of execution, that is off."""
    return next((row for row in rows if row.status == "off"), None)


def environment() -> dict[str, Any]:
    """Versions, threads and TF32: what a reader needs to repeat the check."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "tf32": tf32_is_on(),
    }
