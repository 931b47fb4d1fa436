"""The one-cycle policy: the learning rate goes up and down again, and the momentum the other way."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Optional, Union

from typing_extensions import override

from ..callback import AnyCallback
from ..cell import Cell, cell
from ..events import BatchEvent, BeginFit, Phase
from ..needs import HasOpt
from ..several import as_tuple
from .anneal import Schedule, combine, cosine, one_cycle
from .hyper import LR, MOMENTUM
from .schedule import position


@dataclass(frozen=True)
class OneCycle(AnyCallback):
    """Sets learning rate and momentum before each training batch, in one cycle over the fit (Smith 2018).

    The learning rate rises to `highest` by a cosine and falls far below its start by another; the momentum falls
    meanwhile, and rises again (https://arxiv.org/abs/1803.09820). The position in the fit is that of `ParamScheduler`,
    of which this is two: a fit that is taken up in the middle goes on in the middle of the cycle.
    """

    phases: ClassVar[tuple[Phase, ...]] = ("train",)

    learn: HasOpt
    """Whose optimizer is scheduled; `learn.add` and `cb_funcs` fill it in."""

    highest: Union[float, tuple[float, ...]]
    """The learning rate at its peak: one for all parameter groups, or a tuple with one for each."""

    momentum: Optional[tuple[float, float]] = (0.95, 0.85)
    """The momentum at both ends and at the peak; None leaves it alone. With Adam it is the first of the betas."""

    warm_up: float = 0.3
    """The share of the fit in which the learning rate rises."""

    start_div: float = 25.0
    """The learning rate begins at highest / start_div."""

    end_div: float = 1e5
    """The learning rate falls to highest / end_div."""

    n_epochs: Cell[int] = cell(1, saved=False)
    """How many epochs the fit is to reach."""

    def __post_init__(self) -> None:
        groups = len(self.learn.opt.param_groups)
        if isinstance(self.highest, tuple) and len(self.highest) != groups:
            raise ValueError(
                f"OneCycle.highest has {len(self.highest)} learning rates, and the optimizer {groups} parameter "
                f"groups: give one for each, or a single one for all."
            )
        if not min(*as_tuple(self.highest), self.start_div, self.end_div) > 0:
            raise ValueError(
                f"OneCycle goes from highest / {self.start_div} up to {self.highest} and down to highest / "
                f"{self.end_div}: all of these have to be above 0."
            )
        if not 0 < self.warm_up < 1:
            raise ValueError(
                f"OneCycle.warm_up is {self.warm_up}, and has to be above 0 and below 1: a share of the fit."
            )
        LR.check(self.learn.opt)
        self._check_momentum()

    @property
    def lr_schedules(self) -> tuple[Schedule, ...]:
        """The learning rate of each parameter group, from the position in the fit."""
        groups = len(self.learn.opt.param_groups)
        return self._cycles if isinstance(self.highest, tuple) else self._cycles * groups

    @cached_property
    def momentum_schedule(self) -> Optional[Schedule]:
        """The momentum, from the position in the fit; None where it is left alone."""
        if self.momentum is None:
            return None
        high, low = self.momentum
        return combine((self.warm_up, cosine(high, low)), (1 - self.warm_up, cosine(low, high)))

    @cached_property
    def _cycles(self) -> tuple[Schedule, ...]:
        return tuple(
            one_cycle(peak, warm_up=self.warm_up, start_div=self.start_div, end_div=self.end_div)
            for peak in as_tuple(self.highest)
        )

    @override
    def begin_fit(self, event: BeginFit) -> None:
        """Takes the length of the fit."""
        self.n_epochs.value = event.n_epochs

    @override
    def begin_batch(self, event: BatchEvent) -> None:
        """Sets learning rate and momentum for this batch."""
        where = position(event, self.n_epochs.value)
        momentum = self.momentum_schedule
        for group, lr in zip(self.learn.opt.param_groups, self.lr_schedules, strict=True):
            LR.write(group, lr(where))
            if momentum is not None:
                MOMENTUM.write(group, momentum(where))

    def _check_momentum(self) -> None:
        if self.momentum is None:
            return
        if not all(0 <= value < 1 for value in self.momentum):
            raise ValueError(f"OneCycle.momentum is {self.momentum}, and both have to be at least 0 and below 1.")
        try:
            MOMENTUM.check(self.learn.opt)
        except ValueError as error:
            raise ValueError(
                f"{error} Give OneCycle momentum=None, and it schedules the learning rate alone."
            ) from None
