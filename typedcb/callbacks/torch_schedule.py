"""The schedulers of `torch.optim.lr_scheduler`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Callable, Final, Literal, Optional

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from typing_extensions import TypeAlias, override

from ..callback import AnyCallback
from ..cell import Cell, cell
from ..events import AfterEpoch, AfterFit, BatchEvent, BeginEpoch
from ..needs import HasOpt
from .hyper import LR

SchedulerFactory: TypeAlias = Callable[[Optimizer], LRScheduler]
"""Makes a scheduler of an optimizer: `partial(StepLR, step_size=3)`."""

_INITIAL_LR: Final = "initial_lr"
"""The key under which a scheduler of torch leaves its first learning rate in the optimizer."""


@dataclass(frozen=True)
class TorchScheduler(AnyCallback):
    """Lets a scheduler of torch set the learning rates, after each batch or each epoch in which the optimizer stepped.

    Each fit makes a scheduler of its own, which begins with the learning rates that the optimizer then has; when the
    fit ends, it has them again. So a second fit runs the same schedule anew, instead of on top of what the first left.
    """

    learn: HasOpt
    """Whose optimizer is scheduled; `learn.add` and `cb_funcs` fill it in."""

    factory: SchedulerFactory
    """Called with the optimizer when a fit begins: `partial(StepLR, step_size=3)`."""

    every: Literal["batch", "epoch"]
    """What a step of the scheduler is: a batch, as for `OneCycleLR`, or an epoch."""

    steps: Cell[int] = cell(0)
    """How many steps the scheduler has taken."""

    base_lrs: Cell[tuple[float, ...]] = cell(())
    """The learning rate of each parameter group when the fit began."""

    opt_stepped: Cell[bool] = cell(False, reset="epoch")
    """Whether the optimizer has stepped in this epoch."""

    scheduler: Cell[Optional[LRScheduler]] = cell(None, saved=False)
    """The scheduler of this fit; `steps` and `base_lrs` are enough to make it again."""

    def __post_init__(self) -> None:
        if self.every not in ("batch", "epoch"):
            raise ValueError(f'TorchScheduler.every is {self.every!r}, and has to be "batch" or "epoch".')
        made_by: object = getattr(self.factory, "func", self.factory)  # a partial has what it calls as func
        _refuse_plateau(made_by is ReduceLROnPlateau)

    @override
    def begin_epoch(self, event: BeginEpoch) -> None:
        """Makes the scheduler, at the first epoch of the fit."""
        if self.scheduler.value is None:
            self.scheduler.value = self._made()

    @override
    def after_step(self, event: BatchEvent) -> None:
        """Steps the scheduler, when it goes by batches."""
        self.opt_stepped.value = True
        if self.every == "batch":
            self._step()

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        """Steps the scheduler, when it goes by epochs and the optimizer has stepped in this one."""
        if self.every == "epoch" and self.opt_stepped.value:
            self._step()

    @override
    def after_fit(self, event: AfterFit) -> None:
        """Gives the optimizer the learning rates that it had."""
        self.scheduler.value = None
        if self.base_lrs.value:  # a scheduler was made, in this fit or in the one that it goes on from
            self._begin_anew()

    def _made(self) -> LRScheduler:
        """A scheduler, as far as this fit has come."""
        if not self.base_lrs.value:
            self.base_lrs.value = tuple(LR.read(group) for group in self.learn.opt.param_groups)
        self._begin_anew()
        scheduler = self.factory(self.learn.opt)
        _refuse_plateau(isinstance(scheduler, ReduceLROnPlateau))
        if self.steps.value:  # a fit that is taken up: torch warns, since this optimizer has not stepped yet
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
                for _ in range(self.steps.value):
                    scheduler.step()
        return scheduler

    def _begin_anew(self) -> None:
        """Gives the optimizer its first learning rates, and takes out what another scheduler has left in it."""
        for group, lr in zip(self.learn.opt.param_groups, self.base_lrs.value, strict=True):
            LR.write(group, lr)
            group.pop(_INITIAL_LR, None)

    def _step(self) -> None:
        self.steps.value += 1
        if self.scheduler.value is None:  # a fit that is taken up in the middle of an epoch
            self.scheduler.value = self._made()
        else:
            self.scheduler.value.step()


def _refuse_plateau(is_plateau: bool) -> None:
    if is_plateau:
        raise TypeError(
            "TorchScheduler cannot drive torch's ReduceLROnPlateau, which has to be told a figure at each step: use "
            "typedcb.callbacks.ReduceLROnPlateau(learn, monitor, mode=...), which reads its monitor itself."
        )
