"""`torchrun --nproc-per-node N scripts/train.py LAB --backend torch`: rank 0 is the run, the others help it.

Rank 0 alone reads the options, writes the folder, prints, and decides when to stop; the others hear from it what to do.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

import _device
import _training_run
from _exit_code import Mismatch, UsageError
from _progress import Display
from rich.console import Console

from scratch.labs import LabSetup
from scratch.training import Interrupted
from torch_ref.distributed import LeadingLearner, ShardedLearner, follow
from torch_ref.team import NoTeam, Team, TeamError

Result = TypeVar("Result")
EXPECTED = (ValueError, OSError, ArithmeticError, MemoryError, Mismatch)  # a user's or a machine's, not a mistake here


class RankLost(Interrupted):
    """Training ends between two steps, and is saved, because a rank is gone."""


class TeamRun(_training_run._Run):
    """A run led by rank 0: the same, but for its learner."""

    def run(self) -> int:
        if self.backend != "torch":
            raise UsageError(f"several processes train --backend torch only, got --backend {self.backend}")
        if self.args.compile:
            raise UsageError("--compile: several processes train without it")
        expect_device_for_each(self.args.device)
        return led(self._run_with, self.args.device)

    def _run_with(self, team: Team) -> int:
        self.team = team
        return super().run()

    def _set_up(self) -> LabSetup:
        setup = super()._set_up()
        if setup.network.buffers or setup.network.streams:
            what = "statistics of its batch" if setup.network.buffers else "masks"
            raise UsageError(f"{setup.lab.name}: its network has {what}, each process its own, expected one process")
        return setup

    def _learner(self, setup: LabSetup, undo: ExitStack) -> tuple[Any, Any]:
        self.team.tell((self.args, self.options))
        self.display.say(f"{self.team.size} processes, each with its shard of every batch")
        return super()._learner(setup, undo)

    def _torch_learner(self, *parts: Any, **where: Any) -> _SavingLearner:
        return _SavingLearner(self._sharded(*parts, **where))

    def _sharded(self, *parts: Any, device: str, **where: Any) -> ShardedLearner:
        """The device is the team's: of several GPUs each process has its own."""
        expect_equal(self.team, self.data, "data")
        return ShardedLearner(*parts, team=self.team, **where)

    def help_the_leader(self, team: Team) -> None:
        """The part of another rank, from the leader's options to its last order."""
        self.team = team
        _device.expect_usable(self.args)
        setup = self._set_up()
        self._torch_learner = self._sharded  # type: ignore[method-assign,assignment]
        samples = setup.samples
        sets = [(samples.x_train, samples.t_train), (samples.x_val, samples.t_val)]
        with ExitStack() as undo:
            learner, _ = super()._learner(setup, undo)
            follow(learner, [learner.place(x, t) for x, t in sets])

    def _run_in_folder(self, setup: LabSetup) -> int:
        try:
            return super()._run_in_folder(setup)
        except (KeyboardInterrupt, SystemExit):
            if lost := self.team.lost():  # that is why, and the signal was torchrun's
                raise TeamError(lost) from None
            raise


def expect_device_for_each(device: str) -> None:
    """UsageError unless every process of this machine can have such a device."""
    import torch

    if device not in ("cpu", "cuda"):
        raise UsageError(f"--device {device}: several processes have one each, expected cpu or cuda")
    here, found = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if device == "cuda" and found < here:
        raise UsageError(f"--device cuda: {here} processes on this machine and {found} GPUs, expected one for each")


class _SavingLearner(LeadingLearner):
    """A lost rank ends training as a signal does: with everything saved up to the last step."""

    def train_step(self, data: Any, rows: Any) -> tuple[float, int]:
        with _interrupting():
            return super().train_step(data, rows)

    def evaluate(self, data: Any, batch_size: int = 4096) -> tuple[float, float]:
        with _interrupting():
            return super().evaluate(data, batch_size)


@contextmanager
def _interrupting() -> Iterator[None]:
    try:
        yield
    except TeamError as error:
        raise RankLost(str(error)) from None


def led(work: Callable[[Team], Result], device: str = "cpu") -> Result:
    """work(team) on rank 0. Then the other ranks are told to end; after an error they are told what it was."""
    team = Team(device)
    try:
        found = work(team)
    except TeamError:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's, on account of the lost rank: this one ends anyway
        if not team.is_first_to_say():
            raise SystemExit(2) from None
        raise
    except BaseException as error:
        team.is_first_to_say()  # it is told by whoever catches it
        team.leave_word("with an error of its own" if not isinstance(error, UsageError) else str(error))
        _dismiss(team)
        raise
    _dismiss(team)
    return found


def _dismiss(team: Team) -> None:
    try:
        team.tell(None)
        team.leave()
    except (TeamError, RuntimeError):
        pass  # who is not there any more need not be sent home


def helped(work: Callable[[Team, Any], bool]) -> int:
    """work(team, order) for every order of rank 0, on another rank, until it returns True or rank 0 tells all to end.

    The exit code; it prints only what rank 0 cannot.

    Signals are rank 0's to act on: it needs the others for the step that it finishes and saves.
    """
    try:
        team = Team()
    except NoTeam:
        return 0
    warnings.simplefilter("ignore")  # rank 0 has them too
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        while (order := team.hear()) is not None and not work(team, order):
            pass
        team.leave()
    except TeamError as error:
        if team.is_first_to_say():
            print(f"{Path(sys.argv[0]).stem}: {error}", file=sys.stderr, flush=True)
        return 2
    except BaseException as error:
        team.leave_word(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
        if not isinstance(error, EXPECTED):
            raise
        return 2  # rank 0 says what the word was
    return 0


def help_train() -> int:
    """What train.py does on every rank but 0, which alone reads the command line."""

    def work(team: Team, order: tuple[argparse.Namespace, dict[str, Any]]) -> bool:
        args, options = order
        with Display(Console(quiet=True)) as display:
            TeamRun(args, options, display, None).help_the_leader(team)
        return True

    return helped(work)


def expect_equal(team: Team, data: Any, what: str) -> None:
    """UsageError on every rank if one of them has read other data than the leader."""
    digest = 0
    for name in ("x_train", "t_train", "x_val", "t_val"):
        digest = crc32(memoryview(getattr(data, name)).cast("B"), digest)
    try:
        team.expect_equal(f"{digest:08x}", what)
    except ValueError as error:
        raise UsageError(str(error)) from None
