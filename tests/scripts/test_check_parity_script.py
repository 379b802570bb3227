"""check_parity.py as it is typed: the verdict, the JSON, records as files, planted mistakes, and how it fails."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from compare.measuring.faults import corpus

Script = Callable[..., Any]

REPORT = {"verdict", "dtype", "first_divergence", "diagnosis", "rows", "coverage", "environment"}
ROW = {
    "step",
    "layer",
    "kind",
    "tensor",
    "shape",
    "check",
    "max_abs_diff",
    "index",
    "allowed",
    "ratio",
    "status",
}
NETWORK = "64-256-10 relu, softmax cross-entropy"


@pytest.mark.parametrize("lab", ["digits", "xor"])
def test_a_lab_is_in_parity_with_nothing_left_unchecked(script: Script, tmp_path: Path, lab: str) -> None:
    outcome = script("check_parity", lab, "--json", tmp_path / "r.json")
    assert outcome.code == 0
    assert outcome.out.count("PARITY in float") == 2
    assert "this check would show" in outcome.out
    both = json.loads((tmp_path / "r.json").read_text())
    assert both["verdict"] == "parity"
    assert [report["dtype"] for report in both["reports"]] == ["float64", "float32"]
    for report in both["reports"]:
        assert set(report) >= REPORT
        assert report["first_divergence"] is None
        assert report["coverage"]["compared"] == report["coverage"]["total"]
        assert all(set(row) == ROW for row in report["rows"])
        assert {row["status"] for row in report["rows"]} == {"ok"}
        assert {row["kind"] for row in report["rows"]} >= {"input", "output", "parameter", "gradient", "loss", "update"}
        assert report["reference"]["verdict"] == "parity"


def test_verbose_shows_every_tensor(script: Script) -> None:
    out = script("check_parity", "digits", "--dtype", "float64", "-v").out
    for name in ("0.weight", "2.grad_output", "0.new_weight.exp_avg_sq", "loss"):
        assert f" {name} " in out


def test_a_planted_mistake_is_a_mismatch_and_is_explained(script: Script, tmp_path: Path) -> None:
    outcome = script("check_parity", "digits", "--inject", "bias-missing", "--json", tmp_path / "r.json")
    assert outcome.code == 1
    assert "MISMATCH" in outcome.out
    assert "the bias is not added: y = x W^T" in outcome.out
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["verdict"] == "mismatch"
    first = found["reports"][0]["first_divergence"]
    assert first == {"step": 1, "layer": "0", "kind": "output", "tensor": "0.output", "check": "isolated"}
    assert found["reports"][0]["diagnosis"][0]["cause"] == "bias-missing"


def test_the_page_has_both_precisions_the_command_and_the_seed(script: Script, tmp_path: Path) -> None:
    page, record = tmp_path / "r.html", tmp_path / "r.json"
    arguments = ["digits", "--inject", "bias-missing", "--html", page, "--json", record]
    assert script("check_parity", *arguments).code == 1
    source = page.read_text(encoding="utf-8")
    assert "the bias is not added: y = x W^T" in source
    assert "in float64" in source
    assert "in float32" in source
    assert f"python scripts/check_parity.py digits --inject bias-missing --html {page}" in source
    assert "<dt>seed</dt><dd>0</dd>" in source
    assert "planted: " in source
    assert record.is_file()


def test_the_page_of_a_record_says_that_nothing_was_drawn(script: Script, tmp_path: Path) -> None:
    record, page = tmp_path / "<b>.safetensors", tmp_path / "r.html"
    script("check_parity", "xor", "--dtype", "float64", "--save-record", record)
    assert script("check_parity", "--record", record, "--html", page).code == 0
    source = page.read_text(encoding="utf-8")
    assert "none: the numbers are those of the record" in source
    assert "&lt;b&gt;.safetensors" in source
    assert "<b>" not in source


def test_a_page_that_cannot_be_written_is_one_line_and_exit_code_2(script: Script, tmp_path: Path) -> None:
    for path in (tmp_path / "absent" / "r.html", tmp_path):
        outcome = script("check_parity", "xor", "--dtype", "float64", "--seed", 1, "--html", path)
        assert outcome.code == 2
        assert str(path) in outcome.err
        assert outcome.err.count("\n") == 1
        assert "Traceback" not in outcome.err


@pytest.mark.slow
def test_every_mistake_is_listed_and_one_of_each_family_found(script: Script) -> None:
    """test_faults.py has all of them."""
    listed = script("check_parity", "--inject", "list")
    assert listed.code == 0
    names = [line.split()[0] for line in listed.out.splitlines()]
    assert names == [fault.name for fault in corpus()]
    assert len(names) >= 60
    for fault in {fault.family: fault for fault in corpus()}.values():
        done = script("check_parity", "digits", "--dtype", fault.dtypes[0], "--inject", fault.name)
        assert done.code == 1, fault.name


def test_what_was_saved_is_judged_like_the_run_itself(script: Script, tmp_path: Path) -> None:
    record = tmp_path / "r.safetensors"
    assert script("check_parity", "digits", "--dtype", "float32", "--save-record", record).code == 0
    assert script("check_parity", "--record", record).code == 0
    assert script("check_parity", "--record", record, "--network", NETWORK).code == 0
    tensors = load_file(record)
    tensors["1/0.grad_weight"] = tensors["1/0.grad_weight"] * np.float32(2)
    save_file(tensors, tmp_path / "wrong.safetensors")
    outcome = script("check_parity", "--record", tmp_path / "wrong.safetensors", "--network", NETWORK)
    assert outcome.code == 1
    assert "0.grad_weight" in outcome.out


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_a_partial_record_is_incomplete_and_its_coverage_is_told(script: Script, tmp_path: Path, suffix: str) -> None:
    record = tmp_path / "whole.safetensors"
    script("check_parity", "xor", "--dtype", "float64", "--save-record", record)
    whole = {name.removeprefix("1/"): a for name, a in load_file(record).items() if name.startswith("1/")}
    kept = {n: a for n, a in whole.items() if n in ("input", "target", "0.grad_weight") or n[2:] in ("weight", "bias")}
    part = tmp_path / f"part.{suffix}"
    (np.savez if suffix == "npz" else lambda path, **arrays: save_file(arrays, path))(part, **kept)
    outcome = script(
        "check_parity", "--record", part, "--network", "2-4-2 relu, softmax output, cross-entropy on probabilities"
    )
    assert outcome.code == 1
    assert "INCOMPLETE" in outcome.out
    assert "1 of " in outcome.out
    assert "not handed in: " in outcome.out


BAD = [
    ([], "the lab is missing"),
    (["no_such_lab"], "got lab 'no_such_lab', expected one of"),
    (["digits", "--batch-size", "0"], "expected a whole number of at least 1"),
    (["digits", "--device", "nope"], "--device nope: PyTorch cannot use it"),
    (["digits", "--device", "cuda:99"], "--device cuda:99: PyTorch cannot use it ("),
    (["digits", "--tf32"], "--tf32: a cpu device has none, expected --device cuda with it"),
    (["--record", "absent.npz", "--network", NETWORK, "--tf32"], "--tf32 does not go with --record, expected LAB"),
    (["digits", "--inject", "bias-missing", "--device", "cpu"], "--device does not go with --inject"),
    (["digits", "--dtype", "float16"], "invalid choice: 'float16'"),
    (["digits", "--inject", "bias-mising"], "got fault 'bias-mising', expected one like"),
    (["digits", "--inject", "gradient-in-float32", "--dtype", "float32"], "got --dtype float32, expected float64"),
    (["--record", "absent.npz", "--network", NETWORK], "absent.npz: no such file"),
    (["--record", "LICENSE", "--network", NETWORK], "not a record"),
    (["--record", "absent.npz", "--network", "784-10, focal"], "got loss 'focal'"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input_is_one_line_and_exit_code_2(script: Script, arguments: list[str], message: str) -> None:
    outcome = script("check_parity", *arguments)
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert "Traceback" not in outcome.err


def test_an_unknown_tensor_in_a_record_is_bad_input(script: Script, tmp_path: Path) -> None:
    save_file({"0.wieght": np.zeros((10, 64))}, tmp_path / "r.safetensors")
    outcome = script("check_parity", "--record", tmp_path / "r.safetensors", "--network", "64-10, cross-entropy")
    assert outcome.code == 2
    assert "0.wieght: no such tensor" in outcome.err
