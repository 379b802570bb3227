"""Invariants: no alarm on correct networks, whoever writes the formulas, and each wrong layer found by one of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import scratch
from compare import operations
from compare.measuring.invariants import Invariant, invariants
from compare.measuring.linearisation import along, loss_along
from compare.measuring.random_case import random_case
from compare.network.architecture import Architecture

DTYPES = ("float32", "float64")
NAMES = {"doubling", "permutation", "split", "shift", "adjoint"}


def off(rows: list[Invariant]) -> list[str]:
    return [str(row) for row in rows if row.status == "off"]


# --- correct networks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_hundred_correct_networks_give_no_alarm(dtype: str) -> None:
    seen: dict[str, int] = dict.fromkeys(NAMES, 0)
    unchecked = total = 0
    for seed in range(50) if dtype == "float32" else range(50, 100):
        case = random_case(seed, dtype, layers=3, width=30, batch=20)
        rows = invariants(case.network, case.loss, case.x, case.t, seed=seed)
        assert off(rows) == [], str(case)
        for row in rows:
            seen[row.name] += row.status == "ok"
            unchecked += row.status == "not checked"
            total += 1
    assert min(seen.values()) > 30, seen  # softmax, which alone can be shifted, is one of many activations
    assert unchecked < 0.05 * total


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_correct_wide_and_deep_networks_give_no_alarm(dtype: str) -> None:
    for seed in range(1000, 1030):
        case = random_case(seed, dtype)
        assert off(invariants(case.network, case.loss, case.x, case.t, seed=seed)) == [], str(case)


@given(
    seed=st.integers(0, 2**31),
    scale=st.sampled_from([1e-30, 1e-8, 1.0, 1e8, 1e18, 1e30]),
    dtype=st.sampled_from(DTYPES),
)
def test_no_alarm_at_any_scale(seed: int, scale: float, dtype: str) -> None:
    """Under- and overflow are recognised, not alarmed."""
    case = random_case(seed, dtype, layers=3, width=12, batch=9, log_scale=0.0)
    with np.errstate(all="ignore"):
        x = (case.x * scale).astype(dtype)
    assert off(invariants(case.network, case.loss, x, case.t, seed=seed)) == [], f"{case} at {scale}"


def test_underflow_is_recognised() -> None:
    """Gradients among the subnormal numbers do not double bit for bit, and are not held to it."""
    rng = np.random.default_rng(0)
    network = scratch.Sequential(scratch.Linear(7, 5, rng=rng), scratch.Tanh(), scratch.Linear(5, 3, rng=rng))
    x, t = (rng.standard_normal((4, 7)) * 1e-40).astype("f"), rng.standard_normal((4, 3)).astype("f")
    rows = invariants(network, scratch.MSELoss(), x, t)
    layer, dy = network.layers[0], rng.standard_normal((4, 5)).astype("f")
    layer.forward(x)
    layer.backward(dy)
    once = layer.grads["weight"].copy()
    layer.backward(2 * dy)
    assert not np.array_equal(layer.grads["weight"], 2 * once)
    assert off(rows) == []
    assert any(row.status == "not checked" and "underflow" in row.explanation for row in rows)


def test_one_row_cannot_be_split_and_says_so() -> None:
    case = random_case(0, "float64", layers=2, width=5, batch=1)
    rows = invariants(case.network, case.loss, case.x[:1], case.t[:1])
    assert [row.explanation for row in rows if row.name == "split"] == ["one row cannot be split"]


def test_what_is_not_finite_is_not_checked() -> None:
    network, loss, x, t = softmax_case()
    x[0, 0] = np.nan
    rows = invariants(network, loss, x, t)
    assert off(rows) == []
    assert {row.name for row in rows if row.status == "not checked"} >= {"shift", "adjoint"}


def test_the_candidate_is_not_changed() -> None:
    case = random_case(5, "float32", layers=3, width=10, batch=8)
    case.network.backward(np.ones_like(case.network.forward(case.x)))
    before = {
        n: a.copy() for n, a in (case.network.params | {f"g{n}": g for n, g in case.network.grads.items()}).items()
    }
    invariants(case.network, case.loss, case.x, case.t)
    after = case.network.params | {f"g{n}": g for n, g in case.network.grads.items()}
    assert all(np.array_equal(a, after[n]) for n, a in before.items())


# --- correct, and written otherwise -----------------------------------------------------------------------------------


class UnshiftedSoftmax(scratch.Softmax):
    def forward(self, x: np.ndarray) -> np.ndarray:
        e = np.exp(x)
        self._kept = e / e.sum(axis=1, keepdims=True)
        return self._kept.copy()

    def backward(self, dy: np.ndarray) -> np.ndarray:
        y = self.kept
        jacobian = y[:, :, None] * np.eye(y.shape[1], dtype=y.dtype) - y[:, :, None] * y[:, None, :]
        return (jacobian * dy[:, None, :]).sum(axis=2)


class LogSoftmax(scratch.Softmax):
    def forward(self, x: np.ndarray) -> np.ndarray:
        top = x.max(axis=1, keepdims=True)
        self._kept = np.exp(x - (top + np.log(np.exp(x - top).sum(axis=1, keepdims=True))))
        return self._kept.copy()


class PlainSigmoid(scratch.Sigmoid):
    def forward(self, x: np.ndarray) -> np.ndarray:
        self._kept = 1 / (1 + np.exp(-x))
        return self._kept.copy()

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return dy * (self.kept * (1 - self.kept))


class LoopedLinear(scratch.Linear):
    def forward(self, x: np.ndarray) -> np.ndarray:
        self._kept = x
        return np.stack([self.params["weight"] @ row + self.params["bias"] for row in x])

    def backward(self, dy: np.ndarray) -> np.ndarray:
        self.grads["weight"] = sum(np.outer(d, row) for d, row in zip(dy, self.kept, strict=True))
        self.grads["bias"] = np.add.accumulate(dy)[-1]
        return np.stack([self.params["weight"].T @ d for d in dy])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [UnshiftedSoftmax, LogSoftmax, PlainSigmoid])
def test_other_correct_forms_give_no_alarm(activation: type[scratch.Layer], dtype: str) -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        network = scratch.Sequential(
            LoopedLinear(9, 6, rng=rng, dtype=dtype), activation(), LoopedLinear(6, 4, rng=rng, dtype=dtype)
        )
        x, t = rng.standard_normal((12, 9)).astype(dtype), rng.standard_normal((12, 4)).astype(dtype)
        assert off(invariants(network, scratch.HalfSquaredErrorLoss(), x, t, seed=seed)) == []


# --- wrong layers -----------------------------------------------------------------------------------------------------


class Affine(scratch.Linear):
    """A constant is added to the gradient of the input."""

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return super().backward(dy) + dy.dtype.type(1e-3)


class Clipped(scratch.ReLU):
    """The gradient is clipped."""

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return np.clip(super().backward(dy), -1e-3, 1e-3)


class Accumulating(scratch.Linear):
    """Gradients are added to those of the last call."""

    def backward(self, dy: np.ndarray) -> np.ndarray:
        before = {name: g.copy() for name, g in self.grads.items()}
        dx = super().backward(dy)
        for name, g in before.items():
            self.grads[name] += g
        return dx


class Reversed(scratch.Linear):
    """The rows of the input's gradient are in reverse order."""

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return super().backward(dy)[::-1]


class Mixing(scratch.Tanh):
    """Each row's gradient takes a little from the row before."""

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dx = super().backward(dy)
        return dx + np.roll(dx, 1, axis=0) * dx.dtype.type(1e-3)


class Centred(scratch.Linear):
    """The batch's mean is subtracted: equivariant under permutation, but not row by row."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        return super().forward(x - x.mean(axis=0))


class PerRow(scratch.Linear):
    """dW is divided by the batch size once more."""

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dx = super().backward(dy)
        self.grads["weight"] /= len(dy)
        return dx


class MeanBias(scratch.Linear):
    """db is a mean over the batch."""

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dx = super().backward(dy)
        self.grads["bias"] = dy.mean(axis=0)
        return dx


class LastRow(scratch.Linear):
    """db is that of the last row."""

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dx = super().backward(dy)
        self.grads["bias"] = dy[-1].copy()
        return dx


class Transposed(scratch.Linear):
    """dx = dy W^T, which a square W allows."""

    def backward(self, dy: np.ndarray) -> np.ndarray:
        super().backward(dy)
        return dy @ self.params["weight"].T


class Activated(scratch.Sigmoid):
    """The derivative at y instead of x."""

    def backward(self, dy: np.ndarray) -> np.ndarray:
        s = 1 / (1 + np.exp(-self.kept))
        return dy * s * (1 - s)


class NoDerivative(scratch.Tanh):
    """The derivative is lost on the way back."""

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return dy.copy()


class WrongSide(scratch.ReLU):
    """The mask is inverted."""

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return np.where(self.kept < 0, dy, dy.dtype.type(0))


class Diagonal(scratch.Softmax):
    """The Jacobian's diagonal only."""

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return dy * self.kept * (1 - self.kept)


class Epsilon(scratch.Softmax):
    """e^x / (sum e^x + 1e-12), without the shift."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        e = np.exp(x)
        self._kept = e / (e.sum(axis=1, keepdims=True) + x.dtype.type(1e-12))
        return self._kept.copy()


class OverColumns(scratch.Softmax):
    """Softmax over the batch instead of the classes."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        e = np.exp(x - x.max(axis=0))
        self._kept = e / e.sum(axis=0)
        return self._kept.copy()


class Half(scratch.Linear):
    """A float16 round trip of the output's gradient."""

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return super().backward(dy.astype(np.float16).astype(dy.dtype))


# the wrong layer, the invariants that must find it (others may), the tensor
WRONG: list[tuple[type[scratch.Layer], set[str], str]] = [
    (Affine, {"doubling", "adjoint"}, "1.grad_input"),
    (Clipped, {"doubling", "adjoint"}, "1.grad_input"),
    (Accumulating, {"doubling", "split"}, "1.grad_weight"),
    (Reversed, {"permutation", "split", "adjoint"}, "1.grad_input"),
    (Mixing, {"permutation", "split", "adjoint"}, "1.grad_input"),
    (Centred, {"split"}, "1.output"),
    (PerRow, {"split", "adjoint"}, "1.grad_weight"),
    (MeanBias, {"split", "adjoint"}, "1.grad_bias"),
    (LastRow, {"permutation", "split", "adjoint"}, "1.grad_bias"),
    (Transposed, {"adjoint"}, "1.grad_input"),
    (Activated, {"adjoint"}, "1.grad_input"),
    (NoDerivative, {"adjoint"}, "1.grad_input"),
    (WrongSide, {"adjoint"}, "1.grad_input"),
    (Diagonal, {"adjoint", "shift"}, "1.grad_input"),
    (Epsilon, {"shift"}, "1.output"),
    (OverColumns, {"split", "shift"}, "1.output"),
    (Half, {"adjoint"}, "1.grad_input"),
]


def with_layer(
    kind: type[scratch.Layer], dtype: str
) -> tuple[scratch.Sequential, scratch.Loss, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    middle = kind(6, 6, rng=rng, dtype=dtype) if issubclass(kind, scratch.Linear) else kind()  # type: ignore[call-arg]
    network = scratch.Sequential(
        scratch.Linear(9, 6, rng=rng, dtype=dtype), middle, scratch.Linear(6, 4, rng=rng, dtype=dtype)
    )
    x, t = rng.standard_normal((12, 9)).astype(dtype), rng.standard_normal((12, 4)).astype(dtype)
    return network, scratch.MSELoss("sum"), x, t


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("kind", "finders", "tensor"), WRONG, ids=[kind.__name__ for kind, *_ in WRONG])
def test_a_wrong_layer_is_found(kind: type[scratch.Layer], finders: set[str], tensor: str, dtype: str) -> None:
    rows = invariants(*with_layer(kind, dtype))
    found = {row.name for row in rows if row.status == "off" and row.tensor == tensor}
    assert found >= finders, off(rows)
    elsewhere = {row.layer for row in rows if row.status == "off"} - {"1", "network"}
    assert not elsewhere, off(rows)


def softmax_case() -> tuple[scratch.Sequential, scratch.Loss, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    network = scratch.Sequential(scratch.Linear(5, 4, rng=rng))
    return network, scratch.CrossEntropyLoss(), rng.standard_normal((8, 5)).astype("f"), rng.integers(0, 4, 8)


def patched_loss(m: pytest.MonkeyPatch, method: str, wrong: Callable[..., Any]) -> None:
    original = getattr(scratch.CrossEntropyLoss, method)
    m.setattr(scratch.CrossEntropyLoss, method, lambda self, *args: wrong(original(self, *args), *args))


def epsilon_in_the_log(m: pytest.MonkeyPatch) -> None:
    def forward(self: Any, s: np.ndarray, t: np.ndarray) -> Any:
        original(self, s, t)
        e = np.exp(s)
        p = e / (e.sum(axis=1, keepdims=True) + s.dtype.type(1e-7))
        return -np.log(p[np.arange(len(s)), t]).mean()

    original = scratch.CrossEntropyLoss.forward
    m.setattr(scratch.CrossEntropyLoss, "forward", forward)


def last_row_only(m: pytest.MonkeyPatch) -> None:
    def backward(ds: np.ndarray) -> np.ndarray:
        ds = ds.copy()
        ds[:-1] = 0
        return ds

    patched_loss(m, "backward", backward)


WRONG_LOSSES: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], set[str], str]] = {
    "gradient doubled": (lambda m: patched_loss(m, "backward", lambda ds: 2 * ds), {"adjoint"}, "grad_output"),
    "gradient without its mean": (
        lambda m: patched_loss(m, "backward", lambda ds: ds * len(ds)),
        {"adjoint", "split"},
        "grad_output",
    ),
    "loss without its mean": (
        lambda m: patched_loss(m, "forward", lambda loss, s, t: loss * len(s)),
        {"split"},
        "loss",
    ),
    "epsilon": (epsilon_in_the_log, {"shift"}, "loss"),
    "last row only": (last_row_only, {"permutation", "adjoint"}, "grad_output"),
    "offset": (
        lambda m: patched_loss(m, "backward", lambda ds: ds + ds.dtype.type(1e-4)),
        {"adjoint", "shift"},
        "grad_output",
    ),
}


@pytest.mark.parametrize("fault", WRONG_LOSSES)
def test_a_wrong_loss_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, finders, tensor = WRONG_LOSSES[fault]
    plant(monkeypatch)
    rows = invariants(*softmax_case())
    found = {row.name for row in rows if row.status == "off" and row.tensor == tensor}
    assert found >= finders, off(rows)


def test_what_is_no_scratch_network_is_refused() -> None:
    with pytest.raises(TypeError, match=r"got str, expected a scratch\.Sequential"):
        invariants("2-1, mse", scratch.MSELoss(), np.ones((2, 2)), np.ones((2, 1)))  # type: ignore[arg-type]


def test_a_gradient_of_another_shape_is_refused_by_name() -> None:
    class Column(scratch.Linear):
        def backward(self, dy: np.ndarray) -> np.ndarray:
            dx = super().backward(dy)
            self.grads["bias"] = self.grads["bias"][:, None]
            return dx

    with pytest.raises(ValueError, match=r"layer 1 \(Linear 6 -> 6\): grad_bias has shape \(6, 1\), expected \(6,\)"):
        invariants(*with_layer(Column, "float32"))


# --- the linearisation's error bounds ---------------------------------------------------------------------------------

DERIVATIVES: dict[Any, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "relu": lambda x, v: np.where(x > 0, v, 0),
    "sigmoid": lambda x, v: v / (2 + np.exp(x) + np.exp(-x)),
    "tanh": lambda x, v: v / np.cosh(x) ** 2,
    "softmax": lambda x, v: softmax(x) * (v - (softmax(x) * v).sum(axis=1, keepdims=True)),
}
LAYERS = {"relu": scratch.ReLU, "sigmoid": scratch.Sigmoid, "tanh": scratch.Tanh, "softmax": scratch.Softmax}


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("kind", DERIVATIVES)
@given(
    seed=st.integers(0, 10**6), scale=st.sampled_from([1e-6, 0.1, 1.0, 10.0]), length=st.sampled_from([1e-6, 1.0, 1e6])
)
def test_a_linearisation_is_within_its_bound(kind: Any, seed: int, scale: float, length: float) -> None:
    rng = np.random.default_rng(seed)
    x, v = rng.standard_normal((4, 5)) * scale, rng.standard_normal((4, 5)) * length
    tangent = along(operations.LAYERS[kind](), LAYERS[kind](), x, v)
    exact = DERIVATIVES[kind](x, tangent.v)
    slack = 1e-14 * np.abs(tangent.v).max(axis=1, keepdims=True)  # of the formulas here, in float64
    assert (np.abs(tangent.out - exact) <= tangent.error + slack).all()
    assert (tangent.error <= 1e-8 * np.abs(tangent.v).max()).all(), "the bound says something"
    assert np.abs(tangent.v - v).max() <= 1e-8 * length, "the direction is the one given but for rounding"


def test_a_relu_at_its_kink_has_no_direction_there() -> None:
    x, v = np.array([[0.0, -1.0, 2.0]]), np.array([[1.0, 1.0, 1.0]])
    tangent = along(operations.LAYERS["relu"](), scratch.ReLU(), x, v)
    assert np.array_equal(tangent.v, [[0, 1, 1]])
    assert np.array_equal(tangent.out, [[0, 0, 1]])


@given(seed=st.integers(0, 10**6))
def test_a_losss_difference_is_within_its_bound(seed: int) -> None:
    """Against the loss's own backward in float64, which other tests hold against torch."""
    case = random_case(seed, "float64", layers=2, width=6, batch=6, log_scale=1.0)
    y = case.network.forward(case.x)
    case.loss.forward(y, case.t)
    gradient = case.loss.backward()
    assume(np.isfinite(gradient).all())
    v = np.random.default_rng(seed).standard_normal(y.shape)
    with np.errstate(all="ignore"):
        out, taken, error = loss_along(Architecture.of(case.network, case.loss), case.loss, y, case.t, v)
    size = np.abs(gradient * taken).sum()
    assert abs(out - (gradient * taken).sum()) <= error + 1e-13 * size
