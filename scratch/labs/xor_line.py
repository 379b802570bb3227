"""Lab 4, `xor_line`: on which diagonal is a point? A sigmoid net, trained one sample at a time.

21 points in an order that never changes: for i = 0 to 10 the point (i/10, i/10) with label 0, then (i/10, 1 - i/10)
with label 1, except at i = 5, where the diagonals meet. 2-256-64-1 with sigmoid hidden layers and a linear output,
W and b ~ N(0, 1), half the squared error, rate 0.01; each sample is one step, and training ends when the summed loss
of two epochs differs by less than 1e-3, after 1000 epochs at the latest.
Network, training and studies: scratch/labs/point_by_point.py, which lab `linear` shares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scratch import datasets
from scratch.datasets import Dataset
from scratch.labs import point_by_point
from scratch.labs.lab import Folder
from scratch.study_runs import StudyRuns

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def load(data_dir: Folder, dtype: str, seed: int) -> Dataset:
    """The 21 points; data_dir and seed are not used."""
    return datasets.xor_line(dtype)


LAB = point_by_point.make("xor_line", load)

# (loss, accuracy) of one run with an unnamed seed: the summed loss of its last training pass. Accuracies are multiples
# of 1/21, cut off. The default run, rate 0.01 and two hidden layers, appears twice, with two results.
PUBLISHED = {
    "rate": ((11.0, 0.47), (0.03, 1.0), (0.39, 1.0), (1.12, 0.90), (3.04, 0.85)),
    "hidden layers": ((2.78, 0.76), (0.61, 1.0), (0.32, 1.0), (0.31, 1.0)),
}


def study(
    seeds: int,
    published: bool,
    say: Callable[[str], object],
    data: Dataset | None = None,
    runs: StudyRuns | None = None,
) -> Iterator[dict[str, Any]]:
    """Rate, depth, width, no activation and an 80/20 split; or, if `published`, the published table beside our seeds.

    data is not used.
    """
    return point_by_point.study("xor_line", load, PUBLISHED if published else None, seeds, say, runs)


def study_figure(rows: Sequence[Mapping[str, Any]], seeds: int, published: bool) -> Figure:
    title = point_by_point.figure_title("xor_line", "21 points on two diagonals", seeds, published)
    return point_by_point.study_figure(rows, title)
