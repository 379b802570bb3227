"""The figures: drawn without a display, whole at any moment, and labelled with the data they show."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from scratch import plots
from scratch.datasets import digits, xor
from scratch.history import History, Row


def history(n: int = 3) -> History:
    return History(Row(e, 1 / e, 1 - 0.5 / e, 1.2 / e, 0.9 - 0.5 / e, 1.0) for e in range(1, n + 1))


def texts(figure: Figure) -> str:
    from matplotlib.text import Text

    return "\n".join(text.get_text() for text in figure.findobj(Text))


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.sample_grid(digits(), np.random.default_rng(0)),
        lambda: plots.curves({"scratch": history()}, "loss", plots.heading("digits", digits().source)),
        lambda: plots.both_curves({"a": history(), "b": history(5)}, plots.heading("digits", digits().source)),
    ],
)
def test_every_figure_of_the_digits_says_so(draw: Any, tmp_path: Path) -> None:
    figure = draw()
    assert "1,797 handwritten digits embedded in scikit-learn" in texts(figure)
    plots.save(figure, tmp_path / "f.png")
    assert [path.name for path in tmp_path.iterdir()] == ["f.png"]
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("epochs", [1, 2, 20, 1000])
def test_epochs_are_whole_numbers(epochs: int) -> None:
    figure = plots.curves({"scratch": history(epochs)}, "accuracy", "title")
    figure.draw_without_rendering()
    ticks = figure.axes[0].get_xticks()
    assert all(tick == round(tick) for tick in ticks)


def test_the_grid_shows_nine_images_and_their_classes() -> None:
    figure = plots.sample_grid(digits(), np.random.default_rng(0))
    chosen = np.random.default_rng(0).choice(1437, 9, replace=False)
    assert [axes.get_title() for axes in figure.axes] == [str(t) for t in digits().t_train[chosen]]
    assert all(
        np.array_equal(axes.images[0].get_array(), digits().x_train[i].reshape(8, 8))
        for axes, i in zip(figure.axes, chosen, strict=True)
    )


def test_points_are_no_images() -> None:
    with pytest.raises(ValueError, match="xor: its samples are no images"):
        plots.sample_grid(xor(), np.random.default_rng(0))
