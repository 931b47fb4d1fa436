"""Ending a fit when it no longer gets better, and what callbacks that watch a figure have in common."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Optional

from typing_extensions import TypeAlias, override

from ..callback import AnyCallback
from ..cell import Cell, Readable, cell
from ..events import AfterEpoch, AfterValidate
from ..outcomes import CancelTrain

Mode: TypeAlias = Literal["min", "max"]
"""Which way is better: `"min"` for a loss, `"max"` for an accuracy. It is always stated, never guessed from a name."""


def improved(value: float, best: float, mode: Mode, min_delta: float = 0.0) -> bool:
    """Whether a value is better than the best so far.

    Args:
        value: The new value; nan is no better than anything.
        best: The best so far; nan while there is none.
        mode: Which way is better.
        min_delta: It has to be better by more than this.
    """
    if math.isnan(best):
        return not math.isnan(value)
    return value < best - min_delta if mode == "min" else value > best + min_delta


def is_new(value: float, last: float, *, validated: bool) -> bool:
    """Whether an epoch brought a new value: one that was not validated may leave nan, or an earlier epoch's value.

    Args:
        value: The value after this epoch.
        last: The value after the epoch before.
        validated: Whether this epoch has been validated.
    """
    return validated or not (math.isnan(value) or value == last)


def check_watch(name: str, mode: Mode, min_delta: float, patience: int = 1) -> None:
    """Refuses settings with which a figure cannot be watched.

    Args:
        name: The callback's class, for the message.
        mode: Its `mode`.
        min_delta: Its `min_delta`.
        patience: Its `patience`, where it has one.

    Raises:
        ValueError: It says which of them, and what it may be.
    """
    if mode not in ("min", "max"):
        raise ValueError(f'{name}.mode is {mode!r}, and has to be "min" or "max".')
    if not min_delta >= 0:
        raise ValueError(f"{name}.min_delta is {min_delta}, and has to be at least 0, whichever way is better.")
    if patience < 1:
        raise ValueError(f"{name}.patience is {patience}, and has to be at least 1 epoch.")


@dataclass(frozen=True, kw_only=True)
class Patient(AnyCallback):
    """What waits for a figure to get better, for so many epochs in a row and no longer; `EarlyStopping` says which."""

    best: Cell[float] = cell(math.nan)
    """The best value so far."""

    last: Cell[float] = cell(math.nan)
    """The value after the last epoch."""

    wait: Cell[int] = cell(0)
    """How many epochs in a row have brought no improvement."""

    validated: Cell[bool] = cell(False, reset="epoch")
    """Whether this epoch has been validated."""

    @override
    def after_validate(self, event: AfterValidate) -> None:
        """Notes that this epoch has been measured."""
        self.validated.value = True

    def waited(self, value: float, mode: Mode, min_delta: float, patience: int) -> bool:
        """Takes the value after an epoch: whether it has been waited for a better one long enough.

        Args:
            value: The value.
            mode: Which way is better.
            min_delta: An improvement has to be larger than this.
            patience: How many epochs in a row may bring no improvement.
        """
        last, self.last.value = self.last.value, value
        if improved(value, self.best.value, mode, min_delta):
            self.best.value = value
            self.wait.value = 0
            return False
        if not is_new(value, last, validated=self.validated.value):
            return False
        self.wait.value += 1
        return self.wait.value >= patience


@dataclass(frozen=True)
class EarlyStopping(Patient):
    """Cancels the fit after `patience` epochs in a row without an improvement.

    An epoch whose value is nan counts as one without an improvement when the epoch was validated. When it was not, and
    the value is nan or still that of the epoch before, nothing was measured, and the epoch does not count.
    """

    monitor: Readable[float]
    """What to watch, such as `stats.valid_loss`: a readable, so that a name that does not exist is a type error."""

    mode: Mode
    """Which way is better: `"min"` or `"max"`."""

    patience: int = 3
    """How many epochs in a row may bring no improvement: with 1 the first such epoch ends the fit."""

    min_delta: float = 0.0
    """An improvement has to be larger than this, in the monitor's own unit."""

    def __post_init__(self) -> None:
        check_watch("EarlyStopping", self.mode, self.min_delta, self.patience)

    @override
    def after_epoch(self, event: AfterEpoch) -> Optional[CancelTrain]:
        """Cancels the fit when it has waited long enough."""
        value = float(self.monitor.value)
        if not self.waited(value, self.mode, self.min_delta, self.patience):
            return None
        return CancelTrain(f"no improvement on {self.best.value:.6g} for {self.wait.value} epochs (now {value:.6g})")
