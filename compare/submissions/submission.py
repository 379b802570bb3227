"""One submission of many, examined in a process of its own, so that nothing it does harms another's.

The script is copied into a temporary folder with the data files beside it, and watched there. The process that watches
it is a process of its own too: whatever the numbers do to the check, the others are examined.

This bounds accidents, not malice: a submission runs with the rights of whoever calls, and can delete what they can.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from compare.recording.notes import DidNotEnd
from compare.report.findings import findings
from compare.report.outcome import Outcome

UNEXAMINED = "not examined"
VERDICTS = ("mismatch", "incomplete", "parity", UNEXAMINED)  # in the order of a class's table
CHECKING = 300.0  # seconds for naming, judging and drawing, after the script has ended
GRACE = 5.0  # seconds to end what was started, before the process is killed
DATA = 200 << 20  # bytes of data files that are copied with each submission
TICK = 0.05

START = """
import sys
sys.path.insert(0, sys.argv[1])
from compare.submissions.submission import main
main(sys.argv[2])
"""


@dataclass(frozen=True)
class Submission:
    """A script, and the network that it is to compute, as a text."""

    path: Path
    network: str


@dataclass(frozen=True)
class RunLimits:
    """Of one script: seconds of running, and bytes of memory."""

    seconds: float = 20.0
    memory: int = 4 << 30


@dataclass(frozen=True)
class Examined:
    """What was found of one submission.

    verdict: "parity", "mismatch", "incomplete" or "not examined". line: where the first wrong tensor is bound,
    "anna.py line 41, dz1", and `code` that line. cause: why it is wrong, or, where nothing could be examined, why not.
    """

    file: str
    network: str
    verdict: str
    cause: str = ""
    line: str = ""
    code: str = ""
    tensor: str = ""
    should_be: str = ""
    findings: tuple[str, ...] = ()
    coverage: str = ""
    ended: str = ""  # how it ended, if not at its end
    seconds: float = 0.0
    page: str = ""  # the name of its page beside the index

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self) | {"findings": list(self.findings)}


@dataclass
class _Running:
    """A submission that is being examined."""

    submission: Submission
    process: subprocess.Popen[bytes]
    work: tempfile.TemporaryDirectory[str]
    results: tempfile.TemporaryDirectory[str]
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Since it was started."""
        return time.monotonic() - self.began


def examine(
    submissions: Sequence[Submission],
    *,
    limits: RunLimits | None = None,
    workers: int = 1,
    out: Path | None = None,
    said: Callable[[Examined], None] = lambda _: None,
) -> list[Examined]:
    """Every submission, `workers` at a time, in the order given. Pages go to `out`; `said` hears of each as it ends."""
    limits, waiting, running = limits or RunLimits(), deque(enumerate(submissions)), dict[int, _Running]()
    found: dict[int, Examined] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                number, submission = waiting.popleft()
                try:
                    submission.path.open("rb").close()
                except OSError as error:
                    why = f"it cannot be read: {error.strerror}"
                    found[number] = Examined(submission.path.name, submission.network, UNEXAMINED, why)
                    said(found[number])
                    continue
                running[number] = _start(submission, limits, draw=out is not None)
            for number, each in list(running.items()):
                late = each.seconds > limits.seconds + CHECKING
                if each.process.poll() is not None or late:
                    found[number] = _finish(running.pop(number), late, out)
                    said(found[number])
            time.sleep(TICK)
    finally:
        for each in running.values():
            _end(each)
    return [found[number] for number in sorted(found)]


def _start(submission: Submission, limits: RunLimits, draw: bool) -> _Running:
    """In a process of its own, on a copy."""
    work = tempfile.TemporaryDirectory(prefix="submission-", ignore_cleanup_errors=True)
    results = tempfile.TemporaryDirectory(prefix="examined-", ignore_cleanup_errors=True)
    script = _copy(submission.path, Path(work.name))
    settings = {"script": str(script), "network": submission.network, "results": results.name, "draw": draw}
    command = [sys.executable, "-P", "-c", START, str(Path(__file__).parents[2]), json.dumps(settings | asdict(limits))]
    with (Path(results.name) / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr, cwd=results.name
        )
    return _Running(submission, process, work, results)


def _copy(script: Path, folder: Path) -> Path:
    """The script and the data files beside it, the smallest first and as many as are allowed; other scripts are not."""
    beside = [path for path in script.parent.iterdir() if path.is_file() and path.suffix not in (".py", ".pyc")]
    left = DATA
    for path in sorted(beside, key=lambda path: path.stat().st_size):
        left -= path.stat().st_size
        if left < 0:
            break
        with contextlib.suppress(OSError):  # what cannot be read cannot be read by the submission either
            shutil.copyfile(path, folder / path.name)
    return Path(shutil.copyfile(script, folder / script.name))


def _finish(each: _Running, late: bool, out: Path | None) -> Examined:
    """What its process left behind, or what became of it."""
    file, network, took = each.submission.path.name, each.submission.network, round(each.seconds, 1)
    results = Path(each.results.name)
    try:
        if late:
            _stop(each.process)
            return Examined(file, network, UNEXAMINED, f"the check took longer than {CHECKING:g} s", seconds=took)
        try:
            found = json.loads((results / "found.json").read_text())
        except (OSError, ValueError):
            last = (results / "stderr").read_text(errors="replace").strip().splitlines()[-1:] or [""]
            why = f"the check itself failed with exit code {each.process.returncode}: {last[0]}"
            return Examined(file, network, UNEXAMINED, why.rstrip(": "), seconds=took)
        page = f"{file}.html" if out is not None and (results / "page.html").exists() else ""
        if out is not None and page:
            shutil.copyfile(results / "page.html", out / page)
        return Examined(file, network, seconds=took, page=page, **found | {"findings": tuple(found["findings"])})
    finally:
        _end(each)


def _end(each: _Running) -> None:
    _stop(each.process)
    each.work.cleanup()
    each.results.cleanup()


def _stop(process: subprocess.Popen[bytes]) -> None:
    """First asked, so that it ends the script that it watches."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


# --- in the process of one submission ---------------------------------------------------------------------------------


def main(text: str) -> None:
    """Examine the script of the settings, and leave found.json and page.html."""
    settings = json.loads(text)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through the block that ends the script
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
    script, results = Path(settings["script"]), Path(settings["results"])
    found = _found(script, settings["network"], settings, results / "page.html" if settings["draw"] else None)
    (results / "found.json").write_text(json.dumps(found))


def _found(script: Path, network: str, settings: dict[str, Any], page: Path | None) -> dict[str, Any]:
    import compare
    from compare.report.page import Reproduction

    unexamined: dict[str, Any] = {"verdict": UNEXAMINED, "findings": []}
    try:
        report = compare.check(script, network=network, seconds=settings["seconds"], memory=settings["memory"])
    except (ValueError, TypeError, MemoryError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        return unexamined | {"cause": said.replace(f"{script}: ", "").replace(str(script), script.name)}
    if page is not None:
        command = ["python", "scripts/check_parity.py", "--watch", script.name, "--network", network]
        report.to_html(page, Reproduction(shlex.join(command)))
    return from_report(report)


def from_report(report: Outcome) -> dict[str, Any]:
    """The fields of `Examined` that a Report answers."""
    ended = next((note.how for note in report.notes if isinstance(note, DidNotEnd)), "")
    told = findings(note for note in report.notes if not isinstance(note, DidNotEnd))
    found = {"verdict": report.verdict, "findings": told, "coverage": report.coverage, "ended": ended}
    first = report.first
    if first is None:
        return found
    return found | {
        "tensor": first.tensor,
        "should_be": first.formula,
        "line": report.origins.get(first.tensor, ""),
        "code": report.code,
        "cause": report.diagnosis[0].explanation if report.diagnosis else "",
    }
