"""The losses and hyperparameters of a fit, batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from ..callback import AnyCallback
from ..cell import Cell, Series, cell, series
from ..events import AfterEpoch, AfterFit, LossEvent, Phase
from ..extras import require
from ..needs import HasOpt
from ..ranks import here
from .hyper import LR, Hyper

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Recorder(AnyCallback):
    """Keeps the loss and a hyperparameter of every training batch.

    Losses stay on their device until the epoch ends, so that a batch costs no synchronisation: `losses` is complete
    after each epoch and after the fit. Over several processes they are over the samples of all ranks, which they add in
    each batch.
    """

    phases: ClassVar[tuple[Phase, ...]] = ("train",)

    learn: HasOpt
    """Whose optimizer is read; `learn.add` and `cb_funcs` fill it in."""

    param: Hyper = LR
    """Which hyperparameter to keep."""

    losses: Series[float] = series()
    """The loss of each training batch whose loss was computed."""

    params: Series[tuple[float, ...]] = series()
    """The hyperparameter of each parameter group, in the same batches."""

    epoch_ends: Cell[tuple[int, ...]] = cell(())
    """How many batches had been recorded when each epoch ended."""

    pending: Series[Tensor] = series()
    """Losses that are still on their device."""

    @override
    def after_loss(self, event: LossEvent) -> None:
        """Keeps the loss and the hyperparameter of this batch."""
        self.pending.append(here().mean(event.loss).detach())
        self.params.append(tuple(self.param.read(group) for group in self.learn.opt.param_groups))

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        """Fetches the losses of the epoch."""
        self._fetch()
        self.epoch_ends.value = (*self.epoch_ends.value, len(self.losses))

    @override
    def after_fit(self, event: AfterFit) -> None:
        """Fetches what a fit that ended early has left."""
        self._fetch()

    def plot(self) -> Figure:
        """A picture of the loss and of the hyperparameter by batch.

        Returns:
            A matplotlib figure that belongs to no window: `figure.savefig("fit.png")`.

        Raises:
            ModuleNotFoundError: matplotlib is missing; the message names the extra.
        """
        require("matplotlib", extra="plot")
        from .plots import draw_fit  # noqa: PLC0415  # matplotlib is an extra

        return draw_fit(self.losses.value, self.params.value, self.epoch_ends.value, self.param.key)

    def _fetch(self) -> None:
        if len(self.pending):
            for loss in torch.stack(self.pending.value).cpu().unbind():
                self.losses.append(float(loss))
            self.pending.restart()
