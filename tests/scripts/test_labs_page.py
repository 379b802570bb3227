"""`make labs`: the runs behind docs/labs.md, the page, and that nothing on it leads nowhere."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from compare.measuring import lab_runs, labs_page
from compare.measuring.lab_runs import LabRun, Runner, is_done

CHECKOUT = Path(__file__).resolve().parents[2]
DOCUMENT = CHECKOUT / "docs" / "labs.md"
Script = Any


def expect_whole(page: Path) -> list[Path]:
    """Every link of the page leads to a file or a place in it, every test named is there; its figures."""
    text = page.read_text(encoding="utf-8")
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    headings = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}  # as GitHub names them
    figures = [page.parent / name for name in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)]
    for name, target in re.findall(r"(?<!!)\[([^\]]+)\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in headings or f'<a id="{target[1:]}">' in text, target
            continue
        found = (page.parent / target).resolve()
        assert found.is_file(), target
        if name.startswith("`test_"):
            assert f"\ndef {name.strip('`')}(" in found.read_text(encoding="utf-8"), name
    for figure in figures:
        assert 0 < figure.stat().st_size <= 300 * 1024, figure
        with Image.open(figure) as picture:
            assert min(picture.size) > 300, figure
    assert not re.search(r"(^|[\s`(\"])/(?!/)\w", text), "an absolute path"
    assert "Undefined" not in text
    return figures


def test_the_page_in_the_repository_leads_nowhere_wrong() -> None:
    expect_whole(DOCUMENT)
    text = DOCUMENT.read_text(encoding="utf-8")
    for run in lab_runs.RUNS:
        assert f'<a id="run-{run.name}"></a>' in text
    kept = {path.name for path in (DOCUMENT.parent / "labs").glob("*.png")}
    assert kept == set(re.findall(r"\(labs/([^)]+)\)", text))


def test_a_page_without_runs_says_what_is_missing_and_how_to_make_it(tmp_path: Path) -> None:
    missing = labs_page.write(tmp_path / "labs.md", tmp_path / "runs", lab_runs.RUNS)
    assert set(missing) == {run.name for run in lab_runs.RUNS}
    text = (tmp_path / "labs.md").read_text(encoding="utf-8")
    assert not expect_whole(tmp_path / "labs.md")
    for run in lab_runs.RUNS:
        assert f"*Missing: run `{run.name}` is not done. `{run}` makes it.*" in text


@pytest.mark.slow
def test_a_quick_page_from_its_own_runs(script: Script, tmp_path: Path) -> None:
    outcome = script("labs_page", "--quick", "--out", tmp_path / "quick")
    assert outcome.code == 0, outcome
    assert "0 of 3 runs are done already" in outcome.out
    page = tmp_path / "quick" / "labs.md"
    names = {figure.name for figure in expect_whole(page)}
    assert names == {"xor-regions.png", "xor-amplitudes.png", "digits-curves.png"}
    text = page.read_text(encoding="utf-8")
    metrics = json.loads((tmp_path / "quick" / "digits" / "metrics.json").read_text(encoding="utf-8"))
    for backend in ("scratch", "torch"):
        assert f"{metrics['backends'][backend]['val_loss']:.4f}" in text
    assert "| v11 | y_hat |" in text
    assert "-0.002284" in text
    assert "agree with the published ones" not in text  # after five epochs they do not
    assert "*Missing: run `mnist` is not done." in text
    before = (tmp_path / "quick" / "xor" / "run.json").stat().st_mtime_ns
    again = script("labs_page", "--quick", "--out", tmp_path / "quick")
    assert again.code == 0
    assert "3 of 3 runs are done already" in again.out
    assert (tmp_path / "quick" / "xor" / "run.json").stat().st_mtime_ns == before
    assert page.read_text(encoding="utf-8") == text


@pytest.mark.slow
def test_parts_on_real_data(script: Script, tmp_path: Path, data_dir: Path) -> None:
    only = ("trace", "one_vs_rest_published")
    outcome = script("labs_page", "--data-dir", data_dir, "--out", tmp_path / "labs", "--only", *only)
    assert outcome.code == 0, outcome
    figures = expect_whole(tmp_path / "labs" / "labs.md")
    assert {figure.name for figure in figures} == {"trace-bars.png", "trace-graph.png"}
    assert "it calls 0 of" in (tmp_path / "labs" / "labs.md").read_text(encoding="utf-8")


def test_a_run_that_ends_otherwise_than_it_should_is_not_done(tmp_path: Path) -> None:
    wrong = LabRun("wrong", "train", ("no_such_lab",))
    (ended,) = Runner(tmp_path, 1).all([wrong])
    assert ended.error.startswith("exit code 2: train: lab 'no_such_lab'")
    assert not is_done(wrong, tmp_path)
    assert not (tmp_path / "wrong").exists()
    expected = LabRun("expected", "train", ("no_such_lab",), code=2)
    (ended,) = Runner(tmp_path, 1).all([expected])
    assert ended.error == ""
    assert is_done(expected, tmp_path)
    assert labs_page.RunFiles(expected, tmp_path).last_line.startswith("train: lab 'no_such_lab'")


def test_an_unfinished_study_goes_on_and_everything_else_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[list[str]] = []
    study, other = lab_runs.study("study", "iris", "--seeds", "1"), lab_runs.training("training", "xor")
    runner = Runner(tmp_path, 1)
    monkeypatch.setattr(runner, "_call", lambda command, said: called.append(command) or 130)
    for run in (study, other):
        (tmp_path / f"{run.name}.unfinished").mkdir()
        (tmp_path / f"{run.name}.unfinished" / "config.json").touch()
    unknown = [study, other]  # nobody knows what began there
    assert all(ended.error for ended in runner.all(unknown))
    assert ["--resume" in command for command in called] == [False, False]
    for run in (study, other):
        (tmp_path / f"{run.name}.unfinished").mkdir(exist_ok=True)
        (tmp_path / f"{run.name}.unfinished" / "config.json").touch()
    list(runner.all([study, other, lab_runs.study("study", "iris", "--seeds", "2")]))
    assert ["--resume" in command for command in called[2:]] == [True, False, False]
    assert "--out" not in called[2]


@pytest.mark.parametrize(
    ("roundings", "first"),
    [((1, 1, 1), None), ((1, 101, 1), None), ((1, 101, 102), 2), ((101, 1, 102), 3), ((200, 200, 200), 1), ((), None)],
)
def test_where_weights_part_for_good(roundings: tuple[int, ...], first: int | None) -> None:
    assert labs_page._stays_above([n * 2.0**-53 for n in roundings], 2.0**-53) == first


def test_the_page_has_every_lab_in_float64_within_1e_9() -> None:
    from scratch.labs import LABS

    text = DOCUMENT.read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in text.splitlines() if " | float64 | " in line]
    assert {row[0].split("`")[1] for row in rows} == set(LABS)
    assert all(float(row[4]) <= 1e-9 for row in rows), rows


def test_the_page_misses_nothing() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert "*Missing" not in text
    assert not re.search(r"\| missing \|", text)


def test_a_run_of_another_command_is_not_done(tmp_path: Path) -> None:
    run, longer = (lab_runs.training("xor", "xor", "--epochs", n) for n in ("5", "6"))
    (tmp_path / "xor").mkdir()
    (tmp_path / "xor" / "run.json").write_text(json.dumps({"command": str(run)}))
    assert is_done(run, tmp_path)
    assert not is_done(longer, tmp_path)


def test_what_is_closed_begins_nothing(tmp_path: Path) -> None:
    runner = Runner(tmp_path, 1)
    runner.close()
    (ended,) = runner.all([lab_runs.training("xor", "xor")])
    assert ended.error
    assert not (tmp_path / "xor").exists()


def test_names_are_different_and_commands_name_their_folder() -> None:
    names = [run.name for run in lab_runs.RUNS]
    assert len(set(names)) == len(names)
    assert all(f"runs/labs/{run.name}" in str(run) for run in lab_runs.RUNS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda page: page.test("tests/scripts/test_labs_page.py", "test_that_is_not_there"), "found no test"),
        (lambda page: page.test("tests/absent.py", "test_it"), "found no test"),
        (lambda page: page.file("absent.py"), "no such file"),
        (lambda page: page.by("absent"), "no such run"),
        (lambda page: page.run("mnist"), "not done"),
    ],
)
def test_what_is_not_there_cannot_be_linked(call: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(labs_page.PageError, match=message):
        call(labs_page.Page(tmp_path / "labs.md", tmp_path, ()))


def test_figures_are_small(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (900, 1600, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.png")
    labs_page.shrink(tmp_path / "large.png", tmp_path / "small.png")
    assert (tmp_path / "small.png").stat().st_size <= 300 * 1024


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--quick", "--only", "xor"), "expected one of them"),
        (("--only", "absent"), "invalid choice"),
        (("--workers", "0"), "expected a whole number"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(script: Script, arguments: tuple[str, ...], message: str) -> None:
    outcome = script("labs_page", *arguments)
    assert outcome.code == 2
    assert message in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
