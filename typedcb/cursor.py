"""Where a pass over the data is: the batch under way, the events that it fires, and what its callbacks made of it.

There is one cursor for each pass, and it always stands at the batch that is under way. So a batch makes no objects.
"""

from __future__ import annotations

from typing import Any, Generic, Optional, Union, cast

import torch
from torch import Tensor
from torch.utils import _pytree as pytree  # torch has no public way to map over the tensors of a nested batch

from . import hooks
from .attach import Group
from .dispatch import BatchPlan, Skipped, fold, tell_all
from .errors import LoopError
from .events import (
    AfterBackward,
    AfterBatch,
    AfterCancelBatch,
    AfterLoss,
    AfterPred,
    AfterStep,
    BeginBatch,
    OnlyBegun,
    P,
    Phase,
    Reached,
    X,
    Y,
)
from .losses import check_loss
from .outcomes import Cancel, CancelBatch, CancelTrain
from .stages import BACKWARD, BEGUN, CANCELLED, ENDED, LOSS, PREDICTED, SKIPPED, STEPPED


class Cursor(Generic[X, Y, P]):
    """Where a pass over the data is: the batch under way, how far it has come, and what cancelled it.

    Args:
        plan: Whom to call at the events of its batches.
        phase: Which data it goes over.
        epoch: The epoch's number, from 0.
        n_batches: How many batches the loader gives; None where it does not know.
        steps: How many training batches of this fit have been stepped on before the pass.
    """

    __slots__ = (
        "_furthest",
        "_halted",
        "cancel",
        "cancelled",
        "computed",
        "epoch",
        "hears_backward",
        "hears_loss",
        "hears_pred",
        "hears_step",
        "index",
        "late",
        "n_batches",
        "objectives",
        "phase",
        "plan",
        "pred",
        "stage",
        "steps",
        "xb",
        "yb",
    )

    xb: X
    """The inputs, as the callbacks left them."""

    yb: Y
    """The targets, as the callbacks left them."""

    pred: P
    """The prediction, as the callbacks left it; there once the model has been called."""

    computed: Tensor
    """The loss, as the callbacks left it; there once it has been computed."""

    index: int
    """The batch's number in this pass over the data, from 0."""

    steps: int
    """How many training batches of this fit have been stepped on."""

    plan: BatchPlan[X, Y, P]
    """Whom to call at its events."""

    cancelled: bool
    """Whether a callback has cancelled this batch."""

    cancel: Optional[Cancel]
    """What ended the batch early, if something did."""

    objectives: tuple[Group, ...]
    """What may have turns in its batches."""

    late: tuple[BaseException, ...]
    """What else went wrong in after_batch, after the error that was raised."""

    phase: Phase
    """Which data it goes over."""

    epoch: int
    """The epoch's number, from 0."""

    n_batches: Optional[int]
    """How many batches the loader gives; None where it does not know."""

    stage: int
    """How far the batch has come, from BEGUN to ENDED."""

    hears_pred: bool
    """Whether somebody listens to after_pred."""

    hears_loss: bool
    """Whether somebody listens to after_loss."""

    hears_backward: bool
    """Whether somebody listens to after_backward."""

    hears_step: bool
    """Whether somebody listens to after_step."""

    _furthest: int

    _halted: int

    def __init__(
        self, plan: BatchPlan[X, Y, P], phase: Phase, epoch: int, n_batches: Optional[int], steps: int
    ) -> None:
        self.plan = plan
        self.hears_pred = bool(plan.after_pred)
        self.hears_loss = bool(plan.after_loss)
        self.hears_backward = bool(plan.after_backward)
        self.hears_step = bool(plan.after_step)
        self.phase = phase
        self.epoch = epoch
        self.n_batches = n_batches
        self.steps = steps
        self.index = 0
        self.objectives = ()
        self.late = ()
        self.cancel = None
        self.cancelled = False
        self.stage = ENDED

    @property
    def value(self) -> Tensor:
        """The loss, as the callbacks left it, as loops read it."""
        return self.computed

    @property
    def place(self) -> str:
        """Where it is in the fit, in words."""
        return f"epoch {self.epoch}, batch {self.index}, {self.phase}"

    def begin(self) -> None:
        """Fires begin_batch."""
        event: BeginBatch[X, Y] = BeginBatch(
            self.phase, self.epoch, self.index, self.n_batches, self.steps, self.xb, self.yb
        )
        answer = fold(hooks.BEGIN_BATCH, self.plan.begin_batch, event)
        if answer is event:
            return
        if isinstance(answer, BeginBatch):
            self.xb, self.yb = answer.xb, answer.yb
        elif isinstance(answer, Cancel):
            self._stop(CANCELLED, answer)

    @property
    def last_loss(self) -> Optional[Tensor]:
        """The loss of the last batch of this pass that had one; None where none had."""
        return getattr(self, "computed", None)

    @property
    def has_way_back(self) -> bool:
        """Whether the body has left the batch with a loss that backward could begin at, and did not."""
        if self.stage != LOSS:
            return False
        loss: object = self.computed  # it may be no tensor, which nobody has looked at so far
        return isinstance(loss, Tensor) and loss.requires_grad

    @property
    def left_at(self) -> Optional[int]:
        """How far a batch that is over had come when its body left it; None where a callback has ended it before."""
        return None if getattr(self, "_halted", -1) == self.index else self._furthest

    def check_first_loss(self) -> None:
        """Refuses a loss that is no scalar, when nobody listened to it before."""
        if self.stage in (BACKWARD, STEPPED):
            check_loss(self.computed)

    def end(self) -> None:
        """Marks the batch as over."""
        if self.stage < SKIPPED:
            self._furthest = self.stage
        self.stage = ENDED

    def close(self) -> Optional[Cancel]:
        """Ends the batch: after_cancel_batch and after_batch fire. What of a Cancel is for more than the batch.

        Whatever one callback answers or raises at after_batch, those behind it hear of the end too.
        """
        cancel, self.cancel, self.cancelled = self.cancel, None, False
        if isinstance(cancel, CancelBatch):
            self._tell_of_cancel(cancel)
            cancel = None
        if self.stage < SKIPPED:  # as `end` does, with one call less
            self._furthest = self.stage
        self.stage = ENDED  # an error in after_cancel_batch leaves the batch open: after_batch comes in any case
        if not self.plan.after_batch:
            return cancel
        ended: AfterBatch[X, Y, P] = AfterBatch(self._after_step() if self._furthest == STEPPED else self.reached())
        listeners = iter(self.plan.after_batch)
        try:
            while isinstance(answer := fold(hooks.AFTER_BATCH, listeners, ended), Cancel):
                if cancel is None or (isinstance(answer, CancelTrain) and not isinstance(cancel, CancelTrain)):
                    cancel = answer
        except BaseException as error:
            told: AfterBatch[X, Y, P] = AfterBatch(ended.reached, error)
            self.late = tuple(tell_all(hooks.AFTER_BATCH, tuple(listeners), told, (error,)))
            raise
        return cancel

    def _tell_of_cancel(self, cancel: CancelBatch) -> None:
        """Fires after_cancel_batch: nothing of the Cancel is left for more than the batch."""
        if self.plan.after_cancel_batch:
            told: AfterCancelBatch[X, Y, P] = AfterCancelBatch(cancel, self.reached())
            fold(hooks.AFTER_CANCEL_BATCH, self.plan.after_cancel_batch, told)

    def fail(self, error: BaseException) -> list[BaseException]:
        """Ends the batch by an error: after_batch fires. What went wrong in that.

        Args:
            error: What ended it.
        """
        self.end()
        if not self.plan.after_batch:
            return []
        ended: AfterBatch[X, Y, P] = AfterBatch(self.reached(), error)
        return tell_all(hooks.AFTER_BATCH, self.plan.after_batch, ended, (error,))

    def stop_for(self, cancel: Cancel) -> None:
        """Cancels the batch for a Cancel that a turn in it was answered with, or for a stronger one that is there.

        Args:
            cancel: A CancelEpoch or a CancelTrain.
        """
        if self.stage < SKIPPED:
            self._stop(CANCELLED, cancel)
            return
        self.stage = CANCELLED
        self.cancelled = True
        if not isinstance(self.cancel, CancelTrain):
            self.cancel = cancel

    def reached(self) -> Reached[X, Y, P]:
        """The furthest event of a batch that is over, detached."""
        if self._furthest == BEGUN:
            return OnlyBegun(self.phase, self.epoch, self.index, self.n_batches, self.steps, self.xb, self.yb)
        if self._furthest == PREDICTED:
            self.pred = _detached(self.pred)
            return self._after_pred()
        if self._furthest == LOSS:
            self._detach()
            return self._after_loss()
        return self._after_backward() if self._furthest == BACKWARD else self._after_step()

    def predicted(self, pred: P) -> None:
        """Takes the prediction, and fires after_pred."""
        if self.stage:
            self._check_stopped("batch.pred")
            self.pred = pred
            return
        self.pred = pred
        self.stage = PREDICTED
        if self.hears_pred:
            self._fire_after_pred()

    def _fire_after_pred(self) -> None:
        answer = fold(hooks.AFTER_PRED, self.plan.after_pred, self._after_pred())
        if isinstance(answer, AfterPred):
            self.pred = answer.pred
        elif isinstance(answer, Cancel):
            self._stop(CANCELLED, answer)

    def take_after_loss(self, answer: Union[AfterLoss[X, Y, P], Cancel, Skipped[AfterLoss[X, Y, P]]]) -> None:
        """Does what the callbacks asked for at after_loss."""
        if isinstance(answer, Skipped):
            self._stop(SKIPPED, None)
            answer = answer.event
        if isinstance(answer, Cancel):
            self._stop(CANCELLED, answer)
        else:
            self.computed = answer.loss

    def _fire_after_backward(self) -> None:
        answer = fold(hooks.AFTER_BACKWARD, self.plan.after_backward, self._after_backward())
        if isinstance(answer, Skipped):
            self._stop(SKIPPED, None)
        elif isinstance(answer, Cancel):
            self._stop(CANCELLED, answer)

    def _fire_after_step(self) -> bool:
        """Fires after_step: whether the gradients are to be zeroed."""
        answer = fold(hooks.AFTER_STEP, self.plan.after_step, self._after_step())
        if isinstance(answer, Cancel):
            self._stop(CANCELLED, answer)
        return not isinstance(answer, Skipped)

    def _detach(self) -> None:
        """Takes the prediction and the loss out of their graphs. What is detached already stays as it is."""
        pred: object = self.pred
        loss: object = self.computed  # it may be no tensor: its batch has failed for that
        if not (isinstance(pred, Tensor) and isinstance(loss, Tensor)):
            self.pred, self.computed = _detached(self.pred), _detached(self.computed)
            return
        if pred.requires_grad:  # as _detached does it, with fewer calls
            detached: Any = pred.detach()  # Any: it is what P is, and no type says so
            self.pred = detached
        if loss.requires_grad:
            self.computed = loss.detach()

    def _stop(self, stage: int, cancel: Optional[Cancel]) -> None:
        """Lets nothing more happen in this batch."""
        self._furthest = self.stage
        self._halted = self.index
        self.stage = stage
        self.cancel = cancel
        self.cancelled = cancel is not None

    def _check_stopped(self, call: str) -> None:
        """Refuses a call out of turn; one on a batch that a callback skipped or cancelled is all right."""
        if self.stage == ENDED:
            raise LoopError(f"this batch ({self.place}) has ended: {call} belongs inside the body of its loop.")
        if self.stage < SKIPPED:
            raise LoopError(
                f"{call} is out of turn ({self.place}): a batch goes through pred, loss, backward and step, once each."
            )

    def _after_pred(self) -> AfterPred[X, Y, P]:
        return AfterPred(self.phase, self.epoch, self.index, self.n_batches, self.steps, self.xb, self.yb, self.pred)

    def _after_loss(self) -> AfterLoss[X, Y, P]:
        return AfterLoss(
            self.phase, self.epoch, self.index, self.n_batches, self.steps, self.xb, self.yb, self.pred, self.computed
        )

    def _after_backward(self) -> AfterBackward[X, Y, P]:
        self._detach()
        return AfterBackward(
            self.phase, self.epoch, self.index, self.n_batches, self.steps, self.xb, self.yb, self.pred, self.computed
        )

    def _after_step(self) -> AfterStep[X, Y, P]:
        self._detach()
        before = self.steps - 1
        return AfterStep(
            self.phase, self.epoch, self.index, self.n_batches, before, self.xb, self.yb, self.pred, self.computed
        )


def _detached(value: P) -> P:
    """The same value with every tensor in it detached from its graph.

    Args:
        value: A tensor, or whatever nests tensors in tuples, lists, dicts and the like.
    """
    alone: object = value
    if isinstance(alone, Tensor):  # the common case, without the walk
        detached: Any = alone.detach() if alone.requires_grad else alone  # Any: as in _detach
        same: P = detached
        return same
    return cast(P, pytree.tree_map_only(Tensor, torch.Tensor.detach, value))
