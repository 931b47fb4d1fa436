"""What `Progress` draws: a live table on a terminal, and plain lines elsewhere. rich does the drawing."""

from __future__ import annotations

import atexit
import sys
import time
from typing import Callable, Final, Optional, Protocol, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from typing_extensions import override

from .unwritten import not_written

_REDRAW_SECONDS: Final = 0.1


class Display(Protocol):
    """A place on the screen for a fit."""

    def begin_pass(self, phase: str, epoch: int) -> None:
        """A pass over the data begins."""
        ...

    def is_due(self) -> bool:
        """Whether it is time to redraw."""
        ...

    def move(self, done: int, total: Optional[int], loss: Optional[float]) -> None:
        """So many batches of the pass are done."""
        ...

    def add_row(self, epoch: int, figures: tuple[float, ...]) -> None:
        """An epoch has ended."""
        ...

    def say(self, text: str) -> None:
        """Shows a line of text."""
        ...

    def close(self) -> None:
        """Leaves what was shown, and draws no more."""
        ...


def open_display(header: tuple[str, ...], n_epochs: int, stream: TextIO) -> Display:
    """A live display where the stream is a terminal or a notebook, plain lines where it is neither.

    A stream that is closed or broken, then or later, is warned of once, and nothing more is shown.
    """

    def opened() -> Display:
        if stream is sys.stdout and in_notebook():
            from .notebook_display import NotebookDisplay  # noqa: PLC0415  # it is a display itself

            return NotebookDisplay(header, n_epochs)
        console = _Console(file=stream)
        return _Live(header, n_epochs, console) if console.is_terminal else _Lines(header, console)

    return _WhileItCan(opened, stream)


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    ipython = sys.modules.get("IPython")  # whoever runs a notebook has loaded it
    shell: object = None if ipython is None else ipython.get_ipython()
    return hasattr(shell, "kernel")


def row_of(epoch: int, figures: tuple[float, ...]) -> list[str]:
    """The figures of an epoch as the cells of a table.

    Args:
        epoch: The epoch's number.
        figures: Means, and at last the seconds that it took.
    """
    *means, seconds = figures
    return [str(epoch), *(f"{mean:.4f}" for mean in means), f"{seconds:.1f}"]


class _Console(Console):
    """rich's own ends the process when its pipe breaks."""

    @override
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError("nobody reads the output any more")


class _WhileItCan(Display):
    """Another display for as long as its stream takes what is shown."""

    def __init__(self, opened: Callable[[], Display], stream: TextIO) -> None:
        self._stream = stream
        self._display: Optional[Display] = None
        self._try(lambda: setattr(self, "_display", opened()))

    @override
    def begin_pass(self, phase: str, epoch: int) -> None:
        if display := self._display:
            self._try(lambda: display.begin_pass(phase, epoch))

    @override
    def is_due(self) -> bool:
        return self._display is not None and self._display.is_due()

    @override
    def move(self, done: int, total: Optional[int], loss: Optional[float]) -> None:
        if display := self._display:
            self._try(lambda: display.move(done, total, loss))

    @override
    def add_row(self, epoch: int, figures: tuple[float, ...]) -> None:
        if display := self._display:
            self._try(lambda: display.add_row(epoch, figures))

    @override
    def say(self, text: str) -> None:
        if display := self._display:
            self._try(lambda: display.say(text))

    @override
    def close(self) -> None:
        if display := self._display:
            self._try(display.close)

    def _try(self, show: Callable[[], object]) -> None:
        try:
            show()
        except (OSError, ValueError) as error:
            if isinstance(error, ValueError) and not self._stream.closed:
                raise  # a stream that is closed raises a ValueError, and so does much else
            self._display = None
            not_written("the progress", error)


class _Live(Display):
    def __init__(self, header: tuple[str, ...], n_epochs: int, console: Console) -> None:
        self._n_epochs = n_epochs
        self._table = Table(*header, header_style="bold", box=None, pad_edge=False)
        for column in self._table.columns:
            column.justify = "right"
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[loss]}"),
            console=console,
        )
        self._task = self._bar.add_task("", total=None, loss="")
        self._drawn = 0.0
        # refreshed by hand: no thread draws while the loop runs, forks or fails
        self._live = Live(Group(self._table, self._bar), console=console, auto_refresh=False)
        self._live.start()
        atexit.register(self._live.stop)  # the terminal gets its cursor back, also when the interpreter exits in a fit

    @override
    def begin_pass(self, phase: str, epoch: int) -> None:
        self._bar.reset(self._task, description=f"epoch {epoch + 1}/{self._n_epochs} {phase}", loss="", total=None)

    @override
    def is_due(self) -> bool:
        return time.monotonic() - self._drawn >= _REDRAW_SECONDS

    @override
    def move(self, done: int, total: Optional[int], loss: Optional[float]) -> None:
        shown = "" if loss is None else f"loss {loss:.4f}"
        self._bar.update(self._task, completed=done, total=total, loss=shown)
        self._live.refresh()
        self._drawn = time.monotonic()

    @override
    def add_row(self, epoch: int, figures: tuple[float, ...]) -> None:
        self._table.add_row(*row_of(epoch, figures))
        self._live.refresh()

    @override
    def say(self, text: str) -> None:
        self._live.console.print(text)

    @override
    def close(self) -> None:
        self._live.update(self._table)
        self._live.stop()
        atexit.unregister(self._live.stop)


class _Lines(Display):
    def __init__(self, header: tuple[str, ...], console: Console) -> None:
        self._console = console
        self._widths = [max(len(name), 8) for name in header]
        self._print(list(header))

    @override
    def begin_pass(self, phase: str, epoch: int) -> None:
        pass

    @override
    def is_due(self) -> bool:
        return False

    @override
    def move(self, done: int, total: Optional[int], loss: Optional[float]) -> None:
        pass

    @override
    def add_row(self, epoch: int, figures: tuple[float, ...]) -> None:
        self._print(row_of(epoch, figures))

    @override
    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    @override
    def close(self) -> None:
        pass

    def _print(self, cells: list[str]) -> None:
        self.say("  ".join(cell.rjust(width) for cell, width in zip(cells, self._widths, strict=True)))
