"""The learner against a plain PyTorch loop, its sums over a set, its state, and what it refuses."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from torch_ref.learner import TorchLearner

N, BATCH = 23, 5
OPTIMIZERS: dict[str, Callable[[nn.Module], Optimizer]] = {
    "sgd": lambda model: SGD(model.parameters(), lr=0.1),
    "momentum": lambda model: SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda model: Adam(model.parameters(), lr=0.01),
    "adamw": lambda model: AdamW(model.parameters(), lr=0.01, amsgrad=True),
    "rmsprop": lambda model: RMSprop(model.parameters(), lr=0.01, centered=True),
}


def network(dtype: torch.dtype = torch.float64, outputs: int = 3, seed: int = 1) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, outputs)).to(dtype)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


def points(dtype: type = np.float64, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    return rng.standard_normal((N, 4)).astype(dtype), rng.integers(classes, size=N)


def learner(optimizer: str = "adamw", loss: nn.Module | None = None, seed: int = 1) -> TorchLearner:
    model = network(seed=seed)
    return TorchLearner(model, loss or nn.CrossEntropyLoss(), OPTIMIZERS[optimizer](model))


def orders(epochs: int) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rows for _ in range(epochs) for rows in np.array_split(rng.permutation(N), N // BATCH)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_is_a_plain_torch_loop_bit_for_bit(name: str, dtype: str) -> None:
    model, plain = network(getattr(torch, dtype)), network(getattr(torch, dtype))
    optimizer, subject = (
        OPTIMIZERS[name](plain),
        TorchLearner(model, nn.CrossEntropyLoss(), OPTIMIZERS[name](model)),
    )
    x, t = points(getattr(np, dtype))
    data = subject.place(x, t)
    assert (subject.dtype, subject.device) == (dtype, "cpu")
    for rows in orders(epochs=2):
        optimizer.zero_grad()
        y = plain(torch.tensor(x[rows]))
        loss = nn.functional.cross_entropy(y, torch.tensor(t[rows]))
        loss.backward()
        optimizer.step()
        correct = int(np.sum(y.detach().numpy().argmax(1) == t[rows]))
        assert subject.train_step(data, rows) == (loss.item(), correct)
    for key, value in plain.state_dict().items():
        np.testing.assert_array_equal(subject.weights()[key], value.numpy(), strict=True)


@pytest.mark.parametrize("batch_size", [1, 4, 22, 23, 4096])
def test_evaluate_is_exact_over_the_whole_set(batch_size: int) -> None:
    x, t = points()
    with torch.no_grad():
        y = network()(torch.tensor(x))
    total = nn.functional.cross_entropy(y, torch.tensor(t), reduction="sum").item()
    accuracy = np.mean(y.numpy().argmax(1) == t)
    for reduction, expected in (("mean", total / N), ("sum", total)):
        subject = learner(loss=nn.CrossEntropyLoss(reduction=reduction))
        loss, found = subject.evaluate(subject.place(x, t), batch_size)
        assert loss == pytest.approx(expected, rel=1e-14)
        assert found == accuracy


def test_evaluate_changes_nothing_and_drops_nothing_out() -> None:
    model = nn.Sequential(network(), nn.Dropout(0.9), nn.BatchNorm1d(3).double())
    subject = TorchLearner(model, nn.CrossEntropyLoss(), OPTIMIZERS["adam"](model))
    data = subject.place(*points())
    before = subject.state_dict()
    assert subject.evaluate(data) == subject.evaluate(data)
    assert subject.state_dict().keys() == before.keys()
    for name, value in subject.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert all(parameter.grad is None for parameter in model.parameters())
    subject.train_step(data, np.arange(4))
    assert model.training


CORRECT = [
    ([[0.1, 0.7], [0.9, 0.2], [0.3, 0.4]], [1, 1, 0], 0.5, 1),
    ([[0.1, 0.7], [0.9, 0.2], [0.3, 0.4]], [[0.0, 1.0], [1.0, 0.0], [0.6, 0.4]], 0.5, 2),
    ([[0.2], [0.6], [0.5]], [[0.0], [1.0], [1.0]], 0.5, 2),
    ([[0.2], [0.6], [0.5]], [[0.0], [1.0], [1.0]], 0.1, 2),
    ([[-0.1], [0.6], [0.5]], [[0.0], [1.0], [1.0]], 0.0, 3),
]


@pytest.mark.parametrize(("outputs", "targets", "threshold", "expected"), CORRECT)
def test_correct_predictions(outputs: list, targets: list, threshold: float, expected: int) -> None:
    width = len(outputs[0])
    model = nn.Sequential(nn.Linear(width, width))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(width))
        model[0].bias.zero_()
    t = np.array(targets) if isinstance(targets[0], int) else np.array(targets, dtype=np.float32)
    loss = nn.CrossEntropyLoss() if width > 1 else nn.MSELoss()
    subject = TorchLearner(model, loss, SGD(model.parameters(), lr=0.0), threshold=threshold)
    data = subject.place(np.array(outputs, dtype=np.float32), t)
    assert subject.train_step(data, np.arange(3))[1] == expected
    assert subject.evaluate(data, batch_size=2)[1] == expected / 3


def test_place_shares_memory_and_copies_only_what_torch_cannot_share() -> None:
    subject = learner()
    x, t = points()
    placed, labels = subject.place(x, t)
    assert np.shares_memory(placed.numpy(), x)
    assert np.shares_memory(labels.numpy(), t)
    assert subject.place(x, t.astype(np.uint8))[1].dtype == torch.int64
    x.flags.writeable = False
    np.testing.assert_array_equal(subject.place(x, t)[0].numpy(), x)
    np.testing.assert_array_equal(subject.place(x[::-1], t)[0].numpy(), x[::-1])


X, T = points()
PLACES = [
    (X.astype(np.float32), T, TypeError, "x is float32, expected float64, the model's dtype"),
    (X.astype(np.int64), T, TypeError, "x is int64, expected float64"),
    (X, T.astype(np.float32), TypeError, "t is float32, expected integers or float64"),
    (X, T > 0, TypeError, "t is bool, expected integers or float64"),
    (X, T[:-1], ValueError, "x has 23 rows and t 22"),
    (X[:0], T[:0], ValueError, "x has 0 rows and t 0, expected the same number, at least one"),
]


@pytest.mark.parametrize(("x", "t", "error", "message"), PLACES)
def test_place_refuses(x: np.ndarray, t: np.ndarray, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        learner().place(x, t)


@pytest.mark.parametrize(
    ("outputs", "t"),
    [
        (1, np.zeros(N)),
        (1, np.zeros((N, 2))),
        (3, np.zeros((N, 1))),
        (3, np.zeros(N)),
        (1, np.zeros(N, dtype=int)),
    ],
)
def test_a_target_that_would_be_broadcast_is_refused(outputs: int, t: np.ndarray) -> None:
    model = network(outputs=outputs)
    subject = TorchLearner(model, nn.MSELoss(), OPTIMIZERS["sgd"](model))
    data = subject.place(X, t)
    for call in (lambda: subject.train_step(data, np.arange(3)), lambda: subject.evaluate(data)):
        with pytest.raises(ValueError, match=r"target \(.*, expected the output's shape or class indices"):
            call()


def test_empty_batches_are_refused() -> None:
    subject = learner()
    data = subject.place(X, T)
    with pytest.raises(ValueError, match="on no rows, expected at least one"):
        subject.train_step(data, np.array([], dtype=int))
    with pytest.raises(ValueError, match="batch_size is 0, expected at least 1"):
        subject.evaluate(data, batch_size=0)


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_resumed_run_continues_bit_for_bit(name: str, steps: int) -> None:
    whole, resumed = learner(name), learner(name, seed=9)
    data = whole.place(X, T)
    batches = orders(epochs=2)
    for rows in batches[:steps]:
        whole.train_step(data, rows)
    resumed.train_step(data, batches[0])  # what it remembers of this must go
    saved = whole.state_dict()
    resumed.load_state_dict(saved)
    for rows in batches[steps:]:
        assert whole.train_step(data, rows) == resumed.train_step(data, rows)
    final = resumed.state_dict()
    assert list(final) == list(whole.state_dict())
    for entry, value in whole.state_dict().items():
        np.testing.assert_array_equal(final[entry], value, strict=True)
    assert (saved["0.weight"] != final["0.weight"]).any(), "a copy, not the live weights"


def test_the_names_of_the_state() -> None:
    expected = {"sgd": [], "momentum": ["momentum_buffer"], "adam": ["step", "exp_avg", "exp_avg_sq"]}
    for name, keys in expected.items():
        subject = learner(name)
        subject.train_step(subject.place(X, T), np.arange(N))
        found = [entry for entry in subject.state_dict() if entry.startswith("2.bias")]
        assert found == ["2.bias", *(f"2.bias.{key}" for key in keys)]
    assert subject.state_dict()["2.bias.step"] == 1


def without(name: str) -> Callable[[dict], dict]:
    return lambda state: {key: value for key, value in state.items() if key != name}


STATES = [
    (without("2.weight"), r"2.weight: not in the state, expected \(3, 6\) float64"),
    (without("0.bias.exp_avg_sq"), r"0.bias.exp_avg_sq: not in the state, expected \(6,\) float64"),
    (
        lambda s: s | {"4.weight": s["2.weight"]},
        "4.weight: found in the state, expected only 0.weight, 0.bias",
    ),
    (
        lambda s: s | {"0.weight": s["0.weight"].T},
        r"0.weight: found \(4, 6\) float64, expected \(6, 4\) float64",
    ),
    (
        lambda s: s | {"0.bias": s["0.bias"].astype("f4")},
        r"0.bias: found \(6,\) float32, expected \(6,\) float64",
    ),
    (
        lambda s: s | {"2.bias.exp_avg": s["2.bias"][:1]},
        r"2.bias.exp_avg: found \(1,\) float64, expected \(3,\)",
    ),
    (lambda s: s | {"2.bias.step": s["2.bias"]}, r"2.bias.step: found \(3,\) float64, expected \(\) float32"),
    (lambda s: {}, "0.weight: not in the state"),
]


@pytest.mark.parametrize(("change", "message"), STATES)
def test_a_wrong_state_is_named_and_nothing_is_loaded(change: Callable[[dict], dict], message: str) -> None:
    donor, subject = learner("adam"), learner("adam", seed=9)
    for each, rows in ((donor, np.arange(N)), (subject, np.arange(3))):
        each.train_step(each.place(X, T), rows)
    before = subject.state_dict()
    with pytest.raises(ValueError, match=message):
        subject.load_state_dict(change(donor.state_dict()))
    assert list(subject.state_dict()) == list(before)
    for entry, value in subject.state_dict().items():
        np.testing.assert_array_equal(value, before[entry])


def test_another_optimizers_state_is_refused() -> None:
    donor = learner("adam")
    donor.train_step(donor.place(X, T), np.arange(N))
    with pytest.raises(ValueError, match=r"0.weight.step: found in the state, expected only"):
        learner("momentum").load_state_dict(donor.state_dict())


def test_parts_that_do_not_belong_together() -> None:
    model, mixed = network(), nn.Sequential(network(), network(torch.float32))
    own, foreign = OPTIMIZERS["sgd"](model), OPTIMIZERS["sgd"](network())
    mean = nn.CrossEntropyLoss()
    weighted = nn.CrossEntropyLoss(weight=torch.ones(3))
    table: list[tuple[nn.Module, nn.Module, Optimizer, type[Exception], str]] = [
        (
            model,
            nn.CrossEntropyLoss(reduction="none"),
            own,
            ValueError,
            "reduction is 'none', expected 'mean' or 'sum'",
        ),
        (model, nn.Identity(), own, ValueError, "reduction is None"),
        (model, weighted, own, ValueError, "weighted by class"),
        (model, mean, foreign, ValueError, "4 of the optimizer's parameters are not the model's"),
        (mixed, mean, own, TypeError, "parameters are float32 and float64"),
        (network(torch.float16), mean, own, TypeError, "parameters are float16"),
        (nn.ReLU(), mean, own, ValueError, "the model has no parameters"),
    ]
    for parts in table:
        with pytest.raises(parts[3], match=parts[4]):
            TorchLearner(*parts[:3])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_a_device_is_one_clear_line() -> None:
    model = network()
    with pytest.raises(ValueError, match="device is cuda, but this PyTorch finds no CUDA device"):
        TorchLearner(model, nn.CrossEntropyLoss(), OPTIMIZERS["adam"](model), device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_cuda_trains_as_the_cpu_does(name: str) -> None:
    model = network()
    there, here = (
        TorchLearner(model, nn.CrossEntropyLoss(), OPTIMIZERS[name](model), device="cuda"),
        learner(name),
    )
    for rows in orders(epochs=2):
        far = there.train_step(there.place(X, T), rows)
        near = here.train_step(here.place(X, T), rows)
        assert far == pytest.approx(near, rel=1e-12)
        there.load_state_dict(there.state_dict())
    assert there.evaluate(there.place(X, T)) == pytest.approx(here.evaluate(here.place(X, T)), rel=1e-12)
    assert there.device.startswith("cuda")
    for entry, value in here.state_dict().items():
        np.testing.assert_allclose(there.state_dict()[entry], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw"])
def test_a_fused_update_is_the_plain_one_within_rounding_and_resumes_to_the_same_bits(name: str, dtype: str) -> None:
    def made(fused: bool) -> TorchLearner:
        model = network(getattr(torch, dtype))
        return TorchLearner(model, nn.CrossEntropyLoss(), OPTIMIZERS[name](model), fused=fused)

    plain, fused, resumed = made(False), made(True), made(True)
    data = plain.place(*points(getattr(np, dtype)))
    steps = orders(epochs=3)
    for rows in steps[:5]:
        for each in (plain, fused):
            each.train_step(data, rows)
    resumed.load_state_dict(fused.state_dict())
    for rows in steps[5:]:
        for each in (plain, fused, resumed):
            each.train_step(data, rows)
    assert "fused=True" in fused.description["optimizer"]
    limit = 1e3 * torch.finfo(getattr(torch, dtype)).eps  # of weights of about 1, over 12 steps
    for weight, a in plain.weights().items():
        assert np.abs(fused.weights()[weight] - a).max() <= limit
        assert resumed.weights()[weight].tobytes() == fused.weights()[weight].tobytes()


def test_only_a_new_optimizer_that_has_a_fused_form_is_fused() -> None:
    model = network()
    with pytest.raises(ValueError, match="the optimizer is RMSprop, which has no fused form"):
        TorchLearner(model, nn.CrossEntropyLoss(), OPTIMIZERS["rmsprop"](model), fused=True)
    used = learner()
    used.train_step(used.place(*points()), np.arange(BATCH))
    with pytest.raises(ValueError, match="has taken steps already, expected a new one to fuse"):
        TorchLearner(used.model, nn.CrossEntropyLoss(), used.optimizer, fused=True)


def test_a_trial_before_training_leaves_running_statistics_as_they_were() -> None:
    model = nn.Sequential(network(), nn.BatchNorm1d(3).double())
    subject = TorchLearner(model, nn.CrossEntropyLoss(), OPTIMIZERS["adam"](model))
    before = subject.state_dict()
    subject.expect_compiled(points()[0])
    assert subject.state_dict().keys() == before.keys()
    for name, value in subject.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.slow
def test_a_compiled_model_trains_to_the_same_weights_within_rounding() -> None:
    model = network()
    try:
        compiled = TorchLearner(model, nn.CrossEntropyLoss(), OPTIMIZERS["adamw"](model), compiled=True)
        compiled.train_step(compiled.place(*points()), np.arange(BATCH))
    except (RuntimeError, ImportError) as error:
        pytest.skip(f"torch.compile does not work here: {str(error)[:80]}")
    plain = learner()
    plain.train_step(plain.place(*points()), np.arange(BATCH))
    for name, a in plain.weights().items():
        assert np.abs(compiled.weights()[name] - a).max() <= 1e-12
    assert list(compiled.weights()) == list(plain.weights())


def test_a_model_of_class_numbers_takes_them_and_nothing_else() -> None:
    """The class is whether the first number is even."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Embedding(6, 4), nn.Flatten(), nn.Linear(12, 2))
    learns = TorchLearner(model, nn.CrossEntropyLoss(), SGD(model.parameters(), 1.0))
    x = np.random.default_rng(1).integers(0, 6, (60, 3)).astype(np.int32)
    data = learns.place(x, x[:, 0] % 2)
    for _ in range(60):
        learns.train_step(data, np.arange(60))
    assert learns.evaluate(data)[1] == 1
    with pytest.raises(TypeError, match="x is float32, expected class numbers: whole numbers"):
        learns.place(x.astype(np.float32), x[:, 0] % 2)
