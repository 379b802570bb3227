"""Lab: one of the labs as data, network and training; and LabSetup, a lab that is ready to run."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from scratch.datasets import Dataset
from scratch.initializers import RandomSource
from scratch.layers import Layer
from scratch.losses import Loss
from scratch.network import Sequential
from scratch.optim import SGD, Adam, AdamW, Optimizer
from scratch.plots import heading

OPTIMIZERS: dict[str, Callable[[Layer, float], Optimizer]] = {
    "sgd": lambda network, lr: SGD(network, lr),
    "adam": lambda network, lr: Adam(network, lr),
    "adamw": lambda network, lr: AdamW(network, lr),
}
Targets = Literal["index", "one_hot", "column"]
Folder = str | os.PathLike[str] | None


@dataclass(frozen=True)
class Samples:
    """What is trained on: x (n, in) and t in the form that the lab's loss takes."""

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
    rng: Callable[[int], RandomSource] = np.random.default_rng
    seed: int = 0
    downloads: str | None = None

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
        """The lab on this data (as `load` gave it), in the data's dtype; what is not given is the lab's own.

        ValueError for an optimiser that is not known, or sizes that allow no training.
        """
        if optimizer is not None and optimizer not in OPTIMIZERS:
            raise ValueError(f"got optimiser {optimizer!r}, expected one of {', '.join(OPTIMIZERS)}")
        seed = self.seed if seed is None else seed
        dtype, rng = data.x_train.dtype.name, self.rng(seed)
        samples = _samples(data, self.targets)
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
        return f"{named}\n{'-'.join(map(str, self.sizes))}, {self.dtype}, seed {self.seed}"


def _samples(data: Dataset, targets: Targets) -> Samples:
    if targets == "one_hot":
        data = data.one_hot()
    t_train, t_val = data.t_train, data.t_val
    if targets == "column":
        t_train, t_val = (t[:, np.newaxis].astype(data.x_train.dtype) for t in (t_train, t_val))
    return Samples(data.x_train, t_train, data.x_val, t_val)
