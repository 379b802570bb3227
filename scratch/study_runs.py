"""The single runs of a study, kept in a file as they end, so that an interrupted study goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from scratch.processes import in_processes

Task = TypeVar("Task")


class StudyRunsError(ValueError):
    """A file that is not one of kept runs."""


class StudyRuns:
    """Results (JSON: tuples come back as lists) by the words for a run; those in the file `path` are not computed anew.

    A line of the file is one run, appended when it ends and flushed to the disk. A last line without its end, which a
    crash may leave, is taken away. Without a path nothing is kept. StudyRunsError naming the line that cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = Path(path) if path is not None else None
        self.results: dict[str, Any] = {}
        if self.path and self.path.exists():
            self._read(self.path)

    def one(self, words: str, compute: Callable[[], object]) -> Any:
        """The result of the run with these words."""
        return self.results[words] if words in self.results else self._keep(words, compute())

    def each(
        self,
        function: Callable[..., object],
        tasks: Sequence[Task],
        words: Callable[[Task], str],
        *,
        shared: tuple[Any, ...] = (),
        workers: int | None = None,
    ) -> Iterator[tuple[int, Any]]:
        """(i, function(tasks[i], *shared)) for every task: those that are kept, then the others as they end."""
        left = []
        for i, task in enumerate(tasks):
            if words(task) in self.results:
                yield i, self.results[words(task)]
            else:
                left.append(i)
        for k, result in in_processes(function, [tasks[i] for i in left], shared=shared, workers=workers):
            yield left[k], self._keep(words(tasks[left[k]]), result)

    def _keep(self, words: str, result: object) -> Any:
        line = json.dumps({"run": words, "result": result})
        if self.path:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
                file.flush()
                os.fsync(file.fileno())
        self.results[words] = json.loads(line)["result"]
        return self.results[words]

    def _read(self, path: Path) -> None:
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        for number, line in enumerate(content[:whole].splitlines(), 1):
            try:
                kept = json.loads(line)
                self.results[str(kept["run"])] = kept["result"]
            except (ValueError, KeyError, TypeError) as error:
                raise StudyRunsError(f"{path}, line {number}: expected a run and its result ({error})") from error
        if whole < len(content):
            with path.open("r+b") as file:
                file.truncate(whole)
