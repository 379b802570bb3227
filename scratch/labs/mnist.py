"""Lab 2, `mnist`: five hidden layers of 64 with ReLU, and why softmax and cross-entropy are computed as one.

60,000 images to train and 10,000 to test, pixels / 255, standardised per pixel in float32; weights and training in
float64. W and b as in `xor`, from RandomState(1234). The compound cross-entropy on the logits, plain gradient descent
at rate 0.1 on consecutive slices of 3000, 100 epochs. Training and test accuracy after epoch 1: 0.7150 and 0.7075;
after epoch 10: 0.9438 and 0.9319.

In float32 softmax followed by a logarithm fails at epoch 1, batch 2, shifted or not: some p is so small that it
becomes 0. The compound never forms it. (In float64 none of the three fails here.)

    python scripts/train.py mnist                                        NumPy and PyTorch side by side
    python scripts/train.py mnist --variant shifted --dtype float32      the failure; also unshifted, compound
    python scripts/sweep.py mnist                                        the three variants in both precisions
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from scratch import datasets
from scratch.datasets import Dataset, DatasetMissing
from scratch.initializers import RandomSource
from scratch.labs.lab import Folder, Lab, Outcome
from scratch.labs.xor import draw_amplitudes, layers, mean_amplitudes
from scratch.layers import Array, Layer, Softmax, expect
from scratch.losses import CrossEntropyLoss, Loss, ProbabilityCrossEntropyLoss
from scratch.network import Sequential
from scratch.optim import SGD
from scratch.study_runs import StudyRuns
from scratch.training_options import expect_count


def load(data_dir: Folder, dtype: str, seed: int) -> Dataset:
    """The files in data_dir, pixels in [0, 1]. DatasetMissing if none is there, DatasetError if they are damaged."""
    if data_dir is None:
        raise DatasetMissing("MNIST: no data folder was named")
    return datasets.mnist(data_dir, dtype)


def standardised(data: Dataset) -> Dataset:
    """Every pixel less its mean, over its standard deviation where that is above 0; both of the training images alone.

    In float32, whatever dtype the result is stored in, as in the lab.
    """
    dtype = data.x_train.dtype
    train = data.x_train.astype(np.float32, copy=False)
    mean, std = train.mean(axis=0), train.std(axis=0)
    scale = np.where(std > 0, std, np.float32(1))

    def standardise(x: Array) -> Array:
        return ((x.astype(np.float32, copy=False) - mean) / scale).astype(dtype, copy=False)

    x_train, x_val = standardise(data.x_train), standardise(data.x_val)
    source = f"{data.source}, standardised"
    return replace(data, x_train=x_train, x_val=x_val, image_shape=None, source=source)


# Three ways to write the same loss: what comes after the logits, and the loss of that


class UnshiftedSoftmax(Softmax):
    """y_k = e^x_k / sum_j e^x_j as it stands: e^x overflows from x = 89 on in float32, 710 in float64."""

    def forward(self, x: Array) -> Array:
        expect(x, (None, None))
        e = np.exp(x)
        self._kept = e / e.sum(axis=1, keepdims=True)
        return self._kept.copy()


VARIANTS: dict[str, tuple[list[type[Layer]], type[Loss]]] = {
    "unshifted": ([UnshiftedSoftmax], ProbabilityCrossEntropyLoss),
    "shifted": ([Softmax], ProbabilityCrossEntropyLoss),
    "compound": ([], CrossEntropyLoss),
}


def output_layers(network: Sequential) -> Sequential:
    """As the network is evaluated: the same layers, not copies of them, and a softmax layer at the end."""
    return network if isinstance(network.layers[-1], Softmax) else Sequential(*network, Softmax())


def epilogue(outcome: Outcome) -> None:
    """Loss and accuracy with the softmax layer at the end; how the weights grew."""
    samples, evaluated = outcome.setup.samples, output_layers(outcome.network)
    for split, x, t in ("training", samples.x_train, samples.t_train), ("test", samples.x_val, samples.t_val):
        p = evaluated.forward(x)
        loss, accuracy = ProbabilityCrossEntropyLoss().forward(p, t), (p.argmax(axis=1) == t).mean()
        outcome.say(f"with the softmax layer at the end: {split} loss {loss:.4f}, accuracy {accuracy:.4f}")
    draw_amplitudes(outcome)


def with_loss(name: str) -> Lab:
    """The lab with one of the VARIANTS."""
    output, loss = VARIANTS[name]

    def network(sizes: tuple[int, ...], rng: RandomSource, dtype: str) -> Sequential:
        return Sequential(*layers(sizes, rng, dtype), *(layer() for layer in output))

    return Lab(
        name="mnist",
        variant=name,
        load=load,
        prepare=standardised,
        network=network,
        loss=loss,
        optimizer=lambda network, lr: SGD(network, lr),
        lr=0.1,
        hidden=(64,) * 5,
        batch_size=3000,
        epochs=100,
        dtype="float64",
        shuffle=False,
        rng=np.random.RandomState,
        seed=1234,
        downloads="mnist",
        evaluate_train=True,
        watch=mean_amplitudes,
        epilogue=epilogue,
    )


LAB = replace(with_loss("compound"), variant=None, variants={name: with_loss(name) for name in VARIANTS})


# Which of the three fail, and where

SEEDS, EPOCHS = 1, 3


class Stability(NamedTuple):
    """How a variant fared, up to its last batch: that of the first number that is not finite, if there is one.

    loss: that batch's, before its update. underflows: its rows whose p of the true class is 0 in this dtype.
    largest_logit, largest_lag: of all batches, max s_k, and max_k s_k - s_t, by which the true class t lies behind.
    """

    epoch: int
    batch: int
    finite: bool
    loss: float
    underflows: int
    largest_logit: float
    largest_lag: float


def stability(data: Dataset, variant: str, *, seed: int = LAB.seed, epochs: int = EPOCHS) -> Stability:
    """Train on the lab's data, prepared and in the dtype to try, until a number is not finite."""
    expect_count("epochs", epochs)
    setup = LAB.variants[variant].set_up(data, seed=seed)
    network, loss, m = setup.network, setup.loss, setup.batch_size
    x_train, t_train = setup.samples.x_train, setup.samples.t_train
    to_logits = Sequential(*(layer for layer in network if not isinstance(layer, Softmax)))
    logit = lag = -math.inf
    for epoch in range(1, epochs + 1):
        for batch, start in enumerate(range(0, len(x_train), m), 1):
            x, t = x_train[start : start + m], t_train[start : start + m]
            s = to_logits.forward(x)
            lags = s.max(axis=1) - s[np.arange(len(t)), t]
            logit, lag = max(logit, float(s.max())), max(lag, float(lags.max()))
            with np.errstate(all="ignore"):  # what is not finite is found below
                y = network.forward(x)
                value = float(loss.forward(y, t))
                network.backward(loss.backward())
                zeros = int((np.exp(-lags) == 0).sum())
            finite = math.isfinite(value) and all(np.isfinite(g).all() for g in network.grads.values())
            found = Stability(epoch, batch, finite, value, zeros, logit, lag)
            if not finite:
                return found
            setup.optimizer.step()
    return found


def study(
    seeds: int, published: bool, say: Callable[[str], object], data: Dataset, runs: StudyRuns | None = None
) -> Iterator[dict[str, Any]]:
    """The rows of scripts/sweep.py: three variants, two precisions; seeds 1234, 1235, ...; `published` adds nothing."""
    runs = runs or StudyRuns()

    def run(dtype: str, seed: int, variant: str) -> Stability:
        return stability(data.astype(dtype), variant, seed=seed)

    for dtype, seed, variant in product(("float32", "float64"), range(LAB.seed, LAB.seed + seeds), VARIANTS):
        found = Stability(*runs.one(f"{dtype} {variant} seed {seed}", partial(run, dtype, seed, variant)))
        at = f"epoch {found.epoch}, batch {found.batch}"
        why = f"p of the true class is 0 in {found.underflows} rows: e^-{found.largest_lag:.0f} is 0 in {dtype}"
        yield {
            "study": dtype,
            "settings": variant,
            "seed": seed,
            "result": f"finite up to {at}" if found.finite else f"fails at {at}",
            "loss there": found.loss,
            "largest logit": found.largest_logit,
            "true class behind by up to": found.largest_lag,
            "why": "" if found.finite else why,
        }
    say(
        "Shifting by the maximum keeps e^s from overflowing, but not p from underflowing: its logarithm is then -inf. "
        "The compound is the cure: log p = s - max - log sum e^(s - max), and no p is formed."
    )
