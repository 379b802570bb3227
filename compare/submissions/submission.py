"""One submission of many, examined in a process of its own, so that nothing it does harms another's.

The script is copied into a temporary folder with the files that belong to it, and watched there. The process that
watches it is a process of its own too: whatever the numbers do to the check, the others are examined.

The script itself runs in a box (see watching/box.py). Where `RunLimits.box` is False it runs with the rights of whoever
calls, and can delete what they can: that bounds accidents, not malice.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from compare.recording.notes import DidNotEnd
from compare.report.findings import findings
from compare.report.outcome import Outcome
from compare.submissions import left_behind
from compare.submissions.handed_in import Script
from compare.submissions.left_behind import NoResult

UNEXAMINED = "not examined"
VERDICTS = ("mismatch", "incomplete", "parity", UNEXAMINED)  # in the order of a class's table
CHECKING = 300.0  # seconds for naming, judging and drawing, after the script has ended
GRACE = 5.0  # seconds to end what was started, before the process is killed
NAME = 200  # bytes of a page's name, of which a file system takes 255

FOLDER = partial(tempfile.TemporaryDirectory, ignore_cleanup_errors=True)

START = """
import sys
sys.path.insert(0, sys.argv[1])
from compare.submissions.submission import main
main(sys.argv[2])
"""


@dataclass(frozen=True)
class Submission:
    """A script, and the network that it is to compute, as a text; "" where that is read off the script."""

    script: Script
    network: str = ""

    @property
    def name(self) -> str:
        return self.script.name


@dataclass(frozen=True)
class RunLimits:
    """Of one script: seconds of running, bytes of memory, and whether it runs in a box."""

    seconds: float = 20.0
    memory: int = 4 << 30
    box: bool = False


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


@dataclass
class _Processes:
    """Those that are running, so that all of them can be ended from another thread."""

    running: set[subprocess.Popen[bytes]] = field(default_factory=set)
    ended: bool = False

    def add(self, process: subprocess.Popen[bytes]) -> None:
        """It ends at once where the others have been ended already."""
        self.running.add(process)
        if self.ended:
            _stop(process)

    def end(self) -> None:
        self.ended = True  # first, so that each process is seen here or in `add`
        for process in list(self.running):
            _stop(process)


def examine(
    submissions: Sequence[Submission],
    *,
    limits: RunLimits | None = None,
    workers: int = 1,
    out: Path | None = None,
    said: Callable[[Examined], None] = lambda _: None,
) -> list[Examined]:
    """Every submission, `workers` at a time, in the order given. Pages go to `out`; `said` hears of each as it ends."""
    processes = _Processes()
    with ThreadPoolExecutor(workers) as pool:
        try:
            jobs = [
                pool.submit(_examined, each, limits or RunLimits(), page, processes)
                for each, page in zip(submissions, _pages(submissions, out), strict=True)
            ]
            for job in as_completed(jobs):
                said(job.result())
        except BaseException:  # an interruption too: the threads then end, and their folders with them
            pool.shutdown(wait=False, cancel_futures=True)
            processes.end()
            raise
    return [job.result() for job in jobs]


def _pages(submissions: Sequence[Submission], out: Path | None) -> list[Path | None]:
    """A page for each, all in one folder; no two have the same name, and none that of the index."""
    if out is None:
        return [None] * len(submissions)
    taken = {"index.html"}
    pages: list[Path | None] = []
    for each in submissions:
        short = os.fsdecode(os.fsencode(each.name.replace("/", " - "))[:NAME])
        page = next(name for name in _numbered(short) if name.casefold() not in taken)
        taken.add(page.casefold())
        pages.append(out / page)
    return pages


def _numbered(name: str) -> Iterator[str]:
    yield f"{name}.html"
    yield from (f"{name} ({k}).html" for k in count(2))


def _examined(submission: Submission, limits: RunLimits, page: Path | None, processes: _Processes) -> Examined:
    """In a process of its own, on a copy."""
    try:
        submission.script.path.open("rb").close()
    except OSError as error:
        return _unexamined(submission, f"it cannot be read: {error.strerror}")
    began = time.monotonic()
    with FOLDER(prefix="submission-") as work, FOLDER(prefix="examined-") as folder:
        script, results = _copy(submission.script, Path(work)), Path(folder)
        where = {"script": str(script), "name": submission.name, "results": folder, "draw": page is not None}
        settings = where | {"network": submission.network} | asdict(limits)
        code = _run(settings, results, limits.seconds + CHECKING, processes)
        if code is None:
            found = _unexamined(submission, f"the check took longer than {CHECKING:g} s")
        else:
            found = _left_behind(submission, results, code, page)
        return replace(found, seconds=round(time.monotonic() - began, 1))


def _unexamined(submission: Submission, why: str) -> Examined:
    return Examined(submission.name, submission.network, UNEXAMINED, why)


def _run(settings: dict[str, Any], results: Path, seconds: float, processes: _Processes) -> int | None:
    """The exit code; None where the process took longer than `seconds`."""
    command = [sys.executable, "-P", "-c", START, str(Path(__file__).parents[2]), json.dumps(settings)]
    nowhere = subprocess.DEVNULL
    with (results / "stderr").open("wb") as stderr:
        process = subprocess.Popen(command, stdin=nowhere, stdout=nowhere, stderr=stderr, cwd=results)
    try:
        processes.add(process)
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _stop(process)
        processes.running.discard(process)


def _left_behind(submission: Submission, results: Path, code: int, page: Path | None) -> Examined:
    """What its process found, or, if it left nothing that can be read, its exit code and last words."""
    try:
        found = left_behind.found(results / "found.json", VERDICTS)
    except NoResult as error:
        failed = code and f"the check itself failed with exit code {code}: {left_behind.last_words(results / 'stderr')}"
        return _unexamined(submission, (failed or f"the check left {error}").rstrip(": "))
    name = ""
    if page is not None:
        with contextlib.suppress(NoResult):  # a row without a page
            page.write_bytes(left_behind.plain(results / "page.html", left_behind.PAGE))
            name = page.name
    own = {"network": submission.network, "page": name}
    return Examined(submission.name, **found | {each: value for each, value in own.items() if value})


def _copy(script: Script, folder: Path) -> Path:
    """All that belongs to a script; the path of its own copy."""
    for at, path in script.files.items():
        (folder / at).parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):  # what cannot be read cannot be read by the submission either
            shutil.copyfile(path, folder / at)
    return folder / script.at


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
    results = Path(settings["results"])
    found = _found(Path(settings["script"]), settings, results / "page.html" if settings["draw"] else None)
    (results / "found.json").write_text(json.dumps(left_behind.with_texts(found)))


def _found(script: Path, settings: dict[str, Any], page: Path | None) -> dict[str, Any]:
    import compare
    from compare.report.page import Reproduction

    network, unexamined = settings["network"], {"verdict": UNEXAMINED, "network": "", "findings": []}
    try:
        limits = {name: settings[name] for name in ("seconds", "memory", "box")}
        report = compare.check(script, network=network or None, **limits)
    except (OSError, ValueError, TypeError, MemoryError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        return unexamined | {"cause": said.replace(f"{script}: ", "").replace(str(script), script.name)}
    if page is not None:
        command = ["python", "scripts/check_parity.py", "--watch", settings["name"]]
        command += ["--network", network] if network else []
        report.to_html(page, Reproduction(shlex.join(command)))
    return from_report(report)


def from_report(report: Outcome) -> dict[str, Any]:
    """The fields of `Examined` that a Report answers."""
    ended = next((note.how for note in report.notes if isinstance(note, DidNotEnd)), "")
    told = findings(note for note in report.notes if not isinstance(note, DidNotEnd))
    found = {"verdict": report.verdict, "findings": told, "coverage": report.coverage, "ended": ended}
    found["network"] = report.network
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
