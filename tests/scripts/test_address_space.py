"""A limit on memory too small for the libraries: one line and exit code 2, at whichever of them it is reached."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from _exit_code import exit_code, is_out_of_memory  # noqa: E402

LIMITED = """
import resource, runpy, sys
size = int(sys.argv[1]) << 20
resource.setrlimit(resource.RLIMIT_AS, (size, size))
sys.path.insert(0, sys.argv[2])
sys.argv = ["train.py", "digits", "--backend", "scratch"]
runpy.run_path(sys.path[0] + "/train.py", run_name="__main__")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_a_library_that_cannot_be_loaded_is_one_line() -> None:
    command = [sys.executable, "-c", LIMITED, "100", str(SCRIPTS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("train: out of memory")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "out of memory"),
        (MemoryError("Unable to allocate 8 GiB"), "out of memory (Unable to allocate 8 GiB)"),
        (ImportError("read me:\n\nx.so: failed to map segment"), "out of memory (x.so: failed to map segment)"),
        (OSError("x.so: failed to map segment"), "x.so: failed to map segment"),
        (SystemError("error return without exception set"), "out of memory (error return without exception set)"),
        (RuntimeError("CUDA out of memory"), "out of memory (CUDA out of memory)"),
    ],
)
def test_each_way_to_say_it(error: Exception, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    def main(argv: object) -> int:
        raise error

    assert exit_code(main, []) == 2
    assert capsys.readouterr().err.partition(": ")[2] == f"{said}\n"


@pytest.mark.parametrize("error", [ImportError("no module named x"), RuntimeError("x"), SystemError("x")])
def test_other_errors_are_not_taken_for_it(error: Exception) -> None:
    assert not is_out_of_memory(error)
