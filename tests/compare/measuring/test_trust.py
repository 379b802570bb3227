"""The measurement of the checker: what it counts is there, its judgements are whole, it goes on where it stopped."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import scratch
from compare.measuring.faults import FIRST, SECOND, THIRD, corpus, find
from compare.measuring.random_case import random_case
from compare.measuring.trust import baselines, forms, measurement, origins, tables
from compare.measuring.trust.blind import BLIND_SETS
from compare.measuring.trust.causes import CAUSES_OF
from compare.measuring.trust.document import render
from compare.measuring.trust.measurement import QUICK, Line, Plan, measure, read
from compare.measuring.trust.settings import SETTINGS, Setting, adapted, case
from compare.operations import causes as known_causes

SOURCES = """
import sys
import compare.measuring.trust.measurement
for name, module in list(sys.modules.items()):
    if name.partition(".")[0] in ("compare", "scratch", "torch_ref") and getattr(module, "__file__", None):
        print(module.__file__)
"""
# imported, and no verdict, place or cause hangs on them: figures, data sets, checkpoints, training by epochs
NOT_JUDGING = ("compare/check.py", "compare/foreign/*", "compare/foreign/flow/*", "compare/foreign/naming/*",
               "compare/training/*", "compare/watching/*", "compare/report/figures.py", "compare/report/findings.py",
               "compare/report/page.py", "compare/report/reasons.py",
               "compare/report/report.py", "compare/report/words.py", "compare/report/text.py",
               "scratch/atomic_file.py", "scratch/checkpoint.py", "scratch/crew.py", "scratch/datasets/*",
               "scratch/engine.py", "scratch/fingerprint.py", "scratch/flat.py", "scratch/history.py",
               "scratch/parallel_engine.py", "scratch/plots.py", "scratch/printable.py", "scratch/random_state.py",
               "scratch/tensor_file.py", "scratch/training.py", "scratch/training_options.py",
               "torch_ref/learner.py")  # fmt: skip

OWN = Plan(networks=0, others=0, judged=0, pursuits=0, floors=(), shapes=("own",), scales=("own",))
FEW = replace(QUICK, networks=3, others=2, judged=1, examples=3, shapes=("2-1",), every=40, floors=())


@pytest.fixture(scope="module", params=["float64", pytest.param("float32", marks=pytest.mark.many)])
def own(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Line]:
    """Every fault of the corpus that one precision shows, in its own case."""
    plan = replace(OWN, dtypes=(request.param,))
    return measure(plan, tmp_path_factory.mktemp("own") / "results.jsonl", workers=1)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[Line]]]:
    """A little of everything."""
    path = tmp_path_factory.mktemp("few") / "results.jsonl"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measurement, "blind_faults", lambda: (*FIRST[:4], *SECOND[:2], *THIRD[:2]))
        yield path, measure(FEW, path, workers=1)


# --- the judgements --------------------------------------------------------------------------------------------------


def test_every_fault_has_its_causes_and_every_cause_exists() -> None:
    assert set(CAUSES_OF) == {fault.name for fault in corpus()}
    for blind in BLIND_SETS:
        assert set(blind.causes) == set(blind.true) == {fault.name for fault in blind.faults}
    judged = [*CAUSES_OF.values(), *(causes for blind in BLIND_SETS for causes in blind.causes.values())]
    named = {c for causes in judged for c in causes.right | causes.vague}
    assert named - set(known_causes()) <= {"wrong-shape", "dtype"}  # the two that need no hypothesis


@pytest.mark.parametrize("blind", BLIND_SETS, ids=lambda blind: blind.name)
def test_the_first_run_of_a_blind_set_is_whole(blind) -> None:
    assert set(blind.said("float64")) == {fault.name for fault in blind.faults}
    assert set(blind.said("float32")) <= {fault.name for fault in blind.faults if "float32" in fault.dtypes}


@pytest.mark.parametrize(
    ("name", "right", "confidently"), [("first", 78, []), ("second", 18, []),
                                       ("third", 37, ["third-output-layer-activated-too",
                                                      "third-adam-correction-without-power"])])  # fmt: skip
def test_the_first_runs_as_they_were_counted(name: str, right: int, confidently: list[str]) -> None:
    found = tables.first_judgements(next(blind for blind in BLIND_SETS if blind.name == name), "float64")
    assert sum(verdict == "right" for verdict, _ in found.values()) == right
    assert [fault for fault, (_, wrong) in found.items() if wrong] == confidently


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ([("bias-missing", 0.95), ("factor", 0.5)], "right"),
        ([("convention: bias-missing", 0.95)], "right"),
        ([("sign", 0.475), ("bias-missing", 0.475)], "tied"),
        ([("sign", 0.95), ("bias-missing", 0.475)], "wrong"),
        ([("factor", 0.5), ("bias-missing", 0.25)], "vague"),
        ([("unknown", 0.0)], "unknown"),
        ([], "unknown"),
    ],
)
def test_how_a_diagnosis_is_judged(said: list[tuple[str, float]], verdict: str) -> None:
    assert CAUSES_OF["bias-missing"].judge(said) == verdict


# --- origins ---------------------------------------------------------------------------------------------------------


def records(name: str, dtype: str = "float64") -> tuple[list, list]:
    fault = find(name)
    right = case(fault, SETTINGS[0], dtype, 0).record()
    with fault.planted():
        return case(fault, SETTINGS[0], dtype, 0).record(), right


def test_no_origin_without_a_fault() -> None:
    _, right = records("bias-missing")
    assert origins.origins(right, right) == []


@pytest.mark.parametrize("name", ["bias-missing", "weight-gradient-sign", "update-sign", "momentum-forgotten"])
def test_the_origin_is_where_the_corpus_says(name: str) -> None:
    found = origins.origins(*records(name))
    first = origins.expected(found)[-1]
    assert (first.step, first.tensor) == (find(name).step, next(iter(find(name).where))[1])
    assert origins.size(found) > 1e3


def test_the_size_of_a_graded_fault_is_its_multiple_of_the_allowance() -> None:
    small, large = (origins.size(origins.origins(*records(f"gradient-scaled-by-1-plus-{s}"))) for s in ("1e-5", "1e-3"))
    assert large == pytest.approx(100 * small, rel=1e-3)


# --- baselines -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [0.0, 1e-9, 1e-6, 1e-4, 1e-2])
def test_torch_rules_are_torch_s(dtype: str, size: float) -> None:
    rng = np.random.default_rng(0)
    b = rng.standard_normal((5, 4)).astype(dtype)
    a = (b * (1 + size)).astype(dtype)
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    wide = a.astype(np.float64), b.astype(np.float64)
    scale = lambda: (np.abs(wide[1]), 1)  # noqa: E731
    assert baselines.RULES["torch.allclose"](*wide, dtype, scale) == torch.allclose(x, y)
    try:
        torch.testing.assert_close(x, y)
        close = True
    except AssertionError:
        close = False
    assert baselines.RULES["torch.testing.assert_close"](*wide, dtype, scale) == close


@pytest.mark.slow
def test_baselines_find_a_large_fault_and_where_it_is(own: list[Line]) -> None:
    line = next(li for li in own if li.get("fault") == "weight-gradient-sign")
    assert line["baselines"]["torch.allclose"] in ([1, "2.grad_weight"], (1, "2.grad_weight"))


# --- settings and forms ----------------------------------------------------------------------------------------------


def test_every_fault_can_be_planted_in_several_settings() -> None:
    for fault in corpus():
        assert sum(adapted(fault, setting) is not None for setting in SETTINGS) >= 10, fault.name


@pytest.mark.parametrize(("scale", "largest"), [("1e-8", 1e-7), ("0-1", 1.0), ("0-255", 255.0), ("1e8", 1e9)])
def test_inputs_are_of_the_scale(scale: str, largest: float) -> None:
    fault = adapted(find("bias-missing"), Setting("small", scale))
    assert fault is not None
    x, _ = case(fault, Setting("small", scale), "float64", 0).batches[0]
    assert largest / 100 < np.abs(x).max() <= largest


def test_there_are_ten_other_forms_and_each_is_another() -> None:
    others = [*(form for found in forms.LAYERS.values() for form in found), *forms.LOSSES.values()]
    assert len(set(others)) >= 10
    assert all(issubclass(form, scratch.Layer | scratch.Loss) for form in others)


@pytest.mark.parametrize("seed", range(12))
def test_other_forms_compute_the_same(seed: int) -> None:
    one, other = random_case(seed, np.float64, log_scale=1.0), random_case(seed, np.float64, log_scale=1.0)
    forms.in_other_forms(other)
    y, z = one.network.forward(one.x), other.network.forward(other.x)
    np.testing.assert_allclose(z, y, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(other.loss.forward(z, other.t), one.loss.forward(y, one.t), rtol=1e-8, atol=1e-12)


# --- what is measured ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_fault_is_found_in_its_own_case(own: list[Line]) -> None:
    faults = [line for line in own if line["part"] == "fault"]
    (dtype,) = {line["dtype"] for line in faults}
    assert {line["fault"] for line in faults} == {fault.name for fault in corpus() if dtype in fault.dtypes}
    assert all(line["outcome"] == "planted" and line["sound"] for line in faults)
    lost = [(li["fault"], li["dtype"]) for li in faults if tables.is_large(li) and not tables.is_located(li)]
    assert not lost


@pytest.mark.slow
def test_nothing_is_accused_without_its_fault(own: list[Line]) -> None:
    correct = [line for line in own if line["part"] == "correct"]
    assert correct
    assert {line["verdict"] for line in correct} == {"parity"}


@pytest.mark.slow
def test_the_right_cause_is_named_for_95_percent(own: list[Line]) -> None:
    large = [line for line in own if line["part"] == "fault" and tables.is_large(line)]
    right = [line for line in large if tables.judgement(line) == "right"]
    assert len(right) >= 0.95 * len(large), tables.confusion(own)
    assert not any(tables.is_confidently_wrong(line) for line in large), tables.wrong_causes(own)


@pytest.mark.slow
def test_no_baseline_locates_more(own: list[Line]) -> None:
    large = [line for line in own if line["part"] == "fault" and tables.is_large(line)]
    ours = sum(map(tables.is_located, large))
    for rule in (*baselines.RULES, baselines.OWN_BITS):
        assert sum(line["baselines"][rule] in line["places"] for line in large) <= ours, rule


@pytest.mark.slow
@pytest.mark.parametrize("dtype", measurement.DTYPES)
@pytest.mark.parametrize("side", measurement.SIDES)
def test_no_false_alarm(side: str, dtype: str) -> None:
    found = [measurement.random_network(seed, dtype, side) for seed in range(20_000, 20_005)]
    assert not [line for line in found if line["verdict"] == "mismatch"]


# --- the file --------------------------------------------------------------------------------------------------------


def test_what_is_in_the_file_is_not_run_again(few: tuple[Path, list[Line]], monkeypatch: pytest.MonkeyPatch) -> None:
    path, lines = few
    assert {line["part"] for line in lines} == {"code", "plan", "fault", "correct", "random", "blind", "pursuit"}
    assert len({line["key"] for line in lines}) == len(lines) == len(read(path))

    def never(*_: object) -> None:
        pytest.fail("it was run again")

    monkeypatch.setattr(measurement, "do", never)
    assert measure(FEW, path, workers=1) == read(path)


def test_every_module_that_a_result_depends_on_is_in_the_digest() -> None:
    """All that `measurement` imports of this project, but the packages' own `__init__`, which import and do no more."""
    root = Path(measurement.__file__).parents[3]
    known = {path for pattern in measurement.MEASURED for path in root.glob(pattern)}
    done = subprocess.run([sys.executable, "-c", SOURCES], cwd=root, capture_output=True, text=True, check=True)
    used = {Path(line) for line in done.stdout.splitlines()}
    assert len(used) > 30
    unnoticed = {path.relative_to(root) for path in used - known if path.name != "__init__.py"}
    assert not {path for path in unnoticed if not any(path.match(pattern) for pattern in NOT_JUDGING)}


def test_results_of_other_code_are_not_gone_on_with(few: tuple[Path, list[Line]], tmp_path: Path) -> None:
    other = tmp_path / "results.jsonl"
    other.write_text(few[0].read_text(encoding="utf-8").replace(measurement.code_digest(), "0" * 64), encoding="utf-8")
    with pytest.raises(ValueError, match="was measured with other code"):
        measure(FEW, other, workers=1)


def test_an_interrupted_run_goes_on(few: tuple[Path, list[Line]], tmp_path: Path) -> None:
    path, lines = few
    whole = path.read_text(encoding="utf-8")
    cut = tmp_path / "results.jsonl"
    cut.write_text(whole[: 2 * len(whole) // 3], encoding="utf-8")  # in the middle of a line, most likely
    again = measure(FEW, cut, workers=1)
    assert {line["key"] for line in again} == {line["key"] for line in lines}
    assert {json.dumps(li, sort_keys=True) for li in read(cut)} == {json.dumps(li, sort_keys=True) for li in read(path)}


def test_the_document_has_every_table(few: tuple[Path, list[Line]]) -> None:
    text = render(few[1], command="make trust", results="results.jsonl")
    for heading in ("False alarms", "Planted faults", "Causes", "Floors", "Blind faults", "To repeat it"):
        assert f"\n## {heading}\n" in text
    assert "{{" not in text
    assert all(f"\n### The {blind.name} set: {len(blind.faults)} faults\n" in text for blind in BLIND_SETS)
    assert "3 random networks a precision" in text
    assert "Unfinished" not in text


def test_the_document_of_an_unfinished_run_says_so(few: tuple[Path, list[Line]]) -> None:
    lines = [line for line in few[1] if line["part"] != "pursuit" and line.get("seed") != 1]
    text = render(lines, command="make trust", results="results.jsonl")
    assert "**Unfinished:** of what the settings below ask for this page has hunts 0 of 2, networks 8 of 14." in text
