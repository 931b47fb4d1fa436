"""One step for several batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Optional

from torch import Tensor
from typing_extensions import override

from ..callback import AnyCallback
from ..cell import Cell, cell
from ..data import batch_size
from ..errors import BatchError
from ..events import AfterBackward, BeginEpoch, Phase
from ..needs import HasModel
from ..outcomes import SkipStep
from ..ranks import here


@dataclass(frozen=True)
class GradientAccumulation(AnyCallback):
    """Steps once for every `n` batches, on the gradient of the mean over all their samples.

    The gradients of the batches before the last of a group are held here, and the parameters have none meanwhile: what
    clips or measures gradients sees those that are stepped on. The last group of an epoch may be smaller, and is
    stepped on as well.
    """

    order: ClassVar[int] = -50

    phases: ClassVar[tuple[Phase, ...]] = ("train",)

    learn: HasModel
    """Whose model's gradients are held; `learn.add` and `cb_funcs` fill it in."""

    n: int
    """How many batches make a step."""

    reduction: Literal["mean", "sum"] = "mean"
    """What the loss is over the samples of a batch; a sum is added up as it is."""

    held: Cell[tuple[Optional[Tensor], ...]] = cell((), reset="epoch")
    """The sum of the gradients so far in this group, by parameter."""

    batches: Cell[int] = cell(0, reset="epoch")
    """How many batches are in it."""

    samples: Cell[int] = cell(0, reset="epoch")
    """How many samples are in it."""

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"GradientAccumulation.n is {self.n}, and has to be at least 1 batch.")
        if self.reduction not in ("mean", "sum"):
            raise ValueError(f'GradientAccumulation.reduction is {self.reduction!r}, and has to be "mean" or "sum".')

    @override
    def begin_epoch(self, event: BeginEpoch) -> None:
        """Drops what an epoch that was cut short has left."""
        for parameter in self.learn.model.parameters():
            parameter.grad = None

    @override
    def after_backward(self, event: AfterBackward[object, object, object]) -> Optional[SkipStep]:
        """Holds the gradients back, or hands out those of the whole group."""
        if event.n_batches is None:
            raise BatchError(
                "GradientAccumulation steps on a last group that is not full, and the loader does not say how many "
                "batches it gives: give it a __len__."
            )
        self._add(here().whole(batch_size(event.yb)))  # the gradients are those of all ranks already
        if self.batches.value < self.n and event.index + 1 < event.n_batches:
            return SkipStep()
        self._hand_out()
        return None

    def _add(self, size: int) -> None:
        weight = size if self.reduction == "mean" else 1
        held = self.held.value or (None,) * sum(1 for _ in self.learn.model.parameters())
        self.held.value = tuple(
            _sum(total, parameter.grad, weight)
            for total, parameter in zip(held, self.learn.model.parameters(), strict=True)
        )
        for parameter in self.learn.model.parameters():
            parameter.grad = None
        self.batches.value += 1
        self.samples.value += size

    def _hand_out(self) -> None:
        share = self.samples.value if self.reduction == "mean" else 1
        for total, parameter in zip(self.held.value, self.learn.model.parameters(), strict=True):
            parameter.grad = None if total is None else total / share
        for state in (self.held, self.batches, self.samples):
            state.restart()


def _sum(total: Optional[Tensor], grad: Optional[Tensor], weight: int) -> Optional[Tensor]:
    if grad is None:
        return total
    return grad * weight if total is None else total + grad * weight
