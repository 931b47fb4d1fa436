"""Smoothed figures of training, for curves and for decisions that a single batch should not make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Union

from torch import Tensor
from torch.nn.utils import get_total_norm
from typing_extensions import TypeAlias, override

from ..callback import AnyCallback
from ..cell import Cell, cell
from ..events import BatchEvent, LossEvent, Phase
from ..needs import HasModel
from ..ranks import here

Mean: TypeAlias = Union[Tensor, float]
"""A mean: a scalar tensor on its own device, so that a batch costs no synchronisation; 0.0 before the first."""


def blend(mean: Mean, item: Tensor, beta: float) -> Mean:
    """The exponentially weighted mean with one more item in it."""
    return beta * mean + (1 - beta) * item.detach()


def corrected(mean: Mean, count: int, beta: float) -> float:
    """The mean of `count` items without the pull towards the 0 that it began with; nan for none.

    The correction is Adam's (Kingma and Ba 2015, https://arxiv.org/abs/1412.6980, section 3): after n items the mean is
    divided by 1 - beta**n.
    """
    return float(mean / (1 - beta**count)) if count else float("nan")


def check_beta(name: str, beta: float) -> None:
    """Refuses what cannot weigh the past."""
    if not 0 <= beta < 1:
        raise ValueError(f"{name}.beta is {beta}, and has to be at least 0 and below 1.")


@dataclass(frozen=True)
class SmoothLoss(AnyCallback):
    """The exponentially weighted mean of the training losses, corrected for its start at 0.

    It is readable itself: `EarlyStopping(smooth, mode="min")`, and a field `loss: SmoothLoss` of another callback makes
    that one run after it. The mean stays on the loss's device, so that a batch costs no synchronisation; reading
    `value` does. Over several processes it is of the loss over the samples of all ranks, which they add in each batch.
    """

    phases: ClassVar[tuple[Phase, ...]] = ("train",)

    beta: float = 0.98
    """The weight of the past, from 0 (the last loss alone) up to but not including 1."""

    mean: Cell[Mean] = cell(0.0)
    """The weighted mean so far, not corrected."""

    count: Cell[int] = cell(0)
    """How many losses are in it."""

    def __post_init__(self) -> None:
        check_beta("SmoothLoss", self.beta)

    @property
    def value(self) -> float:
        """The smoothed loss; nan before the first batch."""
        return corrected(self.mean.value, self.count.value, self.beta)

    @override
    def after_loss(self, event: LossEvent) -> None:
        """Takes the loss into the mean."""
        self.mean.value = blend(self.mean.value, here().mean(event.loss), self.beta)
        self.count.value += 1


@dataclass(frozen=True)
class SmoothGradNorm(AnyCallback):
    """The exponentially weighted mean of the gradients' total 2-norm, corrected for its start at 0.

    The norm is taken over all parameters together, by `torch.nn.utils.get_total_norm`, when this callback's turn comes:
    attached before `GradientClip` it is the norm as backward left it, attached after it the clipped one. It is readable
    itself, as `SmoothLoss` is.
    """

    phases: ClassVar[tuple[Phase, ...]] = ("train",)

    learn: HasModel
    """Whose model's gradients are measured; `learn.add` and `cb_funcs` fill it in."""

    beta: float = 0.98
    """The weight of the past, from 0 (the last norm alone) up to but not including 1."""

    mean: Cell[Mean] = cell(0.0)
    """The weighted mean so far, not corrected."""

    count: Cell[int] = cell(0)
    """How many norms are in it."""

    def __post_init__(self) -> None:
        check_beta("SmoothGradNorm", self.beta)

    @property
    def value(self) -> float:
        """The smoothed norm; nan before the first batch."""
        return corrected(self.mean.value, self.count.value, self.beta)

    @override
    def after_backward(self, event: BatchEvent) -> None:
        """Takes the norm into the mean."""
        grads = [parameter.grad for parameter in self.learn.model.parameters() if parameter.grad is not None]
        self.mean.value = blend(self.mean.value, get_total_norm(grads), self.beta)
        self.count.value += 1
