"""The labs' figures: samples, and loss and accuracy against epochs. matplotlib Figures, with no state of pyplot's."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scratch.datasets import Dataset
from scratch.history import History
from scratch.initializers import RandomSource

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

# Okabe and Ito's colours, which every kind of eye tells apart
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
SPLITS = {"train": ("training", "-", "o"), "val": ("validation", "--", "s")}
TITLE, TEXT, TICKS = 19, 18, 15  # points, on figures up to 14 inches wide: readable at half size
Quantity = Literal["loss", "accuracy"]


def sample_grid(data: Dataset, rng: RandomSource) -> Figure:
    """Nine random training images, three by three, under each its class. ValueError if the data are no images."""
    from matplotlib.figure import Figure

    if data.image_shape is None:
        raise ValueError(f"{data.name}: its samples are no images")
    figure = Figure(figsize=(8, 9), layout="constrained")
    figure.suptitle(f"{heading(data.name, data.source)}\nnine training samples", fontsize=TITLE)
    chosen = rng.choice(len(data.x_train), 9, replace=len(data.x_train) < 9)
    for axes, i in zip(figure.subplots(3, 3).flat, chosen, strict=True):
        label = data.t_train[i] if data.t_train.ndim == 1 else data.t_train[i].argmax()
        axes.imshow(data.x_train[i].reshape(data.image_shape), cmap="gray", vmin=0, vmax=1)
        axes.set_title(data.class_names[int(label)], fontsize=TEXT, y=-0.17)
        axes.set_axis_off()
    return figure


def curves(histories: Mapping[str, History], quantity: Quantity, title: str) -> Figure:
    """One quantity against epochs, training and validation, of one run or of several by name."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), layout="constrained")
    figure.suptitle(title, fontsize=TITLE)
    draw_curves(figure.subplots(), histories, quantity)
    return figure


def both_curves(histories: Mapping[str, History], title: str) -> Figure:
    """Loss and accuracy against epochs, side by side, of one run or of several by name."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 7.5 + 0.5 * len(histories)), layout="constrained")
    figure.suptitle(title, fontsize=TITLE)
    left, right = figure.subplots(1, 2)
    draw_curves(left, histories, "loss", legend=False)
    draw_curves(right, histories, "accuracy", legend=False)
    labels = left.get_legend_handles_labels()
    columns = 2 if len(histories) > 1 else 1
    # matplotlib fills columns first: all training curves, then all validation curves
    handles, names = (part[::2] + part[1::2] for part in labels)
    figure.legend(handles, names, loc="outside lower center", ncols=columns, fontsize=TICKS, handlelength=3.2)
    return figure


def draw_curves(axes: Axes, histories: Mapping[str, History], quantity: Quantity, *, legend: bool = True) -> None:
    """The curves into axes: wide ones and thin ones in turns, so that equal curves both remain to be seen."""
    several = len(histories) > 1
    for k, (name, history) in enumerate(histories.items()):
        wide = several and k % 2 == 0
        for split, (words, line, marker) in SPLITS.items():
            axes.plot(
                history.column("epoch"),
                history.column(f"{split}_{quantity}"),
                linestyle=line,
                marker=marker,
                color=COLORS[k % len(COLORS)],
                label=f"{name}, {words}" if several else words,
                linewidth=6 if wide else 2.5,
                markersize=9 if wide else 5 if several else 7,
                alpha=0.6 if wide else 1,
                markevery=max(1, len(history) // 20),
            )
    dress(axes, quantity)
    if legend:
        axes.legend(fontsize=TICKS, handlelength=3.2)


def dress(axes: Axes, ylabel: str) -> None:
    """Grid, sizes, labels, and whole numbers on the axis of epochs."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch", fontsize=TEXT)
    axes.set_ylabel(ylabel, fontsize=TEXT)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    axes.tick_params(labelsize=TICKS)
    axes.grid(alpha=0.3)


def plain_numbers(axes: Axes) -> None:
    """0.5, 1, 2 instead of powers of ten on a logarithmic axis of losses."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axes.get_ylim()
    few = high < 30 * low
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=12))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(labelsize=TICKS)


def heading(name: str, source: str) -> str:
    """A data set's name and source, without saying its name twice."""
    return source if source.lower().startswith(name.lower()) else f"{name}: {source}"


def save(figure: Figure, path: str | os.PathLike[str], **options: Any) -> None:
    """Draw with Agg, whatever backend is configured, and replace the file in one step, so that it can be watched."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    target = Path(path)
    beside = target.with_name(f".{target.stem}.new{target.suffix}")
    FigureCanvasAgg(figure)
    figure.savefig(beside, **{"dpi": 100, **options})
    beside.replace(target)


def relative_amplitudes(curves: Mapping[str, Sequence[float]], ylabel: str, title: str) -> Figure:
    """Every curve against epochs 0, 1, 2, ..., divided by its value at epoch 0."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), layout="constrained")
    figure.suptitle(title, fontsize=TITLE)
    axes = figure.subplots()
    lines = ("-", "--", "-.", ":")
    for k, (name, values) in enumerate(curves.items()):
        relative = [value / values[0] for value in values]
        axes.plot(relative, lines[k % len(lines)], color=COLORS[k % len(COLORS)], label=name, linewidth=3)
    axes.axhline(1, color="gray", linewidth=1)
    dress(axes, ylabel)
    axes.legend(fontsize=TICKS, handlelength=3.2)
    return figure


def decision_regions(
    predict: Callable[[NDArray[Any]], NDArray[Any]],
    splits: Mapping[str, tuple[NDArray[Any], NDArray[Any]]],
    class_names: Sequence[str],
    title: str,
) -> Figure:
    """Which class `predict` (rows in the plane -> rows of scores) says where; a panel a split, with its samples (x, t).

    t: class indices or one-hot rows. A sample in a region of another class has a black edge.
    """
    import numpy as np
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    points = np.concatenate([x for x, _ in splits.values()])
    margin = 0.15 * np.ptp(points, axis=0).max()
    (left, bottom), (right, top) = points.min(axis=0) - margin, points.max(axis=0) + margin
    across, up = np.meshgrid(np.linspace(left, right, 400), np.linspace(bottom, top, 400))
    grid = np.column_stack([across.ravel(), up.ravel()]).astype(points.dtype)
    regions = predict(grid).argmax(axis=1).reshape(across.shape)
    colors, markers = COLORS[: len(class_names)], ("o", "s", "^", "D", "v", "P", "X")
    edges = np.arange(len(class_names) + 1) - 0.5

    size = 70 if len(points) > 20 else 300  # points^2
    any_wrong = False

    figure = Figure(figsize=(7 * max(len(splits), 1.3), 8.5), layout="constrained")
    figure.suptitle(title, fontsize=TITLE)
    for axes, (name, (x, t)) in zip(figure.subplots(1, len(splits), squeeze=False)[0], splits.items(), strict=True):
        labels = t if t.ndim == 1 else t.argmax(axis=1)
        right_ones = predict(x).argmax(axis=1) == labels
        axes.contourf(across, up, regions, levels=edges, colors=colors, alpha=0.3)
        for k, (color, marker) in enumerate(zip(colors, markers, strict=False)):
            for rows, edge in ((labels == k) & right_ones, "white"), ((labels == k) & ~right_ones, "black"):
                large, width = (1.0, 0.8) if edge == "white" else (1.6, 2.2)
                axes.scatter(*x[rows].T, s=large * size, marker=marker, color=color, edgecolors=edge, linewidths=width)
        any_wrong |= not right_ones.all()
        axes.set_title(f"{name}: {right_ones.sum()} of {len(x)} right ({right_ones.mean():.4f})", fontsize=TEXT)
        axes.set_aspect("equal")
        axes.set_xlabel("x1", fontsize=TEXT)
        axes.set_ylabel("x2", fontsize=TEXT)
        axes.tick_params(labelsize=TICKS)
    style: dict[str, Any] = {"linestyle": "none", "markersize": 10}
    handles = [
        Line2D([], [], color=c, marker=m, label=name, markeredgecolor="white", **style)
        for c, m, name in zip(colors, markers, class_names, strict=False)
    ]
    wrong = Line2D([], [], color="none", marker="o", markeredgecolor="black", markeredgewidth=2.2, **style)
    wrong.set_label("black edge: classified wrongly")
    figure.legend(handles=[*handles, *[wrong] * any_wrong], loc="outside lower center", ncols=2, fontsize=TICKS)
    return figure
