"""Masks: both sides drop the same elements. Those of scratch are given to PyTorch, which would draw its own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import scratch
from compare.network.architecture import flatten
from scratch.random_state import stream_state, stream_words


@contextmanager
def same_masks(network: scratch.Sequential, model: nn.Module) -> Iterator[None]:
    """For the length of the block, each nn.Dropout of the model drops what the network's Dropout in its place will.

    The network draws its masks as ever, before the model or after it: the model has copies of its random streams, each
    in its module's `stream`, so that a TorchLearner saves where it is. The block must begin before either has drawn.
    ValueError unless both have the same dropouts in the same order.
    """
    ours, theirs = copy.deepcopy(_dropouts(network)), [m for m in model.modules() if isinstance(m, nn.Dropout)]
    if [layer.p for layer in ours] != [module.p for module in theirs]:
        raise ValueError(f"the model has {theirs or 'no Dropout'}, expected {ours or 'none'} as in the network")
    for layer, module in zip(ours, theirs, strict=True):
        vars(module)["forward"], vars(module)["stream"] = _masked(layer, module), Stream(layer)
    try:
        yield
    finally:
        for module in theirs:
            del vars(module)["forward"], vars(module)["stream"]
            vars(module).pop("mask", None)


class Stream:
    """The random stream of a dropout, as six words of 64 bits: what a learner saves of it and restores."""

    def __init__(self, layer: scratch.Dropout) -> None:
        self.layer = layer

    @property
    def words(self) -> NDArray[np.uint64]:
        return stream_words(self.layer.rng)

    @words.setter
    def words(self, saved: NDArray[np.uint64]) -> None:
        self.layer.rng.bit_generator.state = stream_state(saved)


def _masked(layer: scratch.Dropout, module: nn.Dropout) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        if not module.training:
            return x
        mask = layer.draw(tuple(x.shape), str(x.dtype).removeprefix("torch."))
        module.mask = torch.from_numpy(mask).to(x.device)
        return x * module.mask

    return forward


@contextmanager
def draws_undone(network: scratch.Sequential) -> Iterator[None]:
    """What the network draws in the block it draws once more after it."""
    layers = _dropouts(network)
    streams = [copy.deepcopy(layer.rng) for layer in layers]
    try:
        yield
    finally:
        for layer, stream in zip(layers, streams, strict=True):
            layer.rng = stream


def _dropouts(network: scratch.Sequential) -> list[scratch.Dropout]:
    return [layer for layer in flatten(network) if isinstance(layer, scratch.Dropout)]
