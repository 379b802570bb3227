"""Report: the verdict, the first divergence in order of execution, one row a tensor, the coverage; as text and JSON."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from compare.architecture import gradient_of
from torch_ref.tf32 import tf32_is_on

if TYPE_CHECKING:
    from compare.power import Power
    from compare.record import Record
    from compare.report_page import Reproduction
    from compare.sweep import Wrong

VERDICTS = ("parity", "incomplete", "mismatch")  # from best to worst


@dataclass(frozen=True)
class Row:
    """One tensor of one step.

    `allowed` is the bound at the worst element (worst by ratio), `ratio` the difference over it.
    """

    step: int
    layer: str
    kind: str
    tensor: str
    shape: tuple[int, ...]
    check: str
    max_abs_diff: float
    index: tuple[int, ...]
    allowed: float
    ratio: float
    status: str
    note: str = ""
    formula: str = ""
    found: float = float("nan")
    expected: float = float("nan")
    wrong: int = 0

    @property
    def digits(self) -> int:
        """As many digits as found and expected need to differ; at least nine."""
        return next((d for d in range(9, 17) if f"{self.found:.{d}g}" != f"{self.expected:.{d}g}"), 17)

    def to_dict(self) -> dict[str, Any]:
        """The row as the JSON schema has it."""
        keys = (
            "step",
            "layer",
            "kind",
            "tensor",
            "shape",
            "check",
            "max_abs_diff",
            "index",
            "allowed",
            "ratio",
            "status",
        )
        return {key: _plain(getattr(self, key)) for key in keys} | ({"note": self.note} if self.note else {})


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Diagnosis:
    """A cause in plain words, where, and how sure."""

    cause: str
    layer: str
    confidence: float
    explanation: str

    def to_dict(self) -> dict[str, Any]:
        """The diagnosis as the JSON schema has it."""
        return {
            "cause": self.cause,
            "layer": self.layer,
            "confidence": self.confidence,
            "explanation": self.explanation,
        }


@dataclass
class Report:
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
    reference: Report | None = None
    end_to_end: dict[str, float] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)  # the candidate's conventions, in words
    origins: dict[str, str] = field(default_factory=dict)  # tensor -> "student.py line 41, dz1"
    side_effects: list[str] = field(default_factory=list)  # of somebody's own code, in words
    excerpt: str = ""  # the source around the first divergence

    @classmethod
    def of(cls, records: Sequence[Record], rows: list[Row], expected: Sequence[tuple[int, str]]) -> Report:
        """From the records, their rows, and the (step, name) of every tensor that a complete record holds."""
        first = records[0]
        held = {(r.step, name) for r in records for name in (*r, *r.nothing)}
        absent = [(step, name) for step, name in expected if (step, name) not in held]
        last = f"{len(first.network.layers) - 1}.output"
        needed = {last, *(gradient_of(name) for name in first.network.parameters())}
        several = len(records) > 1
        named = [(f"step {step}: {name}" if several else name, name in needed) for step, name in absent]
        return cls(
            network=str(first.network),
            dtype=first.dtype.name,
            rows=rows,
            missing=[name for name, _ in named],
            needed=[name for name, is_needed in named if is_needed],
            layers=[str(layer) for layer in first.network.layers],
            steps=len(records),
            batch=len(first["input"]) if "input" in first else 0,
            total=len(expected),
            optimizer=str(first.optimizer or ""),
            watched=sum(r.watched for r in records),
        )

    @property
    def first(self) -> Row | None:
        """The first divergence in order of execution."""
        return next((row for row in self.rows if row.status == "off"), None)

    @property
    def compared(self) -> int:
        """How many tensors were held against an expected value."""
        return len({(r.step, r.tensor) for r in self.rows if r.status != "not checked" and r.check != "side_effects"})

    @property
    def verdict(self) -> str:
        """mismatch if anything is off; incomplete if the network's output or a parameter gradient was not handed in, or
        a tensor could not be judged."""
        if self.first:
            return "mismatch"
        if self.needed or not self.compared or any(row.status == "not checked" for row in self.rows):
            return "incomplete"
        return "parity"

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
        unjudged = [row for row in self.rows if row.status == "not checked"]
        if unjudged:
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
        if self.findings:
            found["findings"] = self.findings
        if self.side_effects:
            found["side_effects"] = self.side_effects
        if self.origins:
            found["origins"] = self.origins
        if self.end_to_end:
            found["end_to_end"] = {name: _plain(value) for name, value in self.end_to_end.items()}
        if self.reference:
            found["reference"] = {"verdict": self.reference.verdict, "rows": [r.to_dict() for r in self.reference.rows]}
            if self.reference.diagnosis:
                found["reference"]["diagnosis"] = [d.to_dict() for d in self.reference.diagnosis]
        return found

    def to_json(self, path: str | Path) -> None:
        """Write `to_dict` as a JSON file."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n")

    def to_html(self, path: str | Path, made: Reproduction | None = None) -> None:
        """Write one HTML file that needs nothing else. `made` says how the check is repeated. OSError if unwritable."""
        from compare.report_page import write  # it draws, and most reports are only read

        write(path, [self], made)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from compare.report_page import to_fragment

        return to_fragment(self)

    def __str__(self) -> str:
        return self.text()

    def text(self, *, verbose: bool = False, width: int = 110) -> str:
        """What the terminal shows: a line a layer, or the first broken block in full; all rows with `verbose`."""
        console = Console(file=StringIO(), width=width, highlight=False, emoji=False, markup=False)
        console.print(self.headline(), soft_wrap=True)
        if self.first:
            console.print(self._first_divergence(self.first), soft_wrap=True)
        if verbose or self.first:
            rows = self.rows if verbose or not self.first else self._block(self.first)
            console.print(_table(rows, steps=self.steps > 1))
        else:
            console.print(self._layers())
        for line in self.closing():
            console.print(line, soft_wrap=True)
        return console.file.getvalue().rstrip()  # type: ignore[attr-defined]

    def headline(self) -> str:
        """The verdict, and what was checked, in one line."""
        steps = f"{self.steps} training step{'s' if self.steps > 1 else ''}"
        with_optimizer = f" with {self.optimizer}" if self.optimizer else ""
        return f"{self.verdict.upper()} in {self.dtype}: {self.network}; {steps}{with_optimizer}, batch {self.batch}"

    def _first_divergence(self, row: Row) -> str:
        step = f"step {row.step}, " if self.steps > 1 else ""
        lines = [f"first divergence: {step}{self._layer(row.layer)}, {row.tensor} ({row.check} check)"]
        lines.append(f"  should be: {row.formula}")
        if math.isfinite(row.found) or math.isfinite(row.expected):
            at = f"[{', '.join(map(str, row.index))}]" if row.index else ""
            lines.append(
                f"  {row.tensor}{at}: found {row.found:.{row.digits}g}, "
                f"expected {row.expected:.{row.digits}g} +- {row.allowed:.2g}; {row.note}"
            )
        else:
            lines.append(f"  {row.note}")
        lines += [f"  cause: {d.explanation} (confidence {d.confidence:.0%})" for d in self.diagnosis[:2]]
        if row.tensor in self.origins:
            lines.append(f"  found as: {self.origins[row.tensor]}")
        lines += [f"    {line}" for line in self.excerpt.splitlines()]
        return "\n".join(lines)

    def _layer(self, layer: str) -> str:
        return f"layer {layer} ({self.layers[int(layer)]})" if layer.isdigit() else "the loss"

    def _block(self, first: Row) -> list[Row]:
        """The rows of the broken layer at that step, and every other row that is off there."""
        return [r for r in self.rows if r.step == first.step and (r.layer == first.layer or r.status == "off")]

    def _layers(self) -> Table:
        table = Table(box=None, pad_edge=False)
        for name in ("layer", "tensors", "worst difference", "allowed there", "ratio", "at"):
            table.add_column(name, justify="left" if name in ("layer", "at") else "right")
        for layer in [*map(str, range(len(self.layers))), "loss"]:
            rows = [row for row in self.rows if row.layer == layer]
            if rows:
                worst = max(rows, key=lambda row: row.ratio if not math.isnan(row.ratio) else -1.0)
                name = f"{layer} {self.layers[int(layer)]}" if layer.isdigit() else layer
                table.add_row(name, str(len(rows)), *_numbers(worst), worst.tensor)
        return table

    def closing(self) -> list[str]:
        """The lines that end every report: conventions found, PyTorch's own verdict, kinks, side effects, coverage."""
        lines = [f"found: {finding}" for finding in self.findings]
        if self.reference and self.reference.worst:
            worst = self.reference.worst
            lines.append(
                f"PyTorch's own {self.dtype} by the same bounds: {self.reference.verdict}, "
                f"worst ratio {worst.ratio:.2g} ({worst.tensor})"
            )
            lines += [f"PyTorch's cause: {each.cause}: {each.explanation}" for each in self.reference.diagnosis[:1]]
        if self.ambiguous:
            lines.append(
                f"{self.ambiguous} pre-activations lie within rounding of a ReLU's kink, where either side is right"
            )
        if self.end_to_end and not self.first:
            name, value = max(self.end_to_end.items(), key=lambda item: item[1])
            lines.append(
                f"end to end, for information: NumPy and PyTorch differ by at most {value:.1e} relative ({name})"
            )
        lines += [f"side effect: {words}" for words in self.side_effects]
        if self.watched and not self.side_effects and not any(row.check == "side_effects" for row in self.rows):
            lines.append(f"side effects: none; {self.watched} arrays have the same bits afterwards as before")
        return [*lines, self.coverage]


def _table(rows: Sequence[Row], steps: bool) -> Table:
    table = Table(box=None, pad_edge=False)
    names = [*(["step"] if steps else []), "tensor", "shape", "check", "difference", "allowed", "ratio", "status"]
    for name in names:
        table.add_column(
            name, justify="left" if name in ("tensor", "shape", "check", "status") else "right", no_wrap=True
        )
    for row in rows:
        shape = "x".join(map(str, row.shape)) or "scalar"
        status = row.status if row.status == "ok" else f"{row.status.upper()} {row.note}"
        cells = [row.tensor, shape, row.check, *_numbers(row), status]
        table.add_row(*([str(row.step)] if steps else []), *cells)
    return table


def _numbers(row: Row) -> tuple[str, str, str]:
    """Difference, bound and ratio at the element that is worst by ratio."""
    at_worst = abs(row.found - row.expected)
    return tuple("-" if math.isnan(x) else f"{x:.2g}" for x in (at_worst, row.allowed, row.ratio))  # type: ignore[return-value]


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
