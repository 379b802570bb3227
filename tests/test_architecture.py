"""The direction of imports, between the packages and inside compare/, and what keeps files findable.

A reader, loop or metric that both sides share would be wrong on both alike, and no comparison would show it.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("scratch", "torch_ref", "compare")
FOLDERS = (*PACKAGES, "scripts")

FORBIDDEN = {
    "scratch": {"torch", "torchvision", "torch_ref", "compare", "scripts", "tests"},
    "torch_ref": {"scratch", "compare", "scripts", "tests"},
    "compare": {"scripts", "tests"},
    "scripts": {"tests"},
}
# Beside NumPy, scratch may use these, in these places, inside the function that needs them.
SCRATCH_EXTRAS = {"sklearn", "safetensors", "rich", "matplotlib", "threadpoolctl"}
SCRATCH_PLACES_FOR_EXTRAS = re.compile(r"scratch/(crew|datasets|labs|training|checkpoints?|tensor_file|plots)(/|\.py$)")
# compare/ from the bottom: what happens to data, floor by floor. A part imports only from the floors below its own.
FLOORS = (
    {"numbers"},
    {"operations"},
    {"network"},
    {"recording"},
    {"judging"},
    {"diagnosis", "report"},
    {"checking"},
    {"watching"},
    {"foreign"},
    {"check"},
    {"training"},
    {"compare"},  # its __init__.py: what a user imports
    {"exact", "ranks", "submissions"},
    {"measuring"},
)
WATCHED_PROCESS = "compare.watching.script_process"  # it must start quickly, and imports nothing else of compare/
STILL_UPWARD: set[str] = set()  # mend them, then delete them here
FLAT_FILES = 5
SLOW_TO_IMPORT = {"torch", "torchvision", "matplotlib", "sklearn", "scipy"}
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc"}


@dataclass(frozen=True)
class Import:
    line: int
    module: str
    on_load: bool  # runs when the file is imported: in no function and not for the type checker only
    names: tuple[str, ...] = ()  # what is imported from the module

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


def imports(source: str) -> list[Import]:
    """Every absolute import; relative ones stay within their package."""
    return list(_imports(ast.parse(source), on_load=True))


def _imports(node: ast.AST, on_load: bool) -> Iterator[Import]:
    match node:
        case ast.Import(names=names):
            for alias in names:
                yield Import(node.lineno, alias.name, on_load)
        case ast.ImportFrom(module=str(module), level=0, names=names):
            yield Import(node.lineno, module, on_load, tuple(alias.name for alias in names))
        case ast.Call(
            func=ast.Name(id="__import__" | "import_module" | "importorskip")
            | ast.Attribute(attr="__import__" | "import_module" | "importorskip"),
            args=[ast.Constant(value=str(module)), *_],
        ) if not module.startswith("."):
            yield Import(node.lineno, module, on_load)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        on_load = False
    not_run: list[ast.stmt] = []
    if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        not_run = node.body
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, on_load and child not in not_run)


def wrong_imports(path: str, source: str) -> list[str]:
    """What the file at path (relative to the root, with slashes) imports and must not."""
    package = path.partition("/")[0]
    found = []
    for each in imports(source):
        where = f"{path}:{each.line}"
        third_party = each.top not in sys.stdlib_module_names and each.top not in FOLDERS
        if each.top in FORBIDDEN[package]:
            found.append(f"{where}: {package} must not import {each.module}")
        elif package == "scratch" and third_party and each.top != "numpy":
            if each.top not in SCRATCH_EXTRAS or not SCRATCH_PLACES_FOR_EXTRAS.match(path):
                found.append(f"{where}: {each.module} has no place here, scratch is NumPy")
            elif each.on_load:
                found.append(f"{where}: import {each.module} in the function that needs it")
        elif package == "scripts" and each.on_load and each.top in SLOW_TO_IMPORT:
            found.append(f"{where}: {each.module} is slow to import, --help must not wait for it")
    return found


def graph(sources: dict[str, str]) -> dict[str, set[str]]:
    """Module -> the others of `sources` (path -> source) that it imports, in functions and for type checkers, too."""
    paths = {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in sources}
    return {module: _imported(sources[path], set(paths)) - {module} for module, path in paths.items()}


def _imported(source: str, modules: set[str]) -> set[str]:
    """Of `from compare import check` the module compare.check, if there is one; otherwise compare."""
    found = set()
    for each in imports(source):
        inside = [f"{each.module}.{name}" for name in each.names]
        found |= {name if name in modules else each.module for name in inside or [each.module]}
    return found & modules


def ring(arrows: dict[str, set[str]]) -> list[str]:
    """The modules that import themselves by way of others."""
    return sorted(module for module in arrows if module in _reached(arrows, module))


def _reached(arrows: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    ahead = [start]
    while ahead:
        new = arrows[ahead.pop()] - found
        found |= new
        ahead += new
    return found


def part(module: str) -> str:
    """compare.judging.step -> judging."""
    return module.split(".")[1] if "." in module else module


def upward(arrows: dict[str, set[str]]) -> set[str]:
    """What FLOORS forbids of the arrows between parts of compare/."""
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    pairs = {(part(a), part(b)) for a, others in arrows.items() for b in others}
    return {f"{a} -> {b}" for a, b in pairs if a != b and floor[b] >= floor[a]}


def touches_the_project(source: str) -> bool:
    """A test file imports the project or one of its scripts, or runs a script: by the fixture, or from its folder."""
    used = {each.top for each in imports(source)}
    if "README" in source:
        return True  # the project's documents are part of it
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.arg):
            used.add(node.arg)
        elif isinstance(node, ast.Constant) and node.value == "scripts":
            used.add("scripts")
    return not used.isdisjoint({*FOLDERS, "script", *(path.stem for path in files("scripts").values())})


def lacks_command(path: str, source: str) -> bool:
    """A script's docstring holds a command that runs it; files with a leading underscore are not run."""
    name = Path(path).name
    docstring = ast.get_docstring(ast.parse(source)) or ""
    return not name.startswith("_") and f"python scripts/{name}" not in docstring


def says_nothing(path: str) -> bool:
    stems = {part.partition(".")[0].strip("_").lower() for part in Path(path).parts}
    return not stems.isdisjoint(NAMES_THAT_SAY_NOTHING)


def files(folder: str, pattern: str = "*.py") -> dict[str, Path]:
    """Path relative to the root -> file."""
    found = (path for path in (ROOT / folder).rglob(pattern) if "__pycache__" not in path.parts)
    return {path.relative_to(ROOT).as_posix(): path for path in sorted(found)}


# The tree


def inside_compare() -> dict[str, set[str]]:
    return graph({name: path.read_text(encoding="utf-8") for name, path in files("compare").items()})


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_point_one_way(folder: str) -> None:
    sources = {name: path.read_text(encoding="utf-8") for name, path in files(folder).items()}
    assert sources, f"no .py file in {folder}/: nothing was checked"
    assert not [line for name, source in sources.items() for line in wrong_imports(name, source)]


@pytest.mark.parametrize("package", ["scratch", "torch_ref"])
def test_loading_every_module_loads_nothing_forbidden(package: str) -> None:
    """What the source does not show: an import that a permitted library or a computed name brings along."""
    names = [name.removesuffix(".py").removesuffix("/__init__") for name in files(package)]
    modules = [name.replace("/", ".") for name in names if not name.endswith("__main__")]
    program = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"print(*sorted({FORBIDDEN[package]!r} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == []


def test_the_parts_of_compare_import_only_what_is_below_them() -> None:
    assert upward(inside_compare()) == STILL_UPWARD


def test_what_a_watched_process_loads_is_watching_alone() -> None:
    arrows, loaded, left = inside_compare(), set[str](), [WATCHED_PROCESS]
    while left:
        loaded.add(module := left.pop())
        left += arrows[module] - loaded
    assert {part(module) for module in loaded} == {"watching"}


def test_no_module_of_compare_imports_itself_by_way_of_others() -> None:
    assert ring(inside_compare()) == []


def test_what_measures_the_checker_is_no_part_of_it() -> None:
    arrows = inside_compare()
    assert not [a for a, others in arrows.items() if part(a) != "measuring" and "measuring" in map(part, others)]


def test_few_files_of_compare_are_in_no_folder() -> None:
    assert len(list((ROOT / "compare").glob("*.py"))) <= FLAT_FILES


def test_every_test_file_touches_the_project() -> None:
    sources = {name: path.read_text(encoding="utf-8") for name, path in files("tests", "test_*.py").items()}
    assert not [name for name, source in sources.items() if not touches_the_project(source)]


def test_every_package_folder_has_an_init_file() -> None:
    """Without one it would be left out when the project is installed."""
    found = {name for package in PACKAGES for name in files(package)}
    assert {f"{name.rpartition('/')[0]}/__init__.py" for name in found} <= found


def test_names_say_what_is_inside() -> None:
    names = [name for folder in (*FOLDERS, "tests") for name in files(folder, "*")]
    assert not [name for name in names if says_nothing(name)]


def test_every_script_shows_its_command() -> None:
    sources = {name: path.read_text(encoding="utf-8") for name, path in files("scripts").items()}
    assert not [name for name, source in sources.items() if lacks_command(name, source)]


# The checks themselves, on small files that are wrong and on their neighbours that are right


@pytest.mark.parametrize(
    ("path", "source", "complaint"),
    [
        ("scratch/layers.py", "import torch", "must not import torch"),
        ("scratch/layers.py", "import numpy as np, torch.nn as nn", "must not import torch.nn"),
        ("scratch/layers.py", "def f():\n    from torch.nn import Linear", "py:2: .* import torch.nn"),
        ("scratch/layers.py", "try:\n    import torch\nfinally:\n    pass", "must not import torch"),
        ("scratch/layers.py", "torch = importlib.import_module('torch')", "must not import torch"),
        ("scratch/layers.py", "torch = __import__('torch')", "must not import torch"),
        ("scratch/layers.py", "if TYPE_CHECKING:\n    import torch", "must not import torch"),
        ("scratch/datasets/idx.py", "from torchvision import datasets", "must not import torchvision"),
        ("scratch/training.py", "from torch_ref.learner import Learner", "must not import torch_ref"),
        ("scratch/training.py", "import compare", "must not import compare"),
        ("scratch/training.py", "import scripts.train", "must not import scripts"),
        ("scratch/layers.py", "def f():\n    import sklearn", "has no place here"),
        ("scratch/labs/xor.py", "def f():\n    import pandas", "has no place here"),
        ("scratch/plots.py", "import matplotlib.pyplot as plt", "in the function that needs it"),
        ("scratch/datasets/iris.py", "class Iris:\n    from sklearn import datasets", "in the function"),
        ("scratch/plots.py", "if TYPE_CHECKING:\n    x = 1\nelse:\n    import rich", "in the function"),
        ("torch_ref/learner.py", "from scratch import Linear", "must not import scratch"),
        ("torch_ref/learner.py", "from compare.recording.record import Record", "must not import compare"),
        ("compare/check.py", "from scripts import train", "must not import scripts"),
        ("scripts/train.py", "import argparse\nimport torch", "slow to import"),
    ],
)
def test_a_wrong_import_is_found(path: str, source: str, complaint: str) -> None:
    (found,) = wrong_imports(path, source)
    assert re.search(complaint, found)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("scratch/layers.py", "import numpy as np\nfrom numpy.typing import NDArray\nimport math"),
        ("scratch/layers.py", "from .torch import x\nfrom . import compare\nfrom scratch.network import y"),
        ("scratch/layers.py", "'import torch'  # import torch"),
        ("scratch/datasets/iris.py", "def iris():\n    from sklearn.datasets import load_iris"),
        ("scratch/training/checkpoints.py", "def save():\n    import safetensors.numpy"),
        ("scratch/plots.py", "if TYPE_CHECKING:\n    from matplotlib.figure import Figure"),
        ("torch_ref/learner.py", "import torch\nimport torchvision\nimport numpy"),
        ("compare/network/weights.py", "import scratch, torch_ref, torch"),
        ("scripts/train.py", "import argparse\ndef main():\n    import torch, scratch, compare"),
    ],
)
def test_a_right_import_passes(path: str, source: str) -> None:
    assert wrong_imports(path, source) == []


@pytest.mark.parametrize(
    ("path", "source", "found"),
    [
        ("compare/numbers/a.py", "from compare.judging.step import Rule", {"numbers -> judging"}),
        ("compare/numbers/a.py", "from compare.judging import step", {"numbers -> judging"}),
        ("compare/numbers/a.py", "import compare.judging.step", {"numbers -> judging"}),
        ("compare/numbers/a.py", "def f():\n    from compare import check", {"numbers -> check"}),
        ("compare/numbers/a.py", "if TYPE_CHECKING:\n    from compare import Report", {"numbers -> compare"}),
        ("compare/report/a.py", "import compare.diagnosis", {"report -> diagnosis"}),  # of the same floor
        ("compare/check.py", "import_module('compare.measuring')", {"check -> measuring"}),
        ("compare/judging/a.py", "import compare.numbers\nfrom compare.judging import step", set()),
        ("compare/measuring/a.py", "import compare", set()),
    ],
)
def test_an_arrow_that_points_up_is_found(path: str, source: str, found: set[str]) -> None:
    parts = ("numbers", "judging", "diagnosis", "measuring")
    tree = {"compare/__init__.py": "", "compare/check.py": "", "compare/judging/step.py": ""}
    tree |= {f"compare/{part}/__init__.py": "" for part in parts}
    assert upward(graph(tree | {path: source})) == found


def test_a_part_that_has_no_floor_is_an_error() -> None:
    with pytest.raises(KeyError, match="cellar"):
        upward({"compare.cellar": {"compare.numbers"}})


@pytest.mark.parametrize(
    ("arrows", "found"),
    [
        ("", ""),
        ("ab bc ac", ""),
        ("ab ba", "ab"),
        ("ab bc ca", "abc"),
        ("ab bc cb", "bc"),  # a leads there and is not on it
        ("ab bc cb cd", "bc"),
        ("ab ba cd dc", "abcd"),
    ],
)
def test_a_ring_is_found(arrows: str, found: str) -> None:
    tree = {name: {b for a, b in arrows.split() if a == name} for name in "abcd"}
    assert ring(tree) == list(found)


@pytest.mark.parametrize(
    "there", ["from compare import b", "def f():\n    import compare.b", "if TYPE_CHECKING:\n    import compare.b"]
)
def test_a_ring_of_two_files_is_found_however_they_import(there: str) -> None:
    sources = {"compare/a.py": there, "compare/b.py": "from compare.a import A", "compare/c/__init__.py": there}
    assert ring(graph(sources)) == ["compare.a", "compare.b"]


@pytest.mark.parametrize(
    ("source", "touches"),
    [
        ("import numpy as np\n# import compare", False),
        ("def test_that(tmp_path):\n    run('ls')", False),
        ("def f():\n    from compare.check import check", True),
        ("import _fuzz_targets", True),
        ("def test_that(script):\n    script('train')", True),
        ("SCRIPTS = ROOT / 'scripts'", True),
    ],
)
def test_a_test_file_that_touches_nothing_is_found(source: str, touches: bool) -> None:
    assert touches_the_project(source) is touches


@pytest.mark.parametrize(
    ("path", "source", "lacking"),
    [
        ("scripts/train.py", '"""Train a lab.\n\n    python scripts/train.py xor\n"""', False),
        ("scripts/train.py", '"""Train a lab."""', True),
        ("scripts/train.py", '"""As python scripts/sweep.py does."""', True),
        ("scripts/train.py", "# python scripts/train.py xor", True),
        ("scripts/_arguments.py", '"""The arguments that the scripts share."""', False),
    ],
)
def test_a_missing_command_is_found(path: str, source: str, lacking: bool) -> None:
    assert lacks_command(path, source) is lacking


@pytest.mark.parametrize(
    ("path", "empty"),
    [
        ("scratch/utils.py", True),
        ("compare/_helpers.py", True),
        ("tests/common/a.py", True),
        ("scratch/misc/__init__.py", True),
        ("scratch/network.py", False),
        ("scratch/common_mode.py", False),
    ],
)
def test_a_name_that_says_nothing_is_found(path: str, empty: bool) -> None:
    assert says_nothing(path) is empty
