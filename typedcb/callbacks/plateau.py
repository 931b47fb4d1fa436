"""Reducing the learning rate when training no longer gets better."""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import override

from ..cell import Readable
from ..events import AfterEpoch
from ..needs import HasOpt
from .hyper import LR
from .stopping import Mode, Patient, check_watch


@dataclass(frozen=True)
class ReduceLROnPlateau(Patient):
    """Multiplies the learning rates by `factor` after `patience` epochs in a row without an improvement.

    After a reduction the count begins anew. An epoch counts as for `EarlyStopping`. The next fit begins with the
    learning rates that this one has come to.
    """

    learn: HasOpt
    """Whose learning rates are reduced; `learn.add` and `cb_funcs` fill it in."""

    monitor: Readable[float]
    """What to watch, such as `stats.valid_loss`: a readable, so that a name that does not exist is a type error."""

    mode: Mode
    """Which way is better: `"min"` or `"max"`."""

    factor: float = 0.2
    """What the learning rates are multiplied by, above 0 and below 1."""

    patience: int = 2
    """How many epochs in a row may bring no improvement: with 1 the first such epoch reduces."""

    min_lr: float = 0.0
    """No learning rate is brought below this; one that is below it already stays."""

    min_delta: float = 0.0
    """An improvement has to be larger than this, in the monitor's own unit."""

    def __post_init__(self) -> None:
        check_watch("ReduceLROnPlateau", self.mode, self.min_delta, self.patience)
        if not 0 < self.factor < 1:
            raise ValueError(
                f"ReduceLROnPlateau.factor is {self.factor}, and has to be above 0 and below 1: the learning rate is "
                f"multiplied by it."
            )
        if self.min_lr < 0:
            raise ValueError(f"ReduceLROnPlateau.min_lr is {self.min_lr}, and has to be at least 0.")
        LR.check(self.learn.opt)

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        """Reduces the learning rates when it has waited long enough."""
        if self.waited(float(self.monitor.value), self.mode, self.min_delta, self.patience):
            self.wait.value = 0
            for group in self.learn.opt.param_groups:
                lr = LR.read(group)
                LR.write(group, max(lr * self.factor, min(lr, self.min_lr)))
