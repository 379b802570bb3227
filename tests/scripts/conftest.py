"""How the scripts are run in these tests: in this process where their words matter, in their own where they must."""

import importlib
import shutil
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def script(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """script("train", "digits", "--epochs", 1) -> (exit code, stdout, stderr), in this process."""
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    before = signal.getsignal(signal.SIGTERM)

    def run(name: str, *arguments: object) -> Outcome:
        ends = importlib.import_module("_exit_code")
        module = importlib.import_module(name)
        monkeypatch.setattr(sys, "argv", [f"scripts/{name}.py"])
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            try:
                code = ends.exit_code(module.main, [str(each) for each in arguments])
            except SystemExit as stop:
                code = stop.code
            finally:
                signal.signal(signal.SIGTERM, before)
        return Outcome(int(code), *capsys.readouterr())

    return run


TRAINED: dict[tuple[object, ...], Path] = {}


@pytest.fixture
def trained(script: Callable[..., Outcome], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """trained(folder, "digits", "--epochs", 2): the folder of this run, which is trained once and copied then."""

    def copy(folder: Path, *arguments: object) -> None:
        if arguments not in TRAINED:
            kept = tmp_path_factory.mktemp("trained") / "run"
            assert script("train", *arguments, "--out", kept).code == 0
            TRAINED[arguments] = kept
        shutil.copytree(TRAINED[arguments], folder, dirs_exist_ok=True)

    return copy


@pytest.fixture
def no_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without a network."""
    monkeypatch.setattr("torch_ref.datasets._reachable", lambda kind: False)
