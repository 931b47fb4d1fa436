"""A running average of the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, ClassVar, Optional, Union, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from typing_extensions import TypeAlias, override

from ..callback import AnyCallback
from ..cell import Cell, cell
from ..events import AfterEpoch, AfterFit, AfterValidate, BatchEvent, BeginFit, BeginValidate
from ..in_shards import is_sharded, whole
from ..needs import HasModel
from .sharded import Bare, bare, put_shards_back

Tensors: TypeAlias = Union[tuple[Tensor, ...], list[Tensor]]
Update: TypeAlias = Callable[[Tensors, Tensors, Union[Tensor, int]], None]


def _mean_of(decay: float) -> Update:
    """Torch's update of the mean, with the type that torch leaves out."""
    return cast("Update", get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]  # as said


@dataclass(frozen=True)
class EMA(AnyCallback):
    """Keeps an exponentially weighted mean of the weights, taken after each real step.

    It is torch's `AveragedModel`. A batch whose step is skipped does not move it. Of a model that `fully_shard` has
    sharded each process averages its own shards.
    """

    order: ClassVar[int] = 60

    learn: HasModel
    """Whose model is averaged; `learn.add` and `cb_funcs` fill it in."""

    decay: float = 0.999
    """The weight of the past, from 0 up to but not including 1."""

    validate: bool = True
    """Whether validation runs on the averaged weights; training goes on with its own."""

    averaged: Cell[Optional[AveragedModel]] = cell(None)
    """The averaged model, of the same class as the model; there once a fit has begun, or a checkpoint was loaded.

    That of a sharded model has its parameters and buffers by the same names, and is not called.
    """

    swapped: Cell[bool] = cell(False)
    """Whether the model holds the averaged weights now, and the averaged model the trained ones."""

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise ValueError(f"EMA.decay is {self.decay}, and has to be at least 0 and below 1.")

    @override
    def begin_fit(self, event: BeginFit) -> None:
        """Begins with the weights of the model."""
        self._begin()

    def make_state(self) -> None:
        """Makes the averaged model where there is none, so that `learn.load` can give it its weights."""
        if self.averaged.value is None:
            self._begin()

    def _begin(self) -> None:
        model = self.learn.model
        copied = bare(model) if put_shards_back(model) else model  # torch copies it, which fully_shard refuses
        self.averaged.value = AveragedModel(copied, multi_avg_fn=_mean_of(self.decay), use_buffers=False)

    @override
    def after_step(self, event: BatchEvent) -> None:
        """Takes the new weights into the mean."""
        if self.averaged.value is not None:
            if isinstance(self.averaged.value.module, Bare):  # others have no shards to look for in each batch
                put_shards_back(self.learn.model)
            self.averaged.value.update_parameters(self.learn.model)

    @override
    def begin_validate(self, event: BeginValidate) -> None:
        """Puts the averaged weights into the model."""
        if self.validate:
            self._swap()

    @override
    def after_validate(self, event: AfterValidate) -> None:
        """Puts the trained weights back."""
        self._swap_back()

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        """Puts the trained weights back, when another callback has skipped the validation after they were taken out."""
        self._swap_back()

    @override
    def after_fit(self, event: AfterFit) -> None:
        """Puts the trained weights back, when validation did not come to its end."""
        self._swap_back()

    def copy_to(self, model: nn.Module) -> None:
        """Copies the averaged weights into a model of the same shape, such as `learn.model` after the fit.

        Args:
            model: Where to. One that is not sharded gets whole weights of an average that is, on all ranks, which have
                to ask for it together.

        Raises:
            RuntimeError: No fit has begun and no checkpoint was loaded, so that there is nothing to copy.
        """
        if self.averaged.value is None:
            raise RuntimeError("this EMA has averaged nothing yet: it begins with a fit.")
        put_shards_back(model)
        with torch.no_grad():
            for own, average in zip(model.parameters(), self.averaged.value.module.parameters(), strict=True):
                own.copy_(average if is_sharded(own) else whole(average))

    def _swap_back(self) -> None:
        if self.swapped.value:
            self._swap()

    def _swap(self) -> None:
        if self.averaged.value is None:
            return
        put_shards_back(self.learn.model)
        with torch.no_grad():
            for own, average in zip(
                self.learn.model.parameters(), self.averaged.value.module.parameters(), strict=True
            ):
                kept = own.clone()
                own.copy_(average)
                average.copy_(kept)
        self.swapped.value = not self.swapped.value
