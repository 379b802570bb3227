"""Every loss, reduction and kind of target: values against torch and finite differences, the contract, and refusals."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import torch_ref.losses
from compare.network.architecture import Architecture
from compare.numbers.allowance import Precision
from scratch import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HalfSquaredErrorLoss,
    HingeLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    LayerError,
    Loss,
    MSELoss,
    MultiMarginLoss,
    NLLLoss,
    ProbabilityCrossEntropyLoss,
)
from tests.bounds import assert_within
from tests.finite_differences import assert_derivative

DTYPES = [np.float32, np.float64]
Draw = Callable[[np.random.Generator, int, int], np.ndarray]


def indices(rng: np.random.Generator, m: int, n: int) -> np.ndarray:
    return rng.integers(0, n, m)


def one_hot(rng: np.random.Generator, m: int, n: int) -> np.ndarray:
    return np.eye(n)[rng.integers(0, n, m)]


def soft(rng: np.random.Generator, m: int, n: int) -> np.ndarray:
    return rng.dirichlet(np.ones(n), m)


def uneven(rng: np.random.Generator, m: int, n: int) -> np.ndarray:
    """Rows that do not sum to 1."""
    return rng.uniform(0, 2, (m, n))


def numbers(rng: np.random.Generator, m: int, n: int) -> np.ndarray:
    return rng.standard_normal((m, n))


def bits(rng: np.random.Generator, m: int, n: int) -> np.ndarray:
    return rng.integers(0, 2, (m, n)).astype(float)


def signs(rng: np.random.Generator, m: int, n: int) -> np.ndarray:
    return rng.choice([-1.0, 1.0], (m, n))


def shares(rng: np.random.Generator, m: int, n: int) -> np.ndarray:
    return rng.uniform(0, 1, (m, n))


@dataclass(frozen=True)
class Subject:
    """One loss on both sides, its targets, and whether its inputs are probabilities."""

    scratch: type[Loss]
    torch: type[nn.Module]
    targets: tuple[Draw, ...]
    probabilities: str = ""


LOSSES = {
    "cross-entropy": Subject(CrossEntropyLoss, nn.CrossEntropyLoss, (indices, one_hot, soft, uneven)),
    "cross-entropy, smoothed": Subject(
        partial(CrossEntropyLoss, label_smoothing=0.2),  # type: ignore[arg-type]
        partial(nn.CrossEntropyLoss, label_smoothing=0.2),  # type: ignore[arg-type]
        (indices, one_hot, soft, uneven),
    ),
    "cross-entropy on probabilities": Subject(
        ProbabilityCrossEntropyLoss,
        torch_ref.losses.ProbabilityCrossEntropyLoss,
        (indices, one_hot, soft, uneven),
        "rows",
    ),
    "nll": Subject(NLLLoss, nn.NLLLoss, (indices,)),
    "binary hinge": Subject(HingeLoss, torch_ref.losses.HingeLoss, (signs,)),
    "kl divergence": Subject(KLDivLoss, nn.KLDivLoss, (one_hot, soft, uneven)),
    "mse": Subject(MSELoss, nn.MSELoss, (numbers,)),
    "l1": Subject(L1Loss, nn.L1Loss, (numbers,)),
    "multi-class hinge": Subject(MultiMarginLoss, nn.MultiMarginLoss, (indices,)),
    "huber": Subject(HuberLoss, nn.HuberLoss, (numbers,)),
    "huber of 0.3": Subject(
        partial(HuberLoss, delta=0.3),  # type: ignore[arg-type]
        partial(nn.HuberLoss, delta=0.3),  # type: ignore[arg-type]
        (numbers,),
    ),
    "half squared error": Subject(HalfSquaredErrorLoss, torch_ref.losses.HalfSquaredErrorLoss, (numbers,)),
    "binary cross-entropy": Subject(BCELoss, torch_ref.losses.BCELoss, (bits, shares), "elements"),
    "binary cross-entropy on logits": Subject(BCEWithLogitsLoss, nn.BCEWithLogitsLoss, (bits, shares)),
}
EACH = [
    pytest.param(name, target, reduction, id=f"{name}-{target.__name__}-{reduction}")
    for name, subject in LOSSES.items()
    for target in subject.targets
    for reduction in getattr(subject.scratch, "reductions", ("mean", "sum"))
]
# shape, and the size of the logits or numbers that enter
INPUTS = {
    "plain": (7, 5, 1.0),
    "one row": (1, 5, 1.0),
    "one column": (7, 1, 1.0),
    "two columns": (6, 2, 1.0),
    "long sums": (130, 31, 1.0),
    "tiny": (7, 5, 1e-8),
    "large": (7, 5, 1e3),
    "huge": (7, 5, 1e8),
}


def outputs(subject: Subject, rng: np.random.Generator, m: int, n: int, scale: float, dtype: type) -> np.ndarray:
    """What a network may hand to this loss. Probabilities stay where the plain formula is finite in `dtype`."""
    z = scale * rng.standard_normal((m, n))
    if subject.probabilities == "rows":
        e = np.exp(np.clip(z - z.max(axis=1, keepdims=True), -80, 0))
        return (e / e.sum(axis=1, keepdims=True)).astype(dtype)
    if subject.probabilities == "elements":
        return (1 / (1 + np.exp(-np.clip(z, -12, 12)))).astype(dtype)
    return z.astype(dtype)


def typed(t: np.ndarray, dtype: type) -> np.ndarray:
    return t.astype(dtype) if t.dtype.kind == "f" else t


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total loss")  # torch's, of KLDivLoss
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize(("name", "target", "reduction"), EACH)
def test_value_and_gradient_are_right_on_both_sides(
    name: str, target: Draw, reduction: str, inputs: str, dtype: type
) -> None:
    rng, subject = np.random.default_rng(17), LOSSES[name]
    m, n, scale = INPUTS[inputs]
    y, t = outputs(subject, rng, m, n, scale, dtype), typed(target(rng, m, n), dtype)
    ours, theirs = subject.scratch(reduction), subject.torch(reduction=reduction)
    at = torch.from_numpy(y.copy()).requires_grad_()
    value = theirs(at, torch.from_numpy(t.copy()))
    value.backward()
    got = {
        "scratch": (ours.forward(y, t), ours.backward()),
        "torch": (value.detach().numpy(), at.grad.numpy()),
    }
    network, p = architecture(ours), Precision.of(dtype)
    y, t = y.astype(np.float64), typed(t, np.float64)
    for side, (loss, gradient) in got.items():
        assert_within(f"{side} {name}", loss, network.loss.loss(y, t, p), dtype)
        assert_within(f"{side} {name} gradient", gradient, network.loss.gradient(y, t, p), dtype)


def architecture(loss: Loss) -> Architecture:
    return Architecture.of(nn.ReLU(), loss)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("name", "target", "reduction"), EACH)
def test_backward_is_the_derivative_by_finite_differences(name: str, target: Draw, reduction: str, seed: int) -> None:
    rng, loss = np.random.default_rng(seed), LOSSES[name].scratch(reduction)
    y, t = outputs(LOSSES[name], rng, 7, 5, 1.0, np.float64), target(rng, 7, 5)
    v = rng.standard_normal(y.shape)
    if LOSSES[name].probabilities:  # relative: a step must not leave the interval
        v *= np.minimum(y, 1 - y)
    loss.forward(y, t)
    assert_derivative(lambda a: float(loss.forward(a, t)), y, loss.backward(), v)


# --- the contract of a loss -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_backward_before_forward_is_an_error(name: str) -> None:
    loss = LOSSES[name].scratch()
    with pytest.raises(RuntimeError, match=rf"{type(loss).__name__}: backward was called before forward"):
        loss.backward()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "target", "reduction"), EACH)
def test_a_loss_is_a_scalar_of_its_dtype_and_changes_nothing(
    name: str, target: Draw, reduction: str, dtype: type
) -> None:
    rng, loss = np.random.default_rng(3), LOSSES[name].scratch(reduction)
    y, t = outputs(LOSSES[name], rng, 7, 5, 1.0, dtype), typed(target(rng, 7, 5), dtype)
    before = y.tobytes(), t.tobytes()
    value = loss.forward(y, t)
    first = loss.backward()
    assert isinstance(value, np.floating)
    assert value.shape == ()
    assert value.dtype == first.dtype == dtype
    assert first.shape == y.shape
    wanted = first.tobytes()
    first += 1  # it is the caller's
    assert loss.backward().tobytes() == wanted
    assert (y.tobytes(), t.tobytes()) == before


@pytest.mark.parametrize("name", ["cross-entropy", "cross-entropy on probabilities", "multi-class hinge", "nll"])
def test_indices_and_one_hot_rows_mean_the_same(name: str) -> None:
    rng = np.random.default_rng(3)
    y, t = outputs(LOSSES[name], rng, 7, 5, 1.0, np.float32), rng.integers(0, 5, 7)
    found = []
    for target in (t, t.astype(np.uint8), np.eye(5, dtype=np.float32)[t]):
        loss = LOSSES[name].scratch()
        found.append((loss.forward(y, target).tobytes(), loss.backward().tobytes()))
    assert found[0] == found[1] == found[2]


RIGHT = np.full((3, 4), 0.25, np.float32)
TO_CLASSES = ("cross-entropy", "cross-entropy on probabilities", "multi-class hinge", "nll")
TO_ROWS = (
    *("mse", "l1", "huber", "half squared error", "kl divergence", "binary hinge"),
    *("binary cross-entropy", "binary cross-entropy on logits"),
)
WRONG = [
    *(
        (name, y, t, message)
        for name in TO_CLASSES
        for y, t, message in [
            (RIGHT, np.array([0, 4, 1]), "got label 4 at row 1, expected 0 to 3"),
            (RIGHT, np.array([0, 1, -1]), "got label -1 at row 2, expected 0 to 3"),
            (RIGHT, np.array([0, 1]), "got 2 labels, expected 3"),
            (RIGHT, np.array([0.0, 1, 2], np.float32), r"got a target of float32 \(3,\), expected float32 \(3, 4\)"),
            (RIGHT, np.array([[0], [1], [2]]), r"got a target of int64 \(3, 1\), expected class indices \(3,\) or"),
            (RIGHT, np.eye(4)[:3], r"got a target of float64 \(3, 4\), expected float32 \(3, 4\)"),
            (RIGHT, RIGHT.T.copy(), r"got a target of float32 \(4, 3\), expected float32 \(3, 4\)"),
            (RIGHT[:0], np.array([], int), r"got an output of shape \(0, 4\), expected at least one row"),
            (RIGHT[:, :0], np.array([0, 0, 0]), r"got an output of shape \(3, 0\), expected at least one row"),
            (RIGHT[0], np.array([0]), r"got \(4,\), expected \(m, m\)"),
        ]
    ),
    ("binary hinge", RIGHT, np.eye(3, 4, dtype=np.float32), "got a target that holds 0.0, expected -1 and 1 only"),
    ("nll", RIGHT, RIGHT, "got rows that are not one-hot, expected class indices or a single 1"),
    ("multi-class hinge", RIGHT, RIGHT, "got rows that are not one-hot, expected class indices or a single 1"),
    *(
        (name, y, t, message)
        for name in TO_ROWS
        for y, t, message in [
            (RIGHT, RIGHT[:, 0], r"got a target of float32 \(3,\), expected float32 \(3, 4\)"),
            (RIGHT[:, :1], RIGHT[:, 0], r"got a target of float32 \(3,\), expected float32 \(3, 1\)"),
            (RIGHT, RIGHT[:, :1], r"got a target of float32 \(3, 1\), expected float32 \(3, 4\)"),
            (RIGHT, RIGHT.T.copy(), r"got a target of float32 \(4, 3\), expected float32 \(3, 4\)"),
            (RIGHT, RIGHT.astype(np.float64), r"got a target of float64 \(3, 4\), expected float32 \(3, 4\)"),
            (RIGHT, np.ones((3, 4), int), r"got a target of int64 \(3, 4\), expected float32 \(3, 4\)"),
            (RIGHT[:0], RIGHT[:0], r"got an output of shape \(0, 4\), expected at least one row"),
            (RIGHT.astype(int), RIGHT.astype(int), "got int64, expected a floating-point array"),
        ]
    ),
]


@pytest.mark.parametrize(("name", "y", "t", "message"), WRONG)
def test_what_a_loss_refuses(name: str, y: np.ndarray, t: np.ndarray, message: str) -> None:
    with pytest.raises(LayerError, match=message):
        LOSSES[name].scratch().forward(y, t)


@pytest.mark.parametrize("name", LOSSES)
def test_an_unknown_reduction_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"got reduction 'none', expected 'mean' or ('batchmean' or )?'sum'"):
        LOSSES[name].scratch("none")


@pytest.mark.parametrize("delta", [0.0, -1.0, np.nan])
def test_a_delta_that_is_not_above_0_is_refused(delta: float) -> None:
    with pytest.raises(ValueError, match=rf"HuberLoss: got delta={delta}, expected it above 0"):
        HuberLoss(delta=delta)


def test_a_probability_of_zero_is_an_infinite_loss_and_says_so() -> None:
    p, loss = np.array([[0.0, 1.0]], np.float32), ProbabilityCrossEntropyLoss()
    assert loss.forward(p, np.array([0])) == np.inf
    assert loss.forward(p, np.array([1])) == 0
    assert loss.backward().tolist() == [[0, -1]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("target", [indices, one_hot, soft, uneven])
def test_class_weights_are_as_torchs(target: Draw, smoothing: float, reduction: str, dtype: type) -> None:
    rng, w = np.random.default_rng(5), [0.3, 1.0, 2.5, 0.0, 0.7]
    y, t = rng.standard_normal((9, 5)).astype(dtype), typed(target(rng, 9, 5), dtype)
    ours = CrossEntropyLoss(reduction, smoothing, w)  # type: ignore[arg-type]
    at, weight = torch.from_numpy(y.copy()).requires_grad_(), torch.tensor(w, dtype=torch.from_numpy(y).dtype)
    theirs = nn.CrossEntropyLoss(weight, reduction=reduction, label_smoothing=smoothing)
    value = theirs(at, torch.from_numpy(t))
    value.backward()
    known, p = architecture(ours).loss, Precision.of(dtype)
    y64, t64 = y.astype(np.float64), typed(t, np.float64)
    for loss, gradient in ((ours.forward(y, t), ours.backward()), (value.detach().numpy(), at.grad.numpy())):
        assert_within("loss", loss, known.loss(y64, t64, p), dtype)
        assert_within("gradient", gradient, known.gradient(y64, t64, p), dtype)
    v = rng.standard_normal(y.shape)
    if dtype == np.float64:
        assert_derivative(lambda a: float(ours.forward(a, t)), y, ours.backward(), v)


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, np.nan])
def test_a_smoothing_that_is_no_share_is_refused(smoothing: float) -> None:
    with pytest.raises(ValueError, match=rf"CrossEntropyLoss: got label_smoothing={smoothing}, expected 0 to 1"):
        CrossEntropyLoss(label_smoothing=smoothing)


@pytest.mark.parametrize("weight", [[1, -1], [[1, 2]], 3, [np.inf, 1], [np.nan, 1]])
def test_class_weights_that_are_none_are_refused(weight: object) -> None:
    with pytest.raises(ValueError, match=r"CrossEntropyLoss: got weight=.*, expected one finite number of at least 0"):
        CrossEntropyLoss(weight=weight)


def test_class_weights_of_another_number_are_refused() -> None:
    with pytest.raises(LayerError, match="got an output of 4 columns, expected 3, one for each weight"):
        CrossEntropyLoss(weight=[1, 2, 3]).forward(RIGHT, np.array([0, 1, 2]))


def test_a_cross_entropy_is_shown_as_it_is_typed() -> None:
    loss = CrossEntropyLoss("sum", 0.1, [1, 2])
    assert repr(loss) == "CrossEntropyLoss(reduction='sum', label_smoothing=0.1, weight=[1.0, 2.0])"
    assert repr(CrossEntropyLoss()) == "CrossEntropyLoss(reduction='mean')"


def test_logits_of_any_size_do_not_overflow() -> None:
    s = np.array([[1e30, -1e30, 0.0]], np.float32)
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        for loss, t in [(CrossEntropyLoss(), np.array([1])), (BCEWithLogitsLoss(), np.ones((1, 3), np.float32))]:
            assert np.isfinite(loss.forward(s, t))
            assert np.isfinite(loss.backward()).all()
