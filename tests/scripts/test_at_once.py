"""A signal while a command is being loaded: its exit code, one line at most, and never a traceback."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
COMMANDS = sorted(path.stem for path in SCRIPTS.glob("[a-z]*.py"))

# Sends the process a signal at its first import of a module, as if somebody had pressed Ctrl-C then.
STARTED = """
import os, runpy, sys
script, module, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
class Signalling:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), number)
sys.meta_path.insert(0, Signalling())
sys.path.insert(0, os.path.dirname(script))
sys.argv = [script, "--help"]
runpy.run_path(script, run_name="__main__")
"""


def started(command: str, module: str, number: int) -> subprocess.CompletedProcess[str]:
    arguments = [str(SCRIPTS / f"{command}.py"), module, str(number)]
    return subprocess.run([sys.executable, "-c", STARTED, *arguments], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_during_the_first_import_is_one_line(command: str) -> None:
    done = started(command, "_command", signal.SIGINT)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", f"{command}: interrupted\n")


@pytest.mark.parametrize("module", ["rich.console", "rich.progress", "_exit_code"])
def test_ctrl_c_during_a_later_import_is_one_line(module: str) -> None:
    done = started("mutate", module, signal.SIGINT)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "mutate: interrupted\n")


def test_sigterm_is_its_exit_code_alone() -> None:
    done = started("train", "_command", signal.SIGTERM)
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "")
