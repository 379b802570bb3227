"""Reading: a program's values as the names of its training steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np

from compare.foreign import layout
from compare.foreign.convention import Convention
from compare.foreign.flow import adaptive, backward, updates
from compare.foreign.flow.adaptive import Moments
from compare.foreign.flow.backward import Backward
from compare.foreign.flow.directions import Directions
from compare.foreign.flow.given import Given
from compare.foreign.flow.losses import reported
from compare.foreign.flow.pairs import belonging
from compare.foreign.flow.passes import Pass, Passes, Seen
from compare.foreign.flow.products import is_bent, root
from compare.foreign.flow.settling import Settled, observed
from compare.foreign.flow.target import Aim, aim, stacked
from compare.foreign.flow.training import TrainingStep, steps
from compare.foreign.flow.unused import UnusedBiases
from compare.foreign.flow.updates import Move, Update, is_written
from compare.foreign.flow.written import written
from compare.foreign.naming.named import Named, Names
from compare.network.architecture import Architecture
from compare.network.optimizer import OptimizerSpec
from compare.network.tensor_name import TensorName
from compare.operations.linear import Linear
from compare.recording.notes import (
    Note,
    Written,
)
from compare.watching.dataflow import Array, Dataflow, Value

VISIBLE = 1e-6  # relative: of a penalty in a gradient


@dataclass
class Read:
    """A step as it was read."""

    step: TrainingStep
    names: Names
    update: Update
    notes: list[Note] = field(default_factory=list)
    aims: Sequence[Aim] = ()
    number: int = 1  # of the optimiser's steps
    written: dict[str, Written] = field(default_factory=dict)  # tensors of the forward pass, after it

    @property
    def given(self) -> dict[str, Array]:
        """The targets that belong to the inputs, where the code took those of other samples."""
        inputs = [each.tensors["input"] for each in self.step.passes]
        if len(self.aims) != len(inputs):
            return {}
        found = belonging(list(zip(inputs, (each.target for each in self.aims), strict=True)))
        return {f"{self.number}/target": found} if found is not None else {}

    @property
    def became(self) -> dict[str, Array]:
        """The parameters after the step."""
        return {move.name: move.new for move in self.update.moves}

    @property
    def looked_at(self) -> int:
        """How many arrays of the forward pass backward could have written into; 0 where several passes make a step."""
        held = [n for n in self.names.tensors if n in ("input", "target") or n.endswith(".output")]
        return len(held) if len(self.step.passes) == 1 else 0


class Reader:
    """Reads the steps of a program one after the other."""

    def __init__(
        self,
        network: Architecture,
        flow: Dataflow,
        convention: Convention | None,
        given: Given | None = None,
        read_off: bool = False,
    ) -> None:
        """read_off: nobody said the network. A bias that the forward pass leaves out may then be in the updates."""
        self.network = with_biases(network) if read_off else network
        self.flow, self.convention, self.given, self.read_off = flow, convention or Convention(), given, read_off
        self.earlier: dict[str, Move] = {}
        self.moments, self.directions = Moments(), Directions()
        self.unused = UnusedBiases(self.network, flow.values)
        self.layouts: dict[str, tuple[str, str]] = {}  # of weights, and how their bias is attached

    def __iter__(self) -> Iterator[Read]:
        for old in self.flow.replaced:
            root(self.flow.values[old]).moves = 2
        left, values = self.given.left if self.given else None, self.flow.values
        for entered in (self.given.entered, None) if self.given else (None,):
            found = False
            for step in steps(Passes(self.network, values, entered, self.flow.products), self.flow.replaced, left):
                found = True
                yield self._read(step)
            if found:
                return

    def following(self, given: Given) -> Reader:
        """A reader of the next call, which goes on with the same parameters."""
        made = Reader(self.network, given.flow, self.convention, given, self.read_off)
        made.earlier, made.moments, made.directions = self.earlier, self.moments, self.directions
        return made

    def _laid_as_before(self, step: TrainingStep) -> None:
        """A square weight as the first step has it: what enters may be zero, and show nothing."""
        for name, seen in step.old.items():
            laid = self.layouts.setdefault(name, (seen.view.layout, seen.view.attached))
            if (seen.view.layout, seen.view.attached) == laid or not name.endswith(".weight"):
                continue
            views = layout.weights(seen.value.array, *seen.view.array.shape)
            if (view := next((v for v in views if (v.layout, v.attached) == laid), None)) is not None:
                for each in step.passes:
                    each.tensors[name] = Seen(seen.value, view, seen.equal)

    def _read(self, step: TrainingStep) -> Read:
        self._laid_as_before(step)
        self.moments.steps = max(self.moments.steps, step.still_before)
        back, found, tensors = self._searched(step)
        if self.unused.add(step, back):
            back, found, tensors = self._searched(step)
        update = updates.update(back, self.earlier)
        if (scale := _scale_before(back, update, found)) is not None:
            back = back.rescaled(scale)
            update = updates.update(back, self.earlier)
        self._penalized(back, update)
        update = self.directions.clipped(back, update)
        averaged = any(self._is_averaged(back, move) for move in update.moves) or adaptive.has_two_betas(update.written)
        update = self.directions.settled(back, update, averaged).proven()
        network = back.network
        self.earlier = {m.name: updates.with_law(m, update.of.get(m.name)) for m in update.moves}
        names = Names(network, {n: _named(s) for n, s in tensors.items()}, step.m)
        if not self.read_off:
            names.unbiased = [k for k, layer in enumerate(network.layers) if layer != self.network.layers[k]]
        settled = Settled(back, update, found, names, self._adaptive(step, back, update, averaged), self.moments)
        settled.is_given, settled.convention = self.given is not None, self.convention
        settled.settle()
        if self.flow.products is not None and update.law is None and settled.optimizer is None:
            names.tensors = _proven(names.tensors)
        self.moments.take(update.moves, settled.optimizer)
        beside = written(step, names, self.flow)
        return Read(step, names, update, settled.notes, found, max(self.moments.steps, 1), beside)

    def _searched(self, step: TrainingStep) -> tuple[Backward, list[Aim], dict[str, Seen]]:
        """The step's gradients, what it aims at, and its forward tensors."""
        network = self._without_absent_biases(step)
        aims = [aim(network, each, step.until, self._target(each)) for each in step.passes]
        tensors = backward.stacked(step.passes)
        found = [_unused_losses(each, step) for each in aims if each is not None]
        if len(found) == len(aims):
            tensors["target"] = stacked(found)
        back = Backward(network, step, backward.plain(tensors), [each.target.value for each in found])
        if "target" in tensors:
            back.search()
        return back, found, tensors

    def _target(self, found: Pass) -> tuple[Value, Array] | None:
        """Of a pass, where it is given."""
        rows = None if self.given is None else self.given.targets(found)
        return None if self.given is None or rows is None else (self.given.target, rows)

    def _penalized(self, back: Backward, update: Update) -> None:
        """With the penalty that is in a gradient, which a step that is not linear cannot show: by value."""
        is_whole = update.law is not None and update.explained(update.law) == update.size and update.has_written_rate
        if is_whole or not is_bent(back.step.behind):
            return
        for k, move in enumerate(update.moves):
            slopes = {"L2": move.old, "L1": np.sign(move.old)}
            scales = {1.0, 2.0, 1 / move.scale, 2 / move.scale}
            amounts = [factor * a for a in update.rates if a < 1 for factor in scales]
            for amount, kind in product(amounts, slopes):
                is_seen = np.linalg.norm(amount * slopes[kind]) > VISIBLE * np.linalg.norm(move.gradient)
                if not is_seen or move.value.size == 1:
                    continue
                gradient = move.gradient + amount * slopes[kind]
                whole = back.whole(move.name, gradient)
                is_alone = not np.any(move.gradient)  # any multiple of the penalty then has some known factor
                if whole is not None and (not is_alone or whole.scale == move.scale):
                    update.moves[k] = replace(move, direction=whole.view.array / whole.scale, taken=whole.value)
                    update.penalties[move.name] = amount, kind
                    break

    def _adaptive(self, step: TrainingStep, back: Backward, update: Update, averaged: bool) -> OptimizerSpec | None:
        """Adam, where the step has its square root, and no other rule explains all of it."""
        is_whole = update.law is not None and update.explained(update.law) == update.size
        if (is_whole and not averaged) or not any(adaptive.has_root(step.behind, move) for move in update.moves):
            return None
        spec = adaptive.adam(update.moves, update.written, self.moments, update.numbers)
        explained = any(adaptive.explains(move, self.moments, spec) for move in update.moves)
        return spec if explained or (averaged and not is_whole) else None

    def _is_averaged(self, back: Backward, move: Move) -> bool:
        """Whether the root divides something else than the gradient, such as its average."""
        found = back.found.get(move.name.gradient)
        gradient = move.taken or (found.value if found is not None else None)
        divided = adaptive.averages(move, back.step.olds, gradient)
        return divided is not None and (gradient is None or not adaptive.is_gradient(divided[0], gradient))

    def _without_absent_biases(self, step: TrainingStep) -> Architecture:
        """A layer that was computed without a bias has none. ValueError for a bias that the network has not."""
        old, known = step.old, self.network.parameters()
        for name in map(TensorName, old):
            if name not in known:
                raise ValueError(
                    f"layer {name.layer} has a bias ({old[name].value.place}), which network '{self.network}' has not"
                )
        layers = tuple(
            replace(layer, bias=False) if isinstance(layer, Linear) and layer.bias and f"{k}.bias" not in old else layer
            for k, layer in enumerate(self.network.layers)
        )
        return replace(self.network, layers=layers)


def with_biases(network: Architecture) -> Architecture:
    """The network with a bias in each linear layer."""
    layers = (replace(layer, bias=True) if isinstance(layer, Linear) else layer for layer in network.layers)
    return replace(network, layers=tuple(layers))


def _unused_losses(found: Aim, step: TrainingStep) -> Aim:
    """Without losses that the step goes on with: the square of an error in a moving average is none."""
    behind = {v.time for v in step.behind}
    return replace(found, losses=[pair for pair in found.losses if pair[0].time not in behind])


def _scale_before(back: Backward, update: Update, aims: Sequence[Aim]) -> float | None:
    """The scale of a wrong gradient that no right one comes before: the count by which the step has a written rate.

    Where the step adds it, it is taken to be the downward one. None where there is no such gradient, or it is 1.
    """
    first = next(iter(back.found.values()), None)
    if first is None or first.equal or update.law is None:
        return None
    rate = abs(update.law.rate) / next(iter(reported(back, aims)), 1.0)
    scales = (abs(factor.value) for factor in back.known_of_few)
    found = next((scale for scale in (1.0, *scales) if is_written(rate * scale, update.rates)), 1.0)
    scale = math.copysign(found, update.law.rate)
    return scale if scale != 1 else None


def _proven(tensors: dict[str, Named]) -> dict[str, Named]:
    """Without the gradients that are not right, of numbers whose update no rule explains.

    What numbers make up may then be put together wrongly, and accuses nobody.
    """
    return {name: held for name, held in tensors.items() if held.equal or not TensorName(name).is_gradient}


def _named(seen: Seen) -> Named:
    return Named(observed(seen.value), seen.view, 1.0, seen.equal)
