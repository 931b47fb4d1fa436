"""What each hook finds in its event."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from typing_extensions import override

from typedcb import (
    AfterBackward,
    AfterBatch,
    AfterCancelBatch,
    AfterCancelEpoch,
    AfterCancelTrain,
    AfterEpoch,
    AfterFit,
    AfterLoss,
    AfterPred,
    AfterStep,
    AfterValidate,
    AnyCallback,
    BatchEvent,
    BeginBatch,
    BeginEpoch,
    BeginFit,
    BeginValidate,
    Callback,
    LossEvent,
)


@dataclass(frozen=True)
class Everything(Callback):
    """Asks each event for all that it has."""

    @override
    def begin_fit(self, event: BeginFit) -> None:
        to_run = event.n_epochs - event.start_epoch
        #              ^ complete: n_epochs, start_epoch
        assert to_run > 0

    @override
    def begin_epoch(self, event: BeginEpoch) -> None:
        assert event.epoch < event.n_epochs
        #            ^ complete: epoch, n_epochs

    @override
    def begin_batch(self, event: BeginBatch) -> BeginBatch:
        assert event.phase in ("train", "valid")
        #            ^ complete: phase, epoch, index, n_batches, step, xb, yb, with_batch
        assert event.index < (event.n_batches or 1)
        #             ^ complete: index
        #                           ^ complete: n_batches
        return event.with_batch(xb=event.xb, yb=event.yb)
        #            ^ complete: with_batch
        #                       ^ complete: xb=, yb=

    @override
    def after_pred(self, event: AfterPred) -> AfterPred:
        raised = event.pred + 0.1
        #              ^ complete: pred, phase, epoch, index, n_batches, step, xb, yb, with_pred
        #               ^ complete: pred
        return event.with_pred(pred=raised)
        #             ^ complete: with_pred
        #                      ^ complete: pred=

    @override
    def after_loss(self, event: AfterLoss) -> AfterLoss:
        doubled = event.loss * 2
        #               ^ complete: loss, pred, phase, epoch, index, n_batches, step, xb, yb, with_loss
        #                ^ complete: loss
        return event.with_loss(loss=doubled)
        #             ^ complete: with_loss
        #                      ^ complete: loss=

    @override
    def after_backward(self, event: AfterBackward) -> None:
        assert not event.pred.requires_grad
        #                ^ complete: loss, pred, phase, epoch, index, n_batches, step, xb, yb

    @override
    def after_step(self, event: AfterStep) -> None:
        assert event.step >= 0
        #            ^ complete: loss, pred, phase, epoch, index, n_batches, step, xb, yb
        #              ^ complete: step

    @override
    def after_cancel_batch(self, event: AfterCancelBatch) -> None:
        assert event.cancel.reason
        #            ^ complete: cancel, reached
        #                   ^ complete: reason

    @override
    def after_batch(self, event: AfterBatch) -> None:
        assert event.error is None
        #            ^ complete: error, reached
        assert event.reached.epoch >= 0
        #                    ^ complete: epoch, index, n_batches, phase, step, xb, yb

    @override
    def after_cancel_epoch(self, event: AfterCancelEpoch) -> None:
        assert event.epoch >= 0
        #            ^ complete: epoch, cancel

    @override
    def begin_validate(self, event: BeginValidate) -> None:
        assert event.epoch >= 0
        #            ^ complete: epoch

    @override
    def after_validate(self, event: AfterValidate) -> None:
        assert event.epoch >= 0
        #            ^ complete: epoch

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        assert event.epoch < event.n_epochs
        #            ^ complete: epoch, n_epochs

    @override
    def after_cancel_train(self, event: AfterCancelTrain) -> None:
        assert event.cancel.reason
        #            ^ complete: cancel

    @override
    def after_fit(self, event: AfterFit) -> None:
        assert str(event.outcome)
        #                ^ complete: outcome
        #                 ^ hover: Completed, Cancelled, Failed, How


@dataclass(frozen=True)
class Little(AnyCallback):
    """Asks for less than its events have, and fits any batch."""

    @override
    def begin_batch(self, event: BatchEvent) -> None:
        assert event.index >= 0
        #            ^ complete: epoch, index, n_batches, phase, step
        #            ^ hover: int, The batch's number in this pass over the data

    @override
    def after_loss(self, event: LossEvent) -> None:
        assert event.loss.ndim == 0
        #            ^ complete: loss, epoch, index, n_batches, phase, step
        #             ^ hover: Tensor, The loss of the batch


@dataclass(frozen=True)
class OfTexts(Callback[dict[str, Tensor], Tensor, tuple[Tensor, Tensor]]):
    """Batches of a dict, and two predictions."""

    @override
    def after_pred(self, event: AfterPred[dict[str, Tensor], Tensor, tuple[Tensor, Tensor]]) -> None:
        assert event.xb.keys()
        #             ^ hover: dict[str, The inputs
        #            ^ complete: xb, yb, pred
        start, _ = event.pred
        #                ^ hover: tuple[, Tensor, What the model made of the inputs
        assert start.ndim
