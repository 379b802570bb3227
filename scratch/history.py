"""History: what training looked like epoch by epoch, and the CSV file that holds it bit for bit."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from scratch.atomic_file import write_atomically
from scratch.datasets.idx import open_regular
from scratch.fingerprint import Fingerprint
from scratch.printable import cut


class HistoryError(ValueError):
    """Rows or a file that cannot be a history: what was found, and what was expected."""


class Row(NamedTuple):
    """One epoch. Losses as the loss module defines them, accuracies as shares of 1, seconds of wall time.

    The training figures are gathered during the epoch, each batch before its update (with `evaluate_train`, taken as
    the validation figures are); those of validation are taken over the whole set after the epoch's last update.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float


COLUMNS = Row._fields
MAX_NAME = 80
LARGEST = 1e300  # an axis from -1e308 to 1e308 has a length that is no float
MAX_BYTES = 1 << 23  # 90,000 epochs, a row of each of which has some 90 bytes


class History:
    """The rows of epochs 1, 2, ..., in order. HistoryError for a row that does not follow.

    `watched`: what the training's `watch` found in the weights, before the first epoch and after each; else empty.
    `fingerprints`: hashes of the training's state, at the start, after each epoch, and between where asked for.
    """

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.watched: list[dict[str, float]] = []
        self.fingerprints: list[Fingerprint] = []
        self.rows: list[Row] = []
        for row in rows:
            self.append(row)

    def append(self, row: Row) -> None:
        if row.epoch != len(self.rows) + 1:
            raise HistoryError(f"found epoch {row.epoch}, expected {len(self.rows) + 1}")
        for name, value in zip(COLUMNS[1:], row[1:], strict=True):
            if not (math.isfinite(value) and abs(value) <= (1 if name.endswith("accuracy") else LARGEST)):
                raise HistoryError(f"found {name} {value} in epoch {row.epoch}, expected {_range(name)}")
            if value < 0 and not name.endswith("loss"):
                raise HistoryError(f"found {name} {value} in epoch {row.epoch}, expected {_range(name)}")
        self.rows.append(row)

    def column(self, name: str) -> list[float]:
        """One quantity over the epochs; `name` is one of COLUMNS."""
        if name not in COLUMNS:
            raise HistoryError(f"found column {name!r}, expected one of {', '.join(COLUMNS)}")
        return [getattr(row, name) for row in self.rows]

    @property
    def figures(self) -> list[tuple[float, ...]]:
        """The rows without their seconds: what two equal runs have in common."""
        return [row[:-1] for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]

    def __repr__(self) -> str:
        last = f", {self.rows[-1]}" if self.rows else ""
        return f"<History of {len(self.rows)} epochs{last}>"


def write_histories(path: str | os.PathLike[str], histories: Mapping[str, History]) -> None:
    """A CSV file: a column `backend`, then COLUMNS; floats in the shortest form that reads back to the same bits.

    The file is replaced in one step, so that somebody who watches it never sees half of it.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("backend", *COLUMNS))
    for backend, history in histories.items():
        writer.writerows((backend, row.epoch, *map(repr, map(float, row[1:]))) for row in history)
    write_atomically(path, text.getvalue().encode())


def read_histories(path: str | os.PathLike[str]) -> dict[str, History]:
    """What `write_histories` wrote, by backend. HistoryError naming file and line for anything else."""
    try:
        size = Path(path).stat().st_size
        if size > MAX_BYTES:
            raise HistoryError(f"{path}: found {size} bytes, expected at most {MAX_BYTES}")
        with open_regular(path) as file:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="")
            return _histories(path, csv.reader(text, strict=True))
    except OSError as error:
        raise HistoryError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise HistoryError(f"{path}: found no CSV text ({cut(error, 200)}), expected a history") from error


def _histories(path: str | os.PathLike[str], rows: Iterator[list[str]]) -> dict[str, History]:
    header = ("backend", *COLUMNS)
    first = next(rows, None)
    if first is None or tuple(first) != header:
        found = cut(",".join(first)) if first else "an empty file"
        raise HistoryError(f"{path}: found '{found}' in line 1, expected {','.join(header)!r}")
    histories: dict[str, History] = {}
    for number, row in enumerate(rows, 2):
        try:
            histories.setdefault(row[0] if row else "", History()).append(_row(row))
        except (ValueError, OverflowError) as error:
            raise HistoryError(f"{path}, line {number}: {cut(error, 200)}") from None
    return histories


def _row(cells: list[str]) -> Row:
    if len(cells) != len(COLUMNS) + 1 or not cells[0]:
        raise HistoryError(f"found {len(cells)} cells, expected a backend and {len(COLUMNS)} numbers")
    if not cells[0].isprintable() or len(cells[0]) > MAX_NAME:
        raise HistoryError(f"found '{cut(cells[0])}' as a backend, expected at most {MAX_NAME} printable characters")
    return Row(int(cells[1]), *map(float, cells[2:]))


def _range(name: str) -> str:
    ranges = {"loss": f"a finite number of at most {LARGEST:g}", "accuracy": "0 to 1"}
    return ranges.get(name.rpartition("_")[2], "at least 0")
