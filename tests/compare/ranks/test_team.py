"""Three real ranks under torchrun: correct ones agree with one process, planted faults have names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from compare.measuring.faults import DISTRIBUTED_FAULTS, REFERENCE_FAULTS, corpus, find

ROOT = Path(__file__).resolve().parents[3]
JOB = Path(__file__).with_name("ranks_job.py")
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
Found = dict[str, Any]


def job(out: Path, ranks: int, *folder: str) -> Found:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks), str(JOB), str(out)]
    environment = {**os.environ, **THREADS, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, *folder], env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    answer: Found = json.loads(out.read_text())
    return answer


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What a job of three ranks found; test_ranks.py simulates two, test_torchrun.py has real ones."""
    return job(tmp_path_factory.mktemp("ranks") / "found.json", 3)


def test_the_faults_of_several_ranks_are_a_list_of_their_own() -> None:
    names = {fault.name for fault in DISTRIBUTED_FAULTS}
    assert len(names) == len(DISTRIBUTED_FAULTS) == 4
    assert not names & {fault.name for fault in corpus() + REFERENCE_FAULTS}
    assert all(find(name).family == "distributed" for name in names)


@pytest.mark.parametrize("fault", DISTRIBUTED_FAULTS, ids=lambda fault: fault.name)
def test_its_edits_apply_once_and_are_undone(fault: Any) -> None:
    from torch_ref.distributed import ShardedLearner

    before = dict(vars(ShardedLearner))
    with fault.planted():
        changed = {name for name, value in vars(ShardedLearner).items() if value is not before.get(name)}
    assert {f"ShardedLearner.{name}" for name in changed} == {edit.function for edit in fault.edits}
    assert dict(vars(ShardedLearner)) == before


@pytest.mark.slow
@pytest.mark.parametrize("fault", DISTRIBUTED_FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_found_where_it_is_and_by_name(found: Found, fault: Any) -> None:
    rows = [row for row in found["faults"] if row["name"] == fault.name]
    assert [row["dtype"] for row in rows] == list(fault.dtypes)
    for row in rows:
        assert row["cause"] == fault.name
        assert tuple(row["place"]) in fault.where
        assert row["step"] == fault.step
        assert (row["without"], row["numpy"]) == ("parity", "parity")


@pytest.mark.slow
def test_uneven_and_empty_shards_and_both_reductions_equal_one_process(found: Found) -> None:
    rows = found["networks"]
    assert len(rows) == 10
    for row in rows:
        bound = 1e-12 if row["dtype"] == "float64" else 1e-4
        assert row["verdict"] == "parity", row
        assert 0 < row["ratio"] <= 1
        assert row["apart"] < bound, row
        assert row["figures"] < bound, row


@pytest.mark.slow
def test_what_is_not_finite_on_one_rank_stops_all_with_the_same_words(found: Found) -> None:
    assert found["not_finite"] == {
        "said": ["the input is not finite"] * 2,
        "everywhere": True,
        "weights_kept": True,
    }


def assert_every_step_agrees(steps: list[dict[str, Any]], rows: list[int]) -> None:
    assert [step["rows"] for step in steps] == rows
    for number, step in enumerate(steps, 1):
        assert (step["across"], step["isolated"], step["bits"]) == ("parity", "parity", True), (number, step)
        assert step["compared"] == 4
        assert 0 < step["numpy"] <= 1, (number, step)


@pytest.mark.slow
def test_at_every_step_of_the_first_epoch_the_gradients_from_the_same_weights_agree(found: Found) -> None:
    assert_every_step_agrees(found["digits"], [128] * 11 + [29])


@pytest.mark.many
def test_they_agree_on_fashion_mnist(tmp_path: Path, data_dir: Path) -> None:
    found = job(tmp_path / "found.json", 2, str(data_dir))
    assert_every_step_agrees(found["fashion_mnist"], [128] * 10 + [31])
