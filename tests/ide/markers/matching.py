"""Taking results apart: how a fit ended, how far a batch came, and what to answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from typing_extensions import override

import typedcb
from typedcb import (
    AfterBackward,
    AfterBatch,
    AfterFit,
    AfterLoss,
    AfterPred,
    AfterStep,
    AnyCallback,
    Callback,
    CancelBatch,
    CancelEpoch,
    Cancelled,
    CancelTrain,
    Completed,
    Failed,
    FitOutcome,
    LossEvent,
    OnlyBegun,
    SkipStep,
)


def say(outcome: FitOutcome) -> str:
    """How a fit ended."""
    match outcome:
        case Completed():
            #   ^ complete: Completed
            return "completed"
        case Cancelled(cancel=cancel):
            #      ^ complete: Cancelled
            return cancel.reason
            #             ^ complete: reason
        case Failed() as failed:
            # ^ complete: Failed
            return str(failed.error)
            #                 ^ complete: error
        case _:
            assert_never(outcome)


def say_qualified(outcome: FitOutcome) -> str:
    """The same by names of the package."""
    match outcome:
        case typedcb.Completed():
            #           ^ complete: Completed
            return "completed"
        case typedcb.Cancelled() as cancelled:
            #            ^ complete: Cancelled
            return cancelled.cancel.reason
            #                ^ complete: cancel
        case typedcb.Failed():
            #         ^ complete: Failed
            return "failed"
        case _:
            assert_never(outcome)


@dataclass(frozen=True)
class HowFar(Callback):
    """How far a batch came."""

    @override
    def after_batch(self, event: AfterBatch) -> None:
        match event.reached:
            case AfterStep() as stepped:
                #      ^ complete: AfterStep
                assert stepped.loss.ndim == 0
                #              ^ complete: loss, pred, xb, yb, step
            case AfterBackward() | AfterLoss():
                #      ^ complete: AfterBackward
                #                       ^ complete: AfterLoss
                pass
            case AfterPred(pred=pred):
                #      ^ complete: AfterPred
                #          ^ complete: pred=
                assert pred.ndim
            case OnlyBegun() as begun:
                # ^ complete: OnlyBegun
                assert begun.xb.ndim
                #            ^ complete: xb, yb, epoch, index
            case never:
                assert_never(never)
        if isinstance(event.reached, AfterLoss):
            #                             ^ complete: AfterLoss
            assert event.reached.loss.ndim == 0
            #                    ^ complete: loss, pred


@dataclass(frozen=True)
class Answers(AnyCallback):
    """What may be answered."""

    @override
    def after_loss(self, event: LossEvent) -> CancelBatch | CancelEpoch | CancelTrain | None:
        if event.loss.isnan():
            return CancelTrain(reason="the loss is nan")
            #         ^ complete: CancelTrain, CancelEpoch, CancelBatch
            #            ^ complete: CancelTrain
            #                  ^ complete: reason=
        return CancelBatch() if event.index else None
        #             ^ complete: CancelBatch

    @override
    def after_backward(self, event: LossEvent) -> SkipStep | None:
        return SkipStep() if event.loss.isinf() else None
        #         ^ complete: SkipStep

    @override
    def after_fit(self, event: AfterFit) -> None:
        assert say(event.outcome) == say_qualified(event.outcome)
        #                ^ complete: outcome
