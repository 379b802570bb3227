"""Trace: automatic differentiation of y_hat = sigmoid(w0 1 + w1 x1 + w2 x2), variable by variable.

Twelve variables v0 to v11, each with its primal (computed forward), its tangent (forward mode, seed dx1 = 1: the
derivative of v by x1) and its adjoint (reverse mode, seed 1 at y_hat: the derivative of y_hat by v).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scratch import plots
from scratch.autodiff import Node, adjoints, sigmoid, tangents

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELS = ("bias", "x1", "x2", "w0", "w1", "w2", "w0*1", "w1*x1", "w2*x2", "w0+w1*x1", "z", "y_hat")
# The lab prints -0.009138, -0.006378 and 0.013746. With w1 = -0.006378 exactly, the tangent of y_hat would print as
# -0.001594, not the lab's -0.001595: its w1, cut to six decimals, lay between -0.0063785 and -0.0063781.
PUBLISHED_WEIGHTS = (-0.009138, -0.0063783, 0.013746)
INPUT = "input"  # stands for the expression of v0 to v5
PUBLISHED_PIXELS = (0.0, 0.0)  # pixels 0 and 1, which are 0 in every image of MNIST


class Variable(NamedTuple):
    """A row of the trace: v7, w1*x1, "v4 * v1", and its three numbers."""

    name: str
    label: str
    expression: str
    primal: float
    tangent: float
    adjoint: float


@dataclass(frozen=True)
class Trace:
    """The twelve variables in the order of computation, and a line that says what was traced."""

    variables: tuple[Variable, ...]
    title: str


def trace(w: tuple[float, float, float], x: tuple[float, float], title: str) -> Trace:
    """The trace at weights w0, w1, w2 and features x1, x2, in float64."""
    v = [Node(value, f"v{k}") for k, value in enumerate((1.0, *x, *w))]
    v.append((v[3] * v[0]).named("v6"))
    v.append((v[4] * v[1]).named("v7"))
    v.append((v[5] * v[2]).named("v8"))
    v.append((v[6] + v[7]).named("v9"))
    v.append((v[9] + v[8]).named("v10"))
    v.append(sigmoid(v[10]).named("v11"))
    forward, reverse = tangents([v[11]], {v[1]: 1.0}), adjoints({v[11]: 1.0})
    rows = (
        Variable(
            name=node.name,
            label=label,
            expression=node.expression if node.parents else INPUT,
            primal=float(node.value),
            tangent=float(forward[node]),
            adjoint=float(reverse[node]),
        )
        for node, label in zip(v, LABELS, strict=True)
    )
    return Trace(tuple(rows), title)


def published() -> Trace:
    """The table that the lab prints: half of it is zeros, because both pixels are dark in every image."""
    w, x = PUBLISHED_WEIGHTS, PUBLISHED_PIXELS
    return trace(w, x, "the published table: pixels 0 and 1, dark in every image")


def two_lit_pixels(image: NDArray[Any]) -> tuple[int, int]:
    """The brightest pixel of a flat image, and of the others the one nearest to half of that: two different numbers."""
    first = int(image.argmax())
    distance = np.abs(image - image[first] / 2)
    distance[first] = np.inf
    return first, int(distance.argmin())


def trace_of_image(weight: NDArray[Any], bias: float, image: NDArray[Any], what: str) -> Trace:
    """The trace at two lit pixels of a flat image, under its weights (n,) of a logistic regression."""
    i, j = two_lit_pixels(image)
    w = (float(bias), float(weight[i]), float(weight[j]))
    return trace(w, (float(image[i]), float(image[j])), f"{what}: pixels {i} and {j}")


# Figures

ROWS = (
    ("primal", "primal: the value of v"),
    ("tangent", "forward tangent: dv / dx1"),
    ("adjoint", "reverse adjoint: dy_hat / dv"),
)
# where each variable stands in the drawing of the graph: (column, height)
PLACES = (
    (0, 5), (0, 3), (0, 1), (0, 4), (0, 2), (0, 0),
    (1, 4.5), (1, 2.5), (1, 0.5), (2, 3.5), (3, 2.5), (4, 2.5),
)  # fmt: skip
WIDTH, HEIGHT = 0.86, 0.8
INKS = ("#00527F", "#964200", "#00664A")  # the bars' colours, darker: they are read, not seen
LETTERS = {"primal": "v", "tangent": "dv", "adjoint": "u"}
ARROWS = (
    (3, 6), (0, 6), (4, 7), (1, 7), (5, 8), (2, 8), (6, 9), (7, 9), (9, 10), (8, 10), (10, 11),
)  # fmt: skip


def bars(found: Trace) -> Figure:
    """Three stacked bar charts over the twelve variables: primal, tangent, adjoint; every bar with its number."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 14), layout="constrained")
    figure.suptitle(f"Three modes of automatic differentiation\n{found.title}", fontsize=plots.TITLE)
    charts = figure.subplots(3, 1, sharex=True)
    for axes, (name, words), color in zip(charts, ROWS, plots.COLORS, strict=False):
        _bars(axes, [getattr(v, name) for v in found.variables], color)
        axes.set_title(words, fontsize=plots.TEXT, loc="left")
    labels = [f"{v.name}\n{v.label}" for v in found.variables]
    charts[-1].set_xticks(range(len(labels)), labels, fontsize=plots.TICKS)
    return figure


def _bars(axes: Axes, heights: list[float], color: str) -> None:
    drawn = axes.bar(range(len(heights)), heights, color=color, width=0.6)
    axes.bar_label(drawn, [f"{h + 0:.4f}" if h else "0" for h in heights], fontsize=plots.TICKS, padding=3)
    axes.axhline(0, color="black", linewidth=1)
    axes.margins(x=0.02, y=0.2)
    axes.tick_params(labelsize=plots.TICKS)
    axes.grid(axis="y", alpha=0.3)


def graph(found: Trace) -> Figure:
    """The graph from left to right: in each box a variable, its expression and its three numbers."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(18, 15), layout="constrained")
    figure.suptitle(f"The graph of y_hat = sigmoid(w0*1 + w1*x1 + w2*x2)\n{found.title}", fontsize=plots.TITLE + 3)
    axes = figure.subplots()
    for start, end in ARROWS:
        _arrow(axes, PLACES[start], PLACES[end])
    for place, variable in zip(PLACES, found.variables, strict=True):
        _box(axes, place, variable)
    _legend(axes)
    axes.set_xlim(-0.5, 4.5)
    axes.set_ylim(-0.55, 5.55)
    axes.set_axis_off()
    return figure


def _box(axes: Axes, place: tuple[float, float], variable: Variable) -> None:
    from matplotlib.patches import FancyBboxPatch

    (x, y) = place
    style: dict[str, Any] = {"fontsize": plots.TEXT, "family": "monospace", "ha": "center", "va": "center"}
    corner, size = (x - WIDTH / 2, y - HEIGHT / 2), (WIDTH, HEIGHT)
    axes.add_patch(
        FancyBboxPatch(corner, *size, boxstyle="round,pad=0,rounding_size=0.05", fc="white", ec="black", lw=2)
    )
    computed = variable.expression != INPUT
    head = f"{variable.name} = {variable.expression}" if computed else f"{variable.name} = {variable.label}"
    axes.text(x, y + 0.27, head, fontweight="bold", **style)
    for k, (name, _) in enumerate(ROWS):
        number = f"{LETTERS[name]:2} {getattr(variable, name) + 0.0:9.6f}"
        axes.text(x, y + 0.08 - 0.18 * k, number, color=INKS[k], **style)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    tail, tip = (start[0] + WIDTH / 2, start[1]), (end[0] - WIDTH / 2, end[1])
    axes.annotate("", tip, tail, arrowprops={"arrowstyle": "-|>", "lw": 2, "color": "black", "mutation_scale": 22})


def _legend(axes: Axes) -> None:
    lines = ("primal, computed forward", "tangent, forward, seed dx1 = 1", "adjoint, in reverse, seed 1 at y_hat")
    for k, ((name, _), words) in enumerate(zip(ROWS, lines, strict=True)):
        text = f"{LETTERS[name]:2} {words}"
        axes.text(2.2, 0.5 - 0.25 * k, text, color=INKS[k], fontsize=plots.TEXT, family="monospace")
