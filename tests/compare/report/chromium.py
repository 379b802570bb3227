"""A headless Chromium that reads pages for the tests, driven by its own protocol over a pipe: nothing to install.

The browser is the one that BACKPROP_CHROMIUM names, or the first of the usual names and places.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "chrome-headless-shell")
PLACES = (".cache/ms-playwright", "Library/Caches/ms-playwright", ".cache/puppeteer")
BINARIES = ("chrome", "headless_shell", "chrome-headless-shell", "Chromium")
BECOME = """import os, sys
os.dup2(int(sys.argv[1]), 3), os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])"""
PATIENCE = 60  # seconds for one answer


def find_chromium() -> str | None:
    """The path of a browser; None where there is none, or where the system has no such pipes."""
    if sys.platform == "win32":
        return None
    if named := os.environ.get("BACKPROP_CHROMIUM"):
        return named
    if installed := next(filter(None, map(shutil.which, NAMES)), None):
        return installed
    folders = [Path.home() / place for place in PLACES]
    found = (path for folder in folders for name in BINARIES for path in sorted(folder.glob(f"**/{name}")))
    return next((str(path) for path in found if path.is_file() and os.access(path, os.X_OK)), None)


@dataclass
class Reading:
    """What happened while a page was read: words on the console, errors, and what was asked for."""

    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    loaded: bool = False


class Chromium:
    """One browser; `page` opens a page in it. To be used in a `with` block."""

    def __init__(self, path: str) -> None:
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_read, self.write = _pipe()
        self.read, to_write = _pipe()
        # the protocol's pipes are file descriptors 3 and 4 of the browser; the sandbox needs rights that a test
        # may not have, and the pages are our own
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", BECOME, str(to_read), str(to_write), path]
            + [*arguments, f"--user-data-dir={self.folder.name}", "about:blank"],
            pass_fds=(to_read, to_write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self.number, self.buffer = 0, b""
        self.reading = Reading()

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.read)
        os.close(self.write)
        self.folder.cleanup()

    def page(self, url: str, width: int, scheme: str) -> Page:
        """The page in a window of that width, loaded."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.ask(f"{domain}.enable")
        page.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        page.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.reading = page.reading = Reading()
        page.ask("Page.navigate", url=url)
        self._until(lambda: self.reading.loaded)
        return page

    def ask(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        """The answer to one command of the protocol. RuntimeError if it is an error."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        data = json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0"
        while data:
            data = data[os.write(self.write, data) :]
        answer: dict[str, Any] = {}

        def take(found: dict[str, Any]) -> None:
            if found.get("id") == self.number:
                answer.update(found)

        self._until(lambda: bool(answer), take)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _until(self, done: Callable[[], bool], take: Callable[[Any], None] = lambda found: None) -> None:
        """Read messages until `done`. TimeoutError if it takes too long, EOFError if the browser has gone."""
        end = time.monotonic() + PATIENCE
        while not done():
            if not select.select([self.read], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError(f"no answer from the browser in {PATIENCE} s")
            chunk = os.read(self.read, 2**16)
            if not chunk:
                raise EOFError("the browser has ended")
            *messages, self.buffer = (self.buffer + chunk).split(b"\0")
            for message in map(json.loads, messages):
                self._note(message.get("method"), message.get("params"))
                take(message)

    def _note(self, method: str | None, parameters: Any) -> None:
        if method == "Page.loadEventFired":
            self.reading.loaded = True
        if method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.reading.complaints.append(json.dumps(parameters))
        if method == "Network.requestWillBeSent":
            self.reading.requests.append(parameters["request"]["url"])


@dataclass
class Page:
    """One open page."""

    browser: Chromium
    session: str
    reading: Reading = field(default_factory=Reading)

    def ask(self, method: str, **parameters: Any) -> Any:
        """The answer to one command about this page."""
        return self.browser.ask(method, self.session, **parameters)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page; of a promise, what it comes to. RuntimeError if it throws."""
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(json.dumps(found["exceptionDetails"])[:500])
        return found["result"].get("value")


def _pipe() -> tuple[int, int]:
    """(read, write), both above 9: neither is 3 or 4."""
    low = os.pipe()
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in low]
    for fd in low:
        os.close(fd)
    return high[0], high[1]
