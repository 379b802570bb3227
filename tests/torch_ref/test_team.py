"""How a process has ended, as another one of the machine can see it; the ranks themselves are in tests/compare."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from torch_ref.team import ending

WITHOUT_A_WORD = "ended without a word, as a process that is killed does"


def test_a_process_that_runs_has_not_ended() -> None:
    assert ending(os.getpid()) is None


def test_one_that_is_not_there_any_more_ended_without_a_word() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert ending(gone.pid) == WITHOUT_A_WORD


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
@pytest.mark.parametrize(
    ("code", "number", "words"),
    [
        ("import time; time.sleep(60)", signal.SIGKILL, "was killed by signal 9 (SIGKILL)"),
        ("import time; time.sleep(60)", signal.SIGTERM, "was killed by signal 15 (SIGTERM)"),
        ("raise SystemExit(3)", None, "ended with exit code 3"),
        ("raise SystemExit(0)", None, WITHOUT_A_WORD),
    ],
)
def test_one_whose_parent_has_not_looked_yet_tells_how(code: str, number: signal.Signals | None, words: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", code])
    if number:
        process.send_signal(number)
    until = time.monotonic() + 30
    while (how := ending(process.pid)) is None and time.monotonic() < until:
        time.sleep(0.02)
    process.wait()
    assert how in (words, WITHOUT_A_WORD)  # the second where the system does not let it be read
