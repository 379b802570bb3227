"""A crew does its work together, meets, and is never left waiting or left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from scratch import crew as crew_module
from scratch.crew import Crew, CrewLost, shared

pytestmark = pytest.mark.skipif(bool(crew_module.why_not()), reason=f"no crew here: {crew_module.why_not()}")


@pytest.fixture
def crews() -> Iterator[Callable[..., Crew]]:
    made: list[Crew] = []

    def make(size: int, work: Callable[[Crew], None]) -> Crew:
        made.append(Crew(size, work))
        return made[-1]

    yield make
    for crew in made:
        crew.end()


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "not within the time"
        time.sleep(0.01)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_every_rank_works_once_a_run_and_sees_what_all_wrote_before_they_met(
    crews: Callable[..., Crew], size: int
) -> None:
    written, seen = shared(size, np.int64), shared(size, np.int64)

    def work(crew: Crew) -> None:
        written[crew.rank] += crew.rank + 1
        crew.meet()
        seen[crew.rank] = written.sum()
        crew.meet()

    crew = crews(size, work)
    for run in range(1, 200):
        crew.run()
        assert list(written) == [run * (rank + 1) for rank in range(size)]
        assert list(seen) == [run * size * (size + 1) / 2] * size


def test_who_waits_longer_than_it_tries_is_woken(crews: Callable[..., Crew], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew_module, "SPINS", 3)
    slow = shared(1, np.int64)

    def work(crew: Crew) -> None:
        if crew.rank == slow[0]:
            time.sleep(0.12)
        crew.meet()

    crew = crews(2, work)
    for slow[0] in (0, 1, 0):
        crew.run()


@pytest.mark.parametrize("n", [0, 1, 1000])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_shared_arrays_are_zeros_that_begin_at_a_page(n: int, dtype: str) -> None:
    a = shared(n, dtype)
    assert (a.shape, a.dtype, a.any()) == ((n,), np.dtype(dtype), False)
    assert a.ctypes.data % 4096 == 0
    a[:] = 1


def raises(crew: Crew) -> None:
    if crew.rank == 1:
        raise ValueError("a reason\nof its own")


def kills_itself(crew: Crew) -> None:
    if crew.rank == 2:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("work", "rank", "said"),
    [(raises, 1, "ValueError: a reason\nof its own"), (kills_itself, 2, "killed by SIGKILL")],
)
def test_a_process_that_ends_is_named_and_nobody_is_left_behind(
    crews: Callable[..., Crew], work: Callable[[Crew], None], rank: int, said: str
) -> None:
    crew = crews(3, work)
    processes = list(crew._ranks)
    with pytest.raises(CrewLost) as error:
        crew.run()
    assert str(error.value) == f"process {rank} of 3 (number {processes[rank - 1]}) has ended: {said}"
    assert not crew.end.alive
    assert not any(map(is_running, processes))


def test_an_error_of_the_leader_ends_the_others(crews: Callable[..., Crew]) -> None:
    def work(crew: Crew) -> None:
        if crew.rank == 0:
            raise KeyboardInterrupt
        crew.meet()

    crew = crews(3, work)
    processes = list(crew._ranks)
    with pytest.raises(KeyboardInterrupt):
        crew.run()
    assert not any(map(is_running, processes))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_to_end_are_the_leaders_affair(crews: Callable[..., Crew], number: int) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    crew = crews(2, lambda crew: None)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    crew.run()
    os.kill(next(iter(crew._ranks)), number)
    crew.run()


def test_until_the_end_each_has_one_thread_for_its_linear_algebra(crews: Callable[..., Crew]) -> None:
    def threads() -> int:
        return max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=1)

    most = shared(2, np.int64)

    def work(crew: Crew) -> None:
        most[crew.rank] = threads()

    with threadpool_limits(2, "blas"):
        before = threads()
        crew = crews(2, work)
        crew.run()
        assert list(most) == [1, 1]
        crew.end()
        assert threads() == before


def test_what_the_leader_has_open_is_its_own(crews: Callable[..., Crew]) -> None:
    """A lock on a folder, or a pipe that somebody reads to its end, would last as long as the others."""
    reader, writer = os.pipe()
    crews(2, lambda crew: None).run()
    os.close(writer)
    os.set_blocking(reader, False)
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_it_is_not_ended_by_another_process_that_has_a_copy_of_it(crews: Callable[..., Crew]) -> None:
    crew = crews(2, lambda crew: None)
    pid = os.fork()
    if pid == 0:
        crew.end()
        os._exit(0)
    os.waitpid(pid, 0)
    crew.run()


PROGRAM = """
import os, signal, sys, time
sys.path.insert(0, {root!r})
from scratch.crew import Crew
crew = Crew(3, lambda crew: None)
crew.run()
print(*crew._ranks, flush=True)
{then}
"""


@pytest.mark.parametrize("then", ["", "sys.exit(3)", "os.kill(os.getpid(), signal.SIGKILL)", "1 / 0", "os._exit(0)"])
def test_it_ends_with_its_leader_however_that_ends(then: str) -> None:
    root = str(crew_module.__file__).rpartition("/scratch/")[0]
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(root=root, then=then)], capture_output=True, text=True)
    processes = [int(pid) for pid in done.stdout.split()]
    assert len(processes) == 2
    wait_until(lambda: not any(map(is_running, processes)))


def test_it_ends_when_nobody_has_it_any_more() -> None:
    processes = list(Crew(2, lambda crew: None)._ranks)
    wait_until(lambda: not any(map(is_running, processes)))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda patch: patch.delattr(os, "fork"), "this system cannot fork"),
        (lambda patch: patch.setattr(sys, "platform", "darwin"), "NumPy on macOS does not survive a fork"),
    ],
)
def test_where_there_can_be_none_is_said(monkeypatch: pytest.MonkeyPatch, change: Any, reason: str) -> None:
    change(monkeypatch)
    with pytest.raises(ValueError, match=f"2 processes: {reason}"):
        Crew(2, lambda crew: None)


def test_where_no_more_can_be_started_those_that_were_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    fork, started = os.fork, []

    def full() -> int:
        if started:
            raise BlockingIOError("Resource temporarily unavailable")
        started.append(fork())
        return started[0]

    monkeypatch.setattr(os, "fork", full)
    with pytest.raises(OSError, match="Resource temporarily unavailable"):
        Crew(3, lambda crew: None)
    assert not is_running(started[0])
