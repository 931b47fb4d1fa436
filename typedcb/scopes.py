"""A batch under way, as types: each call hands out what may be called next.

    batch                                  TrainBatch: xb, yb                begin_batch has fired
    out = batch.pred(model(batch.xb))      Predicted: pred too               after_pred
    loss = out.loss(loss_func(...))        WithLoss: value too               after_loss
    done = loss.backward()                 BackwardDone                      after_backward
    done.step(opt)                                                           after_step

A call in the wrong order is a type error, and a LoopError. When a callback cancels the batch, what is handed out goes
on to accept calls and does nothing more, so that the loop's body needs no `if`; `out.cancelled` is for a body that
would rather `continue`. In validation there is nothing to step on: ValidBatch, ValidPredicted, Evaluated.

The scopes are a cursor over the pass: there is one of them for each pass, and it always stands at the batch that is
under way. Take tensors out of it; keeping the scope itself keeps no batch. So a batch makes no objects, and what a type
calls Predicted, WithLoss and BackwardDone is one object at run time: a loop's overhead lies in what is done here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Callable, Final, Generic, Optional, Protocol, TypeVar, Union, cast

import torch
from torch import Tensor, autograd, nn
from torch.utils import _pytree as pytree  # torch has no public way to map over the tensors of a nested batch
from typing_extensions import override

from . import hooks
from .attach import Group
from .dispatch import BatchPlan, Skipped, fold, tell_all
from .errors import BatchError, LoopError
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
from .hooks import AFTER_LOSS
from .outcomes import Cancel, CancelBatch, CancelTrain

if TYPE_CHECKING:
    from .objective import Objective
    from .turns import Turn, ValidTurn

X2 = TypeVar("X2")
Y2 = TypeVar("Y2")
P2 = TypeVar("P2")
M2 = TypeVar("M2", bound="nn.Module")


class Steps(Protocol):
    """What `step` needs of an optimizer; every torch optimizer has it."""

    def step(self) -> object:
        """Changes the parameters by their gradients."""
        ...

    def zero_grad(self) -> None:
        """Drops the gradients."""
        ...


class Predicted(ABC, Generic[X, Y, P]):
    """A training batch whose prediction is there."""

    __slots__ = ()

    xb: X
    """The inputs."""

    yb: Y
    """The targets."""

    pred: P
    """The prediction, as the callbacks left it."""

    cancelled: bool
    """Whether a callback has cancelled this batch: nothing more happens in it."""

    @abstractmethod
    def loss(self, loss: Tensor, /) -> WithLoss:
        """Fires after_loss.

        Args:
            loss: The loss of `pred`, a scalar tensor.

        Returns:
            The way to backward.

        Raises:
            BatchError: The loss is no scalar tensor.
        """


class WithLoss(ABC):
    """A training batch whose loss is there."""

    __slots__ = ()

    @property
    @abstractmethod
    def value(self) -> Tensor:
        """The loss as the callbacks left it; it holds its graph until backward has run."""

    cancelled: bool
    """Whether a callback has cancelled this batch: nothing more happens in it."""

    @abstractmethod
    def backward(self) -> BackwardDone:
        """Computes the gradients and fires after_backward, unless a callback skipped that.

        Returns:
            The way to the step.
        """


class BackwardDone(ABC):
    """A training batch whose gradients are there."""

    __slots__ = ()

    cancelled: bool
    """Whether a callback has cancelled this batch: nothing more happens in it."""

    @abstractmethod
    def step(self, opt: Steps, /) -> None:
        """Steps, fires after_step and zeroes the gradients, unless a callback skipped that.

        The gradients of a batch that was cancelled after backward are dropped: call it also then, or they are added to
        the next batch's.

        Args:
            opt: The optimizer.
        """


class ValidPredicted(ABC, Generic[X, Y, P]):
    """A validation batch whose prediction is there."""

    __slots__ = ()

    xb: X
    """The inputs."""

    yb: Y
    """The targets."""

    pred: P
    """The prediction, as the callbacks left it."""

    cancelled: bool
    """Whether a callback has cancelled this batch: nothing more happens in it."""

    @abstractmethod
    def loss(self, loss: Tensor, /) -> Evaluated:
        """Fires after_loss.

        Args:
            loss: The loss of `pred`, a scalar tensor.

        Returns:
            The loss as the callbacks left it.

        Raises:
            BatchError: The loss is no scalar tensor.
        """


class Evaluated(ABC):
    """A validation batch whose loss is there."""

    __slots__ = ()

    @property
    @abstractmethod
    def value(self) -> Tensor:
        """The loss as the callbacks left it."""

    cancelled: bool
    """Whether a callback has cancelled this batch: nothing more happens in it."""


# How far a batch has come; from SKIPPED on, nothing that its body calls does anything more.
BEGUN: Final = 0
PREDICTED: Final = 1
LOSS: Final = 2
BACKWARD: Final = 3
STEPPED: Final = 4
SKIPPED: Final = 5
CANCELLED: Final = 6
ENDED: Final = 7


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
        "_loss",
        "cancel",
        "cancelled",
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

    _loss: Tensor
    _furthest: int

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
        """The loss, as the callbacks left it."""
        return self._loss

    @property
    def place(self) -> str:
        """Where it is in the fit, in words."""
        return f"epoch {self.epoch}, batch {self.index}, {self.phase}"

    def begin(self) -> None:
        """Fires begin_batch."""
        answer = fold(hooks.BEGIN_BATCH, self.plan.begin_batch, self._begin_batch())
        if isinstance(answer, BeginBatch):
            self.xb, self.yb = answer.xb, answer.yb
        elif isinstance(answer, Cancel):
            self._stop(CANCELLED, answer)

    @property
    def last_loss(self) -> Optional[Tensor]:
        """The loss of the last batch of this pass that had one; None where none had."""
        return getattr(self, "_loss", None)

    def check_first_loss(self) -> None:
        """Refuses a loss that is no scalar, when nobody listened to it before."""
        if self.stage in (BACKWARD, STEPPED):
            check_loss(self._loss)

    def end(self) -> None:
        """Marks the batch as over."""
        if self.stage < SKIPPED:
            self._furthest = self.stage
        self.stage = ENDED

    def close(self) -> Optional[Cancel]:
        """Ends the batch: after_cancel_batch and after_batch fire. What of a Cancel is for more than the batch."""
        cancel = self.take_cancel()
        if isinstance(cancel, CancelBatch):
            if self.plan.after_cancel_batch:
                told: AfterCancelBatch[X, Y, P] = AfterCancelBatch(cancel, self.reached())
                fold(hooks.AFTER_CANCEL_BATCH, self.plan.after_cancel_batch, told)
            cancel = None
        self.end()  # an error in after_cancel_batch leaves the batch open: after_batch comes in any case
        return self._tell_of_end(cancel) if self.plan.after_batch else cancel

    def _tell_of_end(self, cancel: Optional[Cancel]) -> Optional[Cancel]:
        """Fires after_batch: whatever one callback answers or raises, those behind it hear of the end too."""
        ended: AfterBatch[X, Y, P] = AfterBatch(self.reached())
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

    def take_cancel(self) -> Optional[Cancel]:
        """What cancelled the batch, for the one who ends it."""
        cancel, self.cancel, self.cancelled = self.cancel, None, False
        return cancel

    def reached(self) -> Reached[X, Y, P]:
        """The furthest event of a batch that is over, detached."""
        if self._furthest == BEGUN:
            return OnlyBegun(self.phase, self.epoch, self.index, self.n_batches, self.steps, self.xb, self.yb)
        self.pred = detached(self.pred)
        if self._furthest == PREDICTED:
            return self._after_pred()
        self._loss = detached(self._loss)  # anything, in a batch that failed because it is no tensor
        if self._furthest == LOSS:
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

    def _take_after_loss(self, answer: Union[AfterLoss[X, Y, P], Cancel, Skipped[AfterLoss[X, Y, P]]]) -> None:
        if isinstance(answer, Skipped):
            self._stop(SKIPPED, None)
            answer = answer.event
        if isinstance(answer, Cancel):
            self._stop(CANCELLED, answer)
        else:
            self._loss = answer.loss

    def _fire_after_backward(self) -> None:
        self.pred, self._loss = detached(self.pred), self._loss.detach()
        answer = fold(hooks.AFTER_BACKWARD, self.plan.after_backward, self._after_backward())
        if isinstance(answer, Skipped):
            self._stop(SKIPPED, None)
        elif isinstance(answer, Cancel):
            self._stop(CANCELLED, answer)

    def _fire_after_step(self) -> bool:
        """Fires after_step: whether the gradients are to be zeroed."""
        self.pred, self._loss = detached(self.pred), self._loss.detach()
        answer = fold(hooks.AFTER_STEP, self.plan.after_step, self._after_step())
        if isinstance(answer, Cancel):
            self._stop(CANCELLED, answer)
        return not isinstance(answer, Skipped)

    def _stop(self, stage: int, cancel: Optional[Cancel]) -> None:
        """Lets nothing more happen in this batch."""
        self._furthest = self.stage
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

    def _begin_batch(self) -> BeginBatch[X, Y]:
        return BeginBatch(self.phase, self.epoch, self.index, self.n_batches, self.steps, self.xb, self.yb)

    def _after_pred(self) -> AfterPred[X, Y, P]:
        return AfterPred(self.phase, self.epoch, self.index, self.n_batches, self.steps, self.xb, self.yb, self.pred)

    def _after_loss(self) -> AfterLoss[X, Y, P]:
        return AfterLoss(
            self.phase, self.epoch, self.index, self.n_batches, self.steps, self.xb, self.yb, self.pred, self._loss
        )

    def _after_backward(self) -> AfterBackward[X, Y, P]:
        return AfterBackward(
            self.phase, self.epoch, self.index, self.n_batches, self.steps, self.xb, self.yb, self.pred, self._loss
        )

    def _after_step(self) -> AfterStep[X, Y, P]:
        before = self.steps - 1
        return AfterStep(
            self.phase, self.epoch, self.index, self.n_batches, before, self.xb, self.yb, self.pred, self._loss
        )


class _Training(Cursor[X, Y, P], Predicted[X, Y, P], WithLoss, BackwardDone):
    """Predicted, WithLoss and BackwardDone in one."""

    __slots__ = ()

    # As Cursor has them: pyright takes an assignment in a subclass for a declaration of its own.
    stage: int
    steps: int

    @override
    def loss(self, loss: Tensor, /) -> WithLoss:
        if self.stage != PREDICTED:
            self._check_stopped("loss")
        else:
            self._loss = loss
            self.stage = LOSS
            if self.hears_loss:
                if not self.index:  # what a loss function gives does not change its shape from batch to batch
                    check_loss(loss)
                event = AfterLoss(
                    self.phase, self.epoch, self.index, self.n_batches, self.steps, self.xb, self.yb, self.pred, loss
                )
                answer = fold(AFTER_LOSS, self.plan.after_loss, event)
                if answer is not event:
                    self._take_after_loss(answer)
        return self

    @override
    def backward(self) -> BackwardDone:
        if self.stage != LOSS:
            self._check_stopped("backward")
            return self
        try:
            autograd.backward((self._loss,))  # as loss.backward() does, with one call less
        except Exception as error:
            check_graph(self._loss, error)
            raise
        self.stage = BACKWARD
        if self.hears_backward:
            self._fire_after_backward()
        return self

    @override
    def step(self, opt: Steps, /) -> None:
        if self.stage != BACKWARD:
            self._check_stopped("step")
            if self.cancel is not None and self._furthest == BACKWARD:
                opt.zero_grad()
            return
        try:
            opt.step()
        except TypeError:
            check_closure(opt)
            raise
        self.steps += 1
        self.stage = STEPPED
        if not self.hears_step or self._fire_after_step():
            opt.zero_grad()


class _Quiet(_Training[X, Y, P]):
    """The same when nobody listens after begin_batch: the calls do not ask, which is a tenth of what they cost."""

    __slots__ = ()

    @override
    def loss(self, loss: Tensor, /) -> WithLoss:
        if self.stage != PREDICTED:
            self._check_stopped("loss")
        else:
            self._loss = loss
            self.stage = LOSS
        return self

    @override
    def backward(self) -> BackwardDone:
        if self.stage != LOSS:
            return super().backward()
        try:
            autograd.backward((self._loss,))
        except Exception as error:
            check_graph(self._loss, error)
            raise
        self.stage = BACKWARD
        return self

    @override
    def step(self, opt: Steps, /) -> None:
        if self.stage != BACKWARD:
            super().step(opt)
            return
        try:
            opt.step()
        except TypeError:
            check_closure(opt)
            raise
        self.steps += 1
        self.stage = STEPPED
        opt.zero_grad()


class _OfEngine(_Training[X, Y, P]):
    """The same with the plan's own backward, which an engine of several processes brings."""

    __slots__ = ()

    @override
    def backward(self) -> BackwardDone:
        if self.stage != LOSS or self.plan.backward is None:
            return super().backward()
        try:
            cancel = self.plan.backward(self._loss)
        except Exception as error:
            check_graph(self._loss, error)
            raise
        self.stage = BACKWARD
        if cancel is not None:
            self._stop(CANCELLED, cancel)
        elif self.hears_backward:
            self._fire_after_backward()
        return self


class Validating(Cursor[X, Y, P], ValidPredicted[X, Y, P], Evaluated):
    """ValidPredicted and Evaluated in one."""

    __slots__ = ()

    @override
    def loss(self, loss: Tensor, /) -> Evaluated:
        if self.stage != PREDICTED:
            self._check_stopped("loss")
        else:
            check_loss(loss)
            self._loss = loss
            self.stage = LOSS
            if self.hears_loss:
                self._take_after_loss(fold(AFTER_LOSS, self.plan.after_loss, self._after_loss()))
        return self


class Scope(Generic[X, Y]):
    """What a batch and a turn have in common."""

    __slots__ = ("xb", "yb")

    xb: X
    """The inputs, as the callbacks left them."""

    yb: Y
    """The targets, as the callbacks left them."""


class TrainBatch(Scope[X, Y], Generic[X, Y, P]):
    """A training batch: begin_batch has fired."""

    __slots__ = ("cursor",)

    cursor: _Training[X, Y, P]

    def __init__(
        self, plan: BatchPlan[X, Y, P], phase: Phase, epoch: int, n_batches: Optional[int], steps: int
    ) -> None:
        heard = plan.after_pred or plan.after_loss or plan.after_backward or plan.after_step
        if plan.backward is not None:
            self.cursor = _OfEngine(plan, phase, epoch, n_batches, steps)
        elif heard:
            self.cursor = _Training(plan, phase, epoch, n_batches, steps)
        else:
            self.cursor = _Quiet(plan, phase, epoch, n_batches, steps)

    def pred(self, pred: P, /) -> Predicted[X, Y, P]:
        """Fires after_pred.

        Args:
            pred: What the model made of `xb`.

        Returns:
            The prediction as the callbacks left it, and the way to the loss.
        """
        cursor = self.cursor
        if cursor.stage or cursor.hears_pred:
            cursor.predicted(pred)
        else:  # the same, when nobody listens
            cursor.pred = pred
            cursor.stage = PREDICTED
        return cursor

    def turn(self, objective: Objective[X2, Y2, P2, M2], xb: X2, yb: Y2, /) -> Turn[X2, Y2, P2]:
        """Gives an objective a turn in this batch: its own pred, loss, backward and step, told to its own callbacks.

        It lasts until the objective's next turn, or until the batch ends; turns of others may come meanwhile.

        Args:
            objective: One of the loop's.
            xb: Its inputs, which need not be the batch's.
            yb: Its targets.

        Returns:
            The way to the prediction. In a batch that was cancelled meanwhile it accepts calls and does nothing.

        Raises:
            LoopError: The batch has ended, or the loop has no such objective.
        """
        return objective.train_turn(self.cursor, xb, yb)


class ValidBatch(Scope[X, Y], Generic[X, Y, P]):
    """A validation batch: begin_batch has fired."""

    __slots__ = ("cursor",)

    cursor: Validating[X, Y, P]

    def __init__(
        self, plan: BatchPlan[X, Y, P], phase: Phase, epoch: int, n_batches: Optional[int], steps: int
    ) -> None:
        self.cursor = Validating(plan, phase, epoch, n_batches, steps)

    def pred(self, pred: P, /) -> ValidPredicted[X, Y, P]:
        """Fires after_pred.

        Args:
            pred: What the model made of `xb`.

        Returns:
            The prediction as the callbacks left it, and the way to the loss.
        """
        self.cursor.predicted(pred)
        return self.cursor

    def turn(self, objective: Objective[X2, Y2, P2, M2], xb: X2, yb: Y2, /) -> ValidTurn[X2, Y2, P2]:
        """Gives an objective a turn in this batch: its own pred and loss, told to its own callbacks.

        Args:
            objective: One of the loop's.
            xb: Its inputs, which need not be the batch's.
            yb: Its targets.

        Returns:
            The way to the prediction.

        Raises:
            LoopError: The batch has ended, or the loop has no such objective.
        """
        return objective.valid_turn(self.cursor, xb, yb)


def check_loss(loss: object) -> None:
    """Refuses a loss that is no scalar tensor.

    Args:
        loss: What a loss function gave.

    Raises:
        BatchError: It is no tensor of no dimensions.
    """
    if isinstance(loss, Tensor) and not loss.dim():
        return
    what = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
    raise BatchError(f"the loss is {what}, and has to be a scalar tensor: reduce it, by .mean() say.")


def check_closure(opt: Steps) -> None:
    """Refuses an optimizer whose step wants a closure, as LBFGS's does.

    Args:
        opt: The optimizer.

    Raises:
        LoopError: It cannot step on gradients that are there.
    """
    of_class: Optional[Callable[..., object]] = getattr(type(opt), "step", None)
    if of_class is None:
        parameters = list(signature(opt.step).parameters.items())
    else:  # a scheduler of torch has put its own on the instance, which takes self once more
        parameters = list(signature(of_class).parameters.items())[1:]
    wants = [name for name, one in parameters if _is_needed(one)]
    if wants:
        raise LoopError(
            f"{type(opt).__name__}.step wants {', '.join(wants)}: it computes the loss of a batch several times in one "
            f"step, and callbacks hear of each batch once. Take an optimizer that steps on gradients, such as AdamW. "
            f"In a loop of your own step(...) also takes an object whose step() calls {type(opt).__name__}.step with a "
            f"closure of yours, of which callbacks hear nothing."
        )


def _is_needed(parameter: Parameter) -> bool:
    return parameter.default is Parameter.empty and parameter.kind not in (
        Parameter.VAR_POSITIONAL,
        Parameter.VAR_KEYWORD,
    )


def check_graph(loss: object, error: Exception) -> None:
    """Refuses a loss that backward could not begin at, in words that say why.

    Args:
        loss: The loss.
        error: What backward has raised.

    Raises:
        BatchError: It is no scalar tensor, or has no graph.
    """
    check_loss(loss)
    if isinstance(loss, Tensor) and not loss.requires_grad:
        raise BatchError(
            "the loss has no graph, so that no parameter can get a gradient from it: is every parameter frozen, does "
            "the model run under torch.no_grad(), or is the prediction detached, or argmaxed, before the loss?"
        ) from error


def detached(value: P) -> P:
    """The same value with every tensor in it detached from its graph.

    Args:
        value: A tensor, or whatever nests tensors in tuples, lists, dicts and the like.
    """
    alone: object = value
    if isinstance(alone, Tensor):  # the common case, without the walk
        return cast(P, alone.detach())
    return cast(P, pytree.tree_map_only(Tensor, torch.Tensor.detach, value))
