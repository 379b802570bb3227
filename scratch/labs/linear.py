"""Lab 4, `linear`: on which side of a line is a point? A sigmoid net, trained one sample at a time.

100 random points of the unit square, label 0 if x > y, else 1, in an order that never changes. 2-256-64-1 with sigmoid
hidden layers and a linear output, W and b ~ N(0, 1), half the squared error, rate 0.01; each sample is one step, and
training ends when the summed loss of two epochs differs by less than 1e-3, after 1000 epochs at the latest.
Network, training and studies: scratch/labs/point_by_point.py, which lab `xor_line` shares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scratch import datasets
from scratch.datasets import Dataset
from scratch.labs import point_by_point
from scratch.labs.lab import Folder
from scratch.study_runs import StudyRuns

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def load(data_dir: Folder, dtype: str, seed: int) -> Dataset:
    """100 points from a stream of their own; data_dir is not used."""
    return datasets.linear(rng=np.random.default_rng([1, seed]), dtype=dtype)


LAB = point_by_point.make("linear", load)

# (loss, accuracy) of one run with an unnamed seed: the summed loss of its last training pass
PUBLISHED = {
    "rate": ((46.0, 0.54), (1.80, 0.99), (1.73, 0.99), (3.14, 0.99), (6.70, 0.98)),
    "hidden layers": ((4.30, 0.99), (1.73, 0.99), (1.17, 1.0), (0.63, 1.0)),
}


def study(
    seeds: int,
    published: bool,
    say: Callable[[str], object],
    data: Dataset | None = None,
    runs: StudyRuns | None = None,
) -> Iterator[dict[str, Any]]:
    """Rate, depth, width, no activation and an 80/20 split; or, if `published`, the published table beside our seeds.

    The seed draws the weights and the random points; data is not used.
    """
    return point_by_point.study("linear", load, PUBLISHED if published else None, seeds, say, runs)


def study_figure(rows: Sequence[Mapping[str, Any]], seeds: int, published: bool) -> Figure:
    title = point_by_point.figure_title("linear", "100 random points on two sides of a line", seeds, published)
    return point_by_point.study_figure(rows, title)
