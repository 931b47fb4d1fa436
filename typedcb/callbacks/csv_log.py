"""The table of the epochs, in a file."""

from __future__ import annotations

import csv
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Optional, TextIO

from typing_extensions import override

from ..callback import AnyCallback
from ..cell import Cell, cell
from ..events import AfterEpoch, AfterFit, BeginFit
from ..ranks import Where
from .progress import Tabular
from .unwritten import OnLogError, check_on_error, not_written


@dataclass(frozen=True)
class CSVLogger(AnyCallback):
    """Writes a line of figures after each epoch, and sees to it that it is on the disk before the next begins."""

    order: ClassVar[int] = 80

    ranks: ClassVar[Where] = "main"

    stats: Tabular
    """Where the figures come from, such as an `AvgStats`."""

    path: Path
    """The file; its folder has to be there."""

    append: bool = False
    """Whether a file that is there is gone on with; it is replaced otherwise."""

    on_error: OnLogError = "warn"
    """Whether the fit goes on, with a warning, when a line cannot be written; a file that cannot be opened ends it."""

    file: Cell[Optional[TextIO]] = cell(None, saved=False)
    """The open file."""

    def __post_init__(self) -> None:
        check_on_error("CSVLogger", self.on_error)

    @override
    def begin_fit(self, event: BeginFit) -> None:
        """Opens the file, and writes the names of the columns into a new one."""
        goes_on = self.append and self.path.exists()
        self.file.value = self.path.open("a" if goes_on else "w", newline="", encoding="utf-8")
        if not goes_on:
            self._write(("epoch", *self.stats.header))

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        """Writes the epoch's line."""
        try:
            self._write((event.epoch, *self.stats.row))
        except OSError as error:
            self._close()
            not_written(f"a line of {self.path}", error, self.on_error)

    @override
    def after_fit(self, event: AfterFit) -> None:
        """Closes the file."""
        self._close()

    def _close(self) -> None:
        file, self.file.value = self.file.value, None
        if file is not None:
            with suppress(OSError):  # each line has been flushed: what is left is one that could not be written
                file.close()

    def _write(self, line: tuple[object, ...]) -> None:
        file = self.file.value
        if file is not None:
            csv.writer(file).writerow(line)
            file.flush()
