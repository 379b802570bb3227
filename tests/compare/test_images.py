"""Networks of images through the check: what is not handed in, shapes, ties, what is refused, and the heat map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch import nn

import compare
import scratch
from compare.network.architecture import Architecture
from compare.network.passing import agree, filled
from compare.operations.max_pool2d import MaxPool2d
from compare.recording.scratch_recorder import record_scratch
from compare.report.figures import heat_maps

Array = np.ndarray
TEXT = (
    "Conv2d(1, 4, 3, padding=1), ReLU, MaxPool2d(2), Conv2d(4, 6, 3, stride=2, padding=1), ReLU, Flatten, "
    "Linear(24, 5); CrossEntropyLoss"
)


def step(seed: int, dtype: Any, black_and_white: bool = False) -> tuple[dict[str, Array], Array, Array]:
    """One correct step: its tensors but for input and target, and these two."""
    rng = np.random.default_rng(seed)
    architecture = Architecture.of(TEXT)
    net = scratch.Sequential(*(layer.to_scratch(rng=rng, dtype=dtype) for layer in architecture.layers))
    x = rng.integers(0, 2, (6, 1, 8, 8)) if black_and_white else rng.standard_normal((6, 1, 8, 8))
    x, t = x.astype(dtype), rng.integers(0, 5, 6)
    record = record_scratch(net, scratch.CrossEntropyLoss(), None, [(x, t)])[0]
    return {name: a for name, a in record.items() if name not in ("input", "target")}, x, t


HANDED_IN: dict[str, Callable[[str], bool]] = {
    "outputs and gradients of parameters": lambda part: part in ("output", "grad_weight", "grad_bias"),
    "gradients of parameters": lambda part: part in ("grad_weight", "grad_bias"),
    "gradients": lambda part: part.startswith("grad_"),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("black_and_white", [False, True])
@pytest.mark.parametrize("handed_in", HANDED_IN)
def test_tensors_between_may_be_absent(handed_in: str, black_and_white: bool, dtype: str) -> None:
    for seed in range(3):
        tensors, x, t = step(seed, dtype, black_and_white)
        kept = ("weight", "bias")
        is_shown = HANDED_IN[handed_in]
        shown = {
            name: a
            for name, a in tensors.items()
            if name == "6.output" or (part := name.partition(".")[2]) in kept or is_shown(part)
        }
        report = compare.check(shown, x, t, network=TEXT)
        assert report.verdict == "parity", report


def test_a_gradient_that_is_wrong_beyond_the_gap_is_found() -> None:
    tensors, x, t = step(0, "float64")
    shown = {n: a for n, a in tensors.items() if n.partition(".")[2] in ("weight", "bias", "grad_weight", "grad_bias")}
    shown |= {"6.output": tensors["6.output"], "0.grad_weight": tensors["0.grad_weight"][:, :, ::-1, ::-1]}
    report = compare.check(shown, x, t, network=TEXT)
    assert (report.verdict, report.first.tensor, report.first.check) == ("mismatch", "0.grad_weight", "spanning")


# --- shapes ---


@pytest.mark.parametrize(
    ("said", "found", "wanted"),
    [
        ((-1, 3), (5, 3), (5, 3)),
        ((-1, 3), (5, 4), (5, 3)),
        ((-1, 1, -1, -1), (5, 1, 8, 7), (5, 1, 8, 7)),
        ((-1, 1, -1, -1), (5, 56), (5, 1, -1, -1)),  # rows are rows
        ((-1, 3), None, (-1, 3)),
        (None, (5, 8), (5, 8)),
        (None, None, None),
    ],
)
def test_what_a_layer_leaves_open_is_as_it_was_found(said: Any, found: Any, wanted: Any) -> None:
    assert filled(said, found) == wanted


def test_shapes_agree_where_one_leaves_it_open() -> None:
    assert agree((-1, 3), (5, 3))
    assert not agree((-1, 3), (5, 4))
    assert not agree((-1, 3), (5, 3, 1))


def test_an_input_of_another_shape_is_said() -> None:
    tensors, x, t = step(0, "float64")
    report = compare.check(tensors | {"input": x.reshape(6, 64)}, x, t, network=TEXT)
    assert report.verdict == "mismatch"
    assert report.first.tensor == "input"
    assert "shape (6, 64), expected (6, 1, any, any)" in report.first.note


REFUSED: dict[str, tuple[Any, str]] = {
    "padding as a word": (nn.Conv2d(1, 2, 3, padding="same"), r"layer 0 \(Conv2d\): got padding='same', which is not"),
    "other padding": (
        nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect"),
        "got padding_mode='reflect', which is not",
    ),
    "ceil_mode": (nn.MaxPool2d(2, ceil_mode=True), r"layer 0 \(MaxPool2d\): got ceil_mode=True, which is not checked"),
    "dilation": (nn.MaxPool2d(2, dilation=2), "got dilation=2, which is not checked"),
    "divisor": (nn.AvgPool2d(2, divisor_override=3), "got divisor_override=3, which is not checked"),
    "other axes": (nn.Flatten(0), "got start_dim=0, end_dim=-1, which is not checked"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_checked_is_refused_by_its_name(name: str) -> None:
    module, message = REFUSED[name]
    with pytest.raises(TypeError, match=message):
        Architecture.of(nn.Sequential(module), nn.MSELoss())


def test_images_that_are_too_small_are_one_line() -> None:
    net = scratch.Sequential(scratch.Conv2d(1, 2, 5, rng=np.random.default_rng(0)), scratch.Flatten())
    with pytest.raises(ValueError, match=r"layer 0 \(Conv2d 1 -> 2, 5 x 5\): got \(3, 1, 4, 6\), expected images of"):
        compare.check(net, np.ones((3, 1, 4, 6), np.float32), np.ones((3, 4), np.float32), loss=scratch.MSELoss())
    with pytest.raises(
        ValueError, match=r"Conv2d 1 -> 2, 5 x 5: got \(3, 1, 4, 6\), expected images of at least 5 x 5"
    ):
        Architecture.of(net, scratch.MSELoss()).layers[0].leaving((3, 1, 4, 6))


# --- ties ---


def test_which_elements_may_be_the_largest() -> None:
    pool, x = MaxPool2d(2), np.array([[[[1.0, 1.1, 5, 1], [0.0, 1.05, 1, 1]]]])
    allowed = np.full(x.shape, 0.04)
    near = pool.near_kink(x, allowed)
    assert near.tolist() == [[[[False, True, False, False], [False, True, False, False]]]]
    assert not pool.near_kink(x, 0 * allowed).any()
    twins = [pool.either_side(x, x, allowed, np.random.default_rng(seed)) for seed in range(20)]
    assert len({int(twin[0, 0, :, :2].argmax()) for twin in twins}) == 2
    assert all((twin[~near] == x[~near]).all() for twin in twins)


# --- the heat map ---


def test_the_heat_map_of_images_has_a_row_a_sample() -> None:
    class Wrong(scratch.Flatten):
        def backward(self, dy: Array) -> Array:
            dx = super().backward(dy)
            dx[2, 1, 0, 3] += 1
            return dx

    rng = np.random.default_rng(0)
    net = scratch.Sequential(scratch.Conv2d(1, 2, 3, rng=rng), Wrong(), scratch.Linear(24, 4, rng=rng))
    x, t = rng.random((5, 1, 5, 6), np.float32), rng.integers(0, 4, 5)
    report = compare.check(net, x, t, loss=scratch.CrossEntropyLoss())
    assert report.first.index == (2, 1, 0, 3)
    difference, _ = heat_maps(report.judgement_of(report.first), report.first.index)
    assert (difference.shape, difference.worst) == ((5, 24), (2, 15))
