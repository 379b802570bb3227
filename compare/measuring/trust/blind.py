"""Blind sets: faults by people who had not read the diagnosis, and what it said of each set when it had not seen it.

That first run is the only blind measurement there can be: causes that a set shows to be missing are added afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from compare.measuring.faults import FIRST, FIRST_CAUSE, SECOND, SECOND_CAUSE, THIRD, THIRD_CAUSE, Fault
from compare.measuring.trust.blind_causes import FIRST_CAUSES, SECOND_CAUSES, THIRD_CAUSES
from compare.measuring.trust.causes import Causes

FIRST_RUNS = Path(__file__).with_name("first_runs")
Said = Mapping[str, list[tuple[str, float]]]  # fault -> (cause, confidence), the best first; none where none was asked


@dataclass(frozen=True)
class BlindSet:
    """`nature` says who chose the faults, and how; `true` is their cause by their author, `causes` the right ones."""

    name: str
    nature: str
    faults: tuple[Fault, ...]
    true: Mapping[str, str]
    causes: Mapping[str, Causes]

    @cached_property
    def _kept(self) -> dict[str, object]:
        kept: dict[str, object] = json.loads((FIRST_RUNS / f"{self.name}.json").read_text(encoding="utf-8"))
        return kept

    @property
    def commit(self) -> str:
        """That of the diagnosis that had not seen them."""
        return str(self._kept["commit"])

    def said(self, dtype: str) -> Said:
        """What the diagnosis then said, of every fault that made a difference to it."""
        said = self._kept["said"]
        assert isinstance(said, dict)
        return {name: causes for name, causes in said[dtype].items() if causes}


BLIND_SETS = (
    BlindSet(
        "first",
        "Of every part of the code, usual and unusual, by an author who had read the layers and not the diagnosis.",
        FIRST,
        FIRST_CAUSE,
        FIRST_CAUSES,
    ),
    BlindSet(
        "second",
        "Rarer on purpose, from code reviews, forum questions and homework. When the set was added the count was 19 "
        "right, 14 unknown and 3 wrong, none of them confidently; judged as the first set is, one of the 19 is vague "
        "(it is zero, for an integer division), and of the 3 one is tied and one vague. The run was made again for "
        "this page from the commit before the set's own.",
        SECOND,
        SECOND_CAUSE,
        SECOND_CAUSES,
    ),
    BlindSet(
        "third",
        "Chosen as those met most often, many with the public question or issue that has them, by an author who had "
        "seen neither the diagnosis nor more of the other sets than their form.",
        THIRD,
        THIRD_CAUSE,
        THIRD_CAUSES,
    ),
)
SET_OF: Mapping[str, BlindSet] = {fault.name: blind for blind in BLIND_SETS for fault in blind.faults}


__all__ = ["BLIND_SETS", "SET_OF", "BlindSet"]
