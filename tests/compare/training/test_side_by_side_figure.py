"""The figure of both backends: differences from 1e-15 to 1e-3 and exact zeros are all to be seen."""

import math
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from compare.training.runs import Runs, WeightDifference
from compare.training.side_by_side import differences, side_by_side
from scratch.history import History, Row


def history(apart: list[float]) -> History:
    return History(Row(e, 1 / e + d, 0.5, 1 / e + 2 * d, 0.25, 1.0) for e, d in enumerate(apart, 1))


def drawn(apart: list[float]) -> Figure:
    weights = dict(enumerate(apart, 1))
    figure = side_by_side(history([0.0] * len(apart)), history(apart), weights, "the 1,797 handwritten digits")
    figure.draw_without_rendering()
    return figure


def test_every_difference_is_drawn_and_zeros_are_marked_below() -> None:
    apart = [0.0, 2**-50, 0.0, 1e-3]
    weights = drawn(apart).axes[4]
    line, zeros, _ = weights.lines
    assert [y for y in line.get_ydata() if not math.isnan(y)] == [2**-50, 1e-3]
    assert list(zeros.get_xdata()) == [1, 3]
    assert max(zeros.get_ydata()) < 2**-50
    low, high = weights.get_ylim()
    assert low < min(zeros.get_ydata())
    assert high > 1e-3
    assert weights.get_yticklabels()[0].get_text() == "0"


@pytest.mark.parametrize("apart", [[], [0.0], [0.0] * 5, [1e-15], [math.inf, 1e-3], [1e-320], [1e300, 1e-300]])
def test_any_differences_can_be_drawn(apart: list[float]) -> None:
    finite = [d if math.isfinite(d) and d < 1e6 else 0.0 for d in apart]
    figure = side_by_side(history(finite), history(finite), dict(enumerate(apart, 1)), "title")
    figure.draw_without_rendering()


def test_equal_runs_say_so() -> None:
    texts = [text.get_text() for axes in drawn([0.0, 0.0]).axes for text in axes.texts]
    assert texts == ["equal in every epoch"] * 3


def test_differences_stop_where_one_run_stops() -> None:
    found = differences(history([0.0] * 3), history([0.5] * 2), "loss")
    assert found == {"training": ([1, 2], [0.5, 0.5]), "validation": ([1, 2], [1.0, 1.0])}


def test_epochs_are_whole_numbers_and_the_title_is_there() -> None:
    figure = drawn([1e-9])
    assert all(tick == round(tick) for axes in figure.axes for tick in axes.get_xticks())
    assert figure.get_suptitle() == "the 1,797 handwritten digits"


def test_runs_draw_themselves(tmp_path: Path) -> None:
    runs = Runs(history([0.0]), history([1e-3]), "title")
    runs.weight_differences.append(WeightDifference(1, 1e-3, 1e-2, "0.weight"))
    runs.plot(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
