"""Single samples: where they pass one after another before the weights move, the same lines' values, as rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compare.foreign import layout
from compare.foreign.layout import View
from compare.foreign.naming.inputs import readings
from compare.foreign.naming.named import Named, Names
from compare.foreign.naming.observations import Observations
from compare.foreign.naming.state import affine
from compare.foreign.naming.values import tight
from compare.network.architecture import Architecture
from compare.operations.operation import Activation
from compare.watching.observation import Observation

Array = NDArray[Any]

ROWS_TRIED = 10_000  # of one array: every row is tried as the sample that made an output, at one product each
SMALLEST = 1e-300  # in the place of a norm of 0, which nothing is relative to


def together(
    network: Architecture, seen: Observations, single: Names, rounds: int
) -> tuple[Observations, Named] | None:
    """What was seen, with the lines' values as rows, and the samples (m, in); None where there is only one.

    single: the names of the first. The rounds are the values of the line that bound the first layer's output, of which
    each proves its sample.
    """
    output = single.tensors.get("0.output") or single.tensors.get("1.output")
    if output is None or not output.observation.line:
        return None
    entering, weight = single.tensors["input"].observation, single.tensors["0.weight"].observation
    made = seen.rounds_of(output.observation, weight)
    samples = _samples_of(network, seen, single, made)
    if samples is None or len(made) < 2:
        return None
    begun = min(entering.time, made[0].time) if entering.time > weight.time else made[0].time
    return seen.rounds_as_rows(made, begun, rounds), Named(replace(entering, array=samples), View(samples, layout.ROWS))


def _samples_of(network: Architecture, seen: Observations, single: Names, made: Sequence[Observation]) -> Array | None:
    """For each output of the first layer the sample that makes it, as rows; None where one has none."""
    samples = np.array(list(_rows(seen, network.sizes[0])))
    z = affine(samples, single.tensors["0.weight"], single.tensors.get("0.bias"))
    following = network.layers[1:2]
    y = z if "0.output" in single.tensors else following[0].apply(z) if isinstance(following[0], Activation) else z
    found = []
    for o in made:
        far = np.linalg.norm(y - o.array.reshape(1, -1), axis=1)
        best = int(np.argmin(far))
        if far[best] > tight(o.array) * max(float(np.linalg.norm(y[best])), SMALLEST):
            return None
        found.append(samples[best])
    return np.stack(found)


def _rows(seen: Observations, fan_in: int) -> Iterator[Array]:
    """Vectors that may be a sample, equal ones once; then the rows or columns of matrices, likewise."""
    vectors = [o.array for o in seen.sized(fan_in) if o.array.dtype.kind == "f" and o.array.size == fan_in]
    yield from {a.tobytes(): a.reshape(fan_in) for a in vectors}.values()
    matrices = [o.array for o in seen.matrices() if o.array.ndim == 2]
    yield from {row.tobytes(): row for a in matrices for rows in _samples_in(a, fan_in) for row in rows}.values()


def _samples_in(a: Array, fan_in: int) -> Iterator[Array]:
    if a.dtype.kind == "f" and max(a.shape) <= ROWS_TRIED:
        yield from (view.array for view in readings(a, fan_in) if view.array.shape[1] == fan_in)
