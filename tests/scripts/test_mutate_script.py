"""mutate.py: what the mutators change and what they leave, a mutant judged, results that go on, and the page."""

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compare.measuring.mutants import known, measurement, page
from compare.measuring.mutants.mutators import Mutant, mutants
from compare.measuring.mutants.planting import FILES, mutants_of

Script = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]


def function(*body: str, arguments: str = "x, y", before: str = "") -> str:
    return f"{before}def f({arguments}):\n" + "".join(f"    {line}\n" for line in body)


def of(*body: str, arguments: str = "x, y", kind: str | None = None) -> list[str]:
    """The statements that the mutants of a function have in the place of the original's."""
    found = mutants(function(*body, arguments=arguments), "a.py")
    return [m.after for m in found if kind is None or m.kind == kind]


@pytest.mark.parametrize(
    ("statement", "kind", "expected"),
    [
        ("return x + y", "operator", ["return x - y", "return x * y"]),
        ("return x @ y", "operator", ["return x * y"]),
        ("return x / y", "operands swapped", ["return y / x"]),
        ("return x * y", "operands swapped", []),
        ("return x / y", "operand dropped", ["return x", "return y"]),
        ("x += y", "operator", ["x -= y", "x *= y", "x = y"]),
        ("x += y", "in place", ["x = x + y"]),
        ("x = x + y", "in place", ["x += y"]),
        ("x = y + x", "in place", []),
        ("return x > y", "comparison", ["return x >= y", "return x < y"]),
        ("return x in y", "comparison", ["return x not in y"]),
        ("return 0", "constant", ["return 1"]),
        ("return 2", "constant", ["return 1", "return 3"]),
        ("return 0.25", "constant", ["return 0.0", "return 0.5"]),
        ("return True", "constant", ["return False"]),
        ("return x['weight']", "key", ["return x['bias']"]),
        ("return -x", "sign", ["return x"]),
        ("return x.y", "sign", ["return -x.y"]),
        ("return x and y", "and, or", ["return x or y"]),
        ("return x and y", "operand dropped", ["return y", "return x"]),
        ("return x if y else 3", "condition", ["return x", "return 3", "return 3 if y else x"]),
        ("return np.where(x, y, 0)", "arguments swapped", ["return np.where(y, x, 0)", "return np.where(x, 0, y)"]),
        ("return x.sum(axis=y, keepdims=y)", "argument dropped", ["return x.sum(keepdims=y)", "return x.sum(axis=y)"]),
        ("return x.copy()", "call dropped", ["return x"]),
        ("return np.abs(x)", "call dropped", ["return x"]),
        ("return np.maximum(x, y)", "function", ["return np.minimum(x, y)"]),
        ("return x.T", "transpose dropped", ["return x"]),
        ("return x.max()", "attribute", ["return x.min()"]),
        ("return x, y", "elements swapped", ["return (y, x)"]),
        ("g(x)", "statement deleted", ["pass"]),
        ("raise ValueError(x)", "exception", ["raise KeyError(x)"]),
    ],
)
def test_each_mutator(statement: str, kind: str, expected: list[str]) -> None:
    assert of(statement, kind=kind) == expected


def test_variables_are_taken_for_each_other_where_a_function_has_both() -> None:
    assert of("return dy * y", arguments="dy, y", kind="variable") == ["return y * y", "return dy * dy"]
    assert of("return dy", arguments="dy, z", kind="variable") == []


def test_compound_statements() -> None:
    branch = of("if x > y:", "    return 1", "else:", "    return 2", kind="condition")
    assert branch == ["if not x > y: ...", "if True: ...", "if False: ..."]
    assert of("if not x:", "    return 1", kind="condition") == ["if True: ...", "if x: ..."]
    assert of("with x:", "    y()", kind="block opened") == ["if True: ..."]
    assert of("try:", "    x()", "except LayerError:", "    pass", kind="exception") == ["try ... except KeyError"]


def test_defaults_are_changed_and_annotations_docstrings_and_decorators_are_not() -> None:
    text = function('"""1 > 0."""', "z: Array[0] = x", arguments="x: Is[0], y: int = 2, *, eps: float = 0.5",
                    before="@cached(0)\n")  # fmt: skip
    found = [(m.before, m.after) for m in mutants(text, "a.py")]
    assert ("y=2", "y=3") in found
    assert ("eps=0.5", "eps=0.0") in found
    assert not [after for _, after in found if "Is[1]" in after or "Array[1]" in after or "1 >=" in after]
    assert all("1 > 0." in m.source for m in mutants(text, "a.py"))


def test_words_of_messages_are_told_apart_from_behaviour() -> None:
    body = ("worst = x - 1", "least = x - 2", "if x > least:", "    raise ValueError(f'at {worst + 3}: {x}')")
    found = {m.after: m.is_message for m in mutants(function(*body), "a.py")}
    assert found["worst = x + 1"]
    assert not found["least = x + 2"]
    assert found["raise ValueError(f'at {worst - 3}: {x}')"]
    assert not found["raise KeyError(f'at {worst + 3}: {x}')"]
    shown = mutants("class A:\n    def __repr__(self):\n        return str(1)\n", "a.py")
    assert {m.is_message for m in shown} == {True}
    assert {m.function for m in shown} == {"A.__repr__"}


def test_no_mutant_twice_and_each_with_a_key_of_its_own() -> None:
    text = function("x = x + 1", "x = x + 1", "return x")
    found = mutants(text, "a.py")
    assert len({m.source for m in found}) == len({m.key for m in found}) == len(found)
    assert "a.py f: x = x + 1 -> x = x - 1 (no. 2)" in {m.key for m in found}
    assert ast.unparse(ast.parse(text)) not in {m.source for m in found}


@pytest.mark.parametrize("file", FILES)
def test_every_mutant_of_the_files_compiles_and_has_its_own_key(file: str) -> None:
    found = mutants_of(file)
    for mutant in found:
        compile(mutant.source, file, "exec")
    assert len({m.key for m in found}) == len(found)


JUDGE = """
import json, sys, torch
from compare.measuring.mutants import judge
from compare.measuring.mutants.cases import cases
from compare.measuring.mutants.planting import mutants_of
torch.set_num_threads(1)
case = str(cases()[0])
found = {file: mutants_of(file) for file in ("layers.py", "optim.py")}
for file, after in json.loads(sys.argv[1]):
    (mutant,) = [m for m in found[file] if m.after == after]
    ran = {str(c): frozenset() for c in cases()} | {case: frozenset((file, n) for n in mutant.lines)}
    line = judge.judged(mutant, ran)
    print(line["outcome"], line.get("how"))
def loop():
    while True:
        pass
print(judge.in_own_process(loop, 1)["how"])
"""


def test_mutants_are_judged_in_processes_of_their_own() -> None:
    planted = [
        ("layers.py", "return np.where(x >= 0, dy, dy.dtype.type(0))"),  # no zeros in this case
        ("layers.py", "return np.where(x < 0, dy, dy.dtype.type(0))"),
        ("layers.py", "self.grads['weight'] = x @ dy.T"),
        ("optim.py", "p += self.lr * g"),
        ("layers.py", "bias=False"),  # a default: only what was asked for can tell
    ]
    done = subprocess.run(
        [sys.executable, "-c", JUDGE, json.dumps(planted)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "survived None",
        "killed check_parity",
        "killed exception in the candidate",
        "killed check_parity",
        "killed what was asked for",
        "time limit",
    ]


def some_mutants() -> list[Mutant]:
    return mutants(function("if x > y:", "    return x - y", "return x + 1"), "a.py")


def lines_of(found: list[Mutant], outcome: str = "killed") -> list[dict[str, Any]]:
    return [{"key": m.key, "outcome": outcome, "by": "a case", "how": "check_parity"} for m in found]


def test_results_of_the_same_code_are_gone_on_with_and_of_other_code_are_not(tmp_path: Path) -> None:
    path, found = tmp_path / "results.jsonl", some_mutants()
    whole = [json.dumps(line) for line in ({"code": measurement.digest()}, *lines_of(found))]
    path.write_text("\n".join(whole) + '\n{"key": "cut o')
    assert measurement.run(found, path) == lines_of(found)
    assert path.read_text().splitlines() == whole
    path.write_text("\n".join([json.dumps({"code": "other"}), *whole[1:]]))
    assert measurement.run([], path) == []
    assert path.read_text().splitlines() == whole[:1]


def test_the_page_counts_and_explains(monkeypatch: pytest.MonkeyPatch) -> None:
    found = some_mutants()
    lines = lines_of(found[:-3]) + lines_of(found[-3:], "survived")
    same, words, unseen = (m.key for m in found[-3:])
    monkeypatch.setattr(page, "EQUIVALENT", {same: "the same number"})
    monkeypatch.setattr(page, "WORDS", {words: "only words"})
    monkeypatch.setattr(page, "UNSEEN", {})
    fates = page.fates(found, lines)
    n = len(found) - 3
    assert page.share(fates) == n / (n + 1)
    assert page.unexplained(fates) == [unseen]
    assert page.stale(fates) == []
    text = page.render(fates, 7, 8)
    assert f"{n} of {n + 1} mutants that change behaviour killed" in text
    assert "- the same number\n  - `a.py`" in text
    assert "No reason known." in text
    monkeypatch.setattr(page, "UNSEEN", {found[0].key: "it is killed", "a.py g: gone -> pass": "", "b.py f: x": ""})
    assert page.stale(fates) == [found[0].key, "a.py g: gone -> pass"]


def test_no_mutant_has_two_reasons() -> None:
    tables = (known.EQUIVALENT, known.WORDS, known.UNSEEN)
    assert sum(map(len, tables)) == len({key for table in tables for key in table})
    keys = {m.key for file in FILES for m in mutants_of(file)}
    assert [key for table in tables for key in table if key not in keys] == []


def test_bad_usage_is_one_line(script: Script, tmp_path: Path) -> None:
    for arguments, words in (
        (["--files", "training.py"], "file 'training.py': expected one of layers.py, losses.py, network.py, optim.py"),
        (["--limit", "0"], "argument --limit: got '0', expected a whole number of at least 1"),
    ):
        done = script("mutate", *arguments, "--out", tmp_path)
        assert (done.code, done.out) == (2, "")
        assert done.err == f"mutate: {words}\n"


@pytest.mark.slow
def test_a_few_mutants_and_once_more(script: Script, tmp_path: Path) -> None:
    options = ("--files", "network.py", "--limit", 3, "--workers", 1, "--out", tmp_path)
    first = script("mutate", *options)
    assert first.code == 0, first
    assert "3 of 3 mutants judged" in first.out
    assert "mutants that change behaviour killed (100.00%)" in first.out
    assert (tmp_path / "mutants.md").exists()
    survived = [line.removeprefix("survived: ") for line in first.out.splitlines() if line.startswith("survived: ")]
    assert set(survived) <= known.EQUIVALENT.keys() | known.WORDS.keys()
    results = (tmp_path / "results.jsonl").read_text()
    again = script("mutate", *options)
    assert again.code == 0
    assert "judged" not in again.out
    assert (tmp_path / "results.jsonl").read_text() == results
