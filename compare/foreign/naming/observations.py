"""Observations: all that was seen, looked up by size, by name and by the moment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from numpy.typing import NDArray

from compare.foreign.naming.named import Named
from compare.foreign.naming.stack import Stack
from compare.watching.observation import Observation

Array = NDArray[Any]

# Values of a variable that are tried, from its first: names are of the first step, and a variable that is reused
# (`a` for every layer, `d` for every gradient) has its values of that step among the first.
VERSIONS = 4
# Values of attributes that are tried, the latest: self.W is one name in as many objects as there are layers.
OBJECTS = 40


class Observations:
    """Observations, looked up by size and by name."""

    def __init__(self, observations: Iterable[Observation]) -> None:
        self.all = [o for o in observations if o.array.dtype.kind in "fiub"]
        self.by_size: dict[tuple[int, ...], list[Observation]] = defaultdict(list)
        self.by_name: dict[str, list[Observation]] = defaultdict(list)
        for o in self.all:
            self.by_size[_size(o.array.shape)].append(o)
            self.by_name[o.name].append(o)
        self.version = {o.time: k for found in self.by_name.values() for k, o in enumerate(found)}
        self._begun: dict[int, int] = {}
        self._stacks: dict[Hashable, Stack] = {}

    def sized(self, *shape: int, extra: Sequence[int] = (0,)) -> list[Observation]:
        """Arrays of these dimensions in any order, those of 1 left out; with `extra`, one of them that much larger."""
        wanted = {_size(shape)}
        for more in extra:
            wanted |= {_size((*shape[:k], n + more, *shape[k + 1 :])) for k, n in enumerate(shape)}
        return [o for size in wanted for o in self.by_size[size]]

    def stack(self, key: Hashable, readings: Callable[[], Iterable[Named]]) -> Stack:
        """These readings side by side, made once for each key."""
        if key not in self._stacks:
            self._stacks[key] = Stack.of(readings())
        return self._stacks[key]

    def matrices(self) -> list[Observation]:
        """Arrays that may be an input."""
        return [o for o in self.all if o.array.ndim in (1, 2) and o.array.dtype.kind in "fiu"]

    def scalars(self, after: int = -1) -> list[Observation]:
        """Floating-point numbers that were bound later than a moment."""
        found = [o for o in self.by_size[()] if o.array.dtype.kind == "f" and o.array.size == 1]
        return [o for o in found if o.time > after or not o.line]

    def after(self, o: Observation) -> list[Observation]:
        """Later values of the same variable."""
        return [later for later in self.by_name[o.name] if later.time > o.time]

    def early(self, found: Iterable[Observation]) -> list[Observation]:
        """Of these, each variable's first few values."""
        return [o for o in found if self.version[o.time] < VERSIONS]

    def newest_of_each(self, found: Iterable[Observation]) -> list[Observation]:
        """In the order in which the variables appeared; of each the last of its first few values, then those before."""
        begun = {name: held[0].time for name, held in self.by_name.items()}
        return sorted(self.early(found), key=lambda o: (begun[o.name], -self.version[o.time]))

    def before_statement(self, o: Observation) -> int:
        """The moment before the statement that bound `o` began to bind: what one statement binds has no order."""
        if o.time not in self._begun:
            place = (o.file, o.line, o.function)
            earlier = [e for e in self.all if e.time <= o.time and (e.file, e.line, e.function) != place]
            self._begun[o.time] = earlier[-1].time if earlier else -1
        return self._begun[o.time]

    def held_at(self, moment: Observation, found: Iterable[Observation]) -> list[Observation]:
        """Of these, what each variable held when `moment` was bound; all of them where there is no order."""
        if not moment.line:
            return [o for o in found if o is not moment]
        latest: dict[tuple[str, str], Observation] = {}
        attributes: list[Observation] = []
        for o in sorted(found, key=lambda o: o.time):
            if o.time < moment.time or self._is_first_read_by(moment, o):
                latest[(o.name, o.function)] = o
                if _is_attribute(o):
                    attributes.append(o)
        return list({o.time: o for o in (*latest.values(), *attributes[-OBJECTS:])}.values())

    def _is_first_read_by(self, moment: Observation, o: Observation) -> bool:
        """Whether this attribute was first seen at the line of `moment`: a line's reads are seen after its binding."""
        return self.version[o.time] == 0 and _is_attribute(o) and (o.file, o.line) == (moment.file, moment.line)


def _is_attribute(o: Observation) -> bool:
    return "." in o.name


def _size(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(n for n in shape if n != 1))
