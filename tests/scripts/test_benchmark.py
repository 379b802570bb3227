"""benchmark.py: every contender learns, what is missing is left out by name, and the table says what was measured."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Script = Callable[..., Any]
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def job() -> Any:
    return importlib.import_module("_benchmark_job")


@pytest.fixture
def report() -> Any:
    return importlib.import_module("_benchmark_report")


@pytest.fixture
def order(tmp_path: Path) -> dict[str, Any]:
    """Few images, the last batch smaller; a bright row says the class."""
    labels = np.random.default_rng(0).integers(0, 10, 150)
    images = np.zeros((150, 28, 28), np.uint8)
    images[np.arange(150), labels] = 255
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    return {"data": str(tmp_path / "data.npz"), "batch_size": 32, "threads": 1, "seed": 0}


def answers(**medians: float) -> dict[str, list[dict[str, Any]]]:
    return {name: [{"seconds": s * f, "later_seconds": 2 * s} for f in (0.9, 1.0, 1.3)] for name, s in medians.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["scratch", "plain", "torch_ref", "torch_default", "torch_fused", "scikit_learn", "assignment"]
)
def test_every_contender_trains_over_all_samples(job: Any, order: dict[str, Any], name: str) -> None:
    epoch = job.EPOCHS[name](order)
    assert job.seconds_of(epoch) > 0


def test_processes_share_the_products_of_an_epoch(job: Any, order: dict[str, Any]) -> None:
    epoch = job.EPOCHS["scratch_processes"]({**order, "threads": 2})
    assert job.seconds_of(epoch) > 0
    found = job.parts(epoch, order)
    assert 0 < found["products_share"] < found["products_share"] + found["update_share"] < 1


@pytest.mark.parametrize("name", ["jax_step", "jax_scan"])
def test_jax_trains_as_well_where_it_is_installed(job: Any, order: dict[str, Any], name: str) -> None:
    pytest.importorskip("jax")
    assert job.seconds_of(job.EPOCHS[name](order)) > 0


def test_the_pixels_are_those_of_the_readers(job: Any, order: dict[str, Any]) -> None:
    x, t = job.rows(order)
    assert (x.dtype, x.shape, t.dtype) == (np.float32, (150, 784), np.int64)
    assert {0.0, 1.0} == set(np.unique(x))


def test_the_products_are_those_of_an_epoch(job: Any, order: dict[str, Any]) -> None:
    from scratch.flat import FlatOptimizer

    shapes, matmul, update = [], np.matmul, FlatOptimizer.update
    epoch = job.scratch(order)

    def watched() -> None:
        timed = np.matmul

        def noted(a: Any, b: Any, **options: Any) -> Any:
            shapes.append((*a.shape, b.shape[1]))
            return timed(a, b, **options)

        np.matmul = noted
        epoch()

    found = job.parts(watched, order)
    assert np.matmul is matmul
    assert FlatOptimizer.update is update
    operations = found["products_gflops"] * 1e9 * found["products_seconds"]
    assert operations == pytest.approx(sum(2 * m * k * n for m, k, n in shapes), rel=1e-6)
    assert operations == pytest.approx(150 * (4 * 784 * 256 + 6 * 256 * 10), rel=1e-6)
    assert 0 < found["products_share"] < found["products_share"] + found["update_share"] < 1


def test_a_check_costs_a_multiple_of_a_forward_and_backward_and_finds_parity(job: Any, order: dict[str, Any]) -> None:
    found = job.check({**order, "sizes": [20, 16, 10], "batch_size": 8})
    assert found["ratio"] == pytest.approx(found["check_seconds"] / found["reference_seconds"])
    assert found["parameter_bytes"] == 4 * (20 * 16 + 16 + 16 * 10 + 10)


def test_a_convolution_is_timed_on_both_sides_in_turns(job: Any, order: dict[str, Any]) -> None:
    found = job.convolution({**order, "shape": [4, 2, 6, 6], "channels": 3})
    assert found["ratio"] == pytest.approx(found["scratch"] / found["torch"])
    assert found["ratio"] > 0


@pytest.mark.slow
def test_a_hundred_million_parameters_are_checked_in_four_times_their_memory(order: dict[str, Any]) -> None:
    sizes, m = importlib.import_module("benchmark").LARGE
    large = json.dumps({**order, "sizes": sizes, "batch_size": m})
    command = [sys.executable, str(SCRIPTS / "_benchmark_job.py"), "large_check", large]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["verdict"] == "parity"
    assert found["parameter_bytes"] >= 4 * 100e6
    assert found["peak_more_bytes"] <= 4 * found["parameter_bytes"] + found["activation_bytes"]


def test_medians_ratios_and_aims(report: Any) -> None:
    epochs = answers(**{"scratch": 0.4, "scratch, fast BLAS": 0.3, "PyTorch, fused AdamW": 0.5})
    lines = report.lines(epochs)
    assert [line.name for line in lines] == ["scratch, fast BLAS", "scratch", "PyTorch, fused AdamW"]
    assert [line.ratio for line in lines] == pytest.approx([0.75, 1, 1.25])
    assert lines[1].cells == ("scratch", "0.400 s", "0.360 to 0.520 s", "1.00", "0.800 s")
    found = {"epochs": epochs, "left_out": {"JAX": "jax is not installed"}, "memory": {}, "imports": {}, "checks": []}
    found["large_check"] = {}
    measured = {"scratch": 0.002, "torch": 0.001, "ratio": 2.0}
    found["convolutions"] = [{"shape": [128, 8, 13, 13], "channels": 16, "threads": 1, **measured}]
    assert report.facts(found) == [
        "left out: JAX: jax is not installed",
        "scratch, fast BLAS / PyTorch, fused AdamW: 0.600 (aim: at most 0.75, met); fifth epoch 0.600",
        "Conv2d of 128 x 8 x 13 x 13 to 16 channels, 3 x 3, forward and backward: 2.0 ms, 2.00 x PyTorch's, "
        "one thread each",
    ]


def test_what_is_published_is_on_the_page_and_the_rest_of_it_stays(report: Any, tmp_path: Path) -> None:
    found = {"epochs": answers(scratch=0.4, torch_ref=0.6), "left_out": {}, "memory": {}, "imports": {}, "checks": []}
    found |= {"large_check": {}, "sweeps": {}, "rounds": 3, "threads": 2, "batch_size": 128, "data": "random pixels"}
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "how-fast.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.publish(found, tmp_path)
    text = page.read_text()
    assert text == f"before\n{report.BEGIN}\n{report.table(found)}{report.END}\nafter\n"
    assert "| torch_ref | 0.600 s | 0.540 to 0.780 s | 1.50 | 1.200 s |" in text
    assert json.loads((tmp_path / "docs" / "benchmark.json").read_text()) == found


def test_the_table_on_the_page_is_the_benchmarks_output(report: Any) -> None:
    checkout = SCRIPTS.parent
    found = json.loads((checkout / "docs" / "benchmark.json").read_text(encoding="utf-8"))
    text = (checkout / "docs" / "how-fast.md").read_text(encoding="utf-8")
    assert text.partition(report.BEGIN)[2].partition(report.END)[0] == f"\n{report.table(found)}"
    assert (checkout / "docs" / "benchmark.md").read_text(encoding="utf-8") == report.page(found)


@pytest.mark.parametrize(
    ("sizes", "name"), [((784, 256, 10), "784-256-10"), ((5, 5, 4), "5-5-4"), ((7, 2, 2, 2, 1), "7-3x2-1"), ((3,), "3")]
)
def test_a_long_network_has_a_short_name(report: Any, sizes: tuple[int, ...], name: str) -> None:
    assert report.named(sizes) == name


def test_without_scratch_there_is_no_ratio(report: Any) -> None:
    assert report.lines(answers(torch_ref=1.0))[0].cells[-2] == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "tensorflow"], "--only tensorflow: expected some of scratch_processes, scratch, plain, torch_ref"),
        (["--rounds", "0"], "argument --rounds: got '0', expected a whole number of at least 1"),
    ],
)
def test_bad_usage_is_one_line(script: Script, options: list[str], message: str) -> None:
    done = script("benchmark", *options)
    assert done.code == 2
    assert message in done.err
    assert len(done.err.splitlines()) == 1


def test_damaged_data_is_one_line(script: Script, tmp_path: Path) -> None:
    (tmp_path / "FashionMNIST" / "raw").mkdir(parents=True)
    (tmp_path / "FashionMNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(b"\0\0")
    done = script("benchmark", "--data-dir", tmp_path, "--out", tmp_path / "out")
    assert done.code == 2
    assert "found 1 of 4 files" in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_run_writes_table_figure_and_numbers_and_says_that_pixels_are_random(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few contenders, imports and checks, each in a process of its own."""
    monkeypatch.setattr("benchmark.MODULES", ("scratch",))
    monkeypatch.setattr("benchmark.CHECKED", [((20, 16, 10), 8)])
    options = ("--rounds", 1, "--images", 300, "--threads", 1, "--only", "scratch,torch_fused,jax_step")
    done = script("benchmark", *options, "--data-dir", tmp_path, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert "going on with random pixels" in done.out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"benchmark.json", "benchmark.md", "benchmark.png"}
    found = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert found["data"] == "random pixels, 300 images"
    assert found["memory"] == {}
    assert found["imports"]["scratch"] > 0
    assert found["checks"][0]["ratio"] > 0
    assert [each["ratio"] > 0 for each in found["convolutions"]] == [True, True]
    assert all(len(each) == 1 for each in found["epochs"].values())
    known = {"scratch", "scratch, fast BLAS", "PyTorch, fused AdamW", "JAX, a jitted step"}
    assert {*found["epochs"], *found["left_out"]} == known
    assert "| one epoch | median | spread | to scratch | the fifth |" in (tmp_path / "out" / "benchmark.md").read_text()
