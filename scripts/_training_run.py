"""A training run from its options to its folder; `train.py` and `fashion_mnist.py` are its two commands."""

from __future__ import annotations

import argparse
import math
import shlex
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import _device
import _fast_blas
import _lab_choice
import _lab_data
import _run_folder
import _threads
import _torchrun
from _command import Parser, positive_float, positive_int, seed, sizes
from _exit_code import Mismatch, UsageError, is_out_of_memory
from _interruption import Interruption
from _progress import Display
from _run_folder import RunFolder

import scratch.plots
from scratch.atomic_file import write_atomically
from scratch.engine import Engine
from scratch.fingerprint import write_fingerprints
from scratch.history import History, write_histories
from scratch.labs import LABS, OPTIMIZERS, LabSetup, Outcome
from scratch.training import BatchProgress, Interrupted, Learner, Row, train

BACKENDS = ("scratch", "torch", "both")
OPTIONS = (
    *("backend", "epochs", "seed", "batch_size", "dtype", "hidden", "lr", "optimizer"),
    *("variant", *_lab_choice.OPTIONS),
)  # what a run consists of

SAVING = ("checkpoint_steps", "fingerprint_steps")  # a resumed run continues to do these


def add_arguments(parser: Parser, *, check: bool | None) -> None:
    """The options of a training run; those not given are the lab's own, or the resumed run's."""
    parser.add_argument("--backend", choices=BACKENDS, help="the side that trains (default: both)")
    parser.add_argument("--epochs", type=positive_int, metavar="N", help="epochs in all, with those of a resumed run")
    parser.add_argument("--seed", type=seed, metavar="S", help="seed of the first weights and of the samples' order")
    parser.add_argument("--batch-size", type=positive_int, metavar="N")
    parser.add_argument("--dtype", choices=("float32", "float64"))
    parser.add_argument("--hidden", type=sizes, metavar="N[,N...]", help="sizes of the hidden layers")
    parser.add_argument("--optimizer", choices=tuple(OPTIMIZERS))
    parser.add_argument("--lr", type=positive_float, metavar="R", help="the optimiser's learning rate")
    _lab_choice.add_arguments(parser)
    parser.add_argument("--data-dir", type=Path, metavar="D", help="torchvision root (BACKPROP_DATA_DIR, else data/)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="a new or empty folder (default: runs/LAB-SEED)")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="continue the run in this folder")
    saves = "also save a checkpoint every N updates, not only after every epoch"
    parser.add_argument("--checkpoint-steps", type=positive_int, metavar="N", help=saves)
    hashes = "also note a hash of the weights every N updates, for compare_runs.py"
    parser.add_argument("--fingerprint-steps", type=positive_int, metavar="N", help=hashes)
    checks = "check NumPy against PyTorch, tensor by tensor, before training"
    parser.add_argument("--check", action=argparse.BooleanOptionalAction, default=check, help=checks)
    threads = "number of threads, if NumPy or PyTorch trains alone (default: OMP_NUM_THREADS, else 1)"
    parser.add_argument(_threads.OPTION, type=positive_int, metavar="N", help=threads)
    several = "for --backend scratch: train with N processes, each with its rows of every batch (default: 1)"
    parser.add_argument("--processes", type=positive_int, metavar="N", help=several)
    _fast_blas.add_argument(parser)
    _device.add_arguments(parser, trains=True)


def run(args: argparse.Namespace, kind: type[_Run] | None = None) -> int:
    """Exit code 0 when done; Mismatch where the check or the two readers of the data disagree; other errors too."""
    if args.resume and args.out:
        raise UsageError("--out and --resume: expected one of them; a resumed run stays in its folder")
    if args.out:
        _run_folder.expect_free(args.out)
    if args.lab not in LABS:
        raise UsageError(f"lab {args.lab!r}: expected one of {', '.join(LABS)}")
    with Display() as display:
        folder = _earlier(args, display)
        try:
            saved = folder.config() if folder else None
            options = _options(args, saved)
            _expect_threads(args, options["backend"])
            _settle_processes(args, options["backend"], saved)
            _device.expect_backend(args, options["backend"])
            changed = _device.settle(args, saved)
            args.fused = saved is None or saved.get("fused") is True  # a run that began without goes on without
            if args.check is None:
                args.check = options["backend"] != "scratch"
            if options["backend"] != "scratch":
                _device.expect_usable(args)
            for line in changed:
                display.say(f"not as when this run began: {line}; its bits may be others than in one go")
            return _kind_of_run(kind)(args, options, display, folder).run()
        finally:
            if folder:
                folder.close()


def _expect_threads(args: argparse.Namespace, backend: str) -> None:
    if args.threads and backend == "both":
        raise UsageError("--threads: NumPy and PyTorch in turns have one each, expected --backend scratch or torch")
    if args.threads and args.threads > _threads.cores():
        raise UsageError(f"--threads {args.threads}: expected at most {_threads.cores()}, the cores that are here")


def _settle_processes(args: argparse.Namespace, backend: str, saved: Mapping[str, Any] | None) -> None:
    """As asked for, else as the resumed run had them. UsageError where there cannot be so many."""
    before = (saved or {}).get("processes")
    if args.processes is None:
        args.processes = before if backend == "scratch" and _is_count(before) else 1
    if args.processes == 1:
        return
    if backend != "scratch":
        instead = "torchrun starts those of --backend torch, and NumPy beside PyTorch has one"
        raise UsageError(f"--processes {args.processes}: expected --backend scratch with it ({instead})")
    if args.threads:
        raise UsageError("--processes and --threads: expected one of them; each process has one thread")
    if args.processes > _threads.cores():
        began = ", as this run began" if args.processes == before else ""
        here = f"expected at most {_threads.cores()}, the cores that are here"
        raise UsageError(f"--processes {args.processes}{began}: {here}")


def _kind_of_run(kind: type[_Run] | None) -> type[_Run]:
    """`kind`, or the usual one: a run in this process alone, or one in all processes that torchrun started."""
    if not _torchrun.is_started():
        return kind or _Run
    if kind is not None:
        raise UsageError("several processes train --backend torch only, without --lockstep")
    import _team_run

    return _team_run.TeamRun


def _earlier(args: argparse.Namespace, display: Display) -> RunFolder | None:
    """The folder to resume. None for a new run, which one of an absent or empty folder becomes; it is said then."""
    if args.resume is None:
        return None
    if not args.resume.exists() or (args.resume.is_dir() and _run_folder.is_free(args.resume)):
        display.say(f"--resume {args.resume}: nothing to resume there; starting anew in it")
        args.out, args.resume = args.resume, None
        return None
    return RunFolder.open(args.resume)


def _options(args: argparse.Namespace, config: Mapping[str, Any] | None) -> dict[str, Any]:
    """What was given; a resumed run's options where nothing was. UsageError naming one that contradicts it."""
    given = {"lab": args.lab, **{name: getattr(args, name) for name in OPTIONS}}
    if config is None:
        return {**given, "backend": given["backend"] or "both"}
    saved, lab = saved_options(f"{args.resume}/config.json", config)
    if args.lab not in (saved["lab"], lab):
        raise UsageError(f"--resume {args.resume}: a run of lab {saved['lab']!r}, expected {args.lab!r}")
    options = {**saved, "lab": lab}  # what it was run on, the embedded digits included
    for name in OPTIONS:
        if given[name] is not None and given[name] != options[name] and name != "epochs":
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"--resume {args.resume}: run with {option} {options[name]}, expected {given[name]}")
    for name in SAVING:
        if getattr(args, name) is None and _is_count(config.get(name)):
            setattr(args, name, config[name])
    return {**options, "epochs": args.epochs or options["epochs"]}


def saved_options(path: str, config: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """(the options in a config.json, the lab that was run). UsageError for a missing one, or one of another kind."""
    saved, lab = config.get("options"), config.get("lab")
    if not isinstance(saved, dict):
        raise UsageError(f"{path}: no 'options' in it, expected a run's options")
    for name in ("lab", *OPTIONS):
        if name not in saved:
            raise UsageError(f"{path}: no {name!r} in it, expected a run's options")
        if not KINDS.get(name, _is_text)(saved[name]):
            raise UsageError(f"{path}: found {name} {str(saved[name])[:80]!r}, which is none")
    if not isinstance(lab, str) or lab not in LABS:
        raise UsageError(f"{path}: found lab {str(lab)[:80]!r}, expected one of {', '.join(LABS)}")
    return {**{name: saved[name] for name in ("lab", *OPTIONS)}, "hidden": tuple(saved["hidden"])}, lab


def _is_count(value: object) -> bool:
    return type(value) is int and value > 0


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


KINDS: dict[str, Callable[[Any], bool]] = {
    "lab": lambda value: isinstance(value, str) and value in LABS,
    "backend": lambda value: isinstance(value, str) and value in BACKENDS,
    "epochs": _is_count,
    "batch_size": _is_count,
    "seed": lambda value: type(value) is int and 0 <= value < 2**32,
    "dtype": lambda value: value in ("float32", "float64"),
    "hidden": lambda value: isinstance(value, list) and all(map(_is_count, value)),
    "lr": lambda value: type(value) in (int, float) and 0 <= value < math.inf,
    "optimizer": lambda value: value is None or (isinstance(value, str) and value in OPTIMIZERS),
}  # what a config.json may say; of the others, texts


class _Run:
    """One run: load, check, train, save."""

    def __init__(
        self, args: argparse.Namespace, options: dict[str, Any], display: Display, resumed: RunFolder | None
    ) -> None:
        self.args, self.options, self.display, self.resumed = args, options, display, resumed
        self.backend: str = options["backend"]
        self.verdicts: dict[str, str] | None = None
        self.config_is_written = False
        self.learners: Mapping[str, Learner] = {}
        self.drawn = time.monotonic() - 18  # when the figures were drawn last, in seconds; the first time soon
        self.interruption = Interruption()
        self.goes_on = resumed is not None and resumed.has_checkpoint

    def run(self) -> int:
        if self.resumed and self._is_finished(self.resumed):
            self.display.say(f"{self.resumed.path}: finished already, {self.options['epochs']} epochs")
            return 0
        if self.resumed and not self.goes_on:
            self.display.say(f"--resume {self.resumed.path}: no checkpoint in it; starting anew with its options")
        setup = self._set_up()
        self.display.say(f"{setup.title.splitlines()[0]}; {setup.title.splitlines()[1]}; {setup.optimizer}")
        if self.args.check:
            self._expect_parity(setup)
        self.folder = self.resumed or RunFolder.create(self.args.out, f"{setup.lab.name}-{setup.seed}")
        try:
            return self._run_in_folder(setup)
        finally:
            self.folder.close()

    def _is_finished(self, folder: RunFolder) -> bool:
        """metrics.json is written last, and taken away when a finished run is made longer."""
        try:
            metrics = _run_folder.read_json(folder / "metrics.json")
        except UsageError:
            return False
        epochs = metrics.get("epochs")
        return _is_count(epochs) and (
            epochs == self.options["epochs"] or (metrics.get("stopped") is True and epochs < self.options["epochs"])
        )

    def _run_in_folder(self, setup: LabSetup) -> int:
        if not self.goes_on:
            self._write_config(setup)
        elif self.resumed:
            for line in _run_folder.differences(self.resumed.config(), self._environment()):
                self.display.say(f"not as when this run began: {line}; its bits may be others than in one go")
        if setup.data.image_shape is not None and not (self.folder / "samples.png").exists():
            grid = scratch.plots.sample_grid(setup.data, setup.lab.rng(setup.seed))
            scratch.plots.save(grid, self.folder / "samples.png")
        self.display.begin(setup.epochs)
        try:
            with self.interruption:
                histories = self._train_both(setup) if self.backend == "both" else self._train_one(setup)
                if setup.lab.epilogue:
                    setup.lab.epilogue(Outcome(setup, self.learners, histories, self.folder.path, self.display.say))
                self._write_metrics(setup, histories)
        except Interrupted:
            self._say_how_to_go_on(setup)
            self.interruption.leave()
        except (KeyboardInterrupt, SystemExit, OSError):
            self._say_how_to_go_on(setup)
            raise
        except (MemoryError, RuntimeError) as error:
            if is_out_of_memory(error):
                self._say_how_to_go_on(setup)
            raise
        self.display.say(f"config, history, metrics, weights and figures are in {self.folder.path}")
        return 0

    def _say_how_to_go_on(self, setup: LabSetup) -> None:
        parts = ["python", "scripts/train.py", setup.lab.name, "--resume", str(self.folder.path)]
        if self.args.data_dir:
            parts += ["--data-dir", str(self.args.data_dir)]
        if self.args.epochs and self.goes_on:
            parts += ["--epochs", str(self.args.epochs)]
        self.display.say(f"to go on: {shlex.join(parts)}")

    def _set_up(self) -> LabSetup:
        """The lab, or the one in its place, on its data; every option that was left open is set then."""
        lab = _lab_choice.chosen(LABS[self.options["lab"]], self.options)
        dtype = self.options["dtype"] or lab.dtype
        seed = lab.seed if self.options["seed"] is None else self.options["seed"]
        folder = _lab_data.data_dir(self.args.data_dir)
        self.lab, self.data = _lab_data.load(lab, self.backend, folder, dtype, seed, self.display.say)
        try:
            setup = self.lab.set_up(self.data, seed=seed, **self._choices())
            setup.learner(self.args.processes)
        except ValueError as error:  # sizes that this lab's network cannot have, or a rate beyond its dtype
            raise UsageError(str(error)) from None
        chosen = {"seed": seed, "dtype": dtype, "hidden": setup.sizes[1:-1], "lr": setup.optimizer.lr}
        chosen |= {"epochs": setup.epochs, "batch_size": setup.batch_size}
        self.options |= chosen
        return setup

    def _choices(self) -> dict[str, Any]:
        return {name: self.options[name] for name in ("hidden", "optimizer", "lr", "batch_size", "epochs")}

    def _expect_parity(self, setup: LabSetup) -> None:
        import _parity_gate

        choices = {"seed": setup.seed, **self._choices()}
        self.verdicts = _parity_gate.verdicts(self.lab, self.data, choices, self.display.say, self.args.device)
        if set(self.verdicts.values()) != {"parity"}:
            found = ", ".join(f"{verdict} in {dtype}" for dtype, verdict in self.verdicts.items())
            raise Mismatch(f"{found}; training was not started")

    # what is trained

    def _train_one(self, setup: LabSetup) -> dict[str, History]:
        def on_epoch(history: History) -> None:
            self._write_config(setup)
            self.display.epoch(len(history), setup.epochs, _figures(history[-1]))
            self._write_histories({self.backend: history})
            if self._is_time_to_draw():
                self._draw(setup, {self.backend: history})

        with ExitStack() as undo:
            learner, save_weights = self._learner(setup, undo)
            if isinstance(learner, Engine):
                undo.callback(learner.release)
            self.learners = {self.backend: learner}
            history = train(
                learner,
                setup.samples,
                on_epoch=on_epoch,
                on_batch=partial(self._follower(setup, {self.backend: learner.weights}), self.backend),
                checkpoint_dir=self.folder / "checkpoints" / self.backend,
                epochs=setup.epochs,
                rng=setup.rng,
                batch_size=setup.batch_size,
                **self._loop_options(setup),
            )
        self._write_histories({self.backend: history})
        self._draw(setup, {self.backend: history})
        save_weights()
        return {self.backend: history}

    def _learner(self, setup: LabSetup, undo: ExitStack) -> tuple[Any, Any]:
        """(the learner, what saves its weights). Until `undo` closes, PyTorch's dropouts draw what NumPy's would."""
        if self.backend == "scratch":
            ours = setup.learner(self.args.processes)
            return ours, lambda: self._save_scratch(setup)
        from compare.network.masks import same_masks
        from compare.network.weights import to_torch, to_torch_loss, to_torch_optimizer

        model = to_torch(setup.network)
        undo.enter_context(same_masks(setup.network, model))
        optimizer = to_torch_optimizer(setup.optimizer, model)
        where = {"device": self.args.device, "threshold": setup.lab.threshold, "compiled": self.args.compile}
        where["fused"] = self.is_fused
        theirs = self._torch_learner(model, to_torch_loss(setup.loss), optimizer, **where)
        if self.args.compile:
            self._expect_compiled(theirs, setup)
        return theirs, lambda: self._save_torch(model)

    def _torch_learner(self, *parts: Any, **where: Any) -> Learner:
        from torch_ref.learner import TorchLearner

        return TorchLearner(*parts, **where)

    @property
    def is_fused(self) -> bool:
        """PyTorch's update in one kernel, where it trains alone; beside NumPy it takes the steps that are compared."""
        return self.backend == "torch" and self.args.fused and self.args.device.partition(":")[0] in ("cpu", "cuda")

    def _expect_compiled(self, learner: Any, setup: LabSetup) -> None:
        if not hasattr(learner, "expect_compiled"):
            raise UsageError("--compile: several processes train without it")
        try:
            learner.expect_compiled(setup.samples.x_train[: setup.batch_size])
        except ValueError as error:
            raise UsageError(f"--compile: {error}") from error

    def _train_both(self, setup: LabSetup) -> dict[str, History]:
        from compare.network.weights import to_torch
        from compare.training.runs import Runs, train_both

        model = to_torch(setup.network)

        def on_epoch(runs: Runs) -> None:
            self._write_config(setup)
            self.display.epoch(len(runs.torch), setup.epochs, _figures_of_both(runs))
            self._write_histories(runs.histories)
            runs.write_differences(self.folder / "differences.csv")
            if self._is_time_to_draw():
                runs.plot(self.folder / "curves.png")

        weights = {"scratch": lambda: setup.network.params, "torch": lambda: _numpy(model)}
        runs = train_both(
            setup.network,
            model,
            setup.samples,
            loss=setup.loss,
            optimizer=setup.optimizer,
            learner=setup.learner(),
            threshold=setup.lab.threshold,
            title=setup.title,
            device=self.args.device,
            on_epoch=on_epoch,
            on_batch=self._follower(setup, weights),
            checkpoint_dir=self.folder / "checkpoints",
            epochs=setup.epochs,
            rng=setup.rng,
            batch_size=setup.batch_size,
            **self._loop_options(setup),
        )
        self.learners = runs.learners
        self._write_histories(runs.histories)
        runs.write_differences(self.folder / "differences.csv")
        runs.plot(self.folder / "curves.png")
        self._draw(setup, runs.histories)
        self._save_scratch(setup)
        self._save_torch(model)
        last = runs.weight_differences[-1]
        self.differences = {"largest_val_accuracy_gap": runs.accuracy_gap, "weights": last._asdict()}
        return runs.histories

    def _follower(
        self, setup: LabSetup, weights: Mapping[str, Callable[[], Mapping[str, Any]]]
    ) -> Callable[[str, BatchProgress], None]:
        """What is called after every update: the bars, the lab's own `follow`, and a signal that waits for it."""
        follow = setup.lab.follow(setup, self.folder.path) if setup.lab.follow else None

        def on_batch(backend: str, batch: BatchProgress) -> None:
            self.display.batch(backend, batch)
            if follow:
                follow(backend, weights[backend](), batch)
            self._write_config(setup)
            self.interruption.expect_none()

        return on_batch

    def _loop_options(self, setup: LabSetup) -> dict[str, Any]:
        facts = {"lab": setup.lab.name, "data": setup.data.source, "seed": setup.seed}
        loop: dict[str, Any] = {"shuffle": setup.lab.shuffle, "drop_last": setup.lab.drop_last}
        loop |= {"evaluate_train": setup.lab.evaluate_train, "watch": setup.lab.watch}
        loop |= {"max_batches": setup.lab.max_batches, "stop": setup.lab.stop}
        loop |= {name: getattr(self.args, name) for name in SAVING}
        return {**loop, "configuration": facts, "resume": self.goes_on}

    # what is written

    def _write_config(self, setup: LabSetup) -> None:
        """Once; of a resumed run only when its first step is done, so that a refused one changes nothing."""
        if self.config_is_written:
            return
        self.config_is_written = True
        (self.folder / "metrics.json").unlink(missing_ok=True)
        data = setup.data
        config = {
            "lab": setup.lab.name,
            "options": {"lab": self.args.lab, **{name: self.options[name] for name in OPTIONS}},
            "data": {
                "name": data.name,
                "source": data.source,
                "training_samples": len(data.x_train),
                "validation_samples": len(data.x_val),
            },
            "network": str(setup.network),
            "parameters": sum(p.size for p in setup.network.params.values()),
            "loss": repr(setup.loss),
            "optimizer": repr(setup.optimizer),
            "shuffle": setup.lab.shuffle,
            **(_device.DEFAULTS if self.backend == "scratch" else {n: getattr(self.args, n) for n in _device.DEFAULTS}),
            "fused": self.is_fused,
            "check": self.verdicts,
            **{name: getattr(self.args, name) for name in SAVING},
            **self._environment(),
        }
        if self.resumed and self.goes_on:
            earlier = self.resumed.config()
            config["resumed"] = [*earlier.pop("resumed", []), earlier]
        self.folder.write_json("config.json", config)

    def _environment(self) -> dict[str, Any]:
        return _run_folder.environment(self.args.processes)

    def _is_time_to_draw(self) -> bool:
        """After every epoch, so that one can watch; where epochs last less than 20 seconds, at most every 20."""
        now = time.monotonic()
        if now - self.drawn < 20:
            return False
        self.drawn = now
        return True

    def _draw(self, setup: LabSetup, histories: Mapping[str, History]) -> None:
        names = {"scratch": "NumPy", "torch": "PyTorch"}
        named = {names[backend]: history for backend, history in histories.items()}
        for quantity in ("loss", "accuracy"):
            figure = scratch.plots.curves(named, quantity, setup.title)
            scratch.plots.save(figure, self.folder / f"{quantity}.png")

    def _save_scratch(self, setup: LabSetup) -> None:
        from safetensors.numpy import save

        source = {"data": setup.data.source}  # more than one entry would come in a random order
        content = save(setup.network.params | setup.network.buffers, metadata=source)
        write_atomically(self.folder / "weights.safetensors", content)

    def _save_torch(self, model: Any) -> None:
        import io

        import torch

        content = io.BytesIO()
        torch.save({name: value.cpu() for name, value in model.state_dict().items()}, content)
        write_atomically(self.folder / "weights.pth", content.getvalue())

    def _write_histories(self, histories: Mapping[str, History]) -> None:
        write_histories(self.folder / "history.csv", histories)
        fingerprints = {name: history.fingerprints for name, history in histories.items()}
        write_fingerprints(self.folder / "fingerprints.csv", fingerprints)

    def _write_metrics(self, setup: LabSetup, histories: Mapping[str, History]) -> None:
        metrics: dict[str, Any] = {
            "lab": setup.lab.name,
            "data": setup.data.source,
            "dtype": setup.dtype,
            "seed": setup.seed,
            "epochs": len(next(iter(histories.values()))),
            "stopped": bool(setup.lab.stop and setup.lab.stop(next(iter(histories.values())))),
            "check": self.verdicts,
            "backends": {name: _summary(history) for name, history in histories.items()},
        }
        if self.backend == "both":
            metrics["differences"] = self.differences
        self.folder.write_json("metrics.json", metrics)


def _numpy(model: Any) -> dict[str, Any]:
    return {name: p.detach().cpu().numpy() for name, p in model.named_parameters()}


def _summary(history: History) -> dict[str, Any]:
    best = max(history, key=lambda row: row.val_accuracy)
    seconds = history.column("seconds")
    return {
        **history[-1]._asdict(),
        "best_val_accuracy": best.val_accuracy,
        "best_epoch": best.epoch,
        "seconds": sum(seconds),
        "seconds_per_epoch": sum(seconds) / len(seconds),
    }


def _figures(row: Row) -> str:
    return (
        f"training loss {row.train_loss:.4f} accuracy {row.train_accuracy:.4f}, "
        f"validation loss {row.val_loss:.4f} accuracy {row.val_accuracy:.4f}, {row.seconds:.1f} s"
    )


def _figures_of_both(runs: Any) -> str:
    ours, theirs, apart = runs.scratch[-1], runs.torch[-1], runs.weight_differences[-1]
    return (
        f"validation accuracy NumPy {ours.val_accuracy:.4f} PyTorch {theirs.val_accuracy:.4f}, "
        f"weights apart by {apart.overall:.1e}, {ours.seconds:.1f} s + {theirs.seconds:.1f} s"
    )
