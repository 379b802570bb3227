"""Tasks on several processes: every result with its number, one thread each, errors handed on."""

import os

import pytest

from scratch.processes import in_processes


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_has_its_result(workers: int) -> None:
    found = dict(in_processes(divmod, [10, 20, 30, 40], shared=(7,), workers=workers))
    assert found == {0: (1, 3), 1: (2, 6), 2: (4, 2), 3: (5, 5)}


def test_an_error_ends_it() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_processes(divmod, [1, 2], shared=(0,), workers=2))


def test_each_process_has_one_thread_and_ours_keep_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS"]
    assert dict(in_processes(os.getenv, names, workers=2)) == {0: "1", 1: "1"}
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert "MKL_NUM_THREADS" not in os.environ
