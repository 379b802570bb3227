"""Measurement: each result is one line of a file; what the file has already is not run again."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import multiprocessing
import random
import subprocess
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compare.check import check
from compare.checking import check_records
from compare.measuring.faults import FIRST, GRADED, SECOND, THIRD, Fault, corpus
from compare.measuring.faults.case import Case
from compare.measuring.trust import baselines, floors, forms, origins, pursuit
from compare.measuring.trust.settings import SCALES, SETTINGS, Setting, adapted, case
from compare.network.weights import to_torch, to_torch_loss, to_torch_optimizer
from compare.operations import LAYERS, LOSSES, OPTIMIZERS
from compare.recording.batches import consecutive, given_batches
from compare.recording.scratch_recorder import record_scratch
from compare.report.report import Report

DTYPES = ("float64", "float32")
SIDES = ("scratch", "torch", "other forms")
CHUNK = 25  # random networks in one task
FLOOR_SETTINGS = tuple(
    Setting(shape, scale)
    for shape, scale in (("own", "own"), ("784-256-10", "0-1"), ("ten layers", "0-1"), ("small", "1e8"))
)

Line = dict[str, Any]

KINDS = (*LAYERS.values(), *LOSSES.values(), *OPTIMIZERS.values())
MEASURED = (
    "compare/checking.py",
    "compare/diagnosis/*.py",
    "compare/judging/*.py",
    "compare/measuring/faults/*.py",
    "compare/measuring/faults/blind/*.py",
    "compare/measuring/random_case.py",
    "compare/measuring/trust/*.py",
    "compare/network/*.py",
    "compare/numbers/*.py",
    "compare/operations/*.py",
    "compare/recording/*.py",
    "compare/report/outcome.py",
    "scratch/batch_norm.py",
    "scratch/graph.py",
    "scratch/initializers.py",
    *sorted({f"{kind.scratch_type.__module__.replace('.', '/')}.py" for kind in KINDS}),
    "scratch/learner.py",
    "scratch/network.py",
    "scratch/recurrent.py",
    "scratch/windows.py",
    "torch_ref/attention.py",
    "torch_ref/graph.py",
    "torch_ref/losses.py",
    "torch_ref/recurrent.py",
    "torch_ref/tf32.py",
)
JUDGING = ("tables.py", "document.py", "blind.py", "causes.py", "blind_causes.py")  # of trust: they make no lines


@dataclass(frozen=True)
class Plan:
    """What is measured: how many random networks of the project's own form, of the others, and so on."""

    seeds: tuple[int, ...] = (0,)
    networks: int = 10_000
    others: int = 1_000  # random networks by PyTorch, and in other forms
    judged: int = 1_000  # of the random networks, by the baselines too
    pursuits: int = 8
    examples: int = 150
    shapes: tuple[str, ...] = tuple(dict.fromkeys(s.shape for s in SETTINGS))
    scales: tuple[str, ...] = ("own", *SCALES)
    every: int = 1  # every so-manieth fault
    floors: tuple[Setting, ...] = FLOOR_SETTINGS
    dtypes: tuple[str, ...] = DTYPES


QUICK = Plan(
    networks=100,
    others=50,
    judged=50,
    pursuits=1,
    examples=25,
    shapes=("own", "2-1", "small"),
    scales=("own", "0-1", "1e-8"),
    every=2,
    floors=FLOOR_SETTINGS[:1],
)


@dataclass(frozen=True)
class Task:
    """Something one worker does at a time; `keys` name the lines it writes."""

    part: str
    keys: tuple[str, ...]
    dtype: str
    seed: int = 0
    setting: Setting = field(default_factory=lambda: SETTINGS[0])
    names: tuple[str, ...] = ()
    count: int = 0
    judged: int = 0


def blind_faults() -> tuple[Fault, ...]:
    """The blind sets: faults by people who had not read the diagnosis."""
    return (*FIRST, *SECOND, *THIRD)


def tasks(plan: Plan) -> Iterator[Task]:
    """Everything there is to do, what is short first and the rest mixed: what is there at any time is a fair sample."""
    for dtype, seed in itertools.product(plan.dtypes, plan.seeds):
        yield from _fault_tasks("blind", blind_faults(), dtype, seed, SETTINGS[0])
    for dtype, seed, setting in itertools.product(plan.dtypes, plan.seeds, plan.floors):
        for kind in GRADED:
            yield Task("floor", (_key("floor", dtype, seed, setting, kind),), dtype, seed, setting, (kind,))
    for dtype, seed in itertools.product(plan.dtypes, range(plan.pursuits)):
        yield Task("pursuit", (_key("pursuit", dtype, seed),), dtype, seed, count=plan.examples)
    networks = [list(_random_tasks(plan, dtype, side)) for dtype in plan.dtypes for side in SIDES]
    faults = list(_corpus_tasks(plan))
    random.Random(0).shuffle(faults)
    parts = [faults, *networks]
    places = (((i + 0.5) / len(part), k, i) for k, part in enumerate(parts) for i in range(len(part)))
    for _, k, i in sorted(places):
        yield parts[k][i]


def _corpus_tasks(plan: Plan) -> Iterator[Task]:
    for dtype, seed, setting in itertools.product(plan.dtypes, plan.seeds, SETTINGS):
        if setting.shape in plan.shapes and setting.scale in plan.scales:
            faults = corpus()[:: plan.every] if setting.shape != "own" else corpus()
            yield from _fault_tasks("fault", faults, dtype, seed, setting)


def _random_tasks(plan: Plan, dtype: str, side: str) -> Iterator[Task]:
    most = plan.networks if side == "scratch" else plan.others
    for start in range(0, most, CHUNK):
        seeds = range(start, min(start + CHUNK, most))
        keys = tuple(_key("random", dtype, seed, side) for seed in seeds)
        yield Task("random", keys, dtype, start, names=(side,), count=len(seeds), judged=plan.judged)


def _fault_tasks(
    part: str, faults: Sequence[Fault], dtype: str, seed: int, setting: Setting, together: int = 12
) -> Iterator[Task]:
    names = [f.name for f in faults if dtype in f.dtypes and adapted(f, setting) is not None]
    for start in range(0, len(names), together):
        some = tuple(names[start : start + together])
        yield Task(part, tuple(_key(part, dtype, seed, setting, n) for n in some), dtype, seed, setting, some)


def _key(*parts: object) -> str:
    return " | ".join(map(str, parts))


# --- one process -----------------------------------------------------------------------------------------------------


def do(task: Task, known: frozenset[str] = frozenset()) -> list[Line]:
    """The lines of a task, without those that are known."""
    torch.set_num_threads(1)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return [line for line in PARTS[task.part](task, known) if line]


def _faults(task: Task, known: frozenset[str]) -> Iterator[Line]:
    references: dict[str, tuple[Any, Any, Any, bool]] = {}
    found = {f.name: f for f in (*corpus(), *blind_faults())}
    for key, name in zip(task.keys, task.names, strict=True):
        if key in known:
            continue
        fault = adapted(found[name], task.setting)
        assert fault is not None
        same_case = repr(
            replace(fault, name="", summary="", family="", edits=(), where=frozenset(), step=1, hidden="", size=None)
        )
        correct_key = _key("correct", task.dtype, task.seed, task.setting, same_case)
        if same_case not in references:
            references[same_case], line = _correct(fault, task, correct_key)
            yield line if correct_key not in known else {}
        *right, sound = references[same_case]
        yield {"part": task.part, "key": key, "sound": sound} | _fault(fault, task, *right)


def _correct(fault: Fault, task: Task, key: str) -> tuple[tuple[Any, Any, Any, bool], Line]:
    """The case without the fault: its records, what it was given, PyTorch's run in float64; and its own line."""
    drawn = case(fault, task.setting, task.dtype, task.seed)
    given = drawn.given
    reference = _reference(drawn)
    records = drawn.record()
    report = check_records(records, given)
    line: Line = {"part": "correct", "key": key} | _where(fault, task) | _verdict(report)
    line["baselines"] = baselines.first_alarms(records, reference)
    return (records, given, reference, report.verdict == "parity"), line


def _reference(drawn: Case) -> list[Any]:
    try:
        return baselines.end_to_end(drawn.network, drawn.loss, drawn.optimizer, drawn.batches)
    except (ValueError, RuntimeError):
        return []


def _fault(fault: Fault, task: Task, right: Any, given: Any, reference: Any) -> Line:
    line: Line = {"fault": fault.name, "family": fault.family} | _where(fault, task)
    try:
        with fault.planted():
            records = case(fault, task.setting, task.dtype, task.seed).record()
    except Exception as error:
        return line | {"outcome": "crashes", "error": f"{type(error).__name__}: {error}"[:120]}
    parts = origins.origins(records, right)
    if not parts:
        return line | {"outcome": "no difference"}
    wanted = origins.expected(parts)
    line |= {
        "outcome": "planted",
        "size": _number(origins.size(parts)),
        "places": [[o.step, o.tensor] for o in wanted],
        "expected": next([o.step, o.tensor] for o in sorted(wanted, key=lambda o: o.size <= origins.SURELY_SEEN)),
    }
    try:
        report = check_records(records, given)
    except Exception as error:
        return line | {"outcome": "checker crashed", "error": f"{type(error).__name__}: {error}"[:200]}
    line |= _verdict(report)
    line["diagnosis"] = [[d.cause, d.confidence, d.explanation] for d in report.diagnosis]
    line["baselines"] = baselines.first_alarms(records, reference)
    return line


def _where(fault: Fault, task: Task) -> Line:
    return {
        "seed": task.seed,
        "dtype": task.dtype,
        "shape": task.setting.shape,
        "scale": task.setting.scale,
        "network": fault.network,
        "rows": list(fault.rows),
        "optimizer": str(fault.optimizer),
    }


def _verdict(report: Report) -> Line:
    """The verdict, the first divergence, and the worst ratio."""
    row = report.first
    ratio, tensor = pursuit.worst_ratio(report)
    found = [row.step, row.tensor, row.layer, row.check] if row else None
    return {"verdict": report.verdict, "found": found, "ratio": _number(ratio), "worst": tensor}


def _number(x: float) -> float | None:
    """JSON knows no infinity: null."""
    return float(f"{x:.6g}") if math.isfinite(x) else None


def _floor(task: Task, known: frozenset[str]) -> Iterator[Line]:
    found = floors.floor(task.names[0], task.setting, task.dtype, task.seed)
    line = {"part": "floor", "key": task.keys[0], "fault": task.names[0], "dtype": task.dtype, "seed": task.seed}
    line |= {"shape": task.setting.shape, "scale": task.setting.scale}
    yield line | {name: _number(x) for name, x in found.items()}


def _pursuit(task: Task, known: frozenset[str]) -> Iterator[Line]:
    found = pursuit.pursue(task.seed, task.dtype, task.count)
    yield {"part": "pursuit", "key": task.keys[0], "dtype": task.dtype, "seed": task.seed} | found


def _random(task: Task, known: frozenset[str]) -> Iterator[Line]:
    (side,) = task.names
    for key, seed in zip(task.keys, range(task.seed, task.seed + task.count), strict=True):
        if key not in known:
            yield {"part": "random", "key": key, "dtype": task.dtype, "side": side} | random_network(
                seed, task.dtype, side, judge=side == "scratch" and seed < task.judged
            )


def random_network(seed: int, dtype: str, side: str, judge: bool = False) -> Line:
    """The check of a correct random network, and what the baselines say of the same records."""
    from compare.measuring.random_case import random_case

    drawn = random_case(seed, dtype)
    if side == "other forms":
        forms.in_other_forms(drawn)
    line: Line = {"seed": seed}
    if side == "torch":
        model = to_torch(drawn.network)
        optimizer = to_torch_optimizer(drawn.optimizer, model)
        return line | _verdict(check(model, drawn.x, drawn.t, loss=to_torch_loss(drawn.loss), optimizer=optimizer))
    batches = consecutive(drawn.x, drawn.t, 3)
    given = given_batches(batches) | {name: p.copy() for name, p in drawn.network.params.items()}
    reference = baselines.end_to_end(drawn.network, drawn.loss, drawn.optimizer, batches) if judge else []
    records = record_scratch(drawn.network, drawn.loss, drawn.optimizer, batches)
    line |= _verdict(check_records(records, given))
    if judge:
        line["baselines"] = baselines.first_alarms(records, reference)
    return line


PARTS: dict[str, Callable[[Task, frozenset[str]], Iterator[Line]]] = {
    "fault": _faults,
    "blind": _faults,
    "floor": _floor,
    "pursuit": _pursuit,
    "random": _random,
}


# --- all of them -----------------------------------------------------------------------------------------------------


def read(path: Path) -> list[Line]:
    """The lines of a results file; a last line that was cut off is left out."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines


@cache
def code_digest() -> str:
    """Of the code that a result depends on: lines of different code do not belong in one file."""
    root = Path(__file__).parents[3]
    digest = hashlib.sha256()
    for path in sorted(path for pattern in MEASURED for path in root.glob(pattern)):
        if path.name not in JUDGING:
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _expect_same_code(lines: Sequence[Line], path: Path) -> Line:
    """The line that says by which code the file was measured. ValueError if it was another."""
    digest = code_digest()
    before = next((line["digest"] for line in lines if line["part"] == "code"), digest if not lines else None)
    if before != digest:
        raise ValueError(f"{path} was measured with other code: remove it, or measure into another folder")
    return {"part": "code", "key": "code", "digest": digest, "commit": commit()}


def commit() -> str:
    """Of this checkout: "3f9c2ab", with "and changes to it" where measured files differ; "" where git cannot say."""
    root = Path(__file__).parents[3]

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", root, *words], capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", *MEASURED)
        return git("rev-parse", "--short", "HEAD") + (" and changes to it" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _settings(plan: Plan) -> Line:
    """The line that says what was asked for."""
    asked = json.loads(json.dumps(asdict(plan) | {"floors": [str(setting) for setting in plan.floors]}))
    return {"part": "plan", "key": _key("plan", json.dumps(asked)), **asked}


def measure(
    plan: Plan, path: Path, workers: int = 2, on_task: Callable[[int, int, str], object] | None = None
) -> list[Line]:
    """Run what the file lacks, in worker processes of one thread each, and add every line as it comes."""
    lines = read(path)
    code = _expect_same_code(lines, path)
    known = {line["key"] for line in lines}
    todo = [task for task in tasks(plan) if not set(task.keys) <= known]
    path.parent.mkdir(parents=True, exist_ok=True)
    _mend(path)
    done = 0
    with path.open("a", encoding="utf-8") as file:
        for line in (code, _settings(plan)):
            if line["key"] not in known:
                file.write(json.dumps(line) + "\n")
                lines.append(line)
                known.add(line["key"])
        for task, found in _results(todo, known, workers):
            fresh = [json.loads(json.dumps(line)) for line in found if line["key"] not in known]
            known |= {line["key"] for line in fresh}
            lines += fresh
            file.writelines(json.dumps(line) + "\n" for line in fresh)
            file.flush()
            done += 1
            if on_task:
                on_task(done, len(todo), task.part)
    return lines


def _mend(path: Path) -> None:
    """A last line that was cut off gets its end, so that the next one starts afresh."""
    if path.exists() and (text := path.read_bytes()) and not text.endswith(b"\n"):
        with path.open("ab") as file:
            file.write(b"\n")


def _results(todo: Sequence[Task], known: Iterable[str], workers: int) -> Iterator[tuple[Task, list[Line]]]:
    if workers < 2:
        for task in todo:
            yield task, do(task, frozenset(known) & frozenset(task.keys))
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn) as pool:
        waiting: dict[Future[list[Line]], Task] = {}
        queue = iter(todo)
        try:
            while True:
                for task in itertools.islice(queue, 2 * workers - len(waiting)):
                    waiting[pool.submit(do, task, frozenset(known) & frozenset(task.keys))] = task
                if not waiting:
                    return
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    yield waiting.pop(future), future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


__all__ = [
    "QUICK",
    "Line",
    "Plan",
    "Task",
    "blind_faults",
    "code_digest",
    "do",
    "measure",
    "random_network",
    "read",
    "tasks",
]
