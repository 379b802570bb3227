"""Measurement: all mutants, by workers of one thread each; an interrupted run goes on from its file of results."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from pathlib import Path

import compare
from compare.measuring.mutants import judge
from compare.measuring.mutants.judge import Line, Ran
from compare.measuring.mutants.mutators import Mutant
from compare.measuring.mutants.planting import FILES, FOLDER

WORDS_ONLY = {"outcome": "not behaviour"}


def run(
    mutants: Sequence[Mutant],
    path: Path,
    workers: int = 2,
    on_line: Callable[[int, int, Line], object] | None = None,
) -> list[Line]:
    """The lines of `mutants`, in their order: those that the file at `path` lacks are judged and added as they come.

    The file begins with a digest of the code; results of other code are not used. ValueError if a case alarms on the
    code as it is.
    """
    known = _begin(path, digest())
    words = {m.key: {"key": m.key} | WORDS_ONLY for m in mutants if m.is_message}
    todo = [m for m in mutants if m.key not in known and m.key not in words]
    with path.open("a", encoding="utf-8") as file:
        for line in _judged(todo, workers) if todo else ():
            known[line["key"]] = line
            file.write(json.dumps(line) + "\n")
            file.flush()
            if on_line:
                on_line(sum(m.key in known for m in todo), len(todo), line)
    known |= words
    return [known[m.key] for m in mutants]


JUDGING = ("diagnosis", "exact", "judging", "network", "numbers", "operations", "recording", "report")


def digest() -> str:
    """Of the code that is mutated and of the code that judges it."""
    folder = Path(compare.__file__).parent
    judging = [path for part in JUDGING for path in (folder / part).rglob("*.py")]
    judging += [folder / "checking.py", folder / "measuring" / "invariants.py"]
    judging += [Path(__file__).with_name(f"{name}.py") for name in ("cases", "judge", "mutators", "planting")]
    found = hashlib.sha256()
    for path in sorted([FOLDER / file for file in FILES] + judging):
        found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def read(path: Path) -> list[Line]:
    """The file's lines; one that was cut off is left out."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines


def _begin(path: Path, code: str) -> dict[str, Line]:
    """What the file knows of this code; it is written anew, so that its last line is a whole one."""
    head, *lines = read(path) or [{}]
    known = {line["key"]: line for line in lines if "key" in line} if head.get("code") == code else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.new")
    text = [json.dumps(line) for line in ({"code": code}, *known.values())]
    beside.write_text("\n".join(text) + "\n", encoding="utf-8")
    beside.replace(path)
    return known


def _judged(todo: Sequence[Mutant], workers: int) -> Iterable[Line]:
    """Each in a process of its own, forked by a worker that has everything loaded, and one thread."""
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(todo)), spawn, initializer=judge.warm_up)
    waiting: set[Future[Line]] = set()
    try:
        ran: Ran = pool.submit(judge.covered).result()
        queue = iter(todo)
        while True:
            waiting |= {pool.submit(judge.judged, m, ran) for m in islice(queue, 2 * workers - len(waiting))}
            if not waiting:
                break
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    finally:
        pool.shutdown(cancel_futures=True)
