"""Unused: biases that are updated by the gradient of one, but are in no sum: the forward pass leaves them out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compare.foreign import layout
from compare.foreign.flow.backward import Backward
from compare.foreign.flow.multiples import scale_of
from compare.foreign.flow.passes import Seen, is_made_of
from compare.foreign.flow.products import moves, root
from compare.foreign.flow.training import MOVES, TrainingStep
from compare.foreign.naming.values import distance, multiple, tight
from compare.network.architecture import Architecture
from compare.operations.linear import Linear
from compare.watching.dataflow import Array, Value, before


class UnusedBiases:
    """Those of a program, step by step."""

    def __init__(self, network: Architecture, values: Sequence[Value]) -> None:
        self.network, self.values = network, values
        self.known: dict[str, Value] = {}  # what each has become

    def add(self, step: TrainingStep, back: Backward) -> bool:
        """Add those of a step to its tensors; whether there are any."""
        added = False
        for k, layer in enumerate(self.network.layers):
            if isinstance(layer, Linear) and layer.bias and f"{k}.bias" not in step.old:
                found = self._found(step, back, k)
                if found is not None:
                    old, new = found
                    for each in step.passes:
                        each.tensors[f"{k}.bias"] = old
                    step.new[f"{k}.bias"] = self.known[f"{k}.bias"] = new
                    added = True
        return added

    def _found(self, step: TrainingStep, back: Backward, k: int) -> tuple[Seen, Value] | None:
        """That of the step before, moved once more; else by its gradient."""
        delta, known = back.delta(k), self.known.get(f"{k}.bias")
        if known is not None:
            later = (u for u in known.users if u.size == known.size and u.what in MOVES)
            view = next(layout.biases(known.array, known.size), None)
            new = next(later, None)
            return (Seen(known, view), new) if new is not None and view is not None else None
        return self._updated_by(step, delta.sum(axis=0), back) if delta is not None else None

    def _updated_by(self, step: TrainingStep, wanted: Array, back: Backward) -> tuple[Seen, Value] | None:
        begun, found = step.passes[0].begin.time, None
        for value in self.values[begun : step.beside] if step.new else ():
            old = value.operands[0] if value.operands else None
            if old is None or old.size != wanted.size or value.size != wanted.size or moves(old) != 2:
                continue
            if any(root(old) is root(seen.value) for seen in step.old.values()):
                continue
            if value.is_changed and not _is_updated(value, old):
                continue
            if old.time < begun and value in old.users:
                for view in layout.biases(old.array, wanted.size):
                    change = view.array - value.array.reshape(-1)
                    if not np.any(change) or self._is_made_again(old):
                        continue
                    if _is_along(change, wanted, back):
                        return Seen(old, view), value
                    if _is_computed_from(value, old, wanted, back):  # an average first, and then what moves by it
                        found = Seen(old, view), value
        return found

    def _is_made_again(self, value: Value) -> bool:
        """Whether its line makes another one later, as zeros into which every step adds."""
        first = root(value)
        later = self.values[first.time + 1 :] if first.what.startswith("call:") else ()
        return any(v.site == first.site and v.what == first.what for v in later)


def _is_along(change: Array, wanted: Array, back: Backward) -> bool:
    """Whether a change is along a gradient: of one number, by a known factor."""
    if wanted.size == 1:
        return scale_of(change, wanted, back.known) is not None
    scale = multiple(change, wanted)
    return scale is not None and distance(change, scale * wanted) <= tight(change)


def _is_computed_from(value: Value, old: Value, wanted: Array, back: Backward) -> bool:
    """Whether its change is computed from the gradient, as where that is clipped, or averaged by Adam.

    Not of one number: a running loss is computed from it, too.
    """
    if wanted.size == 1:
        return False
    behind = (v for v in before([value], [*back.step.olds, old]) if v.size == wanted.size and v.time in back.aimed)
    return any(scale_of(v.array.reshape(-1), wanted, back.known) is not None for v in behind)


def _is_updated(value: Value, old: Value) -> bool:
    """Whether what was stored into it is computed from what was there; a delta's array is filled anew."""
    held = [old, *(o for o in old.operands if o.size == 1)]
    return any(is_made_of(stored, each) for stored in value.operands[1:] for each in held)
