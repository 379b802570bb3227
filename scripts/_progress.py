"""What is seen of a run while it runs: bars on a terminal, plain lines everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from scratch.printable import printable

if TYPE_CHECKING:
    from scratch.training import BatchProgress


MOMENT = 2.0  # seconds after which one asks oneself whether anything happens
FEW_EPOCHS = 200  # up to here every epoch has its line; of more, twenty have one


class Display:
    """Bars over epochs and over each backend's batches, with loss and accuracy so far; use it in a `with`."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )
        self._epochs = self.bars.add_task("epochs", total=None, figures="", visible=False)
        self._batches = {
            name: self.bars.add_task(f"{name:7}", total=None, figures="", visible=False)
            for name in ("scratch", "torch")
        }

    def __enter__(self) -> Display:
        self.bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bars.stop()

    def say(self, text: str) -> None:
        """A line that stays, never folded, so that it can be searched."""
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)

    def begin(self, epochs: int) -> None:
        self.bars.update(self._epochs, total=epochs, visible=True)

    def batch(self, backend: str, batch: BatchProgress) -> None:
        if self.console.is_terminal:
            figures = f"loss {batch.loss:.4f}  accuracy {batch.accuracy:.4f}"
            task = self._batches[backend]
            self.bars.update(task, completed=batch.batch, total=batch.batches, figures=figures, visible=True)

    def epoch(self, epoch: int, epochs: int, text: str) -> None:
        self.bars.update(self._epochs, completed=epoch, total=epochs, visible=True)
        if epochs <= FEW_EPOCHS or epoch == 1 or epoch % (epochs // 20) == 0:
            self.say(f"epoch {epoch:{len(str(epochs))}}/{epochs}  {text}")


class WatchedScript:
    """One line of how far a script is, while it is watched for longer than a moment; use it in a `with`."""

    def __init__(self, file: str, seconds: float, console: Console | None = None) -> None:
        self.file, self.seconds = printable(file), seconds
        self.console = console or Console(stderr=True)
        self.line = Live(console=self.console, auto_refresh=False, transient=True)

    def __enter__(self) -> WatchedScript:
        return self

    def __exit__(self, *error: object) -> None:
        self.line.stop()

    def tell(self, seconds: float, values: int) -> None:
        if seconds >= MOMENT and self.console.is_terminal:
            self.line.start()
            words = f"{self.file}: watched for {seconds:.0f} s (at most {self.seconds:.0f}), {values:,} values seen"
            self.line.update(Text(words, no_wrap=True, overflow="ellipsis"), refresh=True)
