"""How a process has ended, as another one of the machine can see it, and what is left of a team that was left.

The ranks themselves are in tests/compare.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from torch_ref.distributed import ShardedLearner
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


TEAM_OF_ONE = """
from pathlib import Path
from torch_ref.team import Team

def gloo() -> int:
    return sum("gloo" in p.read_text() for p in Path("/proc/self/task").glob("*/comm"))

team = Team()
team.tell(None)
during = gloo()
team.leave()
print(during > 0, gloo())
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks into /proc")
def test_no_thread_of_a_team_outlives_it() -> None:
    """One that frees a tensor while Python ends aborts the process."""
    alone = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "0"}
    command = [sys.executable, "-c", TEAM_OF_ONE]
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, **alone, "PYTHONPATH": str(root)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["True", "0"], done.stderr


@pytest.mark.parametrize(("module", "what"), [(nn.BatchNorm1d(3), "statistics"), (nn.Dropout(0.2), "masks")])
def test_what_is_not_computed_row_by_row_is_refused_before_the_ranks_meet(module: nn.Module, what: str) -> None:
    model = nn.Sequential(nn.Linear(4, 3), module)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    message = rf"layer 1 \({type(module).__name__}.*\): {what} would be each process's own, expected one process"
    with pytest.raises(ValueError, match=message):
        ShardedLearner(model, nn.CrossEntropyLoss(), optimizer, team=None)  # type: ignore[arg-type]
