"""Handed in: what a folder of submissions holds: the scripts that are to be run, and all that was passed over, and why.

A script (.py or .ipynb) is a submission. So is a folder, with the modules and data that are in it. Which of its scripts
runs is never guessed: the table names it; else it is the only one, else main.py or main.ipynb, else the only one that
no other imports. Where there is one script nearest to the top of the folder, those further down are no candidates.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from compare.watching.notebook import cells

SCRIPTS = (".py", ".ipynb")
ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
MADE = {
    "__MACOSX": "made by macOS",
    ".DS_Store": "made by macOS",
    "__pycache__": "made by Python",
    ".ipynb_checkpoints": "made by Jupyter, an older state of a notebook",
    "Thumbs.db": "made by Windows",
    "desktop.ini": "made by Windows",
}
MADE_FOLDERS = {"pyvenv.cfg": "a virtual environment", "submissions.json": "the pages of an earlier check"}  # by a file
DATA = 200 << 20  # bytes of files that are copied with each submission
DEPTH = 8  # folders in one another
READ = 50 << 20  # bytes of a script that is searched for imports
SHOWN = 6  # names of files in one line


@dataclass(frozen=True)
class PassedOver:
    """A file or folder that is no submission. file: its path below the folder of all."""

    file: str
    why: str


@dataclass(frozen=True)
class Script:
    """What runs, and with what beside it. files: by their places in the folder in which it runs; `at` is its own.

    name: "anna.py", or of a folder "anna/main.py".
    """

    name: str
    at: str
    files: Mapping[str, Path]

    @property
    def path(self) -> Path:
        return self.files[self.at]


@dataclass
class HandedIn:
    """scripts: by name. unclear: folders of which nothing runs, and why."""

    scripts: dict[str, Script] = field(default_factory=dict)
    unclear: dict[str, str] = field(default_factory=dict)
    passed_over: list[PassedOver] = field(default_factory=list)


def read(folder: Path, named: Collection[str] = ()) -> HandedIn:
    """All that lies in a folder; `named` are the scripts that the table names. OSError where it cannot be read."""
    found = HandedIn()
    folders, files = _listed(folder, "", found.passed_over)
    data = {name: path for name, path in files.items() if path.suffix not in SCRIPTS}
    shared = _fitting(data, "", found.passed_over)
    why = "no .py or .ipynb; it is copied beside each script"
    found.passed_over += [PassedOver(name, why) for name in shared if not name.endswith(ARCHIVES)]
    for name in files.keys() - data.keys():
        found.scripts[name] = Script(name, name, {**shared, name: files[name]})
    for name, path in folders.items():
        below = [each.removeprefix(f"{name}/") for each in named if each.startswith(f"{name}/")]
        _read_folder(found, name, path, below, shared)
    found.passed_over.sort(key=lambda each: each.file)
    return found


def _read_folder(found: HandedIn, name: str, folder: Path, named: Collection[str], shared: Mapping[str, Path]) -> None:
    """One student's: its scripts that run, or why none does."""
    files = _below(folder, name, found.passed_over)
    scripts = [at for at in files if files[at].suffix in SCRIPTS and PurePosixPath(at).name != "__init__.py"]
    imports = {at: _imports(files[at]) for at in scripts}
    chosen = [at for at in scripts if at in named] or _chosen(imports)
    if not files:
        return
    if not scripts:
        found.unclear[name] = f"no .py or .ipynb in it: {_few(files)}"
    elif not chosen:
        found.unclear[name] = (
            f"it is not clear which of {len(scripts)} scripts runs: {_few(scripts)}; "
            f"rename that one to main.py, or give it in a --table as {name}/{scripts[0]}"
        )
    else:
        found.passed_over += _not_run(name, chosen, imports)
        files = _fitting(files, name, found.passed_over)
        for at in chosen:
            beside = {str(PurePosixPath(at).with_name(each)): path for each, path in shared.items()}
            found.scripts[f"{name}/{at}"] = Script(f"{name}/{at}", at, beside | files)


def _few(names: Iterable[str]) -> str:
    first = list(names)
    more = f" and {len(first) - SHOWN} more" if len(first) > SHOWN else ""
    return ", ".join(first[:SHOWN]) + more


# --- which files there are --------------------------------------------------------------------------------------------


def _listed(folder: Path, name: str, passed_over: list[PassedOver]) -> tuple[dict[str, Path], dict[str, Path]]:
    """The folders and the files in a folder, by name, without what nobody has written."""
    folders, files = {}, {}
    for path in sorted(folder.iterdir()):
        below = f"{name}/{path.name}" if name else path.name
        why = _why(path)
        if why:
            passed_over.append(PassedOver(below, why))
        elif path.is_dir():
            folders[path.name] = path
        else:
            files[path.name] = path
            if path.name.endswith(ARCHIVES):
                passed_over.append(PassedOver(below, "an archive; unpack it to have it checked"))
    return folders, files


def _why(path: Path) -> str:
    """Why a file or folder is nobody's work; "" where it may be."""
    if path.name in MADE:
        return MADE[path.name]
    if path.name.startswith("._"):
        return "made by macOS"
    if path.name.startswith("."):
        return "hidden, its name begins with a dot"
    if path.suffix == ".pyc":
        return "made by Python"
    if path.is_dir():
        if path.is_symlink():
            return "a link to a folder, which is not followed"
        return next((why for file, why in MADE_FOLDERS.items() if (path / file).exists()), "")
    return "" if path.is_file() else "no file"


def _below(folder: Path, name: str, passed_over: list[PassedOver], depth: int = DEPTH) -> dict[str, Path]:
    """Every file below a folder, by its path there. A folder without one is passed over."""
    try:
        folders, found = _listed(folder, name, passed_over)
    except OSError as error:
        passed_over.append(PassedOver(name, f"it cannot be read: {error.strerror}"))
        return {}
    for each, path in folders.items():
        if depth == 0:
            passed_over.append(PassedOver(f"{name}/{each}", f"more than {DEPTH} folders deep"))
            continue
        inner = _below(path, f"{name}/{each}", passed_over, depth - 1)
        found |= {f"{each}/{at}": file for at, file in inner.items()}
    if not found:
        passed_over.append(PassedOver(name, "an empty folder"))
    return found


def _fitting(files: Mapping[str, Path], name: str, passed_over: list[PassedOver]) -> dict[str, Path]:
    """The scripts, and of the data the smallest first and as much as may be copied."""
    found, left = {}, DATA
    for at, path in sorted(files.items(), key=lambda each: _size(each[1])):
        left -= 0 if path.suffix in SCRIPTS else _size(path)
        if left >= 0 or path.suffix in SCRIPTS:
            found[at] = path
        elif not at.endswith(ARCHIVES):
            why = f"not copied, there are more than {DATA >> 20} MB of files"
            passed_over.append(PassedOver(f"{name}/{at}" if name else at, why))
    return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


# --- which script runs ------------------------------------------------------------------------------------------------


def _chosen(imports: Mapping[str, Collection[str]]) -> list[str]:
    """The script that runs, of these with what each imports; none where that is not clear."""
    depth = min((at.count("/") for at in imports), default=0)
    nearest = [at for at in imports if at.count("/") == depth]
    mains = [at for at in nearest if _stem(at) == "main"]
    first = [at for at in nearest if not any(_stem(at) in imports[other] for other in imports if other != at)]
    return next((few for few in (nearest, mains, first) if len(few) == 1), [])


def _not_run(name: str, chosen: Sequence[str], imports: Mapping[str, Collection[str]]) -> list[PassedOver]:
    """The scripts of a folder that neither run nor are imported by what runs."""
    left, reached = list(chosen), set(chosen)
    while left:
        wanted = imports[left.pop()]
        more = [at for at in imports if at not in reached and _stem(at) in wanted]
        left += more
        reached.update(more)
    why = f"{' and '.join(chosen)} {'runs' if len(chosen) == 1 else 'run'}, and it is not imported there"
    return [PassedOver(f"{name}/{at}", why) for at in imports if at not in reached]


def _stem(at: str) -> str:
    return PurePosixPath(at).stem


def _imports(path: Path) -> set[str]:
    """Every part of the name of every module that a script imports; none where it is no Python."""
    try:
        with path.open("rb") as file, warnings.catch_warnings(action="ignore"):
            data = file.read(READ)
            tree = ast.parse(cells(data) if path.suffix == ".ipynb" else data)
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return set()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [each.name for each in node.names]
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            found.update(part for each in names for part in each.split("."))
    return found
