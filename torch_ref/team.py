"""Team: the processes of one job, as torchrun starts them; rank 0 leads, and a rank that is gone is named.

Groups of the same processes, each with its own patience: to meet, and to read the data, takes a while; orders of the
leader may be hours apart; but once all ranks are in a step none may keep the others waiting.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

MEETING = timedelta(minutes=10)  # until all have started, and have read the data
CALLING = timedelta(minutes=5)  # until torchrun, or the leader, answers, and the leader has said where it computes
PARTING = timedelta(seconds=10)  # the same for a leader that has nothing more to do
ORDERS = timedelta(days=30)  # between two orders the leader may check, draw or be stopped by hand
ANSWERS = timedelta(seconds=50)  # within a step all ranks are at work; a minute is what a lost rank may cost
NOWHERE = "nowhere"  # in the place of the device: there is nothing to do
GONE = 3.0  # seconds in which a process whose connection is closed is seen to have ended
NETWORK = ("connection", "timed out", "socket", "broken pipe", "gloo", "nccl")  # words of what a lost peer causes


class TeamError(ConnectionError):
    """A rank is gone, or does not answer: which, and how it ended as far as that can be seen."""


class NoTeam(Exception):
    """The leader has ended, and had nothing for the others to do."""


class Team:
    """All ranks of a job. Every method that exchanges something is called on every rank, in the same order.

    `rank` counts from 0, the leader; `size` is the number of ranks; `gradients` the group that DistributedDataParallel
    averages in: NCCL where the leader's device is "cuda", of which each rank then has its own, else gloo.
    Raises NoTeam on the other ranks where the leader has dissolved it.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.rank, self.size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self._why = ""
        # until all are there nothing is lost by ending, and Python would not hear a signal while it waits for them
        with _ended_by_signals():
            self._store = _store(self.rank, self.size)
            if self.leads:
                self._store.set("device", device)
            device = self._store.get("device").decode()
            if device == NOWHERE:
                raise NoTeam
            self.device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" else device
            dist.init_process_group("gloo", store=self._store, rank=self.rank, world_size=self.size, timeout=MEETING)
            # gloo sends to a rank that listens only: the leader need not wait long for one that should
            self._orders: Any = dist.new_group(backend="gloo", timeout=ANSWERS if self.leads else ORDERS)
            self.answers: Any = dist.new_group(backend="gloo", timeout=ANSWERS)
            self.gradients: Any = self.answers
            if self.device.startswith("cuda"):
                torch.cuda.set_device(self.device)
                self.gradients = dist.new_group(backend="nccl", timeout=ANSWERS)
            self._processes: list[tuple[str, int]] = []
            self._processes = self.gather((socket.gethostname(), os.getpid()))

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def tell(self, order: Any) -> None:
        """The leader's order to all others; None sends them home."""
        with self.together():
            dist.broadcast_object_list([order], src=0, group=self._orders)

    def hear(self) -> Any:
        """The leader's next order, however long that takes."""
        heard: list[Any] = [None]
        with self.together():
            dist.broadcast_object_list(heard, src=0, group=self._orders)
        return heard[0]

    def sums(self, numbers: Sequence[float]) -> list[float]:
        """The sum over the ranks of each of these numbers, in float64, in the order of the ranks: the same on all."""
        own = torch.tensor(numbers, dtype=torch.float64)
        found = [torch.empty_like(own) for _ in range(self.size)]
        with self.together():
            dist.all_gather(found, own, group=self.answers)
        return [sum(each) for each in zip(*(part.tolist() for part in found), strict=True)]

    def gather(self, value: Any) -> list[Any]:
        """Everybody's value, by rank, on every rank."""
        found: list[Any] = [None] * self.size
        with self.together():
            dist.all_gather_object(found, value, group=self.answers)
        return found

    def expect_equal(self, value: str, what: str) -> None:
        """ValueError on every rank, naming the first that has another value than the leader."""
        found: list[Any] = [None] * self.size
        with self.together():
            dist.all_gather_object(found, value)
        other = next((rank for rank, each in enumerate(found) if each != found[0]), None)
        if other is not None:
            raise ValueError(f"rank {other} has other {what} than rank 0, expected the same on every rank")

    @contextmanager
    def together(self) -> Iterator[None]:
        """For a block that exchanges something: TeamError if it fails because a rank is gone or silent."""
        try:
            yield
        except TeamError:
            raise
        except SystemExit:  # torchrun ends the others when one has ended
            if lost := self.lost(patience=0):
                raise TeamError(lost) from None
            raise
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            if not any(word in reason.lower() for word in NETWORK):
                raise
            self._why = reason
            raise TeamError(self.lost() or self._unknown(reason)) from None

    def lost(self, patience: float = GONE) -> str | None:
        """Which rank has ended and how, in a line; None if none is known to have."""
        until = time.monotonic() + (patience if self._why else 0)
        while True:
            for rank, (host, pid) in enumerate(self._processes):
                if rank != self.rank and (how := self._end_of(rank, host, pid)):
                    return f"rank {rank} (process {pid} on {host}) {how}; the others cannot go on without it"
            if time.monotonic() >= until:
                return self._unknown(self._why) if self._why else None
            time.sleep(0.05)

    def _end_of(self, rank: int, host: str, pid: int) -> str | None:
        with suppress(RuntimeError):  # the store is torchrun's, and ends with it
            if self._store.check([f"word/{rank}"]):
                return f"ended: {self._store.get(f'word/{rank}').decode()}"
        return ending(pid) if host == socket.gethostname() else None

    @staticmethod
    def _unknown(reason: str) -> str:
        if "timed out" in reason.lower():
            return f"a rank did not answer within {ANSWERS.total_seconds():.0f} seconds; the others cannot go on"
        return f"the connection to a rank was lost ({reason[:120]}); the others cannot go on without it"

    def leave_word(self, text: str) -> None:
        """What the others shall say of this rank, which is about to end."""
        with suppress(RuntimeError):
            self._store.set(f"word/{self.rank}", " ".join(text.split())[:400])

    def is_first_to_say(self) -> bool:
        """True on one rank only, the first that asks: the one that tells the user what all of them have seen."""
        try:
            return bool(self._store.add("said", 1) == 1)
        except RuntimeError:
            return True

    def leave(self) -> None:
        """The end of the job for this process.

        A group's threads end with it. One that has still to free the tensor of the last order when Python ends
        cannot: the process would be aborted.
        """
        dist.destroy_process_group()
        del self._orders, self.answers, self.gradients


def ending(pid: int) -> str | None:
    """How a process of this machine has ended; None while it runs."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return "ended without a word, as a process that is killed does"
        except OSError:
            return None
        return None
    if fields[0] not in "ZX":
        return None
    status = int(fields[-1]) if fields[-1].isdecimal() else 0  # as wait() has it; 0 where it may not be read
    if status & 0x7F:
        number = status & 0x7F
        return f"was killed by signal {number} ({signal.Signals(number).name})"
    return f"ended with exit code {status >> 8}" if status else "ended without a word, as a process that is killed does"


def dissolve() -> None:
    """For a leader that ends well: others that still wait for a Team need not. Where one has met, nothing."""
    if _is_torchruns_store():  # its own would end with it
        with suppress(RuntimeError):
            _store(0, int(os.environ["WORLD_SIZE"]), PARTING).compare_set("device", "", NOWHERE)


def _store(rank: int, size: int, patience: timedelta = CALLING) -> dist.Store:
    """torchrun's own, where it has one; else the leader's."""
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    serves = rank == 0 and not _is_torchruns_store()
    store = dist.TCPStore(host, port, size, serves, timeout=patience, wait_for_workers=False)
    return dist.PrefixStore(f"team/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def _is_torchruns_store() -> bool:
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """For the length of the block SIGTERM and SIGINT end the process at once."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
