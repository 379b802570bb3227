"""`fashion_mnist_cnn`: the assignment's data, with a convolutional network.

Fashion-MNIST as images (m, 1, 28, 28): conv 3x3 (8) - BatchNorm2d - ReLU - max pool 2 - conv 3x3 (16) - BatchNorm2d -
ReLU - max pool 2 - flatten - linear 64 - ReLU - dropout 0.25 - linear 10, the convolutions without bias. Loss,
optimiser, batches and initialisation as `fashion_mnist`, 10 epochs. Expected: validation accuracy of at least 0.88 at
epoch 3, in NumPy as in PyTorch.
"""

from __future__ import annotations

import math
from dataclasses import replace

from scratch.batch_norm2d import BatchNorm2d
from scratch.conv2d import Conv2d
from scratch.dropout import Dropout
from scratch.flatten import Flatten
from scratch.initializers import RandomSource
from scratch.labs import fashion_mnist
from scratch.layers import Layer, Linear, ReLU
from scratch.max_pool2d import MaxPool2d
from scratch.network import Sequential

KERNEL, POOL, DROPPED = 3, 2, 0.25


def network(sizes: tuple[int, ...], rng: RandomSource, dtype: str) -> Sequential:
    """sizes = (pixels of a square image, channels, channels, features, classes); weights drawn first to last.

    ValueError for another number of sizes, or for an image that the windows do not fit in.
    """
    if len(sizes) != 5:
        raise ValueError(f"got hidden sizes {sizes[1:-1]}, expected three: channels, channels, and features")
    pixels, first, second, features, classes = sizes
    side = _left(_left(math.isqrt(pixels)))
    if math.isqrt(pixels) ** 2 != pixels or side < 1:
        raise ValueError(f"got images of {pixels} pixels, expected square ones of at least 10 x 10")
    return Sequential(
        *_convolution(1, first, rng, dtype),
        *_convolution(first, second, rng, dtype),
        Flatten(),
        Linear(second * side * side, features, rng=rng, dtype=dtype),
        ReLU(),
        Dropout(DROPPED, rng=rng),
        Linear(features, classes, rng=rng, dtype=dtype),
    )


def _convolution(channels: int, filters: int, rng: RandomSource, dtype: str) -> tuple[Layer, ...]:
    """Filters, normalised, rectified, and of every 2x2 the largest."""
    # No bias: the normalisation takes it away again. Its gradient would be rounding alone, of which AdamW makes steps.
    convolution = Conv2d(channels, filters, KERNEL, bias=False, rng=rng, dtype=dtype)
    return convolution, BatchNorm2d(filters, dtype=dtype), ReLU(), MaxPool2d(POOL)


def _left(side: int) -> int:
    """Of an image's side, after a convolution and a pooling."""
    return (side - KERNEL + 1) // POOL


LAB = replace(
    fashion_mnist.LAB, name="fashion_mnist_cnn", network=network, hidden=(8, 16, 64), epochs=10, takes_images=True
)
