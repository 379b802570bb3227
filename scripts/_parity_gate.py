"""The check before training: the one place in which a training script calls for the verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from scratch.datasets import Dataset
from scratch.labs import Lab

DTYPES = ("float64", "float32")  # the first gate, and the second


def verdicts(
    lab: Lab, data: Dataset, options: dict[str, Any], say: Callable[[str], None], device: str = "cpu"
) -> dict[str, str]:
    """Dtype -> the verdict on the lab's network as it will be trained, over three steps.

    The worse verdict of NumPy's run and of PyTorch's, which is on `device`. `options`: what Lab.set_up takes; `say`
    gets the reports.
    """
    import compare
    from compare.recording.batches import lab_batches

    found = {}
    for dtype in DTYPES:
        first = _first_rows(data, 3 * (options["batch_size"] or lab.batch_size))
        setup = lab.set_up(first.astype(dtype), **options)
        batches = lab_batches(setup.samples.x_train, setup.samples.t_train, setup.batch_size)
        report = compare.check_parity(setup.network, setup.loss, setup.optimizer, batches, device=device)
        say(f"{report}\n")
        found[dtype] = report.verdict
        if report.verdict == "parity" and report.reference and report.reference.verdict != "parity":
            say(f"PyTorch's own run:\n{report.reference}\n")
            found[dtype] = report.reference.verdict
    return found


def _first_rows(data: Dataset, n: int) -> Dataset:
    rows = {name: getattr(data, name)[:n] for name in ("x_train", "t_train", "x_val", "t_val")}
    return replace(data, **rows)
