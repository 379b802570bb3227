"""Networks with dropout: the mask is read, judged and given to the other side; without it nothing can be said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import compare
import scratch
from compare.checking import check_records
from compare.network.architecture import Architecture
from compare.network.masks import same_masks
from compare.network.weights import from_torch, to_torch
from compare.numbers.allowance import Precision
from compare.operations.dropout import Dropout
from compare.recording.files import load_records, save_records
from compare.recording.scratch_recorder import record_scratch
from compare.recording.torch_recorder import record_torch
from compare.training.lockstep import train_in_lockstep
from scratch.labs.lab import Samples

Array = np.ndarray
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def network(*after: scratch.Layer, dtype: type = np.float32, p: float = 0.4) -> scratch.Sequential:
    rng = np.random.default_rng(1)
    return scratch.Sequential(
        scratch.Linear(6, 20, rng=rng, dtype=dtype),
        scratch.ReLU(),
        *(after or [scratch.Dropout(p, rng=rng)]),
        scratch.Linear(20, 4, rng=rng, dtype=dtype),
    )


def batch(dtype: type = np.float32, m: int = 9) -> tuple[Array, Array]:
    rng = np.random.default_rng(2)
    return rng.standard_normal((m, 6)).astype(dtype), rng.integers(0, 4, m)


def records(dtype: type = np.float32) -> list[Any]:
    net = network(dtype=dtype)
    return record_scratch(net, scratch.CrossEntropyLoss(), scratch.SGD(net, 0.1), [batch(dtype), batch(dtype, 5)])


@each_dtype
def test_both_sides_are_in_parity_with_the_same_masks(dtype: type) -> None:
    net = scratch.Sequential(network(dtype=dtype), scratch.Dropout(0.2, rng=np.random.default_rng(3)))
    report = compare.check_parity(
        net, scratch.CrossEntropyLoss(), scratch.SGD(net, 0.1), [batch(dtype), batch(dtype, 5)]
    )
    assert (report.verdict, report.reference.verdict) == ("parity", "parity")
    assert report.compared == report.total
    assert max(report.end_to_end.values()) < 1e3 * np.finfo(dtype).eps
    assert report.end_to_end["2.mask"] < 4 * np.finfo(dtype).eps


def test_torchs_own_masks_are_those_that_it_applies() -> None:
    """Also where what enters is 0, so that the output does not show them."""
    model = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Dropout(0.4), nn.Linear(20, 4))
    record = record_torch(model, nn.CrossEntropyLoss(), None, [batch()])[0]
    x, mask = record["1.output"], record["2.mask"]
    assert ((x == 0) & (mask != 0)).any()
    np.testing.assert_array_equal(record["2.output"], x * mask)
    np.testing.assert_array_equal(record["2.grad_input"], record["2.grad_output"] * mask)
    assert check_records([record]).verdict == "parity"


def test_a_record_of_torch_draws_what_training_without_it_would() -> None:
    model, loss = nn.Sequential(nn.Linear(6, 20), nn.Dropout(0.4), nn.Linear(20, 4)), nn.CrossEntropyLoss()
    x, t = batch()
    torch.manual_seed(5)
    record = record_torch(model, loss, None, [(x, t)])[0]
    torch.manual_seed(5)
    assert loss(model(torch.from_numpy(x)), torch.from_numpy(t)).item() == record["loss"]


def test_a_model_left_in_evaluation_trains_all_the_same() -> None:
    model = nn.Sequential(nn.Linear(6, 20), nn.Dropout(0.4), nn.Linear(20, 4)).eval()
    assert (record_torch(model, nn.CrossEntropyLoss(), None, [batch()])[0]["1.mask"] == 0).any()


def test_the_same_masks_while_the_block_lasts() -> None:
    net = network()
    model = to_torch(net)
    x = torch.ones((50, 6))
    with same_masks(net, model):
        theirs = [model[2](torch.ones((30, 20))).numpy() for _ in range(2)]
        ours = [net.layers[2].forward(np.ones((30, 20), np.float32)) for _ in range(2)]
        assert torch.equal(model.eval()(x), model(x))
    np.testing.assert_array_equal(theirs, ours)
    assert "forward" not in vars(model[2])
    assert not torch.equal(model.train()(x), model(x))


def test_other_dropouts_are_refused() -> None:
    others = (nn.Sequential(nn.Linear(6, 20)), "no Dropout"), (nn.Sequential(nn.Dropout(0.3)), r"\[Dropout\(p=0\.3")
    for model, found in others:
        message = rf"the model has {found}.*expected \[Dropout\(0\.4\)\]"
        with pytest.raises(ValueError, match=message), same_masks(network(), model):
            pass


def test_in_lockstep_both_sides_drop_the_same() -> None:
    rng = np.random.default_rng(4)
    x, t = rng.standard_normal((60, 6)), rng.integers(0, 4, 60)
    data = Samples(x, t, x[:8], t[:8])
    net = network(dtype=np.float64)
    result = train_in_lockstep(
        net, to_torch(net), data, optimizer=scratch.SGD(net, 0.1), steps=12, batch_size=20, twins=2
    )
    assert not result.outside
    assert max(row.max_abs for row in result.rows) < 1e-12


def test_a_network_comes_back_from_torch() -> None:
    model = nn.Sequential(nn.Linear(6, 20), nn.Dropout(0.4), nn.Linear(20, 4))
    back = from_torch(model)
    assert isinstance(back.layers[1], scratch.Dropout)
    assert back.layers[1].p == 0.4


# --- files, and texts ---


def test_a_file_keeps_the_masks(tmp_path: Any) -> None:
    save_records(records(), tmp_path / "r.safetensors")
    found = load_records(tmp_path / "r.safetensors")
    assert str(found[0].network) == "Linear(6, 20), ReLU, Dropout(p=0.4), Linear(20, 4); CrossEntropyLoss"
    assert Architecture.of(str(found[0].network)) == found[0].network
    assert "2.mask" in found[0]
    assert check_records(found).verdict == "parity"


def test_without_its_mask_a_record_is_incomplete() -> None:
    found = records()
    del found[0].tensors["2.mask"]
    report = check_records(found)
    assert report.verdict == "incomplete"
    assert "2.mask was not handed in" in str(report)


def test_a_mask_of_ones_or_of_truth_values_is_a_mask_too() -> None:
    found = records()
    for dtype in (bool, np.float32, np.int64):
        for record in found:
            record.tensors["2.mask"] = (record["2.mask"] != 0).astype(dtype)
        assert check_records(found).verdict == "parity"


def test_a_mask_of_another_shape_is_told() -> None:
    found = records()
    found[0].tensors["2.mask"] = found[0]["2.mask"][:, :7]
    report = check_records(found)
    assert (report.verdict, report.first.tensor) == ("mismatch", "2.mask")
    assert "expected (9, 20)" in str(report)


@pytest.mark.parametrize("p", [-0.5, 2, "half"])
def test_a_share_that_is_none_is_refused(p: Any) -> None:
    with pytest.raises(ValueError, match=r"expected a number"):
        Architecture.of(f"Linear(6, 20), Dropout({p!r}), Linear(20, 4); CrossEntropyLoss")
    layer = scratch.Dropout(rng=np.random.default_rng(0))
    layer.p = p
    with pytest.raises(TypeError, match=r"layer 2 \(Dropout\): found p .*, expected a number from 0 to 1"):
        Architecture.of(network(layer), scratch.CrossEntropyLoss())


def test_an_option_that_is_not_modelled_is_refused_in_a_text() -> None:
    with pytest.raises(ValueError, match="unexpected keyword argument 'rate'"):
        Architecture.of("Linear(6, 20), Dropout(rate=0.2), Linear(20, 4); CrossEntropyLoss")


# --- what a candidate may do wrong ---


def test_a_mask_in_float64_promotes_nothing() -> None:
    """rng.random gives it so, and what is multiplied with it is in float64 then, too."""
    found = records()
    for name in ("2.mask", "2.output"):
        found[0].tensors[name] = found[0][name].astype(np.float64)
    report = check_records(found)
    assert (report.first.tensor, report.diagnosis[0].cause) == ("2.output", "dtype")


def test_a_layer_that_shows_no_mask_is_incomplete() -> None:
    class Shy(scratch.Dropout):
        """Its mask is nowhere."""

        def forward(self, x: Array) -> Array:
            y = super().forward(x)
            self.mask = None
            return y

    net = network(Shy(0.2, rng=np.random.default_rng(0)))
    report = compare.check(net, *batch(), loss=scratch.CrossEntropyLoss())
    assert report.verdict == "incomplete"
    assert "2.mask was not handed in" in str(report)


BY_VALUE = {
    "dropout": "Linear(6, 20), ReLU, Dropout(0.4), Linear(20, 4); CrossEntropyLoss",
    "images": "Conv2d(1, 2, 3), Flatten, Linear(20, 4); CrossEntropyLoss",
}


@pytest.mark.parametrize("name", BY_VALUE)
@pytest.mark.parametrize("kind", ["module", "function", "arrays", "script"])
def test_layers_that_are_not_found_by_their_values_are_one_line(kind: str, name: str, tmp_path: Any) -> None:
    class Own(nn.Module):
        """Of its own make."""

        def __init__(self) -> None:
            super().__init__()
            self.only = nn.Linear(6, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.only(x)

    script = tmp_path / "student.py"
    script.write_text("print(1)")
    candidate = {"module": Own(), "function": lambda x, t: None, "arrays": {"W1": np.ones((6, 20))}, "script": script}
    data = () if kind == "script" else batch()
    message = r"network '.*': layer [02] \((Dropout|Conv2d.*)\) is not found by its values, expected linear layers and"
    with pytest.raises(ValueError, match=message):
        compare.check(candidate[kind], *data, network=BY_VALUE[name])


# --- which masks are likely ---


@pytest.mark.parametrize("p", [0.1, 0.5, 0.75])
@pytest.mark.parametrize("n", [1, 10, 100, 1000])
def test_masks_of_the_right_share_are_right(p: float, n: int) -> None:
    rng = np.random.default_rng(n)
    for _ in range(300):
        mask = (rng.random((n, 1)) >= p) / (1 - p)
        np.testing.assert_allclose(Dropout(p).mask(mask, Precision.of(np.float64)).value, mask)


@pytest.mark.parametrize(("p", "kept", "n"), [(0.5, 1.0, 40), (0.5, 0.0, 40), (0.2, 0.2, 60), (0.9, 0.2, 1000)])
def test_masks_of_another_share_are_wrong(p: float, kept: float, n: int) -> None:
    mask = (np.arange(n) < kept * n).astype(float)[:, np.newaxis]
    assert not np.array_equal(Dropout(p).mask(mask, Precision.of(np.float64)).value, mask)


def test_nothing_may_be_kept_with_p_1_and_nothing_dropped_with_p_0() -> None:
    p64 = Precision.of(np.float64)
    ones, zeros = np.ones((3, 2)), np.zeros((3, 2))
    for p, right, wrong in ((1, zeros, ones), (0, ones, zeros)):
        np.testing.assert_array_equal(Dropout(p).mask(right, p64).value, right)
        assert not np.array_equal(Dropout(p).mask(wrong, p64).value, wrong)


@each_dtype
def test_elements_of_images_are_dropped_one_by_one(dtype: type) -> None:
    rng = np.random.default_rng(5)
    net = scratch.Sequential(
        scratch.Conv2d(2, 3, 2, rng=rng, dtype=dtype),
        scratch.Dropout(0.3, rng=rng),
        scratch.Flatten(),
        scratch.Linear(36, 4, rng=rng, dtype=dtype),
    )
    x, t = rng.standard_normal((5, 2, 4, 5)).astype(dtype), rng.integers(0, 4, 5)
    report = compare.check_parity(net, scratch.CrossEntropyLoss(), scratch.SGD(net, 0.1), [(x, t)] * 2)
    assert (report.verdict, report.reference.verdict) == ("parity", "parity")
    assert report.compared == report.total
