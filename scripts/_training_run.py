"""A training run from its options to its folder; `train.py` and `fashion_mnist.py` are its two commands."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import _lab_choice
import _lab_data
import _run_folder
from _command import Mismatch, Parser, UsageError, positive_float, positive_int, seed, sizes
from _progress import Display
from _run_folder import RunFolder

import scratch.plots
from scratch.history import History, write_histories
from scratch.labs import LABS, OPTIMIZERS, LabSetup, Outcome
from scratch.training import Batch, Learner, Row, train

BACKENDS = ("scratch", "torch", "both")
OPTIONS = (
    *("backend", "epochs", "seed", "batch_size", "dtype", "hidden", "lr", "optimizer"),
    *("variant", *_lab_choice.OPTIONS),
)  # what a run consists of


def add_arguments(parser: Parser, *, check: bool | None) -> None:
    """The options of a training run; those not given are the lab's own, or the resumed run's."""
    parser.add_argument("--backend", choices=BACKENDS, help="who trains (default: both)")
    parser.add_argument("--epochs", type=positive_int, metavar="N", help="how many in all, a resumed run's included")
    parser.add_argument("--seed", type=seed, metavar="S", help="of the first weights and of the order of the samples")
    parser.add_argument("--batch-size", type=positive_int, metavar="N")
    parser.add_argument("--dtype", choices=("float32", "float64"))
    parser.add_argument("--hidden", type=sizes, metavar="N[,N...]", help="sizes of the hidden layers")
    parser.add_argument("--optimizer", choices=tuple(OPTIMIZERS))
    parser.add_argument("--lr", type=positive_float, metavar="R", help="the optimiser's rate")
    _lab_choice.add_arguments(parser)
    parser.add_argument("--data-dir", type=Path, metavar="D", help="torchvision root (BACKPROP_DATA_DIR, else data/)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="a new or empty folder (default: runs/LAB-SEED)")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="go on with the run in this folder")
    checks = "check NumPy against PyTorch, tensor by tensor, before training"
    parser.add_argument("--check", action=argparse.BooleanOptionalAction, default=check, help=checks)
    parser.add_argument("--device", default="cpu", help="where PyTorch trains: cpu (default), cuda, cuda:1, ...")


def run(args: argparse.Namespace, kind: type[_Run] | None = None) -> int:
    """Exit code 0 when done; Mismatch where the check or the two readers of the data disagree; other errors too."""
    if args.resume and args.out:
        raise UsageError("--out and --resume: expected one of them; a resumed run stays in its folder")
    if args.out:
        _run_folder.expect_free(args.out)
    if args.lab not in LABS:
        raise UsageError(f"lab {args.lab!r}: expected one of {', '.join(LABS)}")
    folder = RunFolder.open(args.resume) if args.resume else None
    options = _options(args, folder.config() if folder else None)
    if args.check is None:
        args.check = options["backend"] != "scratch"
    if options["backend"] != "scratch":
        _expect_device(args.device)
    with Display() as display:
        return (kind or _Run)(args, options, display, folder).run()


def _options(args: argparse.Namespace, config: Mapping[str, Any] | None) -> dict[str, Any]:
    """What was given; a resumed run's options where nothing was. UsageError naming one that contradicts it."""
    given = {"lab": args.lab, **{name: getattr(args, name) for name in OPTIONS}}
    if config is None:
        return {**given, "backend": given["backend"] or "both"}
    try:
        saved = dict(config["options"])
        labs = (saved["lab"], config["lab"])
        options = {name: saved[name] for name in ("lab", *OPTIONS)}
    except (KeyError, TypeError) as error:
        raise UsageError(f"{args.resume}/config.json: no {error} in it, expected a run's options") from error
    if args.lab not in labs:
        raise UsageError(f"--resume {args.resume}: a run of lab {saved['lab']!r}, expected {args.lab!r}")
    options["lab"] = config["lab"]  # what it was run on, the embedded digits included
    options["hidden"] = tuple(options["hidden"])
    for name in OPTIONS:
        if given[name] is not None and given[name] != options[name] and name != "epochs":
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"--resume {args.resume}: run with {option} {options[name]}, expected {given[name]}")
    return {**options, "epochs": args.epochs or options["epochs"]}


def _expect_device(name: str) -> None:
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {name}: PyTorch cannot use it ({reason})") from error


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

    def run(self) -> int:
        setup = self._set_up()
        self.display.say(f"{setup.title.splitlines()[0]}; {setup.title.splitlines()[1]}; {setup.optimizer}")
        if self.args.check:
            self._expect_parity(setup)
        self.folder = self.resumed or RunFolder.create(self.args.out, f"{setup.lab.name}-{setup.seed}")
        if not self.resumed:
            self._write_config(setup)
        if not self.resumed and setup.data.image_shape is not None:
            grid = scratch.plots.sample_grid(setup.data, setup.lab.rng(setup.seed))
            scratch.plots.save(grid, self.folder / "samples.png")
        self.display.begin(setup.epochs)
        try:
            histories = self._train_both(setup) if self.backend == "both" else self._train_one(setup)
        except (KeyboardInterrupt, SystemExit):
            self.display.say(f"to go on: python scripts/train.py {setup.lab.name} --resume {self.folder.path}")
            raise
        self._write_metrics(setup, histories)
        if setup.lab.epilogue:
            setup.lab.epilogue(Outcome(setup, self.learners, histories, self.folder.path, self.display.say))
        self.display.say(f"config, history, metrics, weights and figures are in {self.folder.path}")
        return 0

    def _set_up(self) -> LabSetup:
        """The lab, or the one in its place, on its data; every option that was left open is set then."""
        lab = _lab_choice.chosen(LABS[self.options["lab"]], self.options)
        dtype = self.options["dtype"] or lab.dtype
        seed = lab.seed if self.options["seed"] is None else self.options["seed"]
        folder = _lab_data.data_dir(self.args.data_dir)
        self.lab, self.data = _lab_data.load(lab, self.backend, folder, dtype, seed, self.display.say)
        try:
            setup = self.lab.set_up(self.data, seed=seed, **self._choices())
        except ValueError as error:  # sizes that this lab's network cannot have
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
        self.verdicts = _parity_gate.verdicts(self.lab, self.data, choices, self.display.say)
        if set(self.verdicts.values()) != {"parity"}:
            found = ", ".join(f"{verdict} in {dtype}" for dtype, verdict in self.verdicts.items())
            raise Mismatch(f"{found}; training was not started")

    # what is trained

    def _train_one(self, setup: LabSetup) -> dict[str, History]:
        def on_epoch(history: History) -> bool:
            self._write_config(setup)
            self.display.epoch(len(history), setup.epochs, _figures(history[-1]))
            write_histories(self.folder / "history.csv", {self.backend: history})
            if self._is_time_to_draw():
                self._draw(setup, {self.backend: history})
            return setup.lab.stop is not None and setup.lab.stop(history)

        learner, save_weights = self._learner(setup)
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
        write_histories(self.folder / "history.csv", {self.backend: history})
        self._draw(setup, {self.backend: history})
        save_weights()
        return {self.backend: history}

    def _learner(self, setup: LabSetup) -> tuple[Any, Any]:
        """(the learner, what saves its weights)."""
        if self.backend == "scratch":
            ours = setup.lab.learner(setup)
            return ours, lambda: self._save_scratch(setup)
        from compare.weights import to_torch, to_torch_loss, to_torch_optimizer
        from torch_ref.learner import TorchLearner

        model = to_torch(setup.network)
        optimizer = to_torch_optimizer(setup.optimizer, model)
        where = {"device": self.args.device, "threshold": setup.lab.threshold}
        theirs = TorchLearner(model, to_torch_loss(setup.loss), optimizer, **where)
        return theirs, lambda: self._save_torch(model)

    def _train_both(self, setup: LabSetup) -> dict[str, History]:
        from compare.runs import Runs, train_both
        from compare.weights import to_torch

        model = to_torch(setup.network)

        def on_epoch(runs: Runs) -> bool:
            self._write_config(setup)
            self.display.epoch(len(runs.torch), setup.epochs, _figures_of_both(runs))
            write_histories(self.folder / "history.csv", runs.histories)
            runs.write_differences(self.folder / "differences.csv")
            if self._is_time_to_draw():
                runs.plot(self.folder / "curves.png")
            return setup.lab.stop is not None and setup.lab.stop(runs.scratch)

        weights = {"scratch": lambda: setup.network.params, "torch": lambda: _numpy(model)}
        runs = train_both(
            setup.network,
            model,
            setup.samples,
            loss=setup.loss,
            optimizer=setup.optimizer,
            learner=setup.lab.learner(setup),
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
        write_histories(self.folder / "history.csv", runs.histories)
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
    ) -> Callable[[str, Batch], None]:
        """What is called after every update: the bars, and the lab's own `follow`."""
        follow = setup.lab.follow(setup, self.folder.path) if setup.lab.follow else None

        def on_batch(backend: str, batch: Batch) -> None:
            self.display.batch(backend, batch)
            if follow:
                follow(backend, weights[backend](), batch)

        return on_batch

    def _loop_options(self, setup: LabSetup) -> dict[str, Any]:
        facts = {"lab": setup.lab.name, "data": setup.data.source, "seed": setup.seed}
        loop: dict[str, Any] = {"shuffle": setup.lab.shuffle, "drop_last": setup.lab.drop_last}
        loop |= {"evaluate_train": setup.lab.evaluate_train, "watch": setup.lab.watch}
        loop |= {"max_batches": setup.lab.max_batches}
        return {**loop, "configuration": facts, "resume": self.resumed is not None}

    # what is written

    def _write_config(self, setup: LabSetup) -> None:
        """Once; of a resumed run only when its first epoch is done, so that a refused one changes nothing."""
        if self.config_is_written:
            return
        self.config_is_written = True
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
            "device": "cpu" if self.backend == "scratch" else self.args.device,
            "check": self.verdicts,
            **_run_folder.environment(),
        }
        if self.resumed:
            earlier = self.resumed.config()
            config["resumed"] = [*earlier.pop("resumed", []), earlier]
        self.folder.write_json("config.json", config)

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
        self._replace("weights.safetensors", save(dict(setup.network.params), metadata=source))

    def _save_torch(self, model: Any) -> None:
        import io

        import torch

        content = io.BytesIO()
        torch.save({name: value.cpu() for name, value in model.state_dict().items()}, content)
        self._replace("weights.pth", content.getvalue())

    def _replace(self, name: str, content: bytes) -> None:
        beside = self.folder / f"{name}.new"
        beside.write_bytes(content)
        beside.replace(self.folder / name)

    def _write_metrics(self, setup: LabSetup, histories: Mapping[str, History]) -> None:
        metrics: dict[str, Any] = {
            "lab": setup.lab.name,
            "data": setup.data.source,
            "dtype": setup.dtype,
            "seed": setup.seed,
            "epochs": len(next(iter(histories.values()))),
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
