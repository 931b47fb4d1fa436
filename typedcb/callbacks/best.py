"""Keeping the best weights of a fit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional

from typing_extensions import override

from ..callback import AnyCallback
from ..cell import Cell, Readable, cell
from ..events import AfterEpoch, AfterFit
from ..needs import HasModel
from .snapshot import Weights, copy_weights, load_weights
from .stopping import Mode, check_watch, improved


@dataclass(frozen=True)
class SaveBest(AnyCallback):
    """Keeps a copy of the weights of the best epoch in memory, and gives them to the model when the fit ends.

    The optimizer's state stays that of the last step. Where no epoch has brought a value, nothing is kept, and the
    model stays as the fit left it.
    """

    learn: HasModel
    """Whose model's weights are kept; `learn.add` and `cb_funcs` fill it in."""

    monitor: Readable[float]
    """What to watch, such as `stats.valid_loss`: a readable, so that a name that does not exist is a type error."""

    mode: Mode
    """Which way is better: `"min"` or `"max"`."""

    restore: bool = True
    """Whether the model gets the best weights when the fit ends, in whatever way: an error and Ctrl-C too."""

    on_cpu: bool = True
    """Whether the copy is in the CPU's memory; otherwise it is on the model's device."""

    min_delta: float = 0.0
    """An improvement has to be larger than this, in the monitor's own unit."""

    best: Cell[float] = cell(math.nan)
    """The best value so far."""

    epoch: Cell[Optional[int]] = cell(None)
    """The epoch that brought it; None while there is none."""

    weights: Cell[Weights] = cell(())
    """The weights and buffers after that epoch."""

    def __post_init__(self) -> None:
        check_watch("SaveBest", self.mode, self.min_delta)

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        """Copies the weights when they are the best so far."""
        value = float(self.monitor.value)
        if improved(value, self.best.value, self.mode, self.min_delta):
            self.best.value, self.epoch.value = value, event.epoch
            self.weights.value = copy_weights(self.learn.model, "cpu" if self.on_cpu else None)

    @override
    def after_fit(self, event: AfterFit) -> None:
        """Gives the model the best weights, where that is wanted."""
        if self.restore:
            self.load()

    def load(self) -> None:
        """Gives the model the best weights so far; without any, it stays as it is."""
        if self.weights.value:
            load_weights(self.learn.model, self.weights.value)
