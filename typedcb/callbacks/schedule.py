"""Hyperparameters that change from batch to batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Union

from typing_extensions import override

from ..callback import AnyCallback
from ..cell import Cell, cell
from ..errors import BatchError
from ..events import BatchEvent, BeginFit, Phase
from ..needs import HasOpt
from ..several import as_tuple
from .anneal import Schedule
from .hyper import Hyper


def position(event: BatchEvent, n_epochs: int) -> float:
    """How far a fit is at a batch: 0 at the first, 1 - 1/n at the last of n.

    Args:
        event: The batch.
        n_epochs: How many epochs the fit is to reach.

    Raises:
        BatchError: The loader does not say how many batches it gives.
    """
    if event.n_batches is None:
        raise BatchError(
            "a schedule needs to know how far the epoch is, and the loader does not say how many batches it gives: "
            "give it a __len__."
        )
    return (event.epoch + event.index / event.n_batches) / n_epochs


@dataclass(frozen=True)
class ParamScheduler(AnyCallback):
    """Sets a hyperparameter before each training batch, by the position in the fit.

    The position is (epoch + index / n_batches) / n_epochs: 0 at the first batch, and 1 - 1/n at the last of n.
    """

    phases: ClassVar[tuple[Phase, ...]] = ("train",)

    learn: HasOpt
    """Whose optimizer is scheduled; `learn.add` and `cb_funcs` fill it in."""

    param: Hyper
    """Which hyperparameter: `LR`, `MOMENTUM`, `WEIGHT_DECAY` or a `Hyper` of another key."""

    schedule: Union[Schedule, tuple[Schedule, ...]]
    """One schedule for all parameter groups, or a tuple with one for each."""

    n_epochs: Cell[int] = cell(1, saved=False)
    """How many epochs the fit is to reach."""

    def __post_init__(self) -> None:
        groups = len(self.learn.opt.param_groups)
        if len(self.schedules) != groups:
            raise ValueError(
                f"ParamScheduler.schedule has {len(self.schedules)} schedules, and the optimizer {groups} parameter "
                f"groups: give one for each, or a single one for all."
            )
        self.param.check(self.learn.opt)

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """The schedule of each parameter group."""
        given = as_tuple(self.schedule)
        return given if isinstance(self.schedule, tuple) else given * len(self.learn.opt.param_groups)

    @override
    def begin_fit(self, event: BeginFit) -> None:
        """Takes the length of the fit."""
        self.n_epochs.value = event.n_epochs

    @override
    def begin_batch(self, event: BatchEvent) -> None:
        """Sets the hyperparameter for this batch."""
        where = position(event, self.n_epochs.value)
        for group, schedule in zip(self.learn.opt.param_groups, self.schedules, strict=True):
            self.param.write(group, schedule(where))
