"""Writing hooks: a callback's base offers them, with their signatures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor, nn
from typing_extensions import override

from typedcb import (
    AfterEpoch,
    AfterLoss,
    AfterPred,
    AnyCallback,
    BatchEvent,
    BeginBatch,
    BeginEpoch,
    BeginValidate,
    Callback,
    CancelEpoch,
    LearnerCallback,
    LossEvent,
    SkipBackward,
    SkipValidate,
)

P = TypeVar("P")


@dataclass(frozen=True)
class OfTensors(Callback):
    """Over tensors."""

    @override
    def after_loss(self, event: AfterLoss) -> SkipBackward | None:
        # ^ override: after_backward, after_batch, after_loss, after_pred, after_step, after_epoch, after_fit
        #     ^ override: after_loss, after_step
        #       ^ override: after_loss
        return SkipBackward() if event.loss.isnan() else None
        #          ^ complete: SkipBackward

    @override
    def begin_batch(self, event: BeginBatch) -> BeginBatch | None:
        # ^ override: begin_fit, begin_epoch, begin_batch
        #        ^ override: begin_batch
        return event.with_batch(event.xb, event.yb)

    @override
    def begin_validate(self, event: BeginValidate) -> SkipValidate | None:
        #           ^ override: begin_validate
        return SkipValidate() if event.epoch % 2 else None
        #         ^ complete: SkipValidate


@dataclass(frozen=True)
class OfAnything(AnyCallback):
    """Over any batch."""

    @override
    def after_step(self, event: LossEvent) -> None:
        #       ^ override: after_step
        assert event.loss.ndim == 0

    @override
    def begin_epoch(self, event: BeginEpoch) -> CancelEpoch | None:
        #        ^ override: begin_epoch
        return CancelEpoch(reason="enough") if event.epoch > 5 else None
        #         ^ complete: CancelEpoch
        #                  ^ complete: reason=


@dataclass(frozen=True)
class OfSomething(Callback[object, object, P], Generic[P]):
    """Over some prediction."""

    @override
    def after_pred(self, event: AfterPred[object, object, P]) -> None:
        #       ^ override: after_pred
        assert event.pred is not None


class Mine(LearnerCallback[Tensor, Tensor, Tensor, nn.Linear]):
    """A base of one's own."""

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        #        ^ override: after_epoch
        """Looks at the model."""
        assert self.learn.model.in_features > 0


@dataclass(frozen=True)
class Based(Mine):
    """Of a base of one's own."""

    @override
    def begin_batch(self, event: BatchEvent) -> None:
        #        ^ override: begin_batch
        self.after_epoch(AfterEpoch(event.epoch, 1))
        #          ^ complete: after_epoch
