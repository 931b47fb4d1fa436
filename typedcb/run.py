"""What a fit and a validation have in common: an open batch in an open pass over the data, and how they end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Iterable, Iterator, Optional, Sequence, TypeVar

import torch

from . import hooks
from .batches import TrainBatch, ValidBatch
from .cursor import Cursor
from .data import describe, length_of, release
from .dispatch import Plan, Skipped, fold, interrupted_twice
from .errors import LoopError, place
from .events import AfterCancelEpoch, AfterValidate, BeginValidate, P, X, Y
from .loading import check_count, check_stepped, checked, taken_up
from .outcomes import CancelEpoch, CancelTrain
from .position import Resumption
from .stages import BEGUN, ENDED, STEPPED

if TYPE_CHECKING:
    from .loop import Loop

B = TypeVar("B", "TrainBatch[Any, Any, Any]", "ValidBatch[Any, Any, Any]")  # Any: a constraint names no type variables


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
        self._open = False
        self._warned = False
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

    def _check_open(self, call: str, block: str) -> None:
        """Refuses what belongs inside a scope that has not been entered, or has been left."""
        if not self._open:
            raise LoopError(f"{call} belongs inside the block of {block}: it has not been entered, or has been left.")

    def _check_under_way(self, epoch: int) -> None:
        """Refuses a batch of a pass that was kept beyond its scope.

        Args:
            epoch: The pass's epoch.

        Raises:
            LoopError: The scope has been left.
        """
        self._check_open("a pass over data", "with loop.validation() as scope")

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
        return self._batches(TrainBatch(self.plan.train, "train", epoch, length_of(dl), self.steps), dl)

    def valid_pass(self, dl: Iterable[tuple[X, Y]], epoch: int) -> Iterator[ValidBatch[X, Y, P]]:
        """The validation batches of a loader, between begin_validate and after_validate."""
        self.close_pass()
        if self.cancelled:
            return
        self._check_under_way(epoch)
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
        return self._batches(ValidBatch(self.plan.valid, "valid", epoch, length_of(dl), self.steps), dl)

    def _batches(self, batch: B, dl: Iterable[tuple[X, Y]]) -> Iterator[B]:
        """Hands out the scope of one batch after the other; each batch ends when its body asks for the next."""
        cursor: Cursor[X, Y, P] = batch.cursor
        self._check_under_way(cursor.epoch)
        self.cursor = cursor
        cursor.objectives = self._loop.objectives
        begins, ends, unused, steps_before = bool(cursor.plan.begin_batch), True, False, cursor.steps
        resume, self._resume = self._resume, None
        first = 0 if resume is None else resume.position.done
        source: Optional[Iterator[tuple[X, Y]]] = None
        try:
            # What is done for each batch here and in the scopes is all that a loop costs when nobody listens: few
            # steps of the interpreter, each some 10 ns after the model has had the processor's caches to itself.
            cursor.index = first - 1
            engine = self._loop.engine
            engine.begin_pass()
            source = iter(dl) if resume is None else resume.batches(dl)
            batches = (checked if resume is None else taken_up)(source, cursor, engine)
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
                        unused = cursor.has_way_back
                        ends = bool(cursor.plan.after_batch or cursor.objectives)
                    by_others = cursor.stage == ENDED  # by another pass, or by the end of the epoch
                    self.close_batch()
                    if self._cancel is not None or self._cut_short is cursor:
                        return
                    if by_others:
                        self._check_under_way(cursor.epoch)
                    cursor.steps, self.cursor = self.steps, cursor  # a pass in the body may have taken its place
            cursor.stage = ENDED
            if resume is None:
                check_count(cursor)
                self._check_stepped(cursor, steps_before, unused=unused)
        except BaseException as error:
            self._left(error, source, cursor)
            raise

    def _check_stepped(self, cursor: Cursor[X, Y, P], steps_before: int, *, unused: bool) -> None:
        """Warns of a training pass without a step, once."""
        if not self._warned:
            self._warned = check_stepped(cursor, steps_before, unused=unused)

    @staticmethod  # and no function of the module, which the interpreter forgets before it ends a loop that is left
    def _left(error: BaseException, source: Optional[Iterator[object]], cursor: Cursor[X, Y, P]) -> None:
        """Lets go of the data of a pass that an error has ended, and says in the error where that was."""
        if not isinstance(error, GeneratorExit):  # that is a break in the body: whatever comes next ends the batch
            release(source)
            place(error, _between(cursor))

    def _resumes_validation(self) -> bool:
        """Whether the fit is taken up in a validation that has not been reached yet."""
        return self._resume is not None and self._resume.position.phase == "valid"

    def close_pass(self) -> None:
        """Ends what a `break` left open: the batch, and the validation that it stood in."""
        self.close_batch()
        epoch, self._validating = self._validating, None
        if epoch is not None and self.plan.after_validate and not self.cancelled:
            self.note(fold(hooks.AFTER_VALIDATE, self.plan.after_validate, AfterValidate(epoch)))

    def close_batch(self) -> bool:
        """Ends the batch that is open, if one is: after_cancel_batch, after_batch and after_cancel_epoch fire.

        Returns:
            Whether a callback has ended more than the batch.
        """
        cursor = self.cursor
        if cursor is None or cursor.stage == ENDED:
            return False
        for objective in cursor.objectives:
            objective.end_turn()
        cancel = cursor.close()
        if cancel is None:
            return False
        if isinstance(cancel, CancelEpoch):
            self._cut_short = cursor
            self.tell_cancel_epoch(cursor.epoch, cancel)
        self.note(cancel)
        return True

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


def _between(cursor: Cursor[X, Y, P]) -> str:
    """Where the loader is asked for a batch, in words."""
    moment = "before the first batch" if cursor.index < 0 else f"after batch {cursor.index}"
    return f"in loading batches, epoch {cursor.epoch}, {cursor.phase}, {moment}"


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; torch says so of the CPU's in a plain RuntimeError."""
    known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    return known or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))


def raise_all(errors: list[BaseException], error: Optional[BaseException]) -> None:
    """Raises what went wrong: one error as itself, several together; `error` alone is on its way already.

    A second Ctrl-C is raised as itself, whatever else went wrong.
    """
    if interrupted_twice(errors):
        raise errors[-1]
    if len(errors) > 1:
        raise BaseExceptionGroup("the fit failed, and so did what was to end it", errors) from None
    if errors and errors[0] is not error:
        raise errors[0]
