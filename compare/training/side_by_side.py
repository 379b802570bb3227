"""Both backends in one figure: loss, accuracy, and how far apart they are, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from scratch.history import History
from scratch.plots import COLORS, SPLITS, TEXT, TICKS, TITLE, Quantity, draw_curves, dress

Epochs = Sequence[float]


def side_by_side(scratch: History, torch: History, weight_differences: Mapping[int, float], title: str) -> Figure:
    """Loss and accuracy above; below |scratch - torch| of each, and the relative difference of the weights.

    weight_differences: epoch -> norm of the difference over norm. The differences have a logarithmic axis, which
    shows 1e-15 and 1e-3 alike; equal figures have no logarithm, and are marked on a line of their own, "0".
    """
    figure = Figure(figsize=(14, 11), layout="constrained")
    figure.suptitle(title, fontsize=TITLE + 1)
    panels = figure.subplot_mosaic("AAABBB;CCDDEE", height_ratios=(3, 2))
    histories = {"NumPy": scratch, "PyTorch": torch}
    draw_curves(panels["A"], histories, "loss")
    draw_curves(panels["B"], histories, "accuracy")
    draw_differences(panels["C"], differences(scratch, torch, "loss"), "|NumPy - PyTorch|, loss")
    draw_differences(panels["D"], differences(scratch, torch, "accuracy"), "|NumPy - PyTorch|, accuracy")
    weights = {"all weights": (list(weight_differences), list(weight_differences.values()))}
    draw_differences(panels["E"], weights, "weights, relative difference", COLORS[2:])
    return figure


def differences(scratch: History, torch: History, quantity: Quantity) -> dict[str, tuple[Epochs, Epochs]]:
    """Split -> (epochs, |scratch - torch|), over the epochs that both have finished."""
    both = min(len(scratch), len(torch))
    found: dict[str, tuple[Epochs, Epochs]] = {}
    for split, (words, _, _) in SPLITS.items():
        ours, theirs = (h.column(f"{split}_{quantity}")[:both] for h in (scratch, torch))
        found[words] = (list(range(1, both + 1)), [abs(a - b) for a, b in zip(ours, theirs, strict=True)])
    return found


def draw_differences(
    axes: Axes, curves: Mapping[str, tuple[Epochs, Epochs]], title: str, colors: Sequence[str] = ("#000000", "#CC79A7")
) -> None:
    """Differences on a logarithmic axis, zeros as hollow markers on a line below the smallest other value."""
    curves = {name: (xs, [_drawable(y) for y in ys]) for name, (xs, ys) in curves.items()}
    values = [y for _, ys in curves.values() for y in ys]
    present = [y for y in values if 0 < y < math.inf]
    low = math.floor(math.log10(min(present))) if present else 0
    high = max(math.ceil(math.log10(max(present))), low + 1) if present else 0
    zero = 10.0 ** (low - max(1.0, (high - low) / 5))
    for (name, (xs, ys)), color, (_, line, marker) in zip(curves.items(), colors, SPLITS.values(), strict=False):
        others = [y if 0 < y < math.inf else math.nan for y in ys]
        axes.plot(xs, others, line, marker=marker, color=color, label=name, linewidth=2.5, markersize=6)
        zeros = [x for x, y in zip(xs, ys, strict=True) if y == 0]
        size = 5 if marker == "o" else 9  # so that both show where both are zero
        axes.plot(zeros, [zero] * len(zeros), marker, color=color, fillstyle="none", markersize=size, mew=2)
    dress(axes, "")
    axes.set_title(title, fontsize=TEXT)
    _logarithmic(axes, zero, low, high, bool(present))
    if values and not present:
        axes.text(0.5, 0.6, "equal in every epoch", transform=axes.transAxes, ha="center", fontsize=TEXT)
    if len(curves) > 1:
        axes.legend(fontsize=TICKS, handlelength=2, loc="upper center", ncols=2, columnspacing=1)


def _drawable(y: float) -> float:
    """Between 1e-100 and 1e100, which leaves room on the axis for zeros and legend; 0 stays 0, and infinity itself."""
    return y if y == 0 or math.isinf(y) else min(max(y, 1e-100), 1e100)


def _logarithmic(axes: Axes, zero: float, low: int, high: int, any_present: bool) -> None:
    """Powers of ten, "0" at the line of the zeros, and room for the legend above."""
    decades = high - math.log10(zero)
    zero_and_powers(axes, zero, range(low, high + 1) if any_present else range(0))
    axes.set_ylim(zero / 10 ** (0.08 * decades), 10.0 ** (high + 0.28 * decades))
    if any_present:
        axes.axhline(10 ** ((math.log10(zero) + low) / 2), color="gray", linewidth=1, linestyle=":")


def zero_and_powers(axes: Axes, zero: float, powers: Sequence[int]) -> None:
    """A logarithmic axis with at most six powers of ten, and "0" at the line of the zeros."""
    powers = powers[:: max(1, math.ceil(len(powers) / 6))]
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(FixedLocator([zero, *(10.0**k for k in powers)]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_yticklabels(["0", *(f"$10^{{{k}}}$" for k in powers)], fontsize=TICKS)
