"""A loss or prediction kept together with its graph."""

from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from typedcb import (
    AfterBackward,
    AfterLoss,
    AfterPred,
    AnyCallback,
    Callback,
    Cell,
    LossEvent,
    Phase,
    Series,
    cell,
    series,
)

P = TypeVar("P")


@dataclass(frozen=True)
class Keeps(Callback):
    last: Cell[Any] = cell(None)
    losses: Series[Any] = series()

    def after_pred(self, event: AfterPred) -> None:
        self.last.value = event.pred  # typedcb-graph-in-cell
        self.losses.append(event.pred.mean())  # typedcb-graph-in-cell
        self.losses.append(event.pred.detach().mean())
        self.losses.append(event.pred.mean().item())  # typedcb-device-sync
        self.last.value = event  # typedcb-graph-in-cell
        self.last.value = event.xb
        self.last.value = event.pred.shape

    def after_loss(self, event: LossEvent) -> None:
        self.losses.append(event.loss)  # typedcb-graph-in-cell
        self.last.value = event.loss  # typedcb-graph-in-cell
        self.last.value += event.loss * 2  # typedcb-graph-in-cell
        self.last.value = (event.step, event.loss)  # typedcb-graph-in-cell
        self.last.value = torch.stack([event.loss, event.loss])  # typedcb-graph-in-cell
        loss = event.loss
        self.last.value = -loss  # typedcb-graph-in-cell
        loss = loss.detach()
        self.last.value = loss
        self.last.value = 0.9 * self.last.value + 0.1 * event.loss.detach()
        self.losses.append(float(event.loss))  # typedcb-device-sync
        self.losses.append(blend(event.loss))
        self.losses.append(event.loss.item())  # typedcb-device-sync
        self.losses.append(event.loss > 3)
        self.losses.append(f"{event.loss}")
        if event.phase == "valid":
            self.losses.append(event.loss)
        else:
            self.losses.append(event.loss.detach())
        if event.phase == "train":
            self.losses.append(event.loss)  # typedcb-graph-in-cell

    def after_backward(self, event: AfterBackward) -> None:
        self.losses.append(event.loss)


@dataclass(frozen=True)
class KeepsPayload(Callback[object, object, P], Generic[P]):
    last: Cell[Any] = cell(None)

    def after_pred(self, event: AfterPred[object, object, P]) -> None:
        self.last.value = event.pred

    def after_loss(self, event: AfterLoss[object, object, P]) -> None:
        self.last.value = event.loss  # typedcb-graph-in-cell
        self.last.value = event.pred


@dataclass(frozen=True)
class KeepsTensor(Callback[object, object, Tensor]):
    last: Cell[Any] = cell(None)

    def after_pred(self, event: AfterPred[object, object, Tensor]) -> None:
        self.last.value = event.pred  # typedcb-graph-in-cell


@dataclass(frozen=True)
class Validates(AnyCallback):
    phases: ClassVar[tuple[Phase, ...]] = ("valid",)
    losses: Series[Any] = series()

    def after_loss(self, event: LossEvent) -> None:
        self.losses.append(event.loss)


@dataclass(frozen=True)
class ValidatesToo(Validates):
    def after_loss(self, event: LossEvent) -> None:
        self.losses.append(event.loss)


def blend(loss: Tensor) -> float:
    return loss.item()  # typedcb-device-sync
