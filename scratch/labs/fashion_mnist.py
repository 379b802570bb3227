"""Lab 5, `fashion_mnist`: the assignment.

Fashion-MNIST, 60,000 images to train and 10,000 to validate; 784-256-10 with ReLU, torch's default initialisation,
cross-entropy on the logits, AdamW(lr=1e-3), shuffled batches of 128, 20 epochs. Expected: validation accuracy
0.885 to 0.895 at epoch 20, in NumPy as in PyTorch.
"""

from __future__ import annotations

from itertools import pairwise

from scratch import datasets
from scratch.datasets import Dataset, DatasetMissing
from scratch.initializers import RandomSource
from scratch.labs.lab import Folder, Lab
from scratch.layers import Layer, Linear, ReLU
from scratch.losses import CrossEntropyLoss
from scratch.network import Sequential
from scratch.optim import AdamW


def load(data_dir: Folder, dtype: str, seed: int) -> Dataset:
    """The files in data_dir. DatasetMissing if none is there, DatasetError if some are missing or damaged."""
    if data_dir is None:
        raise DatasetMissing("Fashion-MNIST: no data folder was named")
    return datasets.fashion_mnist(data_dir, dtype)


def network(sizes: tuple[int, ...], rng: RandomSource, dtype: str) -> Sequential:
    """Linear layers with ReLU between them; the weights drawn layer by layer, first to last."""
    layers: list[Layer] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [Linear(fan_in, fan_out, rng=rng, dtype=dtype), ReLU()]
    return Sequential(*layers[:-1])


LAB = Lab(
    name="fashion_mnist",
    load=load,
    network=network,
    loss=CrossEntropyLoss,
    optimizer=lambda network, lr: AdamW(network, lr),
    lr=1e-3,
    hidden=(256,),
    batch_size=128,
    epochs=20,
    downloads="fashion_mnist",
)
