"""Growing: a dataflow while it is made, value by value."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from compare.watching.dataflow import Array, Binding, Value
from compare.watching.rewriting import Site
from compare.watching.values import CHANGED


class Growing:
    """The values so far. `sites`: what their numbers stand for."""

    def __init__(self, sites: Sequence[Site]) -> None:
        self.sites = sites
        self.values: list[Value] = []
        self._kept: dict[Hashable, Array] = {}

    def copied(self, site: int, operands: Sequence[Any], array: Array, mark: Hashable) -> None:
        """The next value, of an array that may change later; each content is copied once."""
        kept = self._kept.get(mark) if mark is not None else None
        if kept is None:
            kept = np.array(array)
            kept.flags.writeable = False
            self._kept[mark] = kept
        self.value(site, operands, kept)

    def value(self, site: int, operands: Iterable[Any], array: Array) -> None:
        """The next value. site: below 0 where no line computed it. An operand is a value's number, or [constant]."""
        operands = list(operands)
        known = dict.fromkeys(o for o in operands if isinstance(o, int) and 0 <= o < len(self.values))
        constants = tuple(float(o[0]) for o in operands if isinstance(o, list) and o and isinstance(o[0], int | float))
        place = self.sites[site] if site >= 0 else None
        value = Value(len(self.values), place, array, tuple(self.values[o] for o in known), constants)
        value.is_changed = site == CHANGED
        for operand in value.operands:
            operand.users.append(value)
        self.values.append(value)

    def name(self, site: int, number: int, name: str) -> None:
        """A name of a value, where it has one."""
        self.values[number].names.append(Binding(name, self.sites[site], len(self.values)))
