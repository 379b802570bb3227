"""ParallelEngine: an Engine whose steps several processes take together, each with its rows of every batch.

Every rank r computes the gradient g_r of its m_r of the batch's m rows. When all have theirs, each takes its part of
the parameters: it sums that part of the gradient over the ranks and updates it. All arrays are shared, so that nothing
is sent, and no rank does what another does. (Data parallel training, with the optimiser's work and state divided as in
ZeRO: Rajbhandari et al. 2020, section 5)

    g = sum over r of (m_r / m) g_r   for the mean loss over the rows,   sum over r of g_r   for their sum

The sum has another order than an Engine's: equal within rounding, and the same bits for the same number of processes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from operator import is_
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratch.crew import Crew, shared, why_not
from scratch.engine import METHODS, Engine, taken
from scratch.flat import LINE, FlatArrays, FlatOptimizer, Order
from scratch.layers import Array, Layer
from scratch.learner import Data, Rows
from scratch.losses import Loss
from scratch.network import Sequential
from scratch.optim import Optimizer

TRAIN, EVALUATE = 0, 1
ORDER: Order = "F"  # of a weight: OpenBLAS multiplies few rows by columns faster (an Engine has the layers' own order)


@dataclass
class Common:
    """What the processes have in common: all that they know since the fork, and the arrays in which they work.

    settings and objects are what may not have changed. arrays: parameters, gradient and state. grads: each rank's own.
    task: kind, data set, rows, steps. results (ranks, 3): loss, correct predictions, and whether all was finite.
    """

    settings: tuple[Any, ...]
    objects: list[Any]
    own: list[bool]
    arrays: list[Array]
    grads: list[FlatArrays]
    rows: NDArray[Any]
    task: NDArray[Any]
    results: NDArray[Any]

    def is_of(self, settings: tuple[Any, ...], objects: list[Any]) -> bool:
        same = len(objects) == len(self.objects) and all(map(is_, objects, self.objects))
        return same and settings == self.settings


class ParallelEngine(Engine):
    """An Engine of `processes` processes, for data that `place` has returned. Other arguments and errors as there.

    The data may not change while it trains: the others have them as they were when they began.

    This process's alone are the first step of an optimiser that has no state yet; a step whose numbers are not finite,
    or have squares that are not, where it names the layer or takes the step; and all of them where a layer or the loss
    is of a class from elsewhere, or watched. `release` ends the others. CrewLost where one of them has ended.
    ValueError for fewer than one process, or for several where a process cannot fork.
    """

    def __init__(
        self, network: Sequential, loss: Loss, optimizer: Optimizer, *, processes: int, threshold: float = 0.5
    ) -> None:
        if isinstance(processes, bool) or not isinstance(processes, int | np.integer) or processes < 1:
            raise ValueError(f"got processes={processes!r}, expected a whole number of at least 1")
        if processes > 1 and (reason := why_not()):
            raise ValueError(f"processes={processes}: {reason}, expected 1")
        super().__init__(network, loss, optimizer, threshold=threshold)
        self.processes = processes

    def _start_anew(self) -> None:
        super()._start_anew()
        self._placed: list[Data] = []
        self._crew: Crew | None = None
        self._common: Common | None = None

    def place(self, x: NDArray[Any], t: NDArray[Any]) -> Data:
        self._placed.append(super().place(x, t))
        return self._placed[-1]

    def train_step(self, data: Data, rows: Rows) -> tuple[float, int]:
        common = self._common_work(data)
        if common and 0 < len(rows) <= len(common.rows):
            common.rows[: len(rows)] = rows
            if self._run(common, TRAIN, data, len(rows)):
                loss, correct, _ = common.results.sum(axis=0)
                return float(loss), int(correct)
        return super().train_step(data, rows)

    def evaluate(self, data: Data) -> tuple[float, float]:
        common, n = self._common_work(data), len(data[0])
        if common and self._run(common, EVALUATE, data, n):
            loss, correct, _ = common.results.sum(axis=0)
            return float(loss) / n if self.loss.reduction == "mean" else float(loss), int(correct) / n
        return super().evaluate(data)

    def release(self) -> None:
        self._dismiss()
        super().release()

    # by rank 0

    def _common_work(self, data: Data) -> Common | None:
        """What the crew shares, anew where something is not as it was at the fork; None for what is done alone."""
        if self.processes == 1 or self._number(data) is None:
            return None
        settings, objects = self._settings(), self._objects()
        if self._crew and self._crew.end.alive and self._common and self._common.is_of(settings, objects):
            return self._common
        self._dismiss()
        own = self._own_layers()
        if not (self._is_known(own) and self._is_row_by_row()):
            return None
        flat = self._flat_optimizer()
        if not flat.has_state:
            return None
        arrays = flat.arrays()
        of_others = [FlatArrays(flat.grads.views, shared, ORDER) for _ in range(self.processes - 1)]
        rows = shared(max(len(x) for x, _ in self._placed), np.int64)
        task, results = shared(4, np.int64), shared(3 * self.processes, np.float64).reshape(-1, 3)
        self._common = Common(settings, self._objects(), own, arrays, [flat.grads, *of_others], rows, task, results)
        self._crew = Crew(self.processes, partial(self._work, self._common))
        return self._common

    def _settings(self) -> tuple[Any, ...]:
        return *self.optimizer.options.values(), repr(self.loss), self.threshold, len(self._placed)

    def _objects(self) -> list[Any]:
        """All objects that a step depends on: layers, loss, optimiser, their arrays, the methods that they run by."""
        layers, state = list(self.network), self.optimizer.state.values()
        arrays = [a for layer in layers for a in layer.params.values()] + [a for each in state for a in each.values()]
        found = [self.network, self.loss, self.optimizer, *layers]
        for each in found[:]:
            for name in METHODS.get(type(each), ("forward", "backward")):
                found += getattr(type(each), name), vars(each).get(name)
        return found + arrays

    def _is_row_by_row(self) -> bool:
        """Whether layers and loss are this package's own, which treat every row alike, and nobody watches them.

        A mean that is weighted by class is not that of its parts.
        """
        if getattr(self.loss, "weight", None) is not None:
            return False
        parts = *self.network, self.loss
        own = all(type(each).__module__ in (Layer.__module__, Loss.__module__) for each in parts)
        return own and not any({"forward", "backward"} & vars(each).keys() for each in parts)

    def _number(self, data: Data) -> int | None:
        return next((i for i, each in enumerate(self._placed) if each is data), None)

    def _run(self, common: Common, kind: int, data: Data, rows: int) -> bool:
        """Whether all was finite; nothing has changed otherwise."""
        common.task[:] = kind, self._number(data), rows, self.optimizer.steps + 1
        assert self._crew
        self._crew.run()
        return bool(common.results[:, 2].all())

    def _dismiss(self) -> None:
        if self._crew:
            self._crew.end()
        self._crew, self._common = None, None

    def _new_flat_optimizer(self) -> FlatOptimizer:
        if self.processes == 1:
            return super()._new_flat_optimizer()
        return FlatOptimizer(self.network, self.optimizer, shared, ORDER)

    # by every rank

    def _work(self, common: Common, crew: Crew) -> None:
        kind, which, n, steps = map(int, common.task)
        data = self._placed[which]
        with np.errstate(all="ignore"):  # what is not finite is named by rank 0
            if kind == EVALUATE:
                common.results[crew.rank] = self._evaluated(data, part(n, crew))
                return
            rows = common.rows[:n][part(n, crew)]
            common.results[crew.rank] = self._differentiated(data, rows, n, common, crew.rank)
            crew.meet()
            if common.results[:, 2].all():
                self.optimizer.steps = steps
                self._update(common, crew)

    def _differentiated(self, data: Data, rows: Rows, n: int, common: Common, rank: int) -> tuple[float, int, bool]:
        """This rank's share of the batch's loss and correct predictions; its share of the gradient in its array."""
        grads = common.grads[rank]
        if len(rows) == 0:
            grads.whole.fill(0)
            return 0.0, 0, True
        share = len(rows) / n if self.loss.reduction == "mean" else 1.0
        loss, correct = self._gradients(*taken(data, rows), grads.views, common.own, share)
        squares = float(np.vdot(grads.whole, grads.whole))  # where these are finite, no sum of gradients overflows
        return loss * share, correct, math.isfinite(loss) and math.isfinite(squares)

    def _update(self, common: Common, crew: Crew) -> None:
        params = common.arrays[0]
        mine = part(len(params), crew, LINE // params.itemsize)
        assert self._flat
        self._flat.update([a[mine] for a in common.arrays], [each.whole[mine] for each in common.grads[1:]])

    def _evaluated(self, data: Data, rows: slice) -> tuple[float, int, bool]:
        try:
            loss, correct = self._sums((data[0][rows], data[1][rows]))
        except FloatingPointError:
            return 0.0, 0, False
        return loss, correct, True


def engine(
    network: Sequential, loss: Loss, optimizer: Optimizer, *, processes: int = 1, threshold: float = 0.5
) -> Engine:
    """What trains with one process, or with several. Errors as either raises them."""
    if processes == 1:
        return Engine(network, loss, optimizer, threshold=threshold)
    return ParallelEngine(network, loss, optimizer, processes=processes, threshold=threshold)


def part(n: int, crew: Crew, unit: int = 1) -> slice:
    """The elements of n that are this rank's: as equal as whole units allow, in the order of the ranks."""
    units = -(-n // unit)
    start, stop = (units * rank // crew.size * unit for rank in (crew.rank, crew.rank + 1))
    return slice(min(start, n), min(stop, n))
