"""The students' scripts: that the right ones are right, and that the wrong ones have one fault, at the line said.

Independent of the checker: the gradients are computed here by central differences of the loss, and looked for, up to
layout and one common factor, among what the watcher saw.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compare.watching.dataflow import Dataflow, Value
from compare.watching.watch import watch_script

FOLDER = Path(__file__).parent / "scripts"
TABLE: list[dict[str, Any]] = json.loads((FOLDER / "table.json").read_text())
WRONG = [row for row in TABLE if not row["right"]]
ACTIVATIONS = {
    "relu": lambda z: np.maximum(z, 0),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
}


def by_file(rows: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("row", rows, ids=[row["file"].removesuffix(".py") for row in rows])


def test_the_table_holds_every_script():
    assert [row["file"] for row in TABLE] == sorted(path.name for path in FOLDER.glob("*.py"))
    assert len(WRONG) == 10
    assert len({row["cause"] for row in WRONG}) == 10


@by_file(WRONG)
def test_the_guilty_line_is_the_one_said(row):
    lines = (FOLDER / row["file"]).read_text().splitlines()
    assert lines[row["line"] - 1].strip() == row["code"]


@by_file(TABLE)
def test_between_30_and_120_lines_and_120_columns(row):
    lines = (FOLDER / row["file"]).read_text().splitlines()
    assert 30 <= len(lines) <= 120
    assert max(map(len, lines)) <= 120


@by_file(TABLE)
def test_gradients(row):
    watched = watch_script(FOLDER / row["file"], seconds=60)
    assert watched.complete or watched.ended.startswith("stopped after"), watched.ended
    assert bool(factors(row, watched)) is row["right"]


@pytest.mark.slow
@by_file(WRONG)
def test_with_the_line_mended_it_is_right(row, tmp_path):
    lines = (FOLDER / row["file"]).read_text().splitlines()
    at = row["line"] - 1
    indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
    if "uses" in row:  # the line itself is right, but comes too early
        lines.insert(row["uses"] - 1, lines.pop(at))
    else:
        lines[at] = indent + row["should_be"]
    path = tmp_path / row["file"]
    path.write_text("\n".join(lines) + "\n")
    watched = watch_script(path, seconds=60)
    assert factors(row, watched), watched.ended


def factors(row: dict[str, Any], watched: Dataflow) -> set[float]:
    """The factors c for which c times the gradient of every weight and bias was seen."""
    seen = row["seen"]
    x, t = value(watched, seen["x"]), value(watched, seen["t"])
    weights = [value(watched, name) for name in seen["weights"]]
    biases = [value(watched, name) for name in seen["biases"]]
    moving = {name.partition(" ")[0] for name in seen["weights"] + seen["biases"]}
    first, *others = (set(scales(g, watched, moving)) for g in gradients(row["network"], x, t, weights, biases))
    return {c for c in first if all(np.isclose(c, list(other), rtol=1e-3).any() for other in others)}


def value(watched: Dataflow, name: str) -> np.ndarray:
    """The first array of this name; "W 2" the third, "x 0-9" the first ten as one, in the order of their use."""
    name, _, which = name.partition(" ")
    found = [v for v in watched.values if name in names(v)]
    if "-" in which:
        used = sorted((v for v in found if v.array.ndim and v.users), key=use)
        return np.stack([np.asarray(v.array, np.float64) for v in used[: int(which.partition("-")[2]) + 1]])
    return np.asarray(found[int(which or 0)].array, np.float64)


def use(v: Value) -> int:
    return min((user.time for user in v.users if user.what in ("call:dot", "sub")), default=v.time)


def names(v: Value) -> set[str]:
    """Its own, and those of the array that was written into."""
    written = v.what in ("setitem", "changed") and v.operands
    return {bound.name for bound in v.names} | (names(v.operands[0]) if written else set())


def gradients(network: str, x: Any, t: Any, weights: list[Any], biases: list[Any]) -> list[np.ndarray]:
    """Of the summed loss, by central differences; of a weight as (out, in), with its bias column if it has one."""
    sizes = [int(n) for n in network.split()[0].split("-")]
    activation = ACTIVATIONS[network.split()[1].rstrip(",")]
    x = as_rows(x, sizes[0])
    t = np.eye(sizes[-1])[t.astype(int).reshape(-1)] if t.size == len(x) and sizes[-1] > 1 else as_rows(t, sizes[-1])
    matrices = [as_weight(w, fan_out) for w, fan_out in zip(weights, sizes[1:], strict=True)]
    vectors = [b.reshape(-1).copy() for b in biases]

    def loss() -> float:
        a = x
        for k, w in enumerate(matrices):
            attached = w.shape[1] > sizes[k]
            z = a @ (w[:, 1:] if attached else w).T
            z = z + w[:, 0] if attached else z + vectors[k] if vectors else z
            a = activation(z) if k + 1 < len(matrices) else z
        if "softmax" in network:
            return float((np.log(np.exp(a).sum(1)) - (t * a).sum(1)).sum())
        if "sigmoid output" in network:
            a = ACTIVATIONS["sigmoid"](a)
        if "binary" in network:
            return float(-(t * np.log(a) + (1 - t) * np.log(1 - a)).sum())
        return float(((a - t) ** 2).sum() / 2)

    return [differences(loss, parameter) for parameter in (*matrices, *vectors)]


def as_rows(array: np.ndarray, width: int) -> np.ndarray:
    if array.ndim == 1:
        return array.reshape(-1, width)
    array = array[..., 0] if array.ndim == 3 else array
    return array if array.shape[1] == width else array.T


def as_weight(array: np.ndarray, fan_out: int) -> np.ndarray:
    """(out, in); the square ones of these scripts are all (in, out)."""
    return (array if array.shape[0] == fan_out and array.shape[1] != fan_out else array.T).copy()


def differences(loss: Any, parameter: np.ndarray, step: float = 1e-5) -> np.ndarray:
    gradient = np.zeros_like(parameter)
    for index in np.ndindex(parameter.shape):
        before = parameter[index]
        parameter[index] = before + step
        above = loss()
        parameter[index] = before - step
        gradient[index] = (above - loss()) / (2 * step)
        parameter[index] = before
    return gradient


def scales(gradient: np.ndarray, watched: Dataflow, moving: set[str]) -> Iterator[float]:
    """c for every observation, or change of a weight, that is c times the gradient, in either orientation."""
    for array in candidates(watched, moving, gradient.size):
        views = [array.reshape(-1)] if gradient.ndim == 1 or 1 in gradient.shape else []
        if array.ndim == 2 and gradient.ndim == 2:
            views = [v.reshape(-1) for v in (array, array.T) if v.shape == gradient.shape]
        for view in views:
            c = float(view @ gradient.reshape(-1) / (gradient**2).sum())
            if np.abs(view - c * gradient.reshape(-1)).max() < 3e-5 * np.abs(view).max():
                yield c


def candidates(watched: Dataflow, moving: set[str], size: int) -> Iterator[np.ndarray]:
    """Every value of that size that has a name; of a name that moves, the change since it was given before."""
    last: dict[str, np.ndarray] = {}
    for v in watched.values[:5000]:
        if v.array.size == size and v.array.ndim and (named := names(v)):
            array = np.asarray(v.array, np.float64)
            yield array
            for name in named & moving:
                if name in last and last[name].shape == array.shape:
                    yield array - last[name]
                last[name] = array
