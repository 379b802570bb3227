"""trace_autodiff.py as it is typed, and train.py one_vs_rest: tables, files, figures, and how they fail."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from scratch.labs import autodiff_trace

Script = Callable[..., Any]
PUBLISHED = """
    v0 bias 1.000000 0.000000 -0.002284
    v1 x1 0.000000 1.000000 -0.001595
    v2 x2 0.000000 0.000000 0.003436
    v3 w0 -0.009138 0.000000 0.249995
    v4 w1 -0.006378 0.000000 0.000000
    v5 w2 0.013746 0.000000 0.000000
    v6 w0*1 -0.009138 0.000000 0.249995
    v7 w1*x1 0.000000 -0.006378 0.249995
    v8 w2*x2 0.000000 0.000000 0.249995
    v9 w0+w1*x1 -0.009138 -0.006378 0.249995
    v10 z -0.009138 -0.006378 0.249995
    v11 y_hat 0.497716 -0.001595 1.000000
"""


def rows(out: str) -> list[list[str]]:
    """Of the printed table: variable and name, expression, three numbers."""
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in out.splitlines() if "│" in line]
    return [[*each[0].split(), *each[1:]] for each in cells]


def test_the_published_table_needs_no_data(script: Script, tmp_path: Path) -> None:
    done = script("trace_autodiff", "--published", "--data-dir", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert (done.code, done.err) == (0, "")
    found = rows(done.out)
    assert [[each[0], each[1], *each[3:]] for each in found] == [
        line.split() for line in PUBLISHED.strip().splitlines()
    ]
    assert [each[2] for each in found][6:] == ["v3 * v0", "v4 * v1", "v5 * v2", "v6 + v7", "v9 + v8", "sigmoid(v10)"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"trace.csv", "bars.png", "graph.png"}
    with (tmp_path / "out" / "trace.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert [each["name"] for each in written] == [f"v{k}" for k in range(12)]
    assert float(written[11]["primal"]) == pytest.approx(0.497716, abs=5e-7)


def test_two_lit_pixels_of_the_digit_are_traced(script: Script, tmp_path: Path, data_dir: Path) -> None:
    found = {}
    for digit in (None, 4, 7):
        option = () if digit is None else ("--digit", digit)
        done = script("trace_autodiff", *option, "--data-dir", data_dir, "--out", tmp_path / str(digit))
        assert (done.code, done.err) == (0, "")
        assert f"the first {4 if digit is None else digit}: pixels " in done.out
        found[digit] = rows(done.out)
        primal = {each[1]: float(each[3]) for each in found[digit]}
        assert primal["x1"] == 1
        assert 0.3 < primal["x2"] < 0.7
        dark = {"x2", "bias", "w0", "w1", "w2", "w0*1", "w2*x2"}  # what does not depend on x1
        assert {each[1] for each in found[digit] if float(each[4]) == 0} == dark
        assert all(float(each[5]) != 0 for each in found[digit])
    assert found[None] == found[4] != found[7]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--digit", "10"), "--digit: invalid choice: 10"),
        (("--digit", "four"), "--digit: invalid int value: 'four'"),
        (("--published", "--digit", "4"), "--published and --digit: expected one of them"),
        (("--data-dir", "nowhere"), "nowhere/MNIST/raw: no MNIST files, and its hosts cannot be reached"),
    ],
)
@pytest.mark.usefixtures("no_hosts")
def test_bad_usage_and_no_data_are_one_line_and_exit_code_2(
    script: Script, arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = script("trace_autodiff", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert done.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_damaged_data_and_a_full_folder_are_refused(script: Script, tmp_path: Path) -> None:
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    (folder / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03")
    done = script("trace_autodiff", "--data-dir", tmp_path, "--out", tmp_path / "out")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert not (tmp_path / "out").exists()
    full = script("trace_autodiff", "--published", "--out", tmp_path)
    assert full.code == 2
    assert "found files in it, expected a new or empty folder" in full.err


@pytest.mark.parametrize("draw", [autodiff_trace.bars, autodiff_trace.graph])
def test_no_text_covers_another(draw: Callable[[Any], Figure]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    figure = draw(autodiff_trace.trace((-0.31234, 0.712345, -0.2), (1.0, 0.5), "an image: pixels 500 and 501"))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    ticks = {label for axes in figure.axes for label in axes.get_yticklabels()}  # out of sight, some of them
    texts = [
        text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible() and text not in ticks
    ]
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in texts]  # type: ignore[attr-defined]
    covered = [
        (texts[i].get_text(), texts[j].get_text())
        for i in range(len(texts))
        for j in range(i)
        if boxes[i].shrunk(0.98, 0.9).overlaps(boxes[j].shrunk(0.98, 0.9))
    ]
    assert covered == []
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in boxes)


def test_the_graph_shows_every_number_of_the_trace() -> None:
    from matplotlib.text import Text

    found = autodiff_trace.published()
    drawn = [text.get_text() for text in autodiff_trace.graph(found).findobj(Text)]
    for v in found.variables:
        for number in (v.primal, v.tangent, v.adjoint):
            assert any(f"{number + 0:9.6f}" in text for text in drawn)
    assert "v11 = sigmoid(v10)" in drawn


# train.py one_vs_rest


def test_the_published_run_in_both_backends(script: Script, tmp_path: Path, data_dir: Path) -> None:
    out = tmp_path / "run"
    options = ("--variant", "published", "--dtype", "float64", "--check", "--data-dir", data_dir, "--out", out)
    done = script("train", "one_vs_rest", *options)
    assert done.code == 0, done.err
    assert [line for line in done.out.splitlines() if line.startswith("Iteration")] == [
        f"Iteration {k}, Training Error: 0.0974" for k in range(0, 100, 10)
    ]
    assert done.out.count('WARNING: every image is called "not 4": accuracy 0.9018') == 2
    assert "PARITY in float64" in done.out
    found = json.loads((out / "assessment.json").read_text())
    assert found["scratch"] == found["torch"]
    assert found["scratch"]["confusion"] == [[9018, 0], [982, 0]]
    differences = json.loads((out / "metrics.json").read_text())["differences"]
    assert differences["weights"]["overall"] < 1e-14
    assert {"misclassified.png", "weights.png", "trace.png"} <= {path.name for path in out.iterdir()}


@pytest.mark.parametrize("backend", ["scratch", "torch"])
def test_another_digit_in_one_backend(script: Script, tmp_path: Path, data_dir: Path, backend: str) -> None:
    options = ("--digit", 7, "--backend", backend, "--epochs", 1, "--data-dir", data_dir, "--out", tmp_path / "run")
    done = script("train", "one_vs_rest", *options)
    assert done.code == 0, done.err
    assert "is it a 7?" in done.out
    assert done.out.count("Training Error") == 24
    assert json.loads((tmp_path / "run" / "assessment.json").read_text())[backend]["accuracy"] > 0.97


def test_check_parity_of_the_lab(script: Script, data_dir: Path) -> None:
    done = script("check_parity", "one_vs_rest", "--data-dir", data_dir)
    assert done.code == 0
    assert done.out.count("PARITY in ") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--digit", "12"), "got digit '12', expected 0 to 9"),
        (("--variant", "nope"), "--variant nope: expected one of lab one_vs_rest's: algorithm_7_1, published"),
        (("--hidden", "3"), "got hidden layers (3,), expected none in a logistic regression"),
    ],
)
def test_bad_usage_of_the_lab(
    script: Script, tmp_path: Path, data_dir: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = script("train", "one_vs_rest", *arguments, "--data-dir", data_dir, "--out", tmp_path / "run")
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1
