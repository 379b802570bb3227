"""The figure of a run in lockstep: the difference of each parameter, and under which curve rounding alone keeps it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from compare.training.divergence import Divergence
from compare.training.side_by_side import zero_and_powers
from scratch.plots import COLORS, TEXT, TICKS, TITLE

PANELS = 6  # more would not be readable at half size
BLUE, RED, PURPLE, BLACK = COLORS[0], COLORS[1], COLORS[3], COLORS[6]
SHADE = "#BBBBBB"
WIDE: dict[str, Any] = {"linewidth": 4, "alpha": 0.7, "markersize": 6}
THIN: dict[str, Any] = {"linewidth": 1.8}


def lockstep_figure(run: Divergence) -> Figure:
    """A panel each parameter, on one logarithmic axis; of more than six, those nearest to their envelope.

    The difference of the two backends; where rounding alone decided masks or maxima, also that of the aligned run,
    which is the one that the envelope bounds. Vertical lines mark the first ReLU mask or maximum that differs and the
    first step outside, which is also marked by a cross on the curves outside. No difference at all has no logarithm and
    is drawn on a line of its own, "0".
    """
    names = _shown(run)
    columns = min(2, len(names))
    lines = math.ceil(len(names) / columns)
    figure = Figure(figsize=(14, 4 + 3.6 * lines), layout="constrained")
    chosen = f"\nthe {PANELS} of {len(run.parameters)} parameters that come nearest to their envelope"
    figure.suptitle(f"{run.title}{chosen * (len(names) < len(run.parameters))}".strip(), fontsize=TITLE)
    panels = list(figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flat)
    low, high = _decades(run, names)
    for axes, name in zip(panels, names, strict=False):
        _draw(axes, run, name, 10.0 ** (low - 1))
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    for k in range(max(0, len(names) - columns), len(names)):
        panels[k].set_xlabel("step", fontsize=TEXT)
        panels[k].tick_params(labelbottom=True)
    zero = 10.0 ** (low - 1)
    zero_and_powers(panels[0], zero, range(low, high + 1))
    panels[0].set_ylim(zero / 10**0.4, 10.0 ** (high + 0.3))
    figure.supylabel("relative difference of the weights", fontsize=TEXT)
    figure.legend(handles=_legend(run), loc="outside lower center", ncols=2, fontsize=TICKS, handlelength=2.5)
    return figure


def _shown(run: Divergence) -> list[str]:
    worst = {name: max(row.ratio for row in run.of(name)) for name in run.parameters}
    nearest = set(sorted(worst, key=lambda name: -worst[name])[:PANELS])
    return [name for name in run.parameters if name in nearest]


def _decades(run: Divergence, names: list[str]) -> tuple[int, int]:
    """The powers of ten that hold all that is shown, zeros and what is not finite left out."""
    rows = [row for name in names for row in run.of(name)]
    values = [v for row in rows for v in (row.relative, row.aligned, row.envelope) if 0 < v < math.inf]
    logarithms = [math.log10(v) for v in values] or [0.0]
    return math.floor(min(logarithms)), max(math.ceil(max(logarithms)), math.floor(min(logarithms)) + 1)


def _draw(axes: Axes, run: Divergence, name: str, zero: float) -> None:
    rows = run.of(name)
    steps = np.array([row.step for row in rows])
    envelope = np.maximum([row.envelope for row in rows], zero)
    axes.fill_between(steps, zero / 10, envelope, color=SHADE, alpha=0.5, linewidth=0)
    axes.plot(steps, envelope, color="#555555", linewidth=1.5)
    marker = "o" if len(rows) <= 40 else ""
    axes.plot(steps, _drawable([row.relative for row in rows], zero), color=BLUE, marker=marker, **WIDE)
    if run.ties:
        axes.plot(steps, _drawable([row.aligned for row in rows], zero), color=BLACK, **THIN)
    if run.first_flip:
        axes.axvline(run.first_flip.step, color=PURPLE, linestyle="--", linewidth=2.5)
    if run.first_outside:
        axes.axvline(run.first_outside.step, color=RED, linestyle=":", linewidth=3)
    outside = [row for row in run.outside if row.parameter == name]
    crosses = _drawable([row.aligned for row in outside], zero)
    axes.plot([row.step for row in outside], crosses, "X", color=RED, markersize=14, markeredgecolor="white", zorder=5)
    axes.axhline(zero * 10**0.5, color="gray", linewidth=1, linestyle=":")  # below it, the logarithm is left
    axes.set_title(name, fontsize=TEXT)
    axes.tick_params(labelsize=TICKS)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
    axes.grid(alpha=0.3)


def _drawable(values: Sequence[float], zero: float) -> list[float]:
    """Zeros on their line, and gaps where a value is not finite."""
    return [zero if v == 0 else v if math.isfinite(v) else math.nan for v in values]


def _legend(run: Divergence) -> list[Line2D | Patch]:
    found: list[Line2D | Patch] = [
        Line2D([], [], color=BLUE, label="NumPy and PyTorch, as they are", **WIDE),
        Patch(facecolor=SHADE, edgecolor="#555555", alpha=0.7, label="how far a rounding error can grow"),
    ]
    if run.ties:
        label = f"NumPy with PyTorch's choice at {run.ties} tie{'s' * (run.ties != 1)}"
        found.insert(1, Line2D([], [], color=BLACK, label=label, **THIN))
    if run.first_flip:
        flip = run.first_flip
        label = f"first {flip.what} that differs: step {flip.step}, layer {flip.layer}"
        found.append(Line2D([], [], color=PURPLE, linestyle="--", linewidth=2.5, label=label))
    if run.first_outside:
        first = run.first_outside
        label = f"first outside: step {first.step}, {first.parameter}"
        found.append(Line2D([], [], color=RED, linestyle=":", marker="X", markersize=11, linewidth=3, label=label))
    return found
