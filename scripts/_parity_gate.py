"""What of a lab is checked, and the check before training: check_parity.py and the training scripts judge alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from scratch.datasets import Dataset
from scratch.labs import Lab, LabSetup

if TYPE_CHECKING:
    from compare.recording.batches import Batch
    from scratch import Loss, Optimizer, Sequential

    Job = tuple[Sequential, Loss, Optimizer, list[Batch]]

DTYPES = ("float64", "float32")  # the first gate, and the second
AWAKE = "the biases start at zero, which hides mistakes: checked with random ones"
Say = Callable[[str], None]


def verdicts(lab: Lab, data: Dataset, options: dict[str, Any], say: Say, device: str = "cpu") -> dict[str, str]:
    """Dtype -> the verdict on the lab's network as it will be trained, but with biases that are not zero.

    The worse verdict of NumPy's run and of PyTorch's, which is on `device`. `options`: what Lab.set_up takes; `say`
    gets the reports. What is trained is set up anew, with the lab's own weights.
    """
    import compare

    found = {}
    for dtype in DTYPES:
        say_once = say if dtype == DTYPES[0] else lambda _: None
        report = compare.check_parity(*telling_job(lab, data, dtype, options, say_once), device=device)
        say(f"{report}\n")
        found[dtype] = report.verdict
        if report.verdict == "parity" and report.reference and report.reference.verdict != "parity":
            say(f"PyTorch's own run:\n{report.reference}\n")
            found[dtype] = report.reference.verdict
    return found


def telling_job(lab: Lab, data: Dataset, dtype: str, options: dict[str, Any], say: Say) -> Job:
    """The lab's network, loss and optimiser, with the biases and the batches that show the most.

    `say` is told where the biases are not the lab's own.
    """
    import numpy as np

    from compare.recording.batches import ROWS, lab_batches, telling_rows, wake_biases

    rng = np.random.default_rng(0)
    setup = _set_up(lab, data, data.x_train[:1], data.t_train[:1], dtype, options)
    if wake_biases(setup.network, rng):
        say(AWAKE)
    m = setup.batch_size
    samples = _set_up(lab, data, *telling_rows(data.x_train, data.t_train, 3 * m, rng), dtype, options).samples
    batches = lab_batches(samples.x_train, samples.t_train, m if m >= ROWS else min(ROWS, len(samples.x_train)))
    return setup.network, setup.loss, setup.optimizer, batches


def own_job(lab: Lab, data: Dataset, dtype: str, options: dict[str, Any]) -> Job:
    """The same with the lab's own biases, on its first rows."""
    from compare.recording.batches import lab_batches

    n = 3 * (options["batch_size"] or lab.batch_size)
    setup = _set_up(lab, data, data.x_train[:n], data.t_train[:n], dtype, options)
    batches = lab_batches(setup.samples.x_train, setup.samples.t_train, setup.batch_size)
    return setup.network, setup.loss, setup.optimizer, batches


def _set_up(lab: Lab, data: Dataset, x: Any, t: Any, dtype: str, options: dict[str, Any]) -> LabSetup:
    """On these rows alone: a whole data set in another dtype can be large."""
    few = replace(data, x_train=x, t_train=t, x_val=data.x_val[:1], t_val=data.t_val[:1])
    return lab.set_up(few.astype(dtype), **options)
