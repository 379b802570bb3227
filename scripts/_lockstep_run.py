"""`train.py LAB --lockstep`: both backends on the same batches, and the first step at which they part."""

from __future__ import annotations

import argparse
import math
from contextlib import closing
from typing import TYPE_CHECKING, Any

import _training_run
from _command import Parser, positive_int
from _exit_code import Mismatch, UsageError
from _run_folder import RunFolder

from scratch.history import write_histories
from scratch.labs import LabSetup

if TYPE_CHECKING:
    from compare.training.lockstep import Lockstep

OPTIONS = ("every", "steps")


def add_arguments(parser: Parser) -> None:
    parser.add_argument("--lockstep", action="store_true", help="compare the weights of both backends step by step")
    parser.add_argument("--every", type=positive_int, metavar="K", help="compare every K steps (default: 1)")
    parser.add_argument("--steps", type=positive_int, metavar="N", help="so many steps in lockstep, not epochs")


def expect_usable(args: argparse.Namespace) -> None:
    """UsageError for options that do not go together."""
    for name in OPTIONS:
        if getattr(args, name) and not args.lockstep:
            raise UsageError(f"--{name}: expected --lockstep with it")
    if args.lockstep and args.backend not in (None, "both"):
        raise UsageError(f"--lockstep and --backend {args.backend}: expected --backend both")
    if args.lockstep and args.resume:
        raise UsageError("--lockstep and --resume: expected one of them; a run in lockstep starts anew")
    if args.steps and args.epochs:
        raise UsageError("--steps and --epochs: expected one of them")


class LockstepRun(_training_run._Run):
    """One run in lockstep: load, check, train, save. Mismatch if the backends part by more than rounding."""

    def run(self) -> int:
        setup = self._set_up()
        self.display.say(f"{setup.title.splitlines()[0]}; {setup.title.splitlines()[1]}; {setup.optimizer}")
        if self.args.check:
            self._expect_parity(setup)
        self.folder = RunFolder.create(self.args.out, f"{setup.lab.name}-{setup.seed}-lockstep")
        with closing(self.folder):
            self._write_config(setup)
            result = self._lockstep(setup)
            self._save(setup, result)
        for line in result.summary:
            self.display.say(line)
        self.display.say(f"config, metrics, weights, lockstep.csv and lockstep.png are in {self.folder.path}")
        if (first := result.first_outside) is not None:
            why = " (with TF32 on, which rounds to 10 bits what float32 has 23 of)" if self.args.tf32 else ""
            raise Mismatch(f"NumPy and PyTorch part by more than rounding at step {first.step}, {first.parameter}{why}")
        return 0

    def _lockstep(self, setup: LabSetup) -> Lockstep:
        from compare.network.weights import to_torch
        from compare.training.lockstep import train_in_lockstep

        rows, m = len(setup.samples.x_train), setup.batch_size
        batches = max(1, rows // m if setup.lab.drop_last else -(-rows // m))
        epochs = math.ceil(self.args.steps / batches) if self.args.steps else setup.epochs

        def on_epoch(result: Lockstep) -> bool:
            self.display.epoch(len(result.history), epochs, result.progress)
            return bool(setup.lab.stop and setup.lab.stop(result.history))

        self.model = to_torch(setup.network)
        self.display.begin(epochs)
        return train_in_lockstep(
            setup.network,
            self.model,
            setup.samples,
            loss=setup.loss,
            optimizer=setup.optimizer,
            learner=setup.learner(),
            threshold=setup.lab.threshold,
            epochs=epochs,
            steps=self.args.steps,
            every=self.args.every or 1,
            batch_size=setup.batch_size,
            rng=setup.rng,
            shuffle=setup.lab.shuffle,
            drop_last=setup.lab.drop_last,
            device=self.args.device,
            title=setup.title,
            on_epoch=on_epoch,
            on_batch=lambda batch: self.display.batch("scratch", batch),
        )

    def _save(self, setup: LabSetup, result: Lockstep) -> None:
        result.write(self.folder / "lockstep.csv")
        result.plot(self.folder / "lockstep.png")
        if result.history:
            write_histories(self.folder / "history.csv", {"scratch": result.history})
        self._save_scratch(setup)
        self._save_torch(self.model)
        first, flip = result.first_outside, result.first_flip
        metrics: dict[str, Any] = {
            "lab": setup.lab.name,
            "data": setup.data.source,
            "dtype": setup.dtype,
            "seed": setup.seed,
            "check": self.verdicts,
            "steps": result.steps,
            "every": result.every,
            "inside": first is None,
            "first_outside": first._asdict() if first else None,
            "nearest": result.worst._asdict(),
            "first_mask_that_differs": flip._asdict() if flip else None,
            "masks_that_differ": result.flips,
            "ties": result.ties,
        }
        self.folder.write_json("metrics.json", metrics)
