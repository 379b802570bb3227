"""Arrays that somebody hands in: a dictionary or a file of them, by record name or under any other names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compare.foreign.convention import Convention
from compare.foreign.naming.search import find
from compare.foreign.steps import Step, recorded
from compare.judging.step import rules
from compare.network.architecture import Architecture
from compare.recording.files import load_records
from compare.recording.notes import SharedArray
from compare.recording.numbers import numbers
from compare.recording.record import Record
from compare.recording.recorded import Recorded
from compare.watching.observation import Observation

Array = NDArray[Any]


def read_dictionary(
    arrays: Mapping[Any, Any], x: Array, t: Array, network: Architecture, convention: Convention | None
) -> Recorded:
    """A dictionary of arrays by record name, or under any names where none is one or a convention is declared.

    ValueError for a name that the network has no tensor of; NotFound where its own are not among them.
    """
    if convention is None and _is_record(arrays, network):
        return _by_record_name(arrays, x, t, network)
    return read_arrays(arrays, x, t, network, convention)


def read_file(
    path: Path, x: Array | None, t: Array | None, network: Architecture | None, convention: Convention | None
) -> Recorded:
    """A file of arrays, the same. ValueError in one line where it is none, or nobody says the network."""
    if path.suffix not in (".safetensors", ".npz"):
        raise ValueError(f"{path}: expected a script (.py) or a record (.safetensors, .npz)")
    network = Architecture.of(network)
    records = load_records(path, network)
    if convention is None and all(_are_record_names(record, network) for record in records):
        return Recorded(records)
    return read_arrays(records[0], x, t, network, convention)


def read_arrays(
    arrays: Mapping[str, Any], x: Array | None, t: Array | None, network: Architecture, convention: Convention | None
) -> Recorded:
    """Arrays under any names. NotFound in one line where the network's own are not among them."""
    observations = [Observation(np.asarray(a), name, time=k) for k, (name, a) in enumerate(arrays.items())]
    return recorded([Step(find(network, observations, x, t, convention))], list(_shared(arrays)))


def _by_record_name(arrays: Mapping[str, Any], x: Array, t: Array, network: Architecture) -> Recorded:
    network.expect_no_penalty()
    tensors = {name: numbers(name, a) for name, a in arrays.items()}
    record = Record(network, {"input": x, "target": t} | tensors, plain_loss=type(arrays.get("loss")) in (int, float))
    return Recorded([record], {"input": x, "target": t})


def _is_record(arrays: Mapping[Any, Any], network: Architecture) -> bool:
    """Whether the names are meant to be a record's: at least one is, or there is nothing to be found by value."""
    return not arrays or any(not isinstance(name, str) for name in arrays) or _are_record_names(arrays, network)


def _are_record_names(names: Iterable[Any], network: Architecture) -> bool:
    """Whether at least one is."""
    known = {"input", "target", "loss", *(rule.name for rule in rules(network, None, 1, ())), *network.parameters()}
    return any(name in known for name in names)


def _shared(arrays: Mapping[str, Any]) -> Iterator[SharedArray]:
    """Of a dictionary: which of its names stand for one array, so that what the first stood for may be gone."""
    held = [(name, a) for name, a in arrays.items() if isinstance(a, np.ndarray) and a.size > 1]
    for (one, a), (other, b) in combinations(held, 2):
        if a.shape == b.shape and a.strides == b.strides and a.ctypes.data == b.ctypes.data:
            yield SharedArray(one, other)
