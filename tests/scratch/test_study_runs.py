"""Single runs of a study in a file: what is kept is not computed anew, whatever happened in between."""

import json
from pathlib import Path
from typing import Any

import pytest

from scratch.study_runs import StudyRuns, StudyRunsError


def words(task: int) -> str:
    return f"run {task}"


def never(*arguments: Any) -> Any:
    raise AssertionError("computed anew")


@pytest.mark.parametrize("result", [1, "not finite", None, [1.0, [0.1, 2]], {"a": 1e-300}, float("inf")])
def test_a_result_is_read_back_as_it_was(result: Any, tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    assert StudyRuns(path).one("a", lambda: result) == result
    assert StudyRuns(path).one("a", never) == result


def test_every_float_keeps_its_bits_and_kept_results_are_what_fresh_ones_are(tmp_path: Path) -> None:
    path, result = tmp_path / "runs.jsonl", (0.1 + 0.2, 1e-17, (5e-324, -0.0))
    fresh, kept = StudyRuns(path).one("a", lambda: result), StudyRuns(path).one("a", never)
    assert repr(fresh) == repr(kept) == repr([0.1 + 0.2, 1e-17, [5e-324, -0.0]])


@pytest.mark.parametrize("workers", [1, 2])
def test_only_what_is_left_is_computed_and_numbers_are_those_of_the_tasks(workers: int, tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    runs = StudyRuns(path)
    assert dict(runs.each(divmod, [20, 40], words, shared=(7,), workers=workers)) == {0: [2, 6], 1: [5, 5]}
    lines = path.read_text().splitlines()
    again = StudyRuns(path)
    found = dict(again.each(divmod, [10, 20, 30, 40], words, shared=(7,), workers=workers))
    assert found == {0: [1, 3], 1: [2, 6], 2: [4, 2], 3: [5, 5]}
    assert path.read_text().splitlines()[:2] == lines
    assert len(path.read_text().splitlines()) == 4
    assert dict(again.each(never, [10, 20, 30, 40], words, workers=workers)) == found


def test_what_is_done_before_an_error_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    with pytest.raises(ZeroDivisionError):
        list(StudyRuns(path).each(lambda n: 1 // n, [1, 0, 2], words, workers=1))
    assert StudyRuns(path).results == {"run 1": 1}


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_line_that_was_cut_off_is_taken_away_and_its_run_done_again(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    runs = StudyRuns(path)
    for name in "ab":
        runs.one(name, lambda: [1.5])
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    again = StudyRuns(path)
    assert again.results == {"a": [1.5]}
    assert again.one("b", lambda: [2.5]) == [2.5]
    assert [json.loads(line)["run"] for line in path.read_text().splitlines()] == ["a", "b"]


@pytest.mark.parametrize("line", ["no JSON", "[1]", '{"run": "a"}', "1"])
def test_a_file_of_something_else_is_refused_with_its_line(line: str, tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    StudyRuns(path).one("a", lambda: 1)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(StudyRunsError, match=r"runs\.jsonl, line 2: expected a run and its result"):
        StudyRuns(path)


def test_without_a_file_nothing_is_kept_but_each_run_is_done_once() -> None:
    runs = StudyRuns()
    assert runs.one("a", lambda: 1) == runs.one("a", never) == 1
