"""The options of an optimiser: torch's usual ones where they are left out, and none is dropped that matters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from compare.checking import check_records
from compare.network.architecture import Architecture
from compare.network.optimizer import OptimizerSpec
from compare.operations import OPTIMIZERS
from compare.recording.files import load_records
from compare.recording.record import Record

PARTIAL = [
    ("SGD", {}, {"lr": 0.1, "momentum": 0, "dampening": 0, "weight_decay": 0, "nesterov": False}),
    ("SGD", {"momentum": 0.9}, {"lr": 0.1, "momentum": 0.9, "dampening": 0, "weight_decay": 0, "nesterov": False}),
    ("Adam", {}, {"lr": 0.1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0}),
    ("Adam", {"beta1": 0.8}, {"lr": 0.1, "beta1": 0.8, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0}),
    (
        "Adagrad",
        {},
        {"lr": 0.1, "lr_decay": 0, "eps": 1e-10, "weight_decay": 0, "initial_accumulator_value": 0},
    ),
    (
        "RMSprop",
        {"alpha": 0.9},
        {"lr": 0.1, "alpha": 0.9, "eps": 1e-8, "weight_decay": 0, "momentum": 0, "centered": False},
    ),
    (
        "NAdam",
        {},
        {"lr": 0.1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0, "momentum_decay": 0.004}
        | {"decoupled_weight_decay": False},
    ),
    ("AdamW", {}, {"lr": 0.1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01}),
]


@pytest.mark.parametrize(("kind", "given", "whole"), PARTIAL)
def test_options_that_are_left_out_are_torchs(kind: str, given: dict[str, float], whole: dict[str, float]) -> None:
    assert OptimizerSpec(kind, {"lr": 0.1} | given).options == whole


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_record_with_part_of_the_options_is_judged(kind: str) -> None:
    W, g = np.ones((2, 3)), np.full((2, 3), 0.5)
    parameter = torch.nn.Parameter(torch.from_numpy(W.copy()))
    parameter.grad = torch.from_numpy(g)
    getattr(torch.optim, kind)([parameter], lr=0.1).step()
    tensors = {"0.weight": W, "0.grad_weight": g, "0.new_weight": parameter.detach().numpy()}
    record = Record(Architecture.of("3-2, mse"), tensors, OptimizerSpec(kind, {"lr": 0.1}))
    rows = [row for row in check_records([record]).rows if row.tensor == "0.new_weight"]
    assert [row.status for row in rows] == ["ok"]


def sgd(**options: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1)], lr=0.1, **options)


def adam(**options: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam([torch.zeros(1)], lr=0.1, **options)


@pytest.mark.parametrize(
    ("optimizer", "named"),
    [
        (sgd(maximize=True), r"SGD\(maximize=True\)"),
        (adam(amsgrad=True), r"Adam\(amsgrad=True\)"),
        (torch.optim.AdamW([torch.zeros(1)], lr=0.1, amsgrad=True), r"AdamW\(amsgrad=True\)"),
    ],
)
def test_an_option_that_is_not_modelled_is_named(optimizer: torch.optim.Optimizer, named: str) -> None:
    with pytest.raises(ValueError, match=f"^got {named}, which is not checked$"):
        OptimizerSpec.of(optimizer)


def test_decoupled_weight_decay_of_adam_is_named() -> None:
    if "decoupled_weight_decay" not in adam().defaults:
        pytest.skip("this version of torch has no such option")
    with pytest.raises(ValueError, match=r"^got Adam\(decoupled_weight_decay=True\), which is not checked$"):
        OptimizerSpec.of(adam(decoupled_weight_decay=True, weight_decay=0.1))
    assert OptimizerSpec.of(torch.optim.AdamW([torch.zeros(1)], lr=0.1)).options["weight_decay"] == 0.01


@pytest.mark.parametrize("options", [{"foreach": True}, {"maximize": False}, {"differentiable": True}])
def test_an_option_that_makes_no_difference_is_left_out(options: dict[str, bool]) -> None:
    assert OptimizerSpec.of(sgd(**options)) == OptimizerSpec("SGD", {"lr": 0.1})


@pytest.mark.parametrize("options", [{"maximize": True}, {"speed": 2}])
def test_an_option_of_a_record_that_is_not_modelled_is_named(options: dict[str, float], tmp_path: Path) -> None:
    path, ((name, value),) = tmp_path / "r.safetensors", options.items()
    metadata = {"network": "3-2, mse", "optimizer": json.dumps({"kind": "SGD", "lr": 0.1} | options)}
    save_file({"0.weight": np.ones((2, 3))}, path, metadata)
    with pytest.raises(ValueError, match=rf"got SGD\({name}={value}\), which is not checked"):
        load_records(path, None)
