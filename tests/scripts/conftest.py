"""How the scripts are run in these tests: in this process where their words matter, in their own where they must."""

import importlib
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


@pytest.fixture
def no_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without a network."""
    monkeypatch.setattr("torch_ref.datasets._reachable", lambda kind: False)
