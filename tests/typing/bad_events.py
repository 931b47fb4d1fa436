"""Mistakes with events: what is not there yet, what cannot be written, what another hook is given.

Every line marked `# error` must be reported by every type checker, and no other line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from good_callbacks import Text
from torch import Tensor
from typing_extensions import assert_never, override

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
    Cancelled,
    Completed,
    FitOutcome,
    LossEvent,
    OnlyBegun,
    Phase,
    Reached,
)


@dataclass(frozen=True)
class NotYetThere(Callback):
    """Each event has what exists at that moment, and no more."""

    @override
    def begin_fit(self, event: BeginFit) -> None:
        print(event.epoch)  # error

    @override
    def begin_epoch(self, event: BeginEpoch) -> None:
        print(event.index)  # error

    @override
    def begin_batch(self, event: BeginBatch) -> None:
        print(event.pred)  # error
        print(event.loss)  # error

    @override
    def after_pred(self, event: AfterPred) -> None:
        print(event.loss)  # error

    @override
    def after_loss(self, event: AfterLoss) -> None:
        print(event.metrics)  # error

    @override
    def after_backward(self, event: AfterBackward) -> None:
        print(event.grads)  # error

    @override
    def after_step(self, event: AfterStep) -> None:
        print(event.opt)  # error

    @override
    def after_cancel_batch(self, event: AfterCancelBatch) -> None:
        print(event.xb)  # error
        print(event.cancel.why)  # error

    @override
    def after_batch(self, event: AfterBatch) -> None:
        print(event.loss)  # error
        print(event.reached.loss)  # error

    @override
    def after_cancel_epoch(self, event: AfterCancelEpoch) -> None:
        print(event.reached)  # error

    @override
    def begin_validate(self, event: BeginValidate) -> None:
        print(event.n_epochs)  # error

    @override
    def after_validate(self, event: AfterValidate) -> None:
        print(event.loss)  # error

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        print(event.valid_loss)  # error

    @override
    def after_cancel_train(self, event: AfterCancelTrain) -> None:
        print(event.epoch)  # error

    @override
    def after_fit(self, event: AfterFit) -> None:
        print(event.n_epochs)  # error
        print(event.outcome.error)  # error


@dataclass(frozen=True)
class WritesToEvent(Callback):
    """Events are immutable: a changed one is returned."""

    @override
    def begin_fit(self, event: BeginFit) -> None:
        event.n_epochs = 3  # error

    @override
    def begin_epoch(self, event: BeginEpoch) -> None:
        event.epoch += 1  # error

    @override
    def begin_batch(self, event: BeginBatch) -> None:
        event.xb = event.xb * 2  # error

    @override
    def after_pred(self, event: AfterPred) -> None:
        event.pred = event.pred * 2  # error

    @override
    def after_loss(self, event: AfterLoss) -> None:
        event.loss /= 2  # error

    @override
    def after_backward(self, event: AfterBackward) -> None:
        event.loss = event.loss.cpu()  # error

    @override
    def after_step(self, event: AfterStep) -> None:
        event.step += 1  # error

    @override
    def after_cancel_batch(self, event: AfterCancelBatch) -> None:
        event.cancel = None  # error

    @override
    def after_batch(self, event: AfterBatch) -> None:
        event.reached = None  # error

    @override
    def after_cancel_epoch(self, event: AfterCancelEpoch) -> None:
        event.epoch = 0  # error

    @override
    def begin_validate(self, event: BeginValidate) -> None:
        event.epoch = 0  # error

    @override
    def after_validate(self, event: AfterValidate) -> None:
        event.epoch = 0  # error

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        event.n_epochs = event.epoch  # error

    @override
    def after_cancel_train(self, event: AfterCancelTrain) -> None:
        event.cancel = event.cancel  # error

    @override
    def after_fit(self, event: AfterFit) -> None:
        event.outcome = Completed()  # error


@dataclass(frozen=True)
class WrongEvent(Callback):
    """Each hook is given its own event, and none that comes later or elsewhere."""

    @override
    def begin_fit(self, event: AfterFit) -> None: ...  # error

    @override
    def begin_epoch(self, event: AfterEpoch) -> None: ...  # error

    @override
    def begin_batch(self, event: AfterLoss) -> None: ...  # error

    @override
    def after_pred(self, event: AfterLoss) -> None: ...  # error

    @override
    def after_loss(self, event: AfterBackward) -> None: ...  # error

    @override
    def after_backward(self, event: AfterStep) -> None: ...  # error

    @override
    def after_step(self, event: AfterBatch) -> None: ...  # error

    @override
    def after_cancel_batch(self, event: AfterCancelEpoch) -> None: ...  # error

    @override
    def after_batch(self, event: AfterStep) -> None: ...  # error

    @override
    def after_cancel_epoch(self, event: AfterCancelTrain) -> None: ...  # error

    @override
    def begin_validate(self, event: BeginEpoch) -> None: ...  # error

    @override
    def after_validate(self, event: BeginValidate) -> None: ...  # error

    @override
    def after_epoch(self, event: BeginEpoch) -> None: ...  # error

    @override
    def after_cancel_train(self, event: AfterFit) -> None: ...  # error

    @override
    def after_fit(self, event: AfterEpoch) -> None: ...  # error


@dataclass(frozen=True)
class MisspeltHooks(Callback):
    """No such hook: a letter is missing, another framework has it, it is another word."""

    @override
    def after_bacward(self, event: AfterBackward) -> None: ...  # error

    @override
    def on_epoch_end(self, event: AfterEpoch) -> None: ...  # error

    @override
    def before_batch(self, event: BeginBatch) -> None: ...  # error


@dataclass(frozen=True)
class WrongParameters(Callback):
    """A hook takes one event."""

    @override
    def begin_fit(self) -> None: ...  # error

    @override
    def begin_epoch(self, event: BeginEpoch, epoch: int) -> None: ...  # error

    @override
    def after_loss(self, loss: Tensor) -> None: ...  # error

    @override
    def after_epoch(self, *, event: AfterEpoch) -> None: ...  # error

    @override
    async def after_fit(self, event: AfterFit) -> None: ...  # error


@dataclass(frozen=True)
class OtherPayload(Callback):
    """A callback over tensors is given tensors."""

    @override
    def begin_batch(self, event: BeginBatch[Text, Tensor]) -> None: ...  # error

    @override
    def after_pred(self, event: AfterPred[Tensor, Tensor, Text]) -> None: ...  # error

    @override
    def after_batch(self, event: AfterBatch[Tensor, Text, Tensor]) -> None: ...  # error


@dataclass(frozen=True)
class KnowsNoShape(AnyCallback):
    """A callback over anything knows nothing of its payload."""

    @override
    def begin_batch(self, event: BeginBatch[object, object]) -> None:
        print(event.xb.shape)  # error

    @override
    def after_pred(self, event: AfterPred[object, object, object]) -> None:
        print(event.pred.argmax())  # error

    @override
    def after_step(self, event: AfterStep) -> None: ...  # error


@dataclass(frozen=True)
class NotInThisView(AnyCallback):
    """What a hook asked for is what it has."""

    @override
    def begin_batch(self, event: LossEvent) -> None: ...  # error

    @override
    def after_pred(self, event: LossEvent) -> None: ...  # error

    @override
    def after_loss(self, event: LossEvent) -> None:
        print(event.pred)  # error

    @override
    def after_backward(self, event: BatchEvent) -> None:
        print(event.loss)  # error

    @override
    def after_step(self, event: BatchEvent) -> None:
        event.step = 0  # error

    @override
    def after_epoch(self, event: BatchEvent) -> None: ...  # error


@dataclass(frozen=True)
class NoSuchPhase(AnyCallback):
    phases: ClassVar[tuple[Phase, ...]] = ("training",)  # error
    order: ClassVar[int] = "first"  # error

    @override
    def begin_batch(self, event: BatchEvent) -> None:
        if event.phase == "train":
            print(event.n_batches + 1)  # error


def forgets_a_case(reached: Reached[Tensor, Tensor, Tensor]) -> str:
    """A batch may have reached no more than its beginning."""
    match reached:
        case AfterPred():
            return "predicted"
        case _ as rest:
            assert_never(rest)  # error


def forgets_failure(outcome: FitOutcome) -> str:
    """A fit may have failed."""
    match outcome:
        case Completed():
            return "completed"
        case Cancelled(cancel=cancel):
            return cancel.why  # error
        case _ as rest:
            assert_never(rest)  # error


def takes_no_care(outcome: FitOutcome) -> str:
    """Only a cancelled fit has a reason."""
    if isinstance(outcome, Completed):
        return outcome.cancel.reason  # error
    return outcome.cancel.reason  # error


def looks_too_far(reached: Reached[Tensor, Tensor, Tensor]) -> None:
    """A batch that has only begun has no prediction."""
    if isinstance(reached, OnlyBegun):
        print(reached.pred)  # error
