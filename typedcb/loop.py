"""A training loop as types: each scope hands out the next one, and fires the events on the way.

    loop = Loop[Tensor, Tensor, Tensor]([stats, smooth])
    with loop.fit(n_epochs=3) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(train_dl):
                out = batch.pred(model(batch.xb))
                out.loss(F.cross_entropy(out.pred, out.yb)).backward().step(opt)
            with torch.no_grad():
                for batch in epoch.validate(valid_dl):
                    out = batch.pred(model(batch.xb))
                    out.loss(F.cross_entropy(out.pred, out.yb))

The loop knows no model: `train()` and `eval()`, `no_grad` and devices are its body's. A Cancel ends the `for` that it
is for, and needs nothing of the body. What ends a body early (`break`, an error) is noticed when the loop is next
asked for something, at the latest when the `with` ends: `after_batch` and `after_fit` come in any case.
"""

from __future__ import annotations

import threading
import warnings
from contextlib import AbstractContextManager
from itertools import chain
from types import TracebackType
from typing import Any, Callable, Final, Generic, Iterable, Iterator, Optional, Sequence, Sized, TypeVar, cast

import attrs
import torch
from typing_extensions import Self

from . import hooks
from .attach import Attached, Group
from .batches import TrainBatch, ValidBatch
from .callback import Callback
from .cursor import Cursor
from .data import describe, release
from .dispatch import Plan, Skipped, fold, interrupted_twice, tell_all
from .ending import hear_sigterm
from .engine import Engine, engine_of
from .errors import BatchError, BatchWarning, EngineError, LoopError, place
from .events import (
    AfterCancelEpoch,
    AfterCancelTrain,
    AfterEpoch,
    AfterFit,
    AfterValidate,
    BeginEpoch,
    BeginFit,
    BeginValidate,
    Cancelled,
    Completed,
    Failed,
    FitOutcome,
    P,
    Phase,
    X,
    Y,
)
from .outcomes import CancelEpoch, CancelTrain
from .ranks import over
from .stages import BEGUN, ENDED, STEPPED

B = TypeVar("B", "TrainBatch[Any, Any, Any]", "ValidBatch[Any, Any, Any]")  # Any: a constraint names no type variables

_STARTING: Final = threading.Lock()
"""Held while a loop is marked as running, so that of two threads one is refused."""


@attrs.frozen
class Position:
    """How far a fit has come, between two batches or two epochs."""

    epoch: int
    """The epoch that is under way, or the next one, from 0."""

    phase: Optional[Phase] = None
    """The pass over the data that is under way; None when the epoch is still to begin."""

    done: int = 0
    """How many batches of that pass are over."""

    steps: int = 0
    """How many training batches of the fit have been stepped on."""

    objective_steps: tuple[int, ...] = ()
    """How many steps each of the loop's objectives has taken, in their order."""

    @property
    def all_steps(self) -> int:
        """How many steps all optimizers have taken together: `steps`, and those of the objectives."""
        return self.steps + sum(self.objective_steps)


@attrs.frozen
class Resumption:
    """A fit that is taken up where another one was left."""

    position: Position
    """Where that was."""

    restore: Callable[[], None]
    """Called after begin_fit's hooks: gives everything the state that it had."""

    rewind: Callable[[], int]
    """Called before the interrupted pass takes its loader up; says how many batches to throw away."""

    settle: Callable[[], None]
    """Called after they have been thrown away: gives everything that drew from them the state that it had."""


class Loop(Generic[X, Y, P]):
    """The callbacks of a loop of one's own."""

    def __init__(
        self,
        callbacks: Sequence[Callback[X, Y, P]] = (),
        *,
        objectives: Sequence[Group] = (),
        engine: Optional[Engine] = None,
    ) -> None:
        """Attaches the callbacks.

        Args:
            callbacks: Instances, in any order that suits: what a callback depends on runs before it.
            objectives: What is trained by turns within a batch, each an `Objective` with callbacks of its own.
            engine: The processes that it runs in; one by default.

        Raises:
            CallbackError: One is no callback instance, not frozen, or attached already.
            DependencyError: What one depends on is missing, or there is a circle.
            EngineError: There are objectives, and several processes.
        """
        self._engine = engine_of(engine)
        self._over: Optional[AbstractContextManager[None]] = None
        if objectives and self._engine.world_size > 1:
            raise EngineError(
                "objectives train in one process alone: DistributedDataParallel cannot compute the gradients of one "
                "objective's parameters alone, as a turn does."
            )
        self._attached: Attached[X, Y, P] = Attached("this loop", objectives, callbacks)
        self._running = False
        self._fit: Optional[FitScope[X, Y, P]] = None

    @property
    def engine(self) -> Engine:
        """The processes that it runs in."""
        return self._engine

    @property
    def cbs(self) -> tuple[Callback[X, Y, P], ...]:
        """The callbacks in the order in which they run."""
        return self._attached.callbacks

    @property
    def objectives(self) -> tuple[Group, ...]:
        """What has turns of its own in the batches."""
        return self._attached.groups

    @property
    def running(self) -> bool:
        """Whether a fit or a validation is under way."""
        return self._running

    @property
    def position(self) -> Optional[Position]:
        """How far the fit has come that is under way, counting what has begun of a batch; None where there is none."""
        return None if self._fit is None else self._fit.position

    def add(self, *callbacks: Callback[X, Y, P]) -> None:
        """Attaches callbacks, all of them or none.

        Args:
            callbacks: Instances that are attached nowhere.

        Raises:
            CallbackError: One is no callback instance, not frozen, or attached already.
            DependencyError: What one depends on is missing, or there is a circle.
            LoopError: A fit is under way.
        """
        self._check_idle("callbacks are added before a fit, or for one fit by fit(cbs=...)")
        self._attached.add(callbacks)

    def remove(self, *callbacks: Callback[X, Y, P]) -> None:
        """Detaches callbacks, all of them or none.

        Args:
            callbacks: Instances that are attached to this loop.

        Raises:
            CallbackError: One is not attached to this loop.
            DependencyError: Another callback depends on one of them.
            LoopError: A fit is under way.
        """
        self._check_idle("callbacks are removed before or after a fit")
        self._attached.remove(callbacks)

    def fit(self, n_epochs: int, *, start_epoch: int = 0, resume: Optional[Resumption] = None) -> FitScope[X, Y, P]:
        """A fit, as a context manager: begin_fit fires as it is entered, after_fit as it is left, in whatever way.

        Args:
            n_epochs: How many epochs the fit is to reach, counted from 0.
            start_epoch: The first epoch that runs.
            resume: Where an earlier fit was left; this one goes on from there, whatever `start_epoch` is.

        Raises:
            ValueError: There is no such range of epochs.
        """
        if resume is not None:
            start_epoch = resume.position.epoch
        if not 0 <= start_epoch <= n_epochs:
            raise ValueError(
                f"n_epochs={n_epochs}, start_epoch={start_epoch}: a fit runs the epochs from start_epoch up to "
                f"n_epochs, so 0 <= start_epoch <= n_epochs."
            )
        return FitScope(self, n_epochs, start_epoch, resume)

    def validation(self, epoch: int = 0) -> ValidationScope[X, Y, P]:
        """A validation outside of any fit, as a context manager: neither begin_fit nor after_fit fires.

        Args:
            epoch: The number that its events carry.
        """
        return ValidationScope(self, epoch)

    def start(self, fit: Optional[FitScope[X, Y, P]] = None) -> Plan[X, Y, P]:
        """Marks the loop as running, and hands out the plan; the loop's own scopes use it.

        Args:
            fit: The fit that begins, where it is one.

        Raises:
            LoopError: It is running already.
        """
        with _STARTING:
            self._check_idle("a fit inside a fit would share its callbacks' state")
            plan = self._engine.planned(self._attached.plan, self._attached.callbacks)
        self._over = over(self._engine)
        self._over.__enter__()
        self._running = True
        self._fit = fit
        return plan

    def stop(self) -> None:
        """Marks the loop as idle."""
        if self._over is not None:
            self._over.__exit__(None, None, None)
        self._over = None
        self._running = False
        self._fit = None

    def _check_idle(self, why: str) -> None:
        if self._running:
            raise LoopError(f"a fit is under way on this loop: {why}.")


class Run(Generic[X, Y, P]):
    """What a fit and a validation have in common: an open batch, and how it ends."""

    cursor: Optional[Cursor[X, Y, P]]
    """Where the latest pass over the data is."""

    plan: Plan[X, Y, P]
    """Whom to call at each event; there once the scope is entered."""

    def __init__(self, loop: Loop[X, Y, P]) -> None:
        self.cursor = None
        self._validating: Optional[int] = None
        self._cut_short: Optional[Cursor[X, Y, P]] = None
        self._resume: Optional[Resumption] = None
        self._steps_before = 0
        self._loop = loop
        self._cancel: Optional[CancelTrain] = None

    @property
    def cancelled(self) -> bool:
        """Whether a callback has cancelled all of it: nothing more happens in it."""
        return self._cancel is not None

    @property
    def steps(self) -> int:
        """How many training batches have been stepped on."""
        return self._steps_before if self.cursor is None else self.cursor.steps

    def restart_objectives(self, steps: Sequence[int] = ()) -> None:
        """Has the loop's objectives begin afresh, or with the steps that they have taken in an earlier fit."""
        objectives = self._loop.objectives
        for objective, taken in zip(objectives, steps or (0,) * len(objectives), strict=True):
            objective.restart(taken)

    def note(self, answer: object) -> bool:
        """Takes note of a CancelTrain among the answers to an event: whether it was one."""
        if isinstance(answer, CancelTrain) and self._cancel is None:
            self._cancel = answer
        return isinstance(answer, CancelTrain)

    def train_pass(self, dl: Iterable[tuple[X, Y]], epoch: int) -> Iterator[TrainBatch[X, Y, P]]:
        """The training batches of a loader."""
        self.close_pass()
        if self._cancel is not None or self._resumes_validation():
            return iter(())
        return self._batches(TrainBatch(self.plan.train, "train", epoch, _count(dl), self.steps), dl)

    def valid_pass(self, dl: Iterable[tuple[X, Y]], epoch: int) -> Iterator[ValidBatch[X, Y, P]]:
        """The validation batches of a loader, between begin_validate and after_validate."""
        self.close_pass()
        if self.cancelled:
            return
        if self._resumes_validation() or self.begin_validation(epoch):
            self._validating = epoch
            yield from self.valid_batches(dl, epoch)
            self.close_pass()

    def begin_validation(self, epoch: int) -> bool:
        """Fires begin_validate: whether the validation is to run."""
        if not self.plan.begin_validate:
            return True
        answer = fold(hooks.BEGIN_VALIDATE, self.plan.begin_validate, BeginValidate(epoch))
        return not self.note(answer) and not isinstance(answer, Skipped)

    def valid_batches(self, dl: Iterable[tuple[X, Y]], epoch: int) -> Iterator[ValidBatch[X, Y, P]]:
        """The validation batches of a loader, and no event around them."""
        return self._batches(ValidBatch(self.plan.valid, "valid", epoch, _count(dl), self.steps), dl)

    def _batches(self, batch: B, dl: Iterable[tuple[X, Y]]) -> Iterator[B]:
        cursor: Cursor[X, Y, P] = batch.cursor
        self.cursor = cursor
        cursor.index = -1
        cursor.objectives = self._loop.objectives
        begins, ends = bool(cursor.plan.begin_batch), True
        resume = self._resume
        first = 0 if resume is None else resume.position.done
        source: Optional[Iterator[tuple[X, Y]]] = None
        try:
            # What is done for each batch here and in the scopes is all that a loop costs when nobody listens: few
            # steps of the interpreter, each some 10 ns after the model has had the processor's caches to itself.
            source = iter(dl) if resume is None else self._taken_up(dl, cursor, resume)
            batches = _checked(source, cursor) if resume is None else source
            for cursor.index, (cursor.xb, cursor.yb) in enumerate(batches, first):
                cursor.stage = BEGUN
                if begins:
                    cursor.begin()
                batch.xb = cursor.xb
                batch.yb = cursor.yb
                if not cursor.cancelled:
                    yield batch
                if ends or cursor.stage != STEPPED:
                    if not cursor.index:  # what a loss function gives does not change its shape from batch to batch
                        cursor.check_first_loss()
                        ends = bool(cursor.plan.after_batch or cursor.objectives)
                    self.close_batch()
                    if self._cancel is not None or self._cut_short is cursor:
                        return
                    cursor.steps, self.cursor = self.steps, cursor  # a pass in the body may have taken its place
            cursor.stage = ENDED
            if resume is None:
                _check_count(cursor)
        except GeneratorExit:  # the body was left by a break; whatever comes next ends the batch
            raise
        except BaseException as error:
            release(source)
            moment = "before the first batch" if cursor.index < 0 else f"after batch {cursor.index}"
            place(error, f"in loading batches, epoch {cursor.epoch}, {cursor.phase}, {moment}")
            raise

    def _resumes_validation(self) -> bool:
        """Whether the fit is taken up in a validation that has not been reached yet."""
        return self._resume is not None and self._resume.position.phase == "valid"

    def _taken_up(
        self, dl: Iterable[tuple[X, Y]], cursor: Cursor[X, Y, P], resume: Resumption
    ) -> Iterator[tuple[X, Y]]:
        """The batches of the interrupted pass that are still to come."""
        self._resume = None
        cursor.index = resume.position.done - 1
        thrown_away = resume.rewind()
        batches = iter(dl)
        for index in range(thrown_away):
            if next(batches, None) is None:
                raise BatchError(
                    f"the loader gave {index} batches, and {thrown_away} of them were over when the fit was left: a "
                    f"fit is taken up on the data that it had."
                )
        resume.settle()
        return batches

    def close_pass(self) -> None:
        """Ends what a `break` left open: the batch, and the validation that it stood in."""
        self.close_batch()
        epoch, self._validating = self._validating, None
        if epoch is not None and self.plan.after_validate and not self.cancelled:
            self.note(fold(hooks.AFTER_VALIDATE, self.plan.after_validate, AfterValidate(epoch)))

    def close_batch(self) -> None:
        """Ends the batch that is open, if one is: after_cancel_batch, after_batch and after_cancel_epoch fire."""
        cursor = self.cursor
        if cursor is None or cursor.stage == ENDED:
            return
        for objective in cursor.objectives:
            objective.end_turn()
        cancel = cursor.close()
        if isinstance(cancel, CancelEpoch):
            self._cut_short = cursor
            self.tell_cancel_epoch(cursor.epoch, cancel)
        self.note(cancel)

    def tell_cancel_epoch(self, epoch: int, cancel: CancelEpoch) -> None:
        """Fires after_cancel_epoch."""
        if self.plan.after_cancel_epoch:
            fold(hooks.AFTER_CANCEL_EPOCH, self.plan.after_cancel_epoch, AfterCancelEpoch(epoch, cancel))

    def _late(self) -> tuple[BaseException, ...]:
        """What else went wrong in after_batch, in the callbacks behind the one that failed."""
        return () if self.cursor is None else self.cursor.late

    def _tell(self, errors: list[BaseException]) -> None:
        """Tells the other ranks of the first error; it is another one where it comes of theirs."""
        if errors:
            errors[0] = self._loop.engine.failed(errors[0])

    def _end_batch(self, error: Optional[BaseException]) -> list[BaseException]:
        """Ends the batch that is open as the scope is left, and returns what went wrong in that, `error` first."""
        if error is None:
            try:
                self.close_pass()
            except BaseException as new:  # noqa: BLE001  # raised together with what else goes wrong, in the end
                return [new, *self._late()]
            return []
        cursor = self.cursor
        if cursor is None or cursor.stage == ENDED:
            return [error, *self._late()]
        place(error, f"in {cursor.place}")
        if _is_out_of_memory(error):
            error.add_note(f"typedcb: the batch was xb = {describe(cursor.xb)}, yb = {describe(cursor.yb)}")
        failed = [new for objective in cursor.objectives for new in objective.fail_turn(error)]
        return [error, *failed, *cursor.fail(error)]


class FitScope(Run[X, Y, P]):
    """A fit under way; `Loop.fit` makes it.

    Args:
        loop: The loop that it is a fit of.
        n_epochs: How many epochs the fit is to reach, counted from 0.
        start_epoch: The first epoch that runs.
        resume: Where an earlier fit was left.
    """

    n_epochs: int
    """How many epochs the fit is to reach."""

    start_epoch: int
    """The first epoch that runs."""

    plan: Plan[X, Y, P]
    """Whom to call at each event; there once the scope is entered."""

    def __init__(
        self, loop: Loop[X, Y, P], n_epochs: int, start_epoch: int, resume: Optional[Resumption] = None
    ) -> None:
        super().__init__(loop)
        self.n_epochs = n_epochs
        self.start_epoch = start_epoch
        self._resume = resume
        self._steps_before = 0 if resume is None else resume.position.steps
        self._next_epoch = start_epoch
        self._restored = resume is None
        self._all_epochs_ran = False
        self._stop_hearing: Optional[Callable[[], None]] = None
        self._outcome: Optional[FitOutcome] = None

    @property
    def outcome(self) -> FitOutcome:
        """How the fit ended.

        Raises:
            LoopError: It has not ended.
        """
        if self._outcome is None:
            raise LoopError("the fit has not ended: its outcome is there after the with block.")
        return self._outcome

    def __enter__(self) -> Self:
        if self._outcome is not None:
            raise LoopError("this fit has ended: a new one is a new call of loop.fit.")
        self.plan = self._loop.start(self)
        self.restart_objectives(() if self._resume is None else self._resume.position.objective_steps)
        try:
            self._stop_hearing = hear_sigterm()
            for state in self.plan.reset_with_fit:
                state.restart()
            if self.plan.begin_fit:
                self.note(fold(hooks.BEGIN_FIT, self.plan.begin_fit, BeginFit(self.n_epochs, self.start_epoch)))
            if self._resume is not None and not self._over():
                self._take_up(self._resume)
            return self
        except BaseException as error:
            self._end(error)
            raise

    @property
    def position(self) -> Optional[Position]:
        """How far it has come; a batch that has begun counts as over. None before an earlier fit's state is there."""
        if not self._restored:
            return None
        if self._resume is not None:  # nothing has been gone on with so far
            return self._resume.position
        cursor = self.cursor
        taken = tuple(objective.steps for objective in self._loop.objectives)
        if cursor is None or cursor.epoch < self._next_epoch:
            return Position(self._next_epoch, steps=self.steps, objective_steps=taken)
        return Position(cursor.epoch, cursor.phase, cursor.index + 1, cursor.steps, taken)

    def _take_up(self, resume: Resumption) -> None:
        resume.restore()
        self._restored = True
        if resume.position.phase is None:
            self._resume = None  # an epoch begins, as it does in any fit

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._end(error)

    def epochs(self) -> Iterator[EpochScope[X, Y, P]]:
        """The epochs: begin_epoch and after_epoch fire around each."""
        for epoch in range(self.start_epoch, self.n_epochs):
            if self._over():
                return
            begun_earlier = self._resume is not None
            if begun_earlier or self.begin_epoch(epoch):
                yield EpochScope(self, epoch)
                self.end_epoch(epoch)
        self._all_epochs_ran = not self._over()

    def begin_epoch(self, epoch: int) -> bool:
        """Resets the cells that are for an epoch, and fires begin_epoch: whether the epoch is to run."""
        for state in self.plan.reset_with_epoch:
            state.restart()
        if self.plan.begin_epoch:
            answer = fold(hooks.BEGIN_EPOCH, self.plan.begin_epoch, BeginEpoch(epoch, self.n_epochs))
            if isinstance(answer, CancelEpoch):
                self.tell_cancel_epoch(epoch, answer)
                return False
            self.note(answer)
        return not self._over()

    def end_epoch(self, epoch: int) -> None:
        """Ends what is open in an epoch, and fires after_epoch."""
        self.close_pass()
        if not self._over():
            self._next_epoch = epoch + 1
            if self.plan.after_epoch:
                self.note(fold(hooks.AFTER_EPOCH, self.plan.after_epoch, AfterEpoch(epoch, self.n_epochs)))

    def _over(self) -> bool:
        return self._cancel is not None

    def _end(self, error: Optional[BaseException]) -> None:
        """Ends what is open, fires after_cancel_train and after_fit, and raises what went wrong on the way."""
        try:
            errors = self._end_batch(error)
            self._tell(errors)
            outcome = self._outcome_of(errors)
            if isinstance(outcome, Cancelled) and self.plan.after_cancel_train:
                told = AfterCancelTrain(outcome.cancel)
                errors += tell_all(hooks.AFTER_CANCEL_TRAIN, self.plan.after_cancel_train, told)
                outcome = self._outcome_of(errors)
            self._outcome = outcome
            if self.plan.after_fit and not interrupted_twice(errors):
                errors += tell_all(hooks.AFTER_FIT, self.plan.after_fit, AfterFit(outcome), errors)
            self._tell(errors)
            self._outcome = self._outcome_of(errors)
        finally:
            if self._stop_hearing is not None:
                self._stop_hearing()
            self._loop.stop()
        _raise(errors, error)

    def _outcome_of(self, errors: list[BaseException]) -> FitOutcome:
        if errors:
            return Failed(errors[0])
        if self._cancel is None and not self._all_epochs_ran:
            self._cancel = CancelTrain("the loop over the epochs was left before its end")
        return Completed() if self._cancel is None else Cancelled(self._cancel)


class EpochScope(Generic[X, Y, P]):
    """An epoch under way; `FitScope.epochs` makes it."""

    __slots__ = ("_fit", "epoch")

    epoch: int
    """The epoch's number, from 0."""

    def __init__(self, fit: FitScope[X, Y, P], epoch: int) -> None:
        self._fit = fit
        self.epoch = epoch

    def train(self, dl: Iterable[tuple[X, Y]]) -> Iterator[TrainBatch[X, Y, P]]:
        """A pass over the training data: begin_batch has fired for each batch, after_batch fires when its body ends.

        Args:
            dl: The batches, each a pair of inputs and targets.

        Raises:
            BatchError: The loader gave no batch, or one that is no pair.
        """
        return self._fit.train_pass(dl, self.epoch)

    def validate(self, dl: Iterable[tuple[X, Y]]) -> Iterator[ValidBatch[X, Y, P]]:
        """A pass over the validation data, between begin_validate and after_validate.

        The model's `eval()` and `torch.no_grad()` are the caller's.

        Args:
            dl: The batches, each a pair of inputs and targets.

        Raises:
            BatchError: The loader gave no batch, or one that is no pair.
        """
        return self._fit.valid_pass(dl, self.epoch)


class ValidationScope(Run[X, Y, P]):
    """A validation outside of any fit; `Loop.validation` makes it.

    Args:
        loop: The loop whose callbacks are called.
        epoch: The number that the events carry.
    """

    epoch: int
    """The number that the events carry."""

    plan: Plan[X, Y, P]
    """Whom to call at each event; there once the scope is entered."""

    def __init__(self, loop: Loop[X, Y, P], epoch: int) -> None:
        super().__init__(loop)
        self.epoch = epoch

    def __enter__(self) -> Self:
        self.plan = self._loop.start()
        self.restart_objectives()
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        try:
            errors = self._end_batch(error)
            self._tell(errors)
        finally:
            self._loop.stop()
        _raise(errors, error)

    def validate(self, dl: Iterable[tuple[X, Y]]) -> Iterator[ValidBatch[X, Y, P]]:
        """A pass over the validation data, between begin_validate and after_validate.

        Args:
            dl: The batches, each a pair of inputs and targets.

        Raises:
            BatchError: The loader gave no batch, or one that is no pair.
        """
        return self.valid_pass(dl, self.epoch)

    def predict(self, dl: Iterable[tuple[X, Y]]) -> Iterator[ValidBatch[X, Y, P]]:
        """The same batches without begin_validate and after_validate, for a body that only asks for predictions.

        Args:
            dl: The batches, each a pair of inputs and targets.

        Raises:
            BatchError: The loader gave no batch, or one that is no pair.
        """
        return self.valid_batches(dl, self.epoch)


def _checked(batches: Iterator[tuple[X, Y]], cursor: Cursor[X, Y, P]) -> Iterator[tuple[X, Y]]:
    """The same batches, the first of them checked: what a loader gives does not change its kind from batch to batch."""
    for first in batches:
        _check_pair(first)
        return chain((first,), batches)
    if cursor.epoch:
        hint = "was it a generator, which can be run through only once? Pass a DataLoader or a list."
    else:
        hint = "is the data set smaller than a batch, with drop_last=True?"
    raise BatchError(f"the loader gave no batch in the {cursor.phase} pass of epoch {cursor.epoch}: {hint}")


def _check_count(cursor: Cursor[X, Y, P]) -> None:
    """Warns of a loader that has not given as many batches as it said."""
    told, given = cursor.n_batches, cursor.index + 1
    if told is not None and told != given:
        warnings.warn(
            f"the loader has a length of {told}, and gave {given} batches in the {cursor.phase} pass of epoch "
            f"{cursor.epoch}: what goes by its length, such as a schedule, was wrong. Mend its __len__.",
            BatchWarning,
            stacklevel=3,
        )


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; torch says so of the CPU's in a plain RuntimeError."""
    known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    return known or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))


def _count(items: object) -> Optional[int]:
    """How many items something has; None where it does not know."""
    try:
        return len(cast(Sized, items))  # to ask whether it is Sized would take 4 µs, in each epoch
    except TypeError:
        return None


def _check_pair(batch: object) -> None:
    """Refuses a batch that is no pair; a DataLoader makes pairs as lists."""
    size = _count(batch)
    if size == 2 and isinstance(batch, (tuple, list)):
        return
    what = f"a {type(batch).__name__}" + ("" if size is None else f" of {size}")
    raise BatchError(
        f"the loader gave {what}, and a batch is a pair (xb, yb): put several inputs into a tuple or dict of their "
        f"own, as xb."
    )


def _raise(errors: list[BaseException], error: Optional[BaseException]) -> None:
    """Raises what went wrong: one error as itself, several together; `error` alone is on its way already.

    A second Ctrl-C is raised as itself, whatever else went wrong.
    """
    if interrupted_twice(errors):
        raise errors[-1]
    if len(errors) > 1:
        raise BaseExceptionGroup("the fit failed, and so did what was to end it", errors) from None
    if errors and errors[0] is not error:
        raise errors[0]
