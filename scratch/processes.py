"""One function on many tasks, in as many processes as there are cores, each with one thread."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

_shared: tuple[Any, ...] = ()


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_processes(
    function: Callable[..., Result],
    tasks: Sequence[Task],
    *,
    shared: tuple[Any, ...] = (),
    workers: int | None = None,
) -> Iterator[tuple[int, Result]]:
    """(i, function(tasks[i], *shared)) for every task, in the order in which they are done.

    `shared` is sent once to each process, not with every task. An error in one task ends all of them, and so does
    leaving the loop: what has not begun then is not begun. With one worker everything runs in this process.
    """
    workers = min(workers or cores(), len(tasks))
    if workers <= 1:
        yield from ((i, function(task, *shared)) for i, task in enumerate(tasks))
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy locks that other threads hold
    with (
        one_thread_each(),
        ProcessPoolExecutor(workers, mp_context=context, initializer=_share, initargs=(shared,)) as pool,
    ):
        waiting = {pool.submit(_call, function, task): i for i, task in enumerate(tasks)}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Processes that are started in this block have one thread for their linear algebra."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _share(shared: tuple[Any, ...]) -> None:
    global _shared
    _shared = shared


def _call(function: Callable[..., Result], task: Any) -> Result:
    return function(task, *_shared)
