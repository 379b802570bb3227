"""One mutant, in a process of its own with a time limit: is it killed, by which case, and how?"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

import compare
from compare.measuring.mutants.cases import Asked, Direct, Killed, cases
from compare.measuring.mutants.mutators import Mutant
from compare.measuring.mutants.planting import FILES, FOLDER, plant, text_of

Line = dict[str, Any]
Ran = Mapping[str, frozenset[tuple[str, int]]]  # case -> ("layers.py", 95), ... the lines that it runs

SECONDS = 30  # of processor time for all cases of one mutant, which take one or two; six times as much by the clock
CLOCK = 6


def judged(mutant: Mutant, ran: Ran) -> Line:
    """The mutant's line of the results: key, outcome (killed, survived), and for a killed one how, by and detail."""
    return {"key": mutant.key} | in_own_process(lambda: _judge(mutant, ran))


def covered() -> Ran:
    """The files' lines that each case runs, without a mutant. ValueError naming the first case that alarms then."""
    found = in_own_process(_cover, 4 * SECONDS)
    if "error" in found or "how" in found:
        raise ValueError(f"the code as it is fails: {found}")
    return {case: frozenset((file, line) for file, line in lines) for case, lines in found.items()}


def _judge(mutant: Mutant, ran: Ran) -> Line:
    """Only the cases that run a line of the changed statement can tell."""
    lines = {(mutant.file, line) for line in mutant.lines}
    able = [case for case in cases() if not lines.isdisjoint(ran[str(case)])]
    plant(mutant)
    for case in able:
        if found := _outcome(case):
            return {"outcome": "killed", "by": str(case)} | found
    return {"outcome": "survived", "cases": len(able)}


def _outcome(case: Asked | Direct) -> Line | None:
    try:
        case.judge()
    except Killed as killed:
        return {"how": killed.how, "detail": killed.detail}
    except Exception as error:
        return {"how": _where(error), "detail": f"{type(error).__name__}: {error}"[:160]}
    return None


def _where(error: Exception) -> str:
    """Whose exception it is: the innermost of our own functions that it passed through tells."""
    first = error.__cause__ or error  # the check puts the candidate's own exceptions into words
    for frame in reversed(traceback.extract_tb(first.__traceback__)):
        path = Path(frame.filename).resolve()
        if any(path.is_relative_to(folder) for folder in (FOLDER.resolve(), Path(__file__).resolve().parent)):
            return "exception in the candidate"
        if path.is_relative_to(Path(compare.__file__).resolve().parent):
            in_one_line = isinstance(error, ValueError | TypeError)
            return "refused by the check" if in_one_line else "exception in the check"
    return "exception in the check"


def _cover() -> Line:
    ran: dict[str, list[tuple[str, int]]] = {}
    paths = {str(FOLDER / file): file for file in FILES}
    for case in cases():
        lines: set[tuple[str, int]] = set()

        def trace(frame: FrameType, event: str, _: object, lines: set[tuple[str, int]] = lines) -> Any:
            file = paths.get(frame.f_code.co_filename)
            if file is None:
                return None
            lines.add((file, frame.f_lineno))
            return trace

        sys.settrace(trace)
        try:
            found = _outcome(case)
        finally:
            sys.settrace(None)
        if found:
            return {"by": str(case)} | found
        ran[str(case)] = sorted(lines)
    return ran


def in_own_process(function: Callable[[], Line], seconds: int = SECONDS) -> Line:
    """function() in a fork of this process, which should have one thread; what it changes is gone with it.

    An endless loop is killed too: how "time limit".
    """
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(out)
        _answer(function, into, seconds)
    os.close(into)
    try:
        text = _read(out, CLOCK * seconds)
    finally:
        os.close(out)
        if os.waitpid(child, os.WNOHANG) == (0, 0):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    if not text.endswith("\n"):
        return {"outcome": "killed", "by": "", "how": "time limit", "detail": f"no answer within {seconds} s"}
    answer: Line = json.loads(text)
    return answer


def _answer(function: Callable[[], Line], into: int, seconds: int) -> None:
    """In the child: write the answer and end, whatever happens."""
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                answer = function()
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
        with os.fdopen(into, "w") as pipe:
            pipe.write(json.dumps(answer) + "\n")
    finally:
        os._exit(0)


def _read(out: int, seconds: float) -> str:
    """Until the other end is closed, or the time is over."""
    parts, end = [], time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if not select.select([out], [], [], left)[0]:
            break
        part = os.read(out, 1 << 16)
        if not part:
            break
        parts.append(part)
    return b"".join(parts).decode()


def warm_up() -> None:
    """Once in each worker, for its forks: one thread, the files' text, and all that PyTorch's first step loads."""
    torch.set_num_threads(1)
    for file in FILES:
        text_of(file)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        cases()[0].judge()
