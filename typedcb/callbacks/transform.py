"""Changing batches on their way into the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, ClassVar, Generic, Optional, Union

import torch
from torch import Tensor
from torch.distributions import Beta
from torch.nn import functional as F
from typing_extensions import override

from ..callback import Callback
from ..cell import Cell, cell
from ..device import to_device
from ..events import AfterLoss, BeginBatch, P, Phase, X, Y


@dataclass(frozen=True)
class BatchTransform(Callback[X, Y, P], Generic[X, Y, P]):
    """Replaces each batch by a function of it, such as an augmentation on the device."""

    transform: Callable[[X, Y], tuple[X, Y]]
    """From the inputs and targets to other ones."""

    train_only: bool = False
    """Whether validation batches are left as they are."""

    @override
    def begin_batch(self, event: BeginBatch[X, Y]) -> Optional[BeginBatch[X, Y]]:
        """Replaces the batch."""
        if self.train_only and event.phase == "valid":
            return None
        return event.with_batch(*self.transform(event.xb, event.yb))


@dataclass(frozen=True)
class ToDevice(Callback[X, Y, P], Generic[X, Y, P]):
    """Brings each batch to a device, however its tensors are nested. A `Learner` does so by itself."""

    order: ClassVar[int] = -100

    device: Union[torch.device, str]
    """Where to."""

    @override
    def begin_batch(self, event: BeginBatch[X, Y]) -> BeginBatch[X, Y]:
        """Replaces the batch."""
        xb, yb = to_device((event.xb, event.yb), torch.device(self.device))
        return event.with_batch(xb, yb)


@dataclass(frozen=True)
class MixUp(Callback):
    """Trains on mixtures of two samples, and on the same mixture of their losses.

    Zhang et al. 2018, https://arxiv.org/abs/1710.09412, with a weight for each sample of its own. The learner's own
    loss is replaced in training, and used as it is in validation.
    """

    phases: ClassVar[tuple[Phase, ...]] = ("train",)

    loss: Callable[[Tensor, Tensor], Tensor]
    """The loss of each sample, unreduced: `partial(F.cross_entropy, reduction="none")`."""

    alpha: float = 0.4
    """Weights are drawn from Beta(alpha, alpha): near 0 most are near 0 or 1, and little is mixed."""

    weights: Cell[Tensor] = cell(torch.empty(0))
    """The weight of each sample's own image in the batch under way, of shape (samples,), from 0.5 to 1."""

    partners: Cell[Tensor] = cell(torch.empty(0, dtype=torch.long))
    """Which sample each is mixed with, of shape (samples,)."""

    def __post_init__(self) -> None:
        if not self.alpha > 0:
            raise ValueError(f"MixUp.alpha is {self.alpha}, and has to be above 0.")

    @override
    def begin_batch(self, event: BeginBatch) -> BeginBatch:
        """Mixes the inputs."""
        samples = len(event.xb)
        drawn = Beta(self.alpha, self.alpha).sample((samples,)).to(event.xb)
        self.weights.value = torch.maximum(drawn, 1 - drawn)
        self.partners.value = torch.randperm(samples, device=event.xb.device)
        weights = self.weights.value.view(-1, *[1] * (event.xb.dim() - 1))
        return event.with_batch(weights * event.xb + (1 - weights) * event.xb[self.partners.value], event.yb)

    @override
    def after_loss(self, event: AfterLoss) -> AfterLoss:
        """Mixes the losses."""
        own = self.loss(event.pred, event.yb)
        other = self.loss(event.pred, event.yb[self.partners.value])
        if own.shape != self.weights.value.shape:
            raise ValueError(
                f"MixUp.loss gives shape {tuple(own.shape)}, and has to give one loss for each of the "
                f'{len(event.yb)} samples: partial(F.cross_entropy, reduction="none"), say.'
            )
        weights = self.weights.value
        return event.with_loss((weights * own + (1 - weights) * other).mean())


@dataclass(frozen=True)
class LabelSmoothing(Callback):
    """Trains on cross entropy with smoothed labels; validation keeps the learner's own loss.

    Szegedy et al. 2016, https://arxiv.org/abs/1512.00567, section 7, by torch's `cross_entropy`.
    """

    phases: ClassVar[tuple[Phase, ...]] = ("train",)

    smoothing: float = 0.1
    """The share of each label that is spread over all classes, from 0 to 1."""

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing <= 1:
            raise ValueError(f"LabelSmoothing.smoothing is {self.smoothing}, and has to be from 0 to 1.")

    @override
    def after_loss(self, event: AfterLoss) -> AfterLoss:
        """Replaces the loss."""
        return event.with_loss(F.cross_entropy(event.pred, event.yb, label_smoothing=self.smoothing))
