"""Settings: the networks and input scales in which every fault is planted, not only the case that it brings itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import DTypeLike

from compare.measuring.faults import Case, Fault
from compare.network.architecture import Architecture

OWN = "own"  # the fault's own network, rows and scale
SCALES = ("1e-8", "1e-4", "0-1", "0-255", "1e8")

# name -> sizes and rows of a usual fault; of one that needs square weights; of one that needs equal hidden layers.
# Rows are those of the first step and of those that differ from it; "= width" faults have as many rows as columns.
SHAPES: dict[str, tuple[tuple[int, int], str, str, str]] = {
    "2-1": ((5, 3), "2-1", "2-2", "2-1"),
    "small": ((6, 3), "5-7-4", "6-6-6", "5-6-6-4"),
    "batch 1": ((1, 1), "5-7-4", "6-6-6", "5-6-6-4"),
    "three layers": ((17, 8), "13-9-11-6", "9-9-9-9", "13-9-9-6"),
    "784-256-10": ((16, 7), "784-256-10", "64-64-64", "784-32-32-10"),
    "ten layers": ((12, 5), "7-9-8-6-10-9-7-8-6-5-4", "-".join(["6"] * 11), "7-" + "6-" * 9 + "4"),
}

# They are about class labels, or about the softmax that belongs to them; one output column has neither.
OF_LABELS = ("one-label-off", "labels-counted-from-one", "output-layer-left-in")


@dataclass(frozen=True)
class Setting:
    """A network's shape and a scale, by name."""

    shape: str
    scale: str

    def __str__(self) -> str:
        return f"{self.shape}, inputs {self.scale}"


SETTINGS = (Setting(OWN, OWN), *(Setting(shape, scale) for shape in SHAPES for scale in SCALES))


def adapted(fault: Fault, setting: Setting) -> Fault | None:
    """The fault with the setting's network and rows; None where it cannot be planted."""
    if setting.shape == OWN:
        return fault
    rows, usual, square, equal_hidden = SHAPES[setting.shape]
    if not fault.network[0].isdigit():  # in torch's names, whose sizes depend on each other: other rows alone
        return _with_rows(fault, rows)
    own = Architecture.of(fault.network).sizes
    if len(set(own)) == 1:
        sizes = square
    elif len(own) > 3 and len(set(own[1:-1])) == 1:
        sizes = equal_hidden
    else:
        sizes = usual
    as_many_rows_as_columns = fault.rows[0] == own[-1] and len(set(fault.rows)) == 1
    if as_many_rows_as_columns:
        rows = (int(sizes.rpartition("-")[2]),) * 2
        if setting.shape in ("2-1", "batch 1"):
            return None
    network = _resized(fault, sizes)
    if network is None:
        return None
    return _with_rows(replace(fault, network=network), rows)


def _with_rows(fault: Fault, rows: tuple[int, ...]) -> Fault:
    first = fault.rows[0]
    return replace(fault, rows=tuple(rows[0] if m == first else rows[1] for m in fault.rows))


def _resized(fault: Fault, sizes: str) -> str | None:
    """The text of the fault's network in other sizes. A softmax over one column is constant: the loss is then MSE."""
    words = [part.strip() for part in fault.network.split(",")]
    activation = words[0].partition(" ")[2]
    if sizes.endswith("-1") and (words[-1].startswith("softmax") or "softmax output" in words):
        if any(edit.module == "scratch.losses" for edit in fault.edits) or fault.name in OF_LABELS or len(words) > 2:
            return None
        words[-1] = "mse"
    if sizes.count("-") == 1:
        return ", ".join([sizes, *words[1:]])
    return ", ".join([f"{sizes} {activation}", *words[1:]])


def case(fault: Fault, setting: Setting, dtype: DTypeLike, seed: int) -> Case:
    """The network and batches of an adapted fault, drawn from the seed; inputs of the setting's scale."""
    drawn = Case.of(fault, dtype, seed)
    if setting.scale == OWN:
        return drawn
    rng = np.random.default_rng([seed, 2])
    drawn.batches = [(_inputs(rng, x, setting.scale), t) for x, t in drawn.batches]
    if fault.zero_row:
        for x, _ in drawn.batches:
            x[0] = 0
    return drawn


def _inputs(rng: np.random.Generator, like: np.ndarray, scale: str) -> np.ndarray:
    if scale.startswith("0-"):
        x = rng.uniform(0, float(scale[2:]), like.shape)
    else:
        x = rng.standard_normal(like.shape) * float(scale)
    return x.astype(like.dtype)


def settings_of(fault: Fault, scales: tuple[str, ...] = SCALES) -> Iterator[tuple[Setting, Fault]]:
    """Every setting that the fault can be planted in, and the fault as it then is."""
    for setting in SETTINGS:
        if setting.scale in (OWN, *scales) and (adapted_ := adapted(fault, setting)) is not None:
            yield setting, adapted_
