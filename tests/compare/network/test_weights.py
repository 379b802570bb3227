"""Weights from one side to the other: the same bits, or an error that says where not, and nothing written."""

import numpy as np
import pytest
import torch
from torch import nn

import scratch
from compare import from_torch, to_torch
from compare.network.weights import (
    copy_from_torch,
    copy_to_torch,
    to_torch_loss,
    to_torch_optimizer,
    verify_same_bits,
)
from compare.operations import LOSSES

DTYPES = [np.float32, np.float64]


def network(dtype: type = np.float32, seed: int = 1, hidden: int = 6) -> scratch.Sequential:
    rng = np.random.default_rng(seed)
    return scratch.Sequential(
        scratch.Linear(5, hidden, rng=rng, dtype=dtype),
        scratch.ReLU(),
        scratch.Linear(hidden, 4, rng=rng, bias=False, dtype=dtype),
        scratch.Tanh(),
        scratch.Linear(4, 3, rng=rng, dtype=dtype),
        scratch.Sigmoid(),
        scratch.Softmax(),
    )


def odd_values(net: scratch.Sequential) -> None:
    """Bits that a conversion through numbers would lose: -0.0, a subnormal, infinity, a NaN with a payload."""
    weight = net.params["0.weight"]
    weight[0, :4] = [-0.0, np.finfo(weight.dtype).smallest_subnormal, np.inf, np.nan]
    bits = weight.view(f"u{weight.itemsize}")
    bits[0, 3] |= 0x123


def model_bits(model: nn.Module) -> dict[str, bytes]:
    return {name: p.detach().numpy().tobytes() for name, p in model.named_parameters()}


def network_bits(net: scratch.Layer) -> dict[str, bytes]:
    return {name: p.tobytes() for name, p in net.params.items()}


@pytest.mark.parametrize("dtype", DTYPES)
def test_there_and_back_are_the_same_bits(dtype: type) -> None:
    net = network(dtype)
    odd_values(net)
    model = to_torch(net)
    assert list(model.state_dict()) == list(net.params)
    assert model_bits(model) == network_bits(net)
    back = from_torch(model)
    assert network_bits(back) == network_bits(net)
    assert repr(back) == repr(net)


@pytest.mark.parametrize("dtype", DTYPES)
def test_both_sides_have_their_own_arrays(dtype: type) -> None:
    net = network(dtype)
    model = to_torch(net)
    back = from_torch(model)
    before = network_bits(net)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1)
    assert network_bits(net) == network_bits(back) == before


def test_nested_networks_keep_their_names() -> None:
    net = scratch.Sequential(network(), scratch.ReLU())
    model = to_torch(net)
    assert list(model.state_dict()) == list(net.params)
    assert network_bits(from_torch(model)) == network_bits(net)


@pytest.mark.parametrize("dtype", DTYPES)
def test_copies_into_what_exists(dtype: type) -> None:
    net, other = network(dtype, seed=1), network(dtype, seed=2)
    model = to_torch(other)
    copy_to_torch(net, model)
    assert model_bits(model) == network_bits(net)
    copy_from_torch(model, other)
    assert network_bits(other) == network_bits(net)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["0.weight", "2.weight", "4.bias"])
@pytest.mark.parametrize("sign", [1, -1])
def test_one_ulp_in_one_weight_is_found(name: str, sign: int, dtype: type) -> None:
    net = network(dtype)
    model = to_torch(net)
    verify_same_bits(net, model)
    index = (2, 3)[: net.params[name].ndim]
    net.params[name][index] = np.nextafter(net.params[name][index], dtype(sign * np.inf))
    place = rf"{name}\[{', '.join(map(str, index))}\]: got .*, expected the bits of"
    with pytest.raises(ValueError, match=place):
        verify_same_bits(net, model)


def test_the_sign_of_a_zero_is_a_bit() -> None:
    net = network()
    net.params["4.bias"][1] = 0.0
    model = to_torch(net)
    net.params["4.bias"][1] = -0.0
    with pytest.raises(ValueError, match=r"4\.bias\[1\]: got .*0\.0.*, expected the bits of .*-0\.0"):
        verify_same_bits(net, model)


WRONG = [
    (network(hidden=7), r"0\.weight: .* has float32 \(., 5\), expected float32 \(., 5\)"),
    (network(np.float64), r"0\.weight: .* has float.. \(6, 5\), expected float.. \(6, 5\)"),
    (scratch.Sequential(*network().layers[:3]), r"has parameters \[.*\], expected \['0.weight', '0.bias', '2.weight'"),
    (scratch.Sequential(scratch.ReLU(), *network().layers), r"has parameters \[.*\], expected \["),
]


@pytest.mark.parametrize(("other", "message"), WRONG)
def test_what_does_not_fit_is_refused_and_nothing_is_written(other: scratch.Sequential, message: str) -> None:
    net = network()
    model = to_torch(other)
    before = network_bits(net), model_bits(model)
    for copy in (lambda: copy_to_torch(net, model), lambda: copy_from_torch(model, net)):
        with pytest.raises(ValueError, match=r"has parameters|expected float"):
            copy()
    with pytest.raises(ValueError, match=message):
        copy_to_torch(net, model)
    assert (network_bits(net), model_bits(model)) == before


def test_unknown_layers_losses_and_optimisers_are_refused() -> None:
    class Swish(scratch.Layer):
        """Not one of ours."""

    class Odd(scratch.Loss):
        """Not one of ours."""

    class Lion(scratch.Optimizer):
        """Not one of ours."""

    with pytest.raises(TypeError, match=r"got layer Swish, expected Add, AvgPool2d, BatchNorm1d, "):
        to_torch(scratch.Sequential(Swish()))
    with pytest.raises(TypeError, match=r"got module Softmax\(dim=0\), expected Add, AvgPool2d, BatchNorm1d, "):
        from_torch(nn.Sequential(nn.Softmax(dim=0)))
    with pytest.raises(TypeError, match=r"got module Hardswish\(\), expected Add, AvgPool2d, BatchNorm1d, "):
        from_torch(nn.Sequential(nn.Hardswish()))
    with pytest.raises(TypeError, match="got loss Odd, expected one of BCELoss"):
        to_torch_loss(Odd())
    net = network()
    with pytest.raises(
        TypeError, match="got optimiser Lion, expected one of Adagrad, Adam, AdamW, NAdam, RMSprop, SGD"
    ):
        to_torch_optimizer(Lion(net, 0.1, 0.0), to_torch(net))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("loss", [kind.scratch_type for kind in LOSSES.values()])
def test_a_loss_keeps_its_reduction(loss: type[scratch.Loss], reduction: str) -> None:
    assert to_torch_loss(loss(reduction)).reduction == reduction


def test_an_optimiser_keeps_its_options() -> None:
    net = network()
    model = to_torch(net)
    for optimizer in (
        scratch.SGD(net, 0.2, momentum=0.8, nesterov=True, weight_decay=0.1),
        scratch.SGD(net, 0.2, momentum=0.8, dampening=0.3),
        scratch.Adam(net, 0.2, betas=(0.8, 0.7), eps=1e-5, weight_decay=0.1),
        scratch.AdamW(net, 0.2, betas=(0.8, 0.7), eps=1e-5, weight_decay=0.1),
    ):
        theirs = to_torch_optimizer(optimizer, model)
        assert type(theirs).__name__ == type(optimizer).__name__
        group = dict(theirs.param_groups[0])
        if "betas" in group:
            group["beta1"], group["beta2"] = group["betas"]
        assert {name: group[name] for name in optimizer.options} == optimizer.options
