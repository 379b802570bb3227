"""docs/mutants.md: what became of every mutant, counted and listed, from the results of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from compare.measuring.mutants.judge import Line
from compare.measuring.mutants.known import EQUIVALENT, UNSEEN, WORDS
from compare.measuring.mutants.mutators import Mutant

TARGET = 0.99
HOW = {
    "check_parity": "`check_parity`: the verdict",
    "exception in the candidate": "an exception in the code under test, while it is checked",
    "refused by the check": "the check refuses the candidate, in one line",
    "exception in the check": "an exception inside the check, at what the candidate lacks",
    "what was asked for": "the check, of the network, optimiser and weights that were asked for",
    "error case": "an exception of a wrong type, or none, where one is due",
    "time limit": "no end within the time limit",
}


@dataclass(frozen=True)
class Fate:
    """What became of a mutant: "killed", "survived", "equivalent" or "not behaviour"; and why, if it was not killed."""

    mutant: Mutant
    line: Line

    @property
    def outcome(self) -> str:
        if self.line["outcome"] == "survived":
            if self.mutant.key in EQUIVALENT:
                return "equivalent"
            return "not behaviour" if self.mutant.key in WORDS else "survived"
        return str(self.line["outcome"])

    @property
    def reason(self) -> str:
        tables = (EQUIVALENT, WORDS, UNSEEN)
        return next((table[self.mutant.key] for table in tables if self.mutant.key in table), "")


def fates(mutants: Sequence[Mutant], lines: Sequence[Line]) -> list[Fate]:
    return [Fate(mutant, line) for mutant, line in zip(mutants, lines, strict=True)]


def share(found: Iterable[Fate]) -> float:
    """Killed, of those that change behaviour; 1 of none."""
    count = Counter(fate.outcome for fate in found)
    changing = count["killed"] + count["survived"]
    return count["killed"] / changing if changing else 1.0


def stale(found: Sequence[Fate]) -> list[str]:
    """Entries of the tables of reasons that name a mutant of these files that is not there, or that is killed."""
    outcomes = {fate.mutant.key: fate.line["outcome"] for fate in found}
    files = {fate.mutant.file for fate in found}
    keys = [key for table in (EQUIVALENT, WORDS, UNSEEN) for key in table if key.partition(" ")[0] in files]
    return [key for key in keys if outcomes.get(key) != "survived"]


def unexplained(found: Sequence[Fate]) -> list[str]:
    """Survivors without a reason."""
    return [fate.mutant.key for fate in found if fate.outcome == "survived" and not fate.reason]


def summary(found: Sequence[Fate]) -> str:
    """The counts in one line."""
    count = Counter(fate.outcome for fate in found)
    changing = count["killed"] + count["survived"]
    rest = f"{count['equivalent']} equivalent, {count['not behaviour']} of words only"
    return f"{count['killed']} of {changing} mutants that change behaviour killed ({share(found):.2%}); {rest}"


def render(found: Sequence[Fate], networks: int, calls: int) -> str:
    """The whole page; `networks` and `calls` are the numbers of the cases."""
    parts = [INTRODUCTION.format(networks=networks, calls=calls, summary=summary(found))]
    parts += ["## By file", _by(found, "file", lambda fate: fate.mutant.file)]
    parts += ["## By kind of change", _by(found, "change", lambda fate: fate.mutant.kind)]
    parts += ["## What killed them", _how(found)]
    parts += ["## Survivors", _listed(found, "survived") or "None."]
    parts += ["## Equivalent: no input shows a difference from the original", _listed(found, "equivalent") or "None."]
    parts += ["## Words only", WORDS_ONLY, _words(found)]
    return "\n\n".join(parts) + "\n"


INTRODUCTION = """# Mutation testing of the check

Written by `make mutants`. It makes one small change at a time to the layers, losses, network and optimisers of
`scratch/`. Then it asks the check: does the code still do what it did? If a change alters what the code does and no
check sees it, the check has a hole.

**{summary}.**

The judge is `compare.check_parity` on {networks} fixed cases of a network, a loss, an optimiser and batches (every
layer, loss, reduction, kind of target, optimiser and option, both precisions, zeros, inputs of 1e4, one row). If it
finds parity, the records are checked a second time. This time the network comes from a description in words, and its
weights are drawn independently. So a change of the code cannot change the reference with it. Then {calls} calls
with wrong and with unusual shapes, dtypes, labels and options must raise the right type of exception, or none.
The first case that objects kills the mutant. The networks in float32 come first, then the calls. Each mutant runs in
a process of its own, with a time limit."""

WORDS_ONLY = """These do not count as behaviour, and are not run: the words of an exception (but its type
counts), what is computed only for such words, `__repr__` and `__str__`. Docstrings, annotations and decorators never
change."""


def _by(found: Sequence[Fate], title: str, key: object) -> str:
    assert callable(key)
    groups: dict[str, list[Fate]] = {}
    for fate in found:
        groups.setdefault(key(fate), []).append(fate)
    lines = [
        f"| {title} | mutants | words only | equivalent | change behaviour | killed | survived | killed of those |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, some in [*groups.items(), ("all", list(found))]:
        count = Counter(fate.outcome for fate in some)
        changing = count["killed"] + count["survived"]
        numbers = [len(some), count["not behaviour"], count["equivalent"], changing, count["killed"], count["survived"]]
        lines.append(f"| {name} | {' | '.join(map(str, numbers))} | {f'{share(some):.1%}' if changing else '-'} |")
    return "\n".join(lines)


def _how(found: Sequence[Fate]) -> str:
    count = Counter(fate.line.get("how", "") for fate in found if fate.outcome == "killed")
    lines = ["| by | mutants |", "| --- | ---: |"]
    return "\n".join(lines + [f"| {words} | {count[how]} |" for how, words in HOW.items() if count[how]])


def _listed(found: Sequence[Fate], outcome: str) -> str:
    """By reason, in the order of the code."""
    some = [fate for fate in found if fate.outcome == outcome]
    reasons = list(dict.fromkeys(fate.reason for fate in some))
    parts = []
    for reason in reasons:
        parts.append(f"- {reason or 'No reason known.'}")
        parts += [f"  - {_code(fate.mutant)}" for fate in some if fate.reason == reason]
    return "\n".join(parts)


def _code(mutant: Mutant) -> str:
    again = f" (no. {mutant.nth})" if mutant.nth > 1 else ""
    return f"`{mutant.file}` `{mutant.function}`: ``{mutant.before}`` -> ``{mutant.after}``{again}"


def _words(found: Sequence[Fate]) -> str:
    some = [fate for fate in found if fate.outcome == "not behaviour"]
    by_hand = [f"- {_code(fate.mutant)}: {fate.reason}" for fate in some if fate.reason]
    ruled = [fate for fate in some if not fate.reason]
    parts = ["\n".join(by_hand)] if by_hand else []
    for function, same in groupby(ruled, lambda fate: (fate.mutant.file, fate.mutant.function)):
        listed = "\n".join(f"- {_code(fate.mutant)}" for fate in same)
        parts.append(f"<details><summary>{' '.join(function)}</summary>\n\n{listed}\n\n</details>")
    return "\n\n".join(parts) or "None."
