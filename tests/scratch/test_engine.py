"""The engine takes the steps of ScratchLearner to the same bits, and leaves to the layers what is not its own."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from scratch import (
    SGD,
    Adam,
    AdamW,
    CrossEntropyLoss,
    Layer,
    LayerError,
    Linear,
    MSELoss,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
    fit,
)
from scratch.engine import MOST_SHAPES, Engine
from scratch.learner import ScratchLearner
from scratch.optim import Optimizer

ROWS = 50
NETWORKS: dict[str, list[Any]] = {
    "one": [(7, 4)],
    "relu": [(7, 6), ReLU, (6, 4)],
    "no-bias": [(7, 6, False), ReLU, (6, 4, False)],
    "deep": [(7, 5), ReLU, (5, 9), ReLU, (9, 8), ReLU, (8, 4)],
    "relu-first-and-last": [ReLU, (7, 5), (5, 4), ReLU],
    "others": [(7, 6), Tanh, (6, 5), Sigmoid, (5, 8), ReLU, (8, 4), Softmax],
}
OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda net: SGD(net, 0.1),
    "sgd-decay": lambda net: SGD(net, 0.1, weight_decay=0.1),
    "momentum": lambda net: SGD(net, 0.1, momentum=0.9, dampening=0.3, weight_decay=0.1),
    "nesterov": lambda net: SGD(net, 0.1, momentum=0.9, nesterov=True),
    "adam": lambda net: Adam(net, 0.01),
    "adam-decay": lambda net: Adam(net, 0.01, weight_decay=0.1),
    "adamw": lambda net: AdamW(net, 0.01),
}


def learner(kind: type[ScratchLearner], network: str = "relu", optimizer: str = "adamw", dtype: str = "float32") -> Any:
    rng = np.random.default_rng(1)
    parts = [
        part() if isinstance(part, type) else Linear(*part[:2], rng=rng, bias=len(part) == 2, dtype=dtype)
        for part in NETWORKS[network]
    ]
    net = Sequential(*parts)
    return kind(net, CrossEntropyLoss(), OPTIMIZERS[optimizer](net))


def data(dtype: str = "float32") -> Any:
    rng = np.random.default_rng(2)
    return rng.standard_normal((ROWS, 7)).astype(dtype), rng.integers(0, 4, ROWS)


def trained(ours: ScratchLearner, steps: int = 12) -> tuple[list[Any], dict[str, Any]]:
    """What every step returned, and the state after them; batches of two sizes."""
    rng = np.random.default_rng(3)
    placed = ours.place(*data(ours.dtype))
    seen = [ours.train_step(placed, rng.permutation(ROWS)[: 16 if i % 3 else 5]) for i in range(steps)]
    return seen, ours.state_dict()


def assert_same_bits(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert list(found) == list(expected)
    for name, a in expected.items():
        assert found[name].dtype == a.dtype, name
        assert found[name].tobytes() == a.tobytes(), name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("network", NETWORKS)
def test_steps_states_and_gradients_are_those_of_the_layers_bit_by_bit(
    network: str, optimizer: str, dtype: str
) -> None:
    plain, engine = (learner(kind, network, optimizer, dtype) for kind in (ScratchLearner, Engine))
    (steps, state), (found_steps, found_state) = trained(plain), trained(engine)
    assert found_steps == steps
    assert_same_bits(found_state, state)
    assert_same_bits(engine.network.grads, plain.network.grads)
    assert all(g.any() for g in plain.network.grads.values()), "nothing was passed back"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_at_the_size_of_the_assignment_as_well(dtype: str) -> None:
    rng = np.random.default_rng(5)
    x, t = rng.random((400, 784)).astype(dtype), rng.integers(0, 10, 400)
    found = []
    for kind in (ScratchLearner, Engine):
        init = np.random.default_rng(6)
        net = Sequential(Linear(784, 256, rng=init, dtype=dtype), ReLU(), Linear(256, 10, rng=init, dtype=dtype))
        ours = kind(net, CrossEntropyLoss(), AdamW(net))
        for start in (0, 128, 256, 384, 0, 128):
            ours.train_step((x, t), np.arange(400)[start : start + 128])
        found.append(ours.state_dict())
    assert_same_bits(found[1], found[0])


def fading(kind: type[ScratchLearner], optimizer: str) -> Any:
    """A learner whose hidden unit 0 is active in the first step only: no gradient reaches its weights afterwards."""
    ours = learner(kind, "relu", optimizer)
    ours.network.layers[0].params["weight"][0] = 0.01
    ours.network.layers[0].params["bias"][0] = -1
    x, t = data()
    x[:25], x[25:, :] = np.abs(x[:25]) + 15, -np.abs(x[25:])
    placed = ours.place(x, t)
    ours.train_step(placed, np.arange(25))
    return ours, placed


def subnormals(state: dict[str, Any]) -> int:
    return sum(
        int(((a != 0) & (np.abs(a) < np.finfo(a.dtype).tiny)).sum())
        for name, a in state.items()
        if a.dtype.kind == "f" and name.endswith(("exp_avg", "momentum_buffer"))
    )


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "nesterov"])
def test_moments_that_move_no_weight_any_more_become_0_and_the_weights_keep_their_bits(optimizer: str) -> None:
    """A unit that gets no gradient any more leaves subnormal moments behind, for ever, and they cost time."""
    found = []
    for kind in (ScratchLearner, Engine):
        ours, placed = fading(kind, optimizer)
        for _ in range(1279):
            ours.train_step(placed, np.arange(25, 50))
        found.append(ours)
    plain, engine = (ours.state_dict() for ours in found)
    assert subnormals(plain) > 5
    assert subnormals(engine) == 0
    assert_same_bits(found[1].weights(), found[0].weights())
    for name, a in plain.items():
        assert np.abs(engine[name] - a).max() < np.finfo(np.float32).tiny, name


@pytest.mark.parametrize(
    ("m", "p", "change", "expected"),
    [
        (1e-39, 1.0, 1e-33, 0.0),
        (-1e-39, -1.0, -1e-33, 0.0),
        (1e-45, 1.0, 0.0, 0.0),
        (0.0, 0.0, 0.0, 0.0),
        (2e-38, 1.0, 1e-33, 2e-38),  # normal
        (1e-39, 0.0, 1e-33, 1e-39),  # p shows it
        (1e-39, 1e-30, 1e-33, 1e-39),
        (1e-39, 1.0, 0.5, 1e-39),  # without an epsilon the quotient can be anything
        (1e-39, 1.0, np.nan, 1e-39),
        (1e-39, np.nan, 0.0, 1e-39),
        (np.nan, 1.0, 0.0, np.nan),
    ],
)
def test_what_becomes_0_is_subnormal_and_less_than_the_parameter_can_show(
    m: float, p: float, change: float, expected: float
) -> None:
    from scratch.flat import drop_subnormals

    array, p, change = (np.array([a], np.float32) for a in (m, p, change))
    drop_subnormals(array, p, change)
    np.testing.assert_array_equal(array, np.array([expected], np.float32))
    if array[0] == 0 and m != 0:
        assert p - change == p


def test_a_run_that_is_resumed_between_two_looks_at_the_state_goes_on_in_the_same_bits() -> None:
    whole, placed = fading(Engine, "adamw")
    states = []
    for _ in range(1000):
        whole.train_step(placed, np.arange(25, 50))
        states.append(whole.state_dict())
    assert any(map(subnormals, states[700:]))
    assert not subnormals(states[-1])
    resumed = learner(Engine, "relu", "adamw")
    resumed.load_state_dict(states[699])
    for expected in states[700:]:
        resumed.train_step(placed, np.arange(25, 50))
        assert_same_bits(resumed.state_dict(), expected)


def test_relu_passes_the_bits_of_a_gradient_or_none() -> None:
    """At the kink, at both zeros, for infinities and for not a number."""
    from scratch.engine import relu_grad

    x = np.array([[-1, -0.0, 0.0, 1, 1, 1, -1, -1, np.nan]], np.float32)
    dy = np.array([[-2, -2, 3, -0.0, np.inf, np.nan, np.inf, np.nan, 1]], np.float32)
    relu = ReLU()
    relu.forward(x)
    expected, dx = relu.backward(dy), np.empty_like(dy)
    relu_grad(relu, dy, np.empty(x.shape, bool), dx)
    assert dx.tobytes() == expected.tobytes()


def counted(layer: Layer, counts: list[str]) -> None:
    """Watch a layer's forward and backward, as the record of a check does."""
    for name in ("forward", "backward"):
        method = getattr(layer, name)
        setattr(layer, name, lambda a, m=method, n=name: (counts.append(n), m(a))[1])


@pytest.mark.parametrize(("layer", "expected"), [(0, 12), (1, 12), (2, 12)])
def test_a_watched_layer_runs_by_its_own_methods_and_nothing_changes(layer: int, expected: int) -> None:
    plain, engine = learner(ScratchLearner), learner(Engine)
    seen: list[str] = []
    counted(engine.network.layers[layer], seen)
    assert_same_bits(trained(engine)[1], trained(plain)[1])
    assert seen.count("forward") == seen.count("backward") == expected


def test_a_changed_method_is_the_one_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a layer, of the network, or of the optimiser: a planted fault is never passed over."""
    right = trained(learner(Engine))[1]
    changes: list[tuple[type, str, Any]] = [
        (Linear, "backward", lambda self, dy: _grads_of(self, 2 * dy)),
        (ReLU, "backward", lambda self, dy: dy),
        (ReLU, "forward", lambda self, x: _kept(self, x)),
        (AdamW, "update", lambda self, p, g, state: None),
        (Adam, "_adaptive", lambda self, p, g, state: None),
        (Optimizer, "step", lambda self: None),
        (Sequential, "backward", lambda self, dy: self.layers[-1].backward(dy)),
    ]
    for owner, name, method in changes:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, method)
            changed = learner(Engine), learner(ScratchLearner)
            outcomes = []
            for ours in changed:
                try:
                    outcomes.append(trained(ours)[1]["0.weight"])
                except ValueError as error:  # no gradient
                    outcomes.append(str(error))
            if isinstance(outcomes[1], str):
                assert outcomes[0] == outcomes[1]
            else:
                assert outcomes[0].tobytes() == outcomes[1].tobytes() != right["0.weight"].tobytes()


def _grads_of(layer: Linear, dy: Any) -> Any:
    layer.grads["weight"], layer.grads["bias"] = dy.T @ layer.kept, dy.sum(axis=0)
    return dy @ layer.params["weight"]


def _kept(layer: Layer, x: Any) -> Any:
    layer._kept = x
    return x.copy()


def test_the_gradient_of_the_networks_input_is_the_callers_after_training() -> None:
    engine = learner(Engine)
    trained(engine)
    plain = copy.deepcopy(engine.network)
    x, t = data()
    for net in (engine.network, plain):
        net.loss = CrossEntropyLoss()
        net.loss.forward(net.forward(x), t)
    dx, expected = (net.backward(net.loss.backward()) for net in (engine.network, plain))
    assert dx.shape == x.shape
    assert dx.tobytes() == expected.tobytes()


def test_what_forward_returned_to_a_caller_is_not_written_over() -> None:
    engine = learner(Engine)
    trained(engine)
    y = engine.network.forward(data()[0][:16])
    before = y.copy()
    trained(engine, 3)
    assert y.tobytes() == before.tobytes()


def test_state_that_is_loaded_is_what_training_goes_on_from() -> None:
    one, other = learner(Engine), learner(Engine)
    trained(one, 5)
    trained(other, 2)
    other.load_state_dict(one.state_dict())
    assert_same_bits(trained(other, 5)[1], trained(one, 5)[1])


def test_parameters_that_somebody_puts_in_their_place_are_taken_over() -> None:
    plain, engine = learner(ScratchLearner), learner(Engine)
    for ours in (plain, engine):
        trained(ours, 2)
        ours.network.layers[0].params["weight"] = np.full((6, 7), 0.25, np.float32)
    assert_same_bits(trained(engine, 3)[1], trained(plain, 3)[1])


def test_a_copy_trains_apart_and_to_the_same_bits() -> None:
    engine = learner(Engine)
    trained(engine, 3)
    copied = copy.deepcopy(engine)
    before = copied.state_dict()
    state = trained(engine, 3)[1]
    assert_same_bits(copied.state_dict(), before)
    assert_same_bits(trained(copied, 3)[1], state)


def test_after_fit_the_arrays_are_those_from_before_with_the_trained_values() -> None:
    plain, engine = learner(ScratchLearner), learner(Engine)
    arrays = engine.network.params
    x, t = data()
    samples = SimpleNamespace(x_train=x, t_train=t, x_val=x, t_val=t)
    for ours in (plain, engine):
        fit(ours.network, ours.loss, ours.optimizer, samples, epochs=2, rng=np.random.default_rng(0), batch_size=16)
    assert all(p is arrays[name] for name, p in engine.network.params.items())
    assert_same_bits(arrays, plain.network.params)


def test_layers_that_share_their_weights_are_left_to_the_plain_step() -> None:
    found = []
    for kind in (ScratchLearner, Engine):
        rng = np.random.default_rng(0)
        first, second = Linear(7, 7, rng=rng), Linear(7, 7, rng=rng)
        second.params["weight"] = first.params["weight"]
        net = Sequential(first, ReLU(), second, Linear(7, 4, rng=rng))
        found.append(trained(kind(net, CrossEntropyLoss(), AdamW(net)))[1])
    assert_same_bits(found[1], found[0])


def test_memory_is_kept_for_a_few_shapes_only() -> None:
    engine = learner(Engine)
    placed = engine.place(*data())
    for m in range(1, 30):
        engine.train_step(placed, np.arange(m))
        assert len(engine._rooms) <= MOST_SHAPES


@pytest.mark.parametrize(
    ("x", "rows", "error", "message"),
    [
        (np.zeros((9, 7), np.float32), [], ValueError, "a training step on no rows"),
        (np.zeros((9, 8), np.float32), [1], LayerError, r"layer 0 \(Linear 7 -> 6\): got \(1, 8\), expected \(m, 7\)"),
        (np.zeros((9, 7)), [1, 2], LayerError, "layer 0 .* got float64, expected float32"),
        (np.full((9, 7), np.nan, np.float32), [1], FloatingPointError, "the input is not finite"),
    ],
)
def test_errors_are_those_of_the_plain_step_before_and_after_others(
    x: Any, rows: list[int], error: type[Exception], message: str
) -> None:
    for steps in (0, 3):
        engine = learner(Engine)
        trained(engine, steps)
        before = engine.state_dict()
        with pytest.raises(error, match=message):
            engine.train_step((x, np.zeros(9, int)), np.array(rows, int))
        assert_same_bits(engine.state_dict(), before)


def test_an_overflow_is_named_as_by_the_plain_step_and_nothing_is_updated() -> None:
    said = []
    for kind in (ScratchLearner, Engine):
        ours = learner(kind)
        trained(ours, 3)
        x = np.float32(3e38) * np.sign(ours.network.params["0.weight"][:1])
        before = ours.state_dict()
        with pytest.raises(FloatingPointError, match=r"the output of layer 0 \(Linear 7 -> 6\) is not finite") as error:
            ours.train_step((x, np.zeros(1, int)), np.arange(1))
        assert_same_bits(ours.state_dict(), before)
        said.append(str(error.value))
    assert said[0] == said[1]


def test_a_target_of_another_shape_is_refused_as_by_the_loss() -> None:
    net = learner(Engine).network
    engine = Engine(net, MSELoss(), SGD(net))
    with pytest.raises(LayerError, match="got a target of float32"):
        engine.train_step((np.zeros((9, 7), np.float32), np.zeros((9, 3), np.float32)), np.arange(4))
