"""Text: an outcome as the terminal shows it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import StringIO

from rich.console import Console
from rich.table import Table

from compare.judging.reasons import Diagnosis
from compare.judging.verdict import Row
from compare.recording.notes import NetworkRead, UpdateNotJudged
from compare.report.outcome import Outcome

READ_OFF = " (read off the code; to say another: --network or network=)"


def text(report: Outcome, *, verbose: bool = False, width: int = 110) -> str:
    """What the terminal shows: a line a layer, or the first broken block in full; all rows with `verbose`."""
    console = Console(file=StringIO(), width=width, highlight=False, emoji=False, markup=False)
    console.print(headline(report), soft_wrap=True)
    if report.first:
        console.print(_first_divergence(report, report.first), soft_wrap=True)
    if verbose or report.first:
        rows = report.rows if verbose or not report.first else _block(report, report.first)
        console.print(_table(rows, steps=report.steps > 1))
    else:
        console.print(_layers(report))
    if verbose and report.origins:
        console.print(_origins(report))
    for line in closing(report):
        console.print(line, soft_wrap=True)
    return console.file.getvalue().rstrip()  # type: ignore[attr-defined]


def _origins(report: Outcome) -> Table:
    """What each tensor is in somebody's own code."""
    table = Table(box=None, pad_edge=False)
    for name in ("tensor", "found as"):
        table.add_column(name)
    for tensor, place in report.origins.items():
        table.add_row(tensor, place)
    return table


def headline(report: Outcome) -> str:
    """The verdict, and what was checked, in one line."""
    mode = "exact mode, equality bit for bit: " if report.proof else ""
    steps = f"{report.steps} training step{'s' if report.steps > 1 else ''}"
    with_optimizer = f" with {report.optimizer}" if report.optimizer else ""
    verdict = f"{mode}{report.verdict.upper()} in {report.dtype}"
    read = READ_OFF if any(isinstance(note, NetworkRead) for note in report.notes) else ""
    unjudged = ", update not judged" if any(isinstance(note, UpdateNotJudged) for note in report.notes) else ""
    return f"{verdict}: {report.network}{read}; {steps}{with_optimizer}{unjudged}, batch {report.batch}"


def _first_divergence(report: Outcome, row: Row) -> str:
    step = f"step {row.step}, " if report.steps > 1 else ""
    lines = [f"first divergence: {step}{_layer(report, row.layer)}, {row.tensor} ({row.check} check)"]
    lines.append(f"  should be: {row.formula}")
    if math.isfinite(row.found) or math.isfinite(row.expected):
        lines.append(
            f"  {row.tensor}{at(row.index)}: found {row.found:.{row.digits}g}, "
            f"expected {row.expected:.{row.digits}g} +- {row.allowed:.2g}; {row.note}"
        )
    else:
        lines.append(f"  {row.note}")
    lines += [f"  cause: {d.explanation} ({sureness(d)})" for d in report.diagnosis[:2]]
    if row.tensor in report.origins:
        lines.append(f"  found as: {report.origins[row.tensor]}")
    if report.where:
        lines.append(f"  --> {report.where}")
    lines += [f"    {line}" for line in report.excerpt.splitlines()]
    return "\n".join(lines)


def sureness(d: Diagnosis) -> str:
    """How sure a cause is, and the code by which it is looked up: "confidence 95%, B017"."""
    return f"confidence {d.confidence:.0%}{d.code and f', {d.code}'}"


def _layer(report: Outcome, layer: str) -> str:
    return f"layer {layer} ({report.layers[int(layer)]})" if layer.isdigit() else "the loss"


def _block(report: Outcome, first: Row) -> list[Row]:
    """The rows of the broken layer at that step, and every other row that is off there."""
    return [r for r in report.rows if r.step == first.step and (r.layer == first.layer or r.status == "off")]


def _layers(report: Outcome) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("layer", "tensors", "worst difference", "allowed there", "ratio", "at"):
        table.add_column(name, justify="left" if name in ("layer", "at") else "right")
    for layer in [*map(str, range(len(report.layers))), "loss"]:
        rows = [row for row in report.rows if row.layer == layer]
        if rows:
            worst = max(rows, key=lambda row: row.ratio if not math.isnan(row.ratio) else -1.0)
            name = f"{layer} {report.layers[int(layer)]}" if layer.isdigit() else layer
            table.add_row(name, str(len(rows)), *_numbers(worst), worst.tensor)
    return table


def closing(report: Outcome) -> list[str]:
    """The lines that end every report: conventions found, PyTorch's own verdict, kinks, side effects, coverage."""
    lines = [f"found: {finding}" for finding in report.findings]
    if report.proof:
        alive = f"{100 * report.proof.alive:.2g} % of the gradients' elements are not zero"
        lines.insert(0, f"no tolerance: {report.proof}; {alive}")
    if report.reference and report.reference.worst:
        worst = report.reference.worst
        lines.append(
            f"PyTorch's own {report.dtype} by the same bounds: {report.reference.verdict}, "
            f"worst ratio {worst.ratio:.2g} ({worst.tensor})"
        )
        lines += [f"PyTorch's cause: {each.cause}: {each.explanation}" for each in report.reference.diagnosis[:1]]
    if report.ambiguous:
        lines.append(
            f"{report.ambiguous} pre-activations lie within rounding of a ReLU's kink, where either side is right"
        )
    if report.end_to_end and not report.first:
        name, value = max(report.end_to_end.items(), key=lambda item: item[1])
        lines.append(f"end to end, for information: NumPy and PyTorch differ by at most {value:.1e} relative ({name})")
    lines += [f"side effect: {words}" for words in report.side_effects]
    if report.watched and not report.side_effects and not any(row.check == "side_effects" for row in report.rows):
        lines.append(f"side effects: none; {report.watched} arrays have the same bits afterwards as before")
    return [*lines, report.coverage]


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
    return difference(row), short(row.allowed), short(row.ratio)


def difference(row: Row) -> str:
    """At the element that is worst by ratio."""
    return short(abs(row.found - row.expected))


def short(x: float, digits: int = 2) -> str:
    """Two digits; "-" for what is not known."""
    return "-" if math.isnan(x) else f"{x:.{digits}g}"


def at(index: Sequence[int]) -> str:
    """ "[0, 5]"; nothing for a scalar."""
    return f"[{', '.join(map(str, index))}]" if index else ""
