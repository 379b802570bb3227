"""Crew: processes forked from this one that do their part of every piece of work, on memory that all of them share.

A fork has all that this process had then: the network, the loss, and the data without a second copy. What they write
for each other lies in `shared` arrays. They meet at semaphores, which also order what was written before for those who
read after; who waits tries again and again for about a millisecond, since to be woken takes longer than most waits.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import weakref
from collections.abc import Callable
from mmap import mmap
from multiprocessing.synchronize import Semaphore
from typing import NoReturn

import numpy as np
from numpy.typing import DTypeLike

from scratch.layers import Array

SPINS = 10_000  # tries before a process sleeps until it is woken
LOOKS = 0.05  # seconds: how often a sleeping one looks whether the others still live
MOST_FILES = 65536  # that the leader may have open: here they are closed, or a lock of its would outlive it
LEADERS = (signal.SIGINT, signal.SIGTERM)  # to end is for the leader to decide
SAID = 200  # bytes that a process leaves of the error that ended it


class CrewLost(ChildProcessError):
    """A process of the crew has ended: which, and of what. The work that it took part in is not whole."""


def shared(n: int, dtype: DTypeLike) -> Array:
    """(n,) zeros, the same memory in this process and in those that are forked from it; begins at a page."""
    array: Array = np.frombuffer(mmap(-1, max(n, 1) * np.dtype(dtype).itemsize), dtype)
    return array[:n]


def why_not() -> str:
    """Why there can be no crew here; "" where there can."""
    if not hasattr(os, "fork"):
        return "this system cannot fork"
    return "NumPy on macOS does not survive a fork" if sys.platform == "darwin" else ""


class Crew:
    """`size` processes; this one is rank 0. In each, `work(crew)` is called whenever `run` is called here.

    Until `end` each has one thread for its linear algebra, this one too. It should be made where no other thread holds
    a lock that the work needs. It ends with this process, however that ends. ValueError where there can be none,
    OSError where there are too many processes.
    """

    def __init__(self, size: int, work: Callable[[Crew], None]) -> None:
        if reason := why_not():
            raise ValueError(f"{size} processes: {reason}")
        from threadpoolctl import threadpool_limits

        context = multiprocessing.get_context("fork")
        self.size, self.rank, self._work = size, 0, work
        self._arrived: Semaphore = context.Semaphore(0)
        self._go: list[Semaphore] = [context.Semaphore(0) for _ in range(size)]
        self._said = shared(size * SAID, np.uint8).reshape(size, SAID)
        self._leader = os.getpid()
        self._ranks: dict[int, int] = {}  # by process number
        threads = threadpool_limits(1, "blas")
        self.end = weakref.finalize(self, _end, self._leader, self._ranks, threads.restore_original_limits)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, LEADERS)
        try:
            for rank in range(1, size):
                pid = os.fork()
                if pid == 0:
                    self._serve(rank)  # with the signals blocked from its first moment to its last
                self._ranks[pid] = rank
        except OSError:
            self.end()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def run(self) -> None:
        """The work once, by all; returns when all have done it. CrewLost where one has ended."""
        try:
            self.meet()
            self._work(self)
            self.meet()
        except BaseException:  # the others are somewhere within their part
            self.end()
            raise

    def meet(self) -> None:
        """Returns when all have called it; what each wrote before is there for all."""
        if self.rank > 0:
            self._arrived.release()
            self._take(self._go[self.rank])
            return
        for _ in range(self.size - 1):
            self._take(self._arrived)
        for go in self._go[1:]:
            go.release()

    def _take(self, semaphore: Semaphore) -> None:
        for _ in range(SPINS):
            if semaphore.acquire(False):
                return
        while not semaphore.acquire(True, LOOKS):
            self._expect_others()

    def _serve(self, rank: int) -> NoReturn:
        try:
            os.closerange(3, MOST_FILES)
            self.rank = rank
            while True:
                self.meet()
                self._work(self)
                self.meet()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}".encode()[:SAID]
            self._said[rank, : len(said)] = np.frombuffer(said, np.uint8)
        finally:
            os._exit(1)  # without what this process would do at its end, which is the leader's

    def _expect_others(self) -> None:
        if self.rank > 0:
            if os.getppid() != self._leader:
                os._exit(0)
            return
        for pid, rank in list(self._ranks.items()):
            if (ended := _how_it_ended(pid)) is not None:
                del self._ranks[pid]
                said = self._said[rank].tobytes().rstrip(b"\0").decode(errors="replace")
                raise CrewLost(f"process {rank} of {self.size} (number {pid}) has ended: {said or ended}")


def _how_it_ended(pid: int) -> str | None:
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:  # somebody else has asked
        return "nobody knows how"
    if found == 0:
        return None
    code = os.waitstatus_to_exitcode(status)
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def _end(leader: int, ranks: dict[int, int], restore_threads: Callable[[], None]) -> None:
    if os.getpid() != leader:
        return
    restore_threads()
    for pid in ranks:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            continue
    ranks.clear()
