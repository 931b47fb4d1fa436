"""A smoothed training loss, for curves and for decisions that a single batch should not make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Union

from torch import Tensor
from typing_extensions import override

from ..callback import AnyCallback
from ..cell import Cell, cell
from ..events import LossEvent, Phase


@dataclass(frozen=True)
class SmoothLoss(AnyCallback):
    """The exponentially weighted mean of the training losses, corrected for its start at 0.

    It is readable itself: `EarlyStopping(smooth, mode="min")`, and a field `loss: SmoothLoss` of another callback makes
    that one run after it. The mean stays on the loss's device, so that a batch costs no synchronisation; reading
    `value` does.

    The correction is Adam's (Kingma and Ba 2015, https://arxiv.org/abs/1412.6980, section 3): after n batches the mean
    is divided by 1 - beta**n.
    """

    phases: ClassVar[tuple[Phase, ...]] = ("train",)

    beta: float = 0.98
    """The weight of the past, from 0 (the last loss alone) up to but not including 1."""

    mean: Cell[Union[Tensor, float]] = cell(0.0)
    """The weighted mean so far, not corrected."""

    count: Cell[int] = cell(0)
    """How many losses are in it."""

    def __post_init__(self) -> None:
        if not 0 <= self.beta < 1:
            raise ValueError(f"SmoothLoss.beta is {self.beta}, and has to be at least 0 and below 1.")

    @property
    def value(self) -> float:
        """The smoothed loss; nan before the first batch."""
        if not self.count.value:
            return float("nan")
        return float(self.mean.value / (1 - self.beta**self.count.value))

    @override
    def after_loss(self, event: LossEvent) -> None:
        """Takes the loss into the mean."""
        self.mean.value = self.beta * self.mean.value + (1 - self.beta) * event.loss.detach()
        self.count.value += 1
