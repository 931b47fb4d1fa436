"""Seeing how far a fit is: a bar for the pass under way and a table of the epochs."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Optional, Protocol

from typing_extensions import override

from ..callback import AnyCallback
from ..cell import Cell, Series, cell, series
from ..events import (
    AfterCancelTrain,
    AfterEpoch,
    AfterFit,
    BatchEvent,
    BeginEpoch,
    BeginFit,
    BeginValidate,
)
from ..extras import require
from ..ranks import Where
from .smooth import SmoothLoss

if TYPE_CHECKING:
    from .display import Display


class Tabular(Protocol):
    """What gives the table of the epochs its columns; `AvgStats` does."""

    @property
    def header(self) -> tuple[str, ...]:
        """The names of the columns."""
        ...

    @property
    def row(self) -> tuple[float, ...]:
        """The figures of the last epoch."""
        ...


@dataclass(frozen=True)
class Progress(AnyCallback):
    """Shows a bar for the pass under way and a table of the epochs; plain lines where there is no terminal.

    The bar is redrawn at most ten times a second, and only then is the loss fetched from its device.
    """

    order: ClassVar[int] = 90

    ranks: ClassVar[Where] = "main"

    stats: Optional[Tabular] = None
    """Where the table's columns come from, such as an `AvgStats`."""

    smooth: Optional[SmoothLoss] = None
    """The loss that the bar shows, if any."""

    rows: Series[tuple[float, ...]] = series()
    """The table so far: for each epoch the figures of `stats`, and the seconds that it took."""

    display: Cell[Optional[Display]] = cell(None, saved=False)
    """What is on the screen."""

    mark: Cell[float] = cell(0.0, saved=False)
    """When time was last counted, by a clock that only differences are taken of."""

    seconds: Cell[float] = cell(0.0, reset="epoch")
    """The seconds so far in this epoch."""

    def __post_init__(self) -> None:
        require("rich", extra="progress")

    @override
    def begin_fit(self, event: BeginFit) -> None:
        """Opens the display."""
        from .display import open_display  # noqa: PLC0415  # rich is an extra

        self.mark.value = time.monotonic()
        header = ("epoch", *(self.stats.header if self.stats else ()), "seconds")
        self.display.value = open_display(header, event.n_epochs, sys.stdout)

    @override
    def begin_epoch(self, event: BeginEpoch) -> None:
        """Starts the clock and the bar."""
        self.mark.value = time.monotonic()
        if display := self.display.value:
            display.begin_pass("train", event.epoch)

    @override
    def begin_validate(self, event: BeginValidate) -> None:
        """Starts the bar of the validation."""
        if display := self.display.value:
            display.begin_pass("valid", event.epoch)

    @override
    def after_loss(self, event: BatchEvent) -> None:
        """Moves the bar, when it is time to redraw it."""
        self._count()
        display = self.display.value
        if display is not None and display.is_due():
            display.move(event.index + 1, event.n_batches, self.smooth.value if self.smooth else None)

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        """Adds the epoch's row."""
        self._count()
        figures = self.stats.row if self.stats else ()
        self.rows.append((*figures, self.seconds.value))
        if display := self.display.value:
            display.add_row(event.epoch, self.rows[-1])

    @override
    def after_cancel_train(self, event: AfterCancelTrain) -> None:
        """Says why the fit ended early."""
        if display := self.display.value:
            display.say(f"stopped: {event.cancel.reason or 'a callback asked for it'}")

    @override
    def after_fit(self, event: AfterFit) -> None:
        """Closes the display."""
        if display := self.display.value:
            display.close()
        self.display.value = None

    def _count(self) -> None:
        """Counts the seconds since it was last called: a fit that is taken up goes on from those that it had."""
        now = time.monotonic()
        self.seconds.value += now - self.mark.value
        self.mark.value = now
