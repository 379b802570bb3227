"""Measurement: each program is checked as a user checks it, and its result is one line of a file."""

from __future__ import annotations

import hashlib
import itertools
import json
import multiprocessing
import re
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import compare
from compare.measuring.programs.program import Program
from compare.measuring.programs.style import Style
from compare.measuring.programs.wrong import planted
from compare.measuring.trust.measurement import commit, read
from compare.report.report import Report

Line = dict[str, Any]
READING = ("tables.py", "page.py", "shrinking.py")  # they make no lines


@dataclass(frozen=True)
class Plan:
    """How many right and wrong programs, from which seed on."""

    right: int = 10_000
    wrong: int = 10_000
    seed: int = 0

    def tasks(self) -> Iterator[tuple[str, int]]:
        """("right", 17): both kinds in turn, so that what is there at any time is a fair sample."""
        for i in range(max(self.right, self.wrong)):
            yield from (("right", self.seed + i),) if i < self.right else ()
            yield from (("wrong", self.seed + i),) if i < self.wrong else ()


QUICK = Plan(right=40, wrong=40)


def do(part: str, seed: int) -> Line:
    """The line of one program."""
    torch.set_num_threads(1)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return right(seed) if part == "right" else wrong(seed)


def right(seed: int) -> Line:
    program = Program.drawn(seed)
    return _named("right", seed, program) | checked(program.text, program.told)


def wrong(seed: int) -> Line:
    """Of a program with a mistake; outcome "none" where no mistake changes this program."""
    try:
        found = planted(seed)
    except ValueError as error:
        return {"part": "wrong", "key": f"wrong {seed}", "seed": seed, "verdict": "none", "message": str(error)}
    known = {
        "mistake": found.mistake.name,
        "family": found.mistake.family,
        "guilty": list(found.lines),
        "expected": sorted(found.mistake.causes),
        "step": found.step,
    }
    return _named("wrong", seed, found.right) | known | checked(found.text, found.right.told)


def _named(part: str, seed: int, program: Program) -> Line:
    return {
        "part": part,
        "key": f"{part} {seed}",
        "seed": seed,
        "network": program.network,
        "style": asdict(program.style),
    }


def checked(text: str, network: str | None) -> Line:
    """What the checker says of a program in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "student.py"
        path.write_text(text, encoding="utf-8")
        began = time.perf_counter()
        try:
            found = said(compare.check(path, network=network))
        except Exception as error:
            words = " ".join(str(error).split()).replace(folder, "")
            found = {"verdict": "error", "message": f"{type(error).__name__}: {words}"[:300]}
        return found | {"seconds": round(time.perf_counter() - began, 2)}


def said(report: Report) -> Line:
    """The verdict, the first tensor, the line that is named, the causes with their confidence, and the first lines."""
    first = report.first
    return {
        "verdict": report.verdict,
        "first": [first.step, first.tensor, first.check] if first else None,
        "line": line_of(report),
        "causes": [[d.cause, d.confidence] for d in report.diagnosis],
        "message": "\n".join(str(report).splitlines()[:8])[:600],
    }


def line_of(report: Report) -> int | None:
    """The line of the program that the report names first: where the first divergence was seen."""
    if report.first is None:
        return None
    places = (report.origins.get(report.first.tensor, ""), report.excerpt, str(report))
    patterns = (r"\bline (\d+)", r"\.py:(\d+)", r"^\s*>\s*(\d+)")
    found = (re.search(pattern, place, re.MULTILINE) for place in places for pattern in patterns)
    return next((int(m[1]) for m in found if m), None)


def style_of(line: Line) -> Style:
    """The style in a line of results."""
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in line["style"].items()}
    return Style(**fields)


# --- all of them -----------------------------------------------------------------------------------------------------


@cache
def code_digest() -> str:
    """Of the checker and of what writes the programs: results of other code do not belong in one file."""
    root = Path(compare.__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted([*root.glob("compare/**/*.py"), *root.glob("scratch/*.py"), *root.glob("torch_ref/*.py")]):
        is_measuring = "measuring" in path.parts
        is_own = path.is_relative_to(Path(__file__).parent) and path.name not in READING
        if is_own or not is_measuring:
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def measure(
    plan: Plan, path: Path, workers: int = 2, on_line: Callable[[int, int, Line], object] | None = None
) -> list[Line]:
    """The lines of the plan: those that the file lacks are made, in processes of one thread each, and added.

    ValueError if the file was measured with other code.
    """
    lines = read(path)
    before = next((line for line in lines if line["part"] == "code"), None)
    if lines and (before is None or before["digest"] != code_digest()):
        raise ValueError(f"{path} was measured with other code: remove it, or measure into another folder")
    known = {line["key"]: line for line in lines}
    code = before or {"part": "code", "key": "code", "digest": code_digest(), "commit": commit()}
    todo = [(part, seed) for part, seed in plan.tasks() if f"{part} {seed}" not in known]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in (lines or [code])), encoding="utf-8")
    with path.open("a", encoding="utf-8") as file:
        for done, line in enumerate(_results(todo, workers), start=1):
            known[line["key"]] = json.loads(json.dumps(line))
            file.write(json.dumps(line) + "\n")
            file.flush()
            if on_line:
                on_line(done, len(todo), known[line["key"]])
    return [code, *(known[f"{part} {seed}"] for part, seed in plan.tasks())]


def _results(todo: Sequence[tuple[str, int]], workers: int) -> Iterator[Line]:
    if workers < 2:
        yield from (do(part, seed) for part, seed in todo)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        waiting: set[Future[Line]] = set()
        queue = iter(todo)
        try:
            while True:
                waiting |= {pool.submit(do, *task) for task in itertools.islice(queue, 2 * workers - len(waiting))}
                if not waiting:
                    return
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
