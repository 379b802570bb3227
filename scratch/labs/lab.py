"""Lab: one of the labs as data, network and training; and LabSetup, a lab that is ready to run."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from scratch.datasets import Dataset
from scratch.history import History
from scratch.initializers import RandomSource
from scratch.layers import Layer
from scratch.learner import Learner, ScratchLearner
from scratch.losses import Loss
from scratch.network import Sequential
from scratch.optim import SGD, Adam, AdamW, Optimizer
from scratch.parallel_engine import engine
from scratch.plots import heading
from scratch.training import BatchProgress

OPTIMIZERS: dict[str, Callable[[Layer, float], Optimizer]] = {
    "sgd": lambda network, lr: SGD(network, lr),
    "adam": lambda network, lr: Adam(network, lr),
    "adamw": lambda network, lr: AdamW(network, lr),
}
Targets = Literal["index", "one_hot", "column"]
Folder = str | os.PathLike[str] | None
Follower = Callable[[str, Mapping[str, NDArray[Any]], BatchProgress], object]


@dataclass(frozen=True)
class Samples:
    """What is trained on: x (n, in), or (n, 1, height, width), and t in the form that the lab's loss takes."""

    x_train: NDArray[Any]
    t_train: NDArray[Any]
    x_val: NDArray[Any]
    t_val: NDArray[Any]


@dataclass(frozen=True)
class Lab:
    """One lab's definition.

    load(data_dir, dtype, seed) gives its data; network(sizes, rng, dtype) its network, sizes = (in, *hidden, out);
    optimizer(network, lr) its optimiser; rng(seed) the stream from which the weights come first, and then every
    epoch's order. targets: class indices (n,), one-hot rows (n, classes), or a column (n, 1) of 0 and 1.
    seed: the published run's, where there is one. downloads: torchvision's name of the data, if it is in files.
    prepare: what is done to the data once it is read. evaluate_train: training figures over the whole set after each
    epoch, not gathered during it. watch: numbers about the weights, of each epoch. epilogue: what the lab itself
    prints and draws of a run. stop(history): whether training ends with this epoch. follow(setup, folder): what is
    called after every update with the backend's name, its weights and the batch. variant and variants: the name of
    these settings, and the same lab with others by name. options: what makes the lab from a text, such as "7,9".
    threshold: above it, a single output column says yes. learner(setup): what trains in NumPy, if not an
    engine. max_batches: an epoch ends after as many, where a published run is shorter than its data. takes_images:
    its network is given each row as an image of one channel, (m, 1, height, width). time_steps: it is given each row as
    a sequence of so many steps, (m, time_steps, n).
    """

    name: str
    load: Callable[[Folder, str, int], Dataset]
    network: Callable[[tuple[int, ...], RandomSource, str], Sequential]
    loss: Callable[[], Loss]
    optimizer: Callable[[Layer, float], Optimizer]
    lr: float
    hidden: tuple[int, ...]
    batch_size: int
    epochs: int
    targets: Targets = "index"
    dtype: str = "float32"
    shuffle: bool = True
    drop_last: bool = False
    max_batches: int | None = None
    rng: Callable[[int], RandomSource] = np.random.default_rng
    seed: int = 0
    downloads: str | None = None
    prepare: Callable[[Dataset], Dataset] | None = None
    evaluate_train: bool = False
    watch: Callable[[dict[str, NDArray[Any]]], dict[str, float]] | None = None
    epilogue: Callable[[Outcome], None] | None = None
    stop: Callable[[History], bool] | None = None
    follow: Callable[[LabSetup, Path], Follower] | None = None
    variant: str | None = None
    variants: Mapping[str, Lab] = field(default_factory=dict)
    options: Mapping[str, Callable[[str], Lab]] = field(default_factory=dict)
    threshold: float = 0.5
    learner: Callable[[LabSetup], ScratchLearner] | None = None
    takes_images: bool = False
    time_steps: int | None = None

    def data(self, data_dir: Folder, dtype: str, seed: int) -> Dataset:
        """Read and prepared; errors as `load`."""
        data = self.load(data_dir, dtype, seed)
        return self.prepare(data) if self.prepare else data

    def set_up(
        self,
        data: Dataset,
        *,
        seed: int | None = None,
        hidden: tuple[int, ...] | None = None,
        optimizer: str | None = None,
        lr: float | None = None,
        batch_size: int | None = None,
        epochs: int | None = None,
    ) -> LabSetup:
        """The lab on this data (as `data` gave it), in the data's dtype; what is not given is the lab's own.

        ValueError for an optimiser that is not known, sizes that allow no training, or rows that are no images or
        sequences where those are needed.
        """
        if optimizer is not None and optimizer not in OPTIMIZERS:
            raise ValueError(f"got optimiser {optimizer!r}, expected one of {', '.join(OPTIMIZERS)}")
        seed = self.seed if seed is None else seed
        dtype, rng = data.x_train.dtype.name, self.rng(seed)
        samples = _samples(data, self)
        outputs = 1 if self.targets == "column" else len(data.class_names)
        sizes = (data.x_train.shape[1], *(self.hidden if hidden is None else hidden), outputs)
        network = self.network(sizes, rng, dtype)
        make = self.optimizer if optimizer is None else OPTIMIZERS[optimizer]
        return LabSetup(
            lab=self,
            data=data,
            samples=samples,
            sizes=sizes,
            network=network,
            loss=self.loss(),
            optimizer=make(network, self.lr if lr is None else lr),
            rng=rng,
            seed=seed,
            batch_size=self.batch_size if batch_size is None else batch_size,
            epochs=self.epochs if epochs is None else epochs,
        )


@dataclass(frozen=True)
class LabSetup:
    """A lab ready to run: network with its first weights, loss, optimiser, samples, and the stream as they left it."""

    lab: Lab
    data: Dataset
    samples: Samples
    sizes: tuple[int, ...]
    network: Sequential
    loss: Loss
    optimizer: Optimizer
    rng: RandomSource
    seed: int
    batch_size: int
    epochs: int

    @property
    def dtype(self) -> str:
        return self.data.x_train.dtype.name

    @property
    def title(self) -> str:
        """What a figure says above everything: the data and where it is from, then network and dtype."""
        named = heading(self.data.name, self.data.source)
        variant = f", {self.lab.variant}" if self.lab.variant else ""
        enters = "x".join(map(str, self.samples.x_train.shape[2 if self.lab.takes_images else 1 :]))
        return f"{named}\n{'-'.join([enters, *map(str, self.sizes[1:])])}, {self.dtype}, seed {self.seed}{variant}"

    def learner(self, processes: int = 1) -> ScratchLearner:
        """What trains it in NumPy, by one process or by several. ValueError for several where the lab has its own."""
        if self.lab.learner is None:
            parts = self.network, self.loss, self.optimizer
            return engine(*parts, threshold=self.lab.threshold, processes=processes)
        if processes > 1:
            raise ValueError(f"processes={processes}: {self.lab.name} trains in a way of its own, expected 1")
        return self.lab.learner(self)


@dataclass(frozen=True)
class Outcome:
    """A run that is over: its learners and their histories by backend ("scratch", "torch"), and where its files go."""

    setup: LabSetup
    learners: Mapping[str, Learner]
    histories: Mapping[str, History]
    folder: Path
    say: Callable[[str], None]

    @property
    def network(self) -> Sequential:
        """The trained network in NumPy (a copy), with the weights of the first learner: NumPy's if it took part."""
        network = copy.deepcopy(self.setup.network)
        weights = next(iter(self.learners.values())).weights()
        for name, a in (network.params | network.buffers).items():
            a[...] = weights[name]
        return network


def _samples(data: Dataset, lab: Lab) -> Samples:
    if lab.targets == "one_hot":
        data = data.one_hot()
    t_train, t_val = data.t_train, data.t_val
    if lab.targets == "column":
        t_train, t_val = (t[:, np.newaxis].astype(data.x_train.dtype) for t in (t_train, t_val))
    x_train, x_val = (_shaped(data, lab, x) for x in (data.x_train, data.x_val))
    return Samples(x_train, t_train, x_val, t_val)


def _shaped(data: Dataset, lab: Lab, x: NDArray[Any]) -> NDArray[Any]:
    """The rows as the lab's network takes them, of the same memory."""
    if lab.takes_images:
        return _images(data, x)
    return x if lab.time_steps is None else _sequences(data, x, lab.time_steps)


def _sequences(data: Dataset, x: NDArray[Any], steps: int) -> NDArray[Any]:
    """The rows as sequences (n, steps, columns of a step)."""
    if x.shape[1] % steps:
        raise ValueError(f"got {data.name}, rows of {x.shape[1]}, expected sequences of {steps} steps")
    return x.reshape(len(x), steps, -1)


def _images(data: Dataset, x: NDArray[Any]) -> NDArray[Any]:
    """The rows as images (n, 1, height, width)."""
    if data.image_shape is None:
        raise ValueError(f"got {data.name}, whose rows are no images, expected images")
    return x.reshape(len(x), 1, *data.image_shape)
