"""What a callback may ask of the loop that it runs in, as Protocols that it only reads.

A `Learner` satisfies them all. In a loop of one's own any object with these fields does, such as `Parts(model, opt)`:

    clip = GradientClip(Parts(model, opt), clip=0.1)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, Sequence

import attrs
from typing_extensions import TypeVar

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.optim import Optimizer

    from .callback import SomeCallback
    from .data import DataBunch

M = TypeVar("M", bound="nn.Module", default="nn.Module")


class HasModel(Protocol):
    """Something with a model."""

    @property
    def model(self) -> nn.Module:
        """The model that is trained."""
        ...


class HasOpt(Protocol):
    """Something with an optimizer."""

    @property
    def opt(self) -> Optimizer:
        """The optimizer that steps."""
        ...


class HasModelAndOpt(HasModel, HasOpt, Protocol):
    """Something with a model and an optimizer."""


class HasDataAndCallbacks(Protocol):
    """Something with data, callbacks and a device: what a learner is made of besides models and optimizers."""

    @property
    def data(self) -> DataBunch[object, object]:
        """The loaders."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        ...

    @property
    def cbs(self) -> Sequence[SomeCallback]:
        """The callbacks in the order in which they run."""
        ...


@attrs.frozen
class Parts(Generic[M]):
    """The model and the optimizer of a loop of one's own, for the callbacks that want them."""

    model: M
    """The model that is trained."""

    opt: Optimizer
    """The optimizer that steps."""
