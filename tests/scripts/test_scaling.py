"""measure_scaling.py: its model, its page, and the page that is in docs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NETWORKS = [([784, 256, 10], 203_530), ([784, 1024, 1024, 10], 1_863_690)]


def numbers(page: Any, model: Any) -> dict[str, Any]:
    """What would be measured on a machine for which the model is exact."""
    order = sums = model.exchange / 4
    cases = [(sizes, p, m) for sizes, p in NETWORKS for m in (128, 1024)]
    steps = {
        name: [
            {"sizes": s, "parameters": p, "batch_size": m, "seconds": model.step(p, m, w), "bytes": page.sent(p, w)}
            for s, p, m in cases
        ]
        for name, w in (("one", 1), ("threads", 1), ("two", 2))
    }
    sizes = [4**k for k in range(5, 13)]
    return {
        "rounds": 3,
        "load_before": [0.1, 0.1, 0.1],
        "steps": steps,
        "numpy": {name: [{**c, "seconds": c["seconds"] / 2} for c in cases] for name, cases in steps.items()},
        "memory": {name: {**steps[name][2], "memory": 1e8} for name in steps},
        "allreduce": [{"bytes": b, "seconds": model.exchange / 2 + b / model.rate} for b in sizes],
        "order": order,
        "sums": sums,
        "environment": {"processor": "x86", "cores": 2},
    }


@pytest.fixture
def page(script: object) -> Any:
    import _scaling_page

    return _scaling_page


def test_the_model_is_recovered_from_what_it_predicts(page: Any) -> None:
    model = page.Model(fixed=1e-4, update=2e-9, row=6e-11, exchange=1e-3, rate=8e8)
    found = page.Model.of(numbers(page, model))
    for name in ("fixed", "update", "row", "exchange", "rate"):
        assert getattr(found, name) == pytest.approx(getattr(model, name), rel=1e-6), name


def test_a_term_that_would_be_negative_is_left_out(page: Any) -> None:
    model = page.Model(fixed=-1e-4, update=2e-9, row=6e-11, exchange=1e-3, rate=8e8)
    found = page.Model.of(numbers(page, model))
    assert found.fixed == 0
    assert found.row == pytest.approx(6e-11, rel=0.1)


def test_the_model_by_hand(page: Any) -> None:
    model = page.Model(fixed=1.0, update=2.0, row=3.0, exchange=4.0, rate=8.0)
    assert model.step(10, 6, 1) == 1 + 20 + 180
    assert model.step(10, 6, 2) == 1 + 20 + 90 + 4 + 40 / 8
    assert model.step(10, 6, 4, rate=4.0) == 1 + 20 + 45 + 4 + 1.5 * 40 / 4
    assert model.rows_to_gain(10) == pytest.approx(2 * (4 + 40 / 8) / 30)
    m = model.rows_to_gain(10)
    assert model.step(10, m, 2) == pytest.approx(model.step(10, m, 1))
    assert page.sent(10, 2) == 80
    assert page.sent(10, 4) == 240


@pytest.mark.parametrize(("load", "is_said"), [(0.2, False), (2.7, True)])
def test_a_busy_machine_is_said(page: Any, load: float, is_said: bool) -> None:
    model = page.Model(fixed=1e-4, update=2e-9, row=6e-11, exchange=1e-3, rate=8e8)
    found = {**numbers(page, model), "load_before": [load, 0.0, 0.0]}
    assert ("times are disturbed" in page.page(found).replace("\n", " ")) is is_said


def headings(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("#") or line.startswith("| network")]


def test_the_page_in_docs_is_one_that_the_script_writes(page: Any) -> None:
    """Its headings, its counts of bytes, and that the loopback really carried them."""
    text = (ROOT / "docs" / "scaling.md").read_text()
    model = page.Model(fixed=1e-4, update=2e-9, row=6e-11, exchange=1e-3, rate=8e8)
    assert headings(text) == headings(page.page(numbers(page, model)))
    rows = re.findall(r"^\| ([\d,]+) \| (128|1024) \| ([\d,]+) \| ([\d,]+) \|$", text, re.MULTILINE)
    assert len(rows) == 4
    for row in rows:
        parameters, _, computed, measured = (int(each.replace(",", "")) for each in row)
        assert computed == page.sent(parameters, 2)
        assert computed < measured < 1.05 * computed


@pytest.mark.slow
def test_the_script_measures_and_writes(
    script: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import measure_scaling

    monkeypatch.setattr(measure_scaling, "MEMORY", [[64, 32, 10], 16])
    monkeypatch.setattr(measure_scaling, "TIMED", [[[64, 32, 10], 16], [[64, 128, 10], 64], [[64, 128, 10], 256]])
    options = ("--rounds", 1, "--seconds", 0.05, "--out", tmp_path, "--page", tmp_path / "page.md")
    done = script("measure_scaling", *options)
    assert done.code == 0, done.err
    found = json.loads((tmp_path / "scaling.json").read_text())
    assert [case["parameters"] for case in found["steps"]["two"]] == [2410, 9610, 9610]
    assert all(case["seconds"] > 0 for cases in found["steps"].values() for case in cases)
    assert all(case["seconds"] > 0 for cases in found["numpy"].values() for case in cases)
    assert (tmp_path / "page.md").read_text().count("| 64-32-10 | 2,410 | 16 |") == 2


def test_a_job_that_fails_is_one_line(script: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    import measure_scaling

    monkeypatch.setattr(measure_scaling, "JOB", Path("no-such-job.py"))
    done = script("measure_scaling", "--rounds", 1)
    assert done.code == 2
    assert done.err.startswith("measure_scaling: 1 processes ended with exit code 2: ")
    assert done.err.count("\n") == 1
