"""Numbers at the edge, in both backends: what is arithmetic goes on, what is not stops with layer and batch named.

The same network, weights and batches on both sides; a table of cases, each with what must come of it.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from compare.network.weights import to_torch, to_torch_loss, to_torch_optimizer
from scratch import (
    SGD,
    Adam,
    AdamW,
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    Linear,
    MSELoss,
    ReLU,
    Sequential,
    Sigmoid,
    Tanh,
)
from scratch.learner import ScratchLearner
from scratch.training import TrainingError, train
from torch_ref.learner import TorchLearner

BACKENDS = ("scratch", "torch")
TINY = {"float32": np.float32(1e-42), "float64": 1e-310}  # subnormal


def data(x: Any, t: Any, dtype: str = "float32") -> Any:
    x, t = np.asarray(x, dtype), np.asarray(t)
    t = t.astype(dtype) if t.dtype.kind == "f" else t
    return SimpleNamespace(x_train=x, t_train=t, x_val=x, t_val=t)


def network(*sizes: int, dtype: str = "float32", between: Any = ReLU) -> Sequential:
    rng = np.random.default_rng(0)
    layers: list[Any] = []
    for k in range(len(sizes) - 1):
        layers += [Linear(sizes[k], sizes[k + 1], rng=rng, dtype=dtype), between()]
    return Sequential(*layers[:-1])


def learner(backend: str, net: Sequential, loss: Any, optimizer: Any) -> Any:
    if backend == "scratch":
        return ScratchLearner(net, loss, optimizer)
    model = to_torch(net)
    return TorchLearner(model, to_torch_loss(loss), to_torch_optimizer(optimizer, model))


def run(backend: str, net: Sequential, loss: Any, d: Any, optimizer: Any = None, **options: Any) -> tuple[Any, Any]:
    ours = learner(backend, net, loss, optimizer or SGD(net, 0.1))
    given = {"epochs": 2, "batch_size": 4, "shuffle": False, "rng": np.random.default_rng(0), **options}
    return train(ours, d, **given), ours


def rows(n: int, k: int, seed: int = 1) -> Any:
    return np.random.default_rng(seed).normal(size=(n, k))


# --- what goes on -----------------------------------------------------------------------------------------------------

FINE = {
    "one row": (rows(1, 3), [2], {}),
    "a last batch of one row": (rows(5, 3), [0, 1, 2, 3, 0], {}),
    "batches of one row": (rows(5, 3), [0, 1, 2, 3, 0], {"batch_size": 1}),
    "labels all equal": (rows(8, 3), [1] * 8, {}),
    "constant pixels": (np.full((8, 3), 0.5), [0, 1, 2, 3] * 2, {}),
    "pixels all zero": (np.zeros((8, 3)), [0, 1, 2, 3] * 2, {}),
    "two rows that are the same": (np.repeat(rows(1, 3), 8, axis=0), [0, 1, 2, 3] * 2, {}),
    "subnormal pixels": (np.full((8, 3), 1e-42), [0, 1, 2, 3] * 2, {}),
    "pixels so large that all but one probability is 0": (1e4 * rows(8, 3), [0, 1, 2, 3] * 2, {}),
    "negative zero": (np.full((8, 3), -0.0), [0, 1, 2, 3] * 2, {}),
}


@pytest.mark.parametrize("case", FINE)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("make", [SGD, Adam, AdamW])
def test_both_backends_go_on_and_agree(case: str, dtype: str, make: Any) -> None:
    x, t, options = FINE[case]
    d, found = data(x, t, dtype), {}
    for backend in BACKENDS:
        net = network(3, 5, 4, dtype=dtype)
        history, ours = run(backend, net, CrossEntropyLoss(), d, make(net, 0.01), **options)
        assert all(np.isfinite(w).all() for w in ours.weights().values())
        found[backend] = history.figures
    rtol = 1e-4 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(found["scratch"], found["torch"], rtol=rtol, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_class_has_loss_0_accuracy_1_and_moves_nothing(backend: str) -> None:
    """Softmax of one logit is 1 whatever it is."""
    net = network(3, 5, 1)
    before = {name: p.copy() for name, p in net.params.items()}
    history, ours = run(backend, net, CrossEntropyLoss(), data(rows(8, 3), [0] * 8))
    assert history.figures == [(1, 0.0, 1.0, 0.0, 1.0), (2, 0.0, 1.0, 0.0, 1.0)]
    assert all(w.tobytes() == before[name].tobytes() for name, w in ours.weights().items())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("make", [SGD, Adam, AdamW, lambda net, lr: SGD(net, lr, momentum=0.9)])
def test_rate_0_keeps_every_bit_of_the_weights(backend: str, make: Any) -> None:
    net = network(3, 5, 4)
    before = {name: p.copy() for name, p in net.params.items()}
    history, ours = run(backend, net, CrossEntropyLoss(), data(rows(8, 3), [0, 1, 2, 3] * 2), make(net, 0.0))
    assert all(w.tobytes() == before[name].tobytes() for name, w in ours.weights().items())
    assert history.figures[0][1:] == history.figures[1][1:]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_subnormal_weights_are_not_flushed_to_zero(backend: str, dtype: str) -> None:
    net = Sequential(Linear(1, 1, rng=np.random.default_rng(0), bias=False, dtype=dtype))
    net.params["0.weight"][...] = TINY[dtype]
    d = data([[1.0]], [[0.0]], dtype)
    history, ours = run(backend, net, MSELoss("sum"), d, SGD(net, 0.25), epochs=1)
    moved, least = ours.weights()["0.weight"][0, 0], np.finfo(dtype).smallest_subnormal
    assert abs(moved - TINY[dtype] / 2) <= least  # rounded once with a fused multiply-add, else twice
    assert 0 < moved < np.finfo(dtype).tiny
    assert history[0].train_loss == 0  # its square is below the smallest subnormal


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("between", [Sigmoid, Tanh])
@pytest.mark.parametrize("scale", [1e2, 1e5, 1e30])
def test_saturated_activations_have_gradient_0_and_go_on(backend: str, between: Any, scale: float) -> None:
    net = network(3, 5, 4, between=between)
    before = net.params["0.weight"].copy()
    _, ours = run(backend, net, CrossEntropyLoss(), data(scale * np.sign(rows(8, 3)), [0, 1, 2, 3] * 2), epochs=1)
    assert np.isfinite(ours.weights()["2.weight"]).all()
    if scale >= 1e5:
        assert ours.weights()["0.weight"].tobytes() == before.tobytes()


@pytest.mark.parametrize("backend", BACKENDS)
def test_bce_on_logits_is_exact_at_both_ends(backend: str) -> None:
    """log(1 + e^-|z|) underflows to 0, and z itself is the loss."""
    net = Sequential(Linear(1, 1, rng=np.random.default_rng(0), bias=False))
    net.params["0.weight"][...] = 1
    d = data([[1e4], [-1e4], [1e4], [-1e4]], [[1.0], [0.0], [0.0], [1.0]])
    history, _ = run(backend, net, BCEWithLogitsLoss("sum"), d, SGD(net, 0.0), epochs=1)
    assert history[0].train_loss == 2e4


# --- what stops -------------------------------------------------------------------------------------------------------


def filled(net: Sequential, name: str, value: float, index: Any = ...) -> Sequential:
    net.params[name][index] = value
    return net


X, T = rows(8, 3), [0, 1, 2, 3] * 2
LAYER_0, LAYER_2 = {"scratch": r"layer 0 \(Linear 3 -> 5\)", "torch": r"layer 0 \(Linear\(.*\)\)"}, {
    "scratch": r"layer 2 \(Linear 5 -> 4\)",
    "torch": r"layer 2 \(Linear\(.*\)\)",
}
STOPS = [
    # name, network, data, optimizer, what is named (a dict: by backend)
    ("an output overflows", lambda: filled(network(3, 5, 4), "0.weight", 3e38), (np.full((8, 3), 10.0), T), None,
     "epoch 1, batch 1: the output of", LAYER_0),
    ("an output overflows behind", lambda: filled(filled(network(3, 5, 4), "0.weight", 1e20), "2.weight", 1e20),
     (np.full((8, 3), 10.0), T), None, "epoch 1, batch 1: the output of", LAYER_2),
    ("a weight is NaN", lambda: filled(network(3, 5, 4), "2.weight", np.nan, (1, 2)), (X, T), None,
     "epoch 1, batch 1: the weight of", LAYER_2),
    ("a bias is infinite", lambda: filled(network(3, 5, 4), "0.bias", np.inf, 3), (X, T), None,
     "epoch 1, batch 1: the bias of", LAYER_0),
    ("the rate is 1e30", lambda: network(3, 5, 4), (X, T), lambda net: SGD(net, 1e30),
     "epoch 1, batch 2: the output of", {b: "layer [02] " for b in BACKENDS}),
    ("the rate is 1e30 in one batch", lambda: network(3, 5, 4), (X[:4], T[:4]), lambda net: SGD(net, 1e30),
     "epoch 1, validation: the output of", {b: "layer [02] " for b in BACKENDS}),
    ("the update overflows the weights", lambda: network(3, 5, 4), (1e3 * X, T), lambda net: SGD(net, 3e38),
     "epoch 1, batch 2: the (weight|bias|output) of", {b: "layer 0 " for b in BACKENDS}),
]  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "make", "given", "optimizer", "place", "layer"), STOPS, ids=[s[0] for s in STOPS])
def test_training_stops_with_batch_and_layer_named(
    backend: str, name: str, make: Any, given: Any, optimizer: Any, place: str, layer: Any
) -> None:
    net = make()
    with pytest.raises(TrainingError, match=f"^{place} {layer[backend]}.* is not finite") as caught:
        run(backend, net, CrossEntropyLoss(), data(*given), optimizer(net) if optimizer else None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_rate_beyond_the_dtype_is_refused(backend: str) -> None:
    """In float32 1e300 is infinite; PyTorch would end in an error of its own."""
    net = network(3, 5, 4)
    with pytest.raises(ValueError, match=r"the rate is 1e\+300, expected one that float32 can hold"):
        run(backend, net, CrossEntropyLoss(), data(X, T), SGD(net, 1e300))
    net = network(3, 5, 4, dtype="float64")
    with pytest.raises(TrainingError, match=r"^epoch 1, batch 2: the output of layer"):
        run(backend, net, CrossEntropyLoss(), data(X, T, "float64"), SGD(net, 1e300))


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_infinite_bias_that_a_relu_turns_to_0_is_arithmetic_and_goes_on(backend: str) -> None:
    net = filled(network(3, 5, 4), "0.bias", -np.inf, 3)
    history, ours = run(backend, net, CrossEntropyLoss(), data(X, T))
    assert np.isfinite(history[-1].val_loss)
    assert ours.weights()["0.bias"][3] == -np.inf


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_step_that_stops_updates_nothing(backend: str) -> None:
    net = filled(network(3, 5, 4), "2.weight", np.nan, (1, 2))
    ours = learner(backend, net, CrossEntropyLoss(), AdamW(net, 0.1))
    before = ours.state_dict()
    with pytest.raises(TrainingError):
        train(ours, data(X, T), epochs=1, rng=np.random.default_rng(0))
    after = ours.state_dict()
    assert before.keys() == after.keys()
    assert all(a.tobytes() == before[n].tobytes() for n, a in after.items())


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_probability_of_0_for_what_happened_is_an_infinite_loss(backend: str) -> None:
    """-log 0: the unclamped formula, on both sides."""
    net = filled(Sequential(Linear(1, 1, rng=np.random.default_rng(0), bias=False), Sigmoid()), "0.weight", -1e4)
    with pytest.raises(TrainingError, match=r"^epoch 1, batch 1: the loss .*is (inf|not finite)"):
        run(backend, net, BCELoss(), data([[1.0]], [[1.0]]))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("part", ["x_train", "x_val"])
def test_data_that_is_not_finite_is_named_before_any_training(backend: str, value: float, part: str) -> None:
    d = data(X, T)
    setattr(d, part, getattr(d, part).copy())
    getattr(d, part)[5, 1] = value
    with pytest.raises(TrainingError, match=rf"{part}\[5, 1\] is {value}, expected a finite number"):
        run(backend, network(3, 5, 4), CrossEntropyLoss(), d)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_rows_are_no_training_and_no_step(backend: str) -> None:
    net = network(3, 5, 4)
    with pytest.raises(ValueError, match="x_train has 0 rows and t_train 0, expected as many, at least one"):
        run(backend, net, CrossEntropyLoss(), data(X[:0], np.array(T[:0], int)))
    ours = learner(backend, net, CrossEntropyLoss(), SGD(net))
    with pytest.raises(ValueError, match="a training step on no rows, expected at least one"):
        ours.train_step(ours.place(X.astype("f4"), np.array(T)), np.array([], int))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("loss", [MSELoss, BCEWithLogitsLoss])
def test_a_column_is_never_held_against_a_row(backend: str, loss: Any) -> None:
    """(n, 1) minus (n,) would be (n, n)."""
    with pytest.raises(ValueError, match=r"target.*expected"):
        run(backend, network(3, 5, 1), loss(), data(X, np.array(T, int) % 2))
