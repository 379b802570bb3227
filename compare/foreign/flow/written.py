"""Written: what became of the arrays of the forward pass by the end of the step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from compare.foreign import layout
from compare.foreign.flow.given import Given
from compare.foreign.flow.passes import Seen
from compare.foreign.flow.products import IN_PLACE, root
from compare.foreign.flow.training import TrainingStep
from compare.foreign.naming.named import Names
from compare.numbers.array import Array
from compare.numbers.same_bits import same_bits
from compare.recording.notes import Written
from compare.recording.place import Place
from compare.watching.dataflow import Dataflow, Value


def written(step: TrainingStep, names: Names, flow: Dataflow) -> dict[str, Written]:
    """What backward writes into the arrays of the forward pass."""
    if len(step.passes) != 1:
        return {}
    outputs = {n: s for n, s in step.passes[0].tensors.items() if n == "input" or n.endswith(".output")}
    end = max(s.value.time for s in outputs.values())
    forward = {v.site for v in flow.values[: end + 1] if v.site is not None}  # what fills its array in every pass
    found = {}
    for name, seen in outputs.items():
        for value in _overwritten(seen.value, flow):
            view = _reread(seen, value.array)
            if end < value.time <= step.until and value.site not in forward and view is not None:
                found[name] = Written(name, view, _place(value, seen.value, flow))
    return found


def given_back(given: Given, after: tuple[Array, Array]) -> dict[str, Written]:
    """x and t as the caller has them after the call, where they are not what they were."""
    found = {}
    for name, before, now, value in zip(("input", "target"), (given.x, given.t), after, given.flow.given, strict=True):
        if not same_bits(before, now):
            by = next(_overwritten(value, given.flow), None)
            place = _place(by, value, given.flow) if by is not None else None
            found[name] = Written(name, now if name == "target" else now.reshape(len(now), -1), place)
    return found


def _overwritten(value: Value, flow: Dataflow) -> Iterator[Value]:
    """What stands in its array later."""
    if value.time in flow.written:
        yield flow.written[value.time]
    for user in value.users:
        if (user.is_changed or user.what in IN_PLACE) and user.operands[0] is value:
            yield user


def _place(by: Value, value: Value, flow: Dataflow) -> Place | None:
    """Where it was written; of what was written through a view, that line; None where no line shows it."""
    through = [new for old, new in flow.written.items() if root(flow.values[old]) is value]
    shown = [each for each in (by, *through) if each.site is not None]
    first = min(shown, key=lambda each: each.time, default=by)
    return replace(first.place, name=value.name) if first.place.line else None


def _reread(seen: Seen, after: Array) -> Array | None:
    """What the array became, read as it was read before."""
    views: Mapping[str, Array] = {v.layout: v.array for v in layout.samples(after, *seen.view.array.shape)}
    return views.get(seen.view.layout)
