"""The network left out: read off the code, said in the first line; where it cannot be, one line says why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import compare
from compare.report.text import READ_OFF

FOLDER = Path(__file__).parent / "strangers"

DATA = """import numpy as np
rng = np.random.default_rng(0)
X, T, c = rng.normal(size=(12, 4)), rng.normal(size=(12, 3)), rng.integers(3, size=12)
W1, b1, W2, b2 = rng.normal(size=(4, 5)), rng.normal(size=5), rng.normal(size=(5, 3)), rng.normal(size=3)
for epoch in range(3):
"""
HIDDEN = """    z = X @ W1 + b1
    h = {hidden}
    y = h @ W2 + b2
"""
BACK = """    dz = d @ W2.T * ({slope})
    W1, b1, W2, b2 = W1 - 0.1 * X.T @ dz, b1 - 0.1 * dz.sum(0), W2 - 0.1 * h.T @ d, b2 - 0.1 * d.sum(0)
"""
MSE = """    loss = np.mean((y - T) ** 2)
    d = 2 * (y - T) / y.size
"""
MAE = """    loss = np.mean(np.abs(y - T))
    d = np.sign(y - T) / y.size
"""
WATCHED = """    p = 1 / (1 + np.exp(-y))
    print(np.mean(np.abs(p - T)))
    d = 2 * (p - T) * p * (1 - p) / y.size
"""
SOFTMAX = """    p = np.exp(y - y.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    d = (p - np.eye(3)[c]) / 12
"""
SIGMOID = """    p = 1 / (1 + np.exp(-y))
    d = (p - (T > 0)) / 36
"""
HALF_OF_SIGMOID = """    p = 1 / (1 + np.exp(-y))
    loss = 0.5 * np.sum((p - T) ** 2) / 12
    d = (p - T) * p * (1 - p) / 12
"""
TANH = "np.tanh(z)", "1 - h**2"
GELU = "np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))"
GELU_SLOPE = "np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * z**2)"

# hidden activation and its derivative, what follows the last layer -> the network
READ = {
    "4-5-3 tanh, mse": (*TANH, MSE),
    "4-5-3 tanh, softmax cross-entropy": (*TANH, SOFTMAX),
    "4-5-3 tanh, sigmoid output, binary cross-entropy": (*TANH, SIGMOID),
    "4-5-3 tanh, sigmoid output, half squared error": (*TANH, HALF_OF_SIGMOID),
    "4-5-3 relu, mse": ("np.maximum(z, 0)", "z > 0", MSE),
    "4-5-3 sigmoid, mse": ("1 / (1 + np.exp(-z))", "h * (1 - h)", MSE),
    "4-5-3 leaky_relu, mse": ("np.where(z > 0, z, 0.01 * z)", "np.where(z > 0, 1, 0.01)", MSE),
    "4-5-3 leaky_relu(0.2), mse": ("np.where(z > 0, z, 0.2 * z)", "np.where(z > 0, 1, 0.2)", MSE),
    "4-5-3 elu, mse": ("np.where(z > 0, z, np.exp(z) - 1)", "np.where(z > 0, 1, h + 1)", MSE),
    "4-5-3 elu(0.5), mse": ("np.where(z > 0, z, 0.5 * np.exp(z) - 0.5)", "np.where(z > 0, 1, h + 0.5)", MSE),
    "4-5-3 silu, mse": ("z / (1 + np.exp(-z))", "(1 + np.exp(-z) + z * np.exp(-z)) / (1 + np.exp(-z)) ** 2", MSE),
    "4-5-3 gelu_tanh, mse": (f"z * (1 + {GELU}) / 2", f"(1 + {GELU} + z * (1 - {GELU}**2) * {GELU_SLOPE}) / 2", MSE),
    "4-5-3 softplus, mse": ("np.log(1 + np.exp(z))", "1 / (1 + np.exp(-z))", MSE),
    "4-5-3 linear, mse": ("z", "1", MSE),
    "4-5-3 tanh, l1": (*TANH, MAE),
    "4-5-3 tanh, sigmoid output, mse": (*TANH, WATCHED),
}


def checked(folder: Path, text: str) -> compare.Report:
    script = folder / "s.py"
    script.write_text(text)
    return compare.check(script)


@pytest.mark.parametrize("network", READ)
def test_read_off_a_right_script(tmp_path: Path, network: str) -> None:
    hidden, slope, last = READ[network]
    report = checked(tmp_path, DATA + HIDDEN.format(hidden=hidden) + last + BACK.format(slope=slope))
    assert (report.verdict, report.network) == ("parity", network), f"\n{report}"
    assert f"{network}{READ_OFF}" in str(report).splitlines()[0]


@pytest.mark.parametrize("network", ["4-5-3 relu, mse", "4-5-3 relu, relu output, mse"])
def test_large_values_of_relu_are_not_read_as_another_activation(tmp_path: Path, network: str) -> None:
    """Where |z| is large, a SiLU and a GELU are near ReLU."""
    last = "    z2, y = y, np.maximum(y, 0)\n" + MSE + "    d = d * (z2 > 0)\n" if "output" in network else MSE
    large = DATA.replace("= rng.normal(size=(12, 4))", "= 1e6 * rng.normal(size=(12, 4))")
    back = BACK.format(slope="z > 0").replace("0.1 *", "1e-14 *")
    report = checked(tmp_path, large + HIDDEN.format(hidden="np.maximum(z, 0)") + last + back)
    assert (report.verdict, report.network) == ("parity", network), f"\n{report}"


def test_a_mistake_is_found_without_the_network(tmp_path: Path) -> None:
    report = checked(tmp_path, DATA + HIDDEN.format(hidden="np.tanh(z)") + MSE + BACK.format(slope="1 - z**2"))
    assert (report.verdict, report.network) == ("mismatch", "4-5-3 tanh, mse"), f"\n{report}"
    assert "1 - z**2" in report.code


REFUSED = {
    "no weight": (DATA + "    pass\n", "no array is multiplied by a weight that is updated later"),
    "another activation": (
        DATA + HIDDEN.format(hidden="np.sin(z)") + MSE + BACK.format(slope="np.cos(z)"),
        "what s.py line 7, h makes of s.py line 6, z is no activation that is known",
    ),
    "no loss": (
        DATA + HIDDEN.format(hidden="np.tanh(z)") + "    d = rng.normal(size=(12, 3))\n" + BACK.format(slope="1"),
        "the loss is neither reported nor to be seen in a gradient",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line(tmp_path: Path, name: str) -> None:
    text, why = REFUSED[name]
    with pytest.raises(ValueError, match=r"say the network, such as --network") as raised:
        checked(tmp_path, text)
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)


# strangers' programs -> the verdict without the network; a text where the first line would have another
STRANGERS = {
    "a_unbound_hidden_gradient.py": "parity",
    "e_divided_in_the_update.py": "parity",
    "i_xor_sample_by_sample.py": "parity",
    "k_bias_is_a_float.py": "parity",
    "l2_factor_wrong.py": "mismatch",
    "l2_right.py": "parity",
    "logistic_mini_batches.py": "parity",
    "q_update_adds_the_gradient.py": "mismatch",
    "s_running_log_likelihood.py": "parity",
    "v_linear_regression_float_bias.py": "parity",
}


@pytest.mark.parametrize("name", STRANGERS)
def test_strangers(name: str) -> None:
    report = compare.check(FOLDER / name)
    assert report.verdict == STRANGERS[name], f"\n{report}"


# --- functions and objects --------------------------------------------------------------------------------------------


class Net:
    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        self.W1, self.W2 = rng.normal(size=(4, 5)), rng.normal(size=(5, 3))

    def forward(self, x):  # type: ignore[no-untyped-def]
        self.x, self.h = x, np.tanh(x @ self.W1)
        self.y = self.h @ self.W2
        return self.y

    def backward(self, t):  # type: ignore[no-untyped-def]
        d = 2 * (self.y - t) / t.size
        self.dW2 = self.h.T @ d
        self.dW1 = self.x.T @ (d @ self.W2.T * (1 - self.h**2))


class NeedsTheLoss(Net):
    def backward(self, grad_output):  # type: ignore[no-untyped-def]
        self.dW2 = self.h.T @ grad_output


def step(x, t):  # type: ignore[no-untyped-def]
    net = Net()
    net.forward(x)
    net.backward(t)
    return net.dW1, net.dW2


RNG = np.random.default_rng(2)
BATCH = RNG.normal(size=(12, 4)), RNG.normal(size=(12, 3))


@pytest.mark.parametrize("candidate", [Net(), step], ids=["object", "function"])
def test_of_what_is_called(candidate: object) -> None:
    report = compare.check(candidate, *BATCH)
    assert (report.verdict, report.network) == ("parity", "4-5-3 tanh, no bias, mse"), f"\n{report}"
    assert READ_OFF in str(report).splitlines()[0]


def test_an_object_that_wants_the_gradient_of_the_loss() -> None:
    with pytest.raises(TypeError, match=r"'grad_output' is a gradient of the loss, and nobody says of which: say the"):
        compare.check(NeedsTheLoss(), *BATCH)


EMBEDDED = """import numpy as np
rng = np.random.default_rng(0)
words, t = rng.integers(0, 6, 12), np.eye(3)[rng.integers(0, 3, 12)]
E, W, b = rng.normal(size=(6, 4)), rng.normal(size=(4, 3)), np.zeros(3)
for epoch in range(4):
    x = E[words]
    e = np.exp(x @ W + b)
    p = e / e.sum(axis=1, keepdims=True)
    print(-np.sum(t * np.log(p)) / 12)
    d = (p - t) / 12
    dW, db, dx = x.T @ d, d.sum(axis=0), d @ W.T
    dE = np.zeros_like(E)
    np.add.at(dE, words, dx)
    W, b = W - 0.1 * dW, b - 0.1 * db
    E = E - 0.1 * dE
"""
SCALED = EMBEDDED.replace("E[words]", "x0 - x0.mean(axis=0)").replace("rng.integers(0, 6, 12), np", "0, np").replace(
    "for epoch", "x0 = rng.normal(size=(12, 4))\nx0 /= 2.0\nfor epoch"
)
SCALED = "\n".join(line for line in SCALED.splitlines() if "dE" not in line) + "\n"


def test_a_layer_before_what_is_read_is_no_input(tmp_path: Path) -> None:
    """Parity of the last layer alone would say nothing of an embedding or a convolution before it."""
    (tmp_path / "s.py").write_text(EMBEDDED)
    with pytest.raises(ValueError, match=r"s\.py line 4, E is updated, and is no part of 4-3, softmax cross-entropy"):
        compare.check(tmp_path / "s.py")


def test_an_input_that_is_scaled_in_place_is_one(tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text(SCALED)
    assert compare.check(tmp_path / "s.py").verdict == "parity"
