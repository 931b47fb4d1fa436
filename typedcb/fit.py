"""A fit under way and its epochs, as scopes: what is open in them is closed in any case."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Callable, Generic, Iterable, Iterator, Optional

from typing_extensions import Self, override

from . import hooks
from .batches import TrainBatch, ValidBatch
from .dispatch import Plan, fold, interrupted_twice, tell_all
from .ending import hear_sigterm
from .errors import LoopError
from .events import (
    AfterCancelTrain,
    AfterEpoch,
    AfterFit,
    BeginEpoch,
    BeginFit,
    Cancelled,
    Completed,
    Failed,
    FitOutcome,
    P,
    X,
    Y,
)
from .outcomes import CancelEpoch, CancelTrain
from .position import Position, Resumption
from .run import Run, raise_all

if TYPE_CHECKING:
    from .loop import Loop


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
        self._epochs: Optional[Iterator[EpochScope[X, Y, P]]] = None
        self._epoch: Optional[EpochScope[X, Y, P]] = None
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
        self._open = True
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
        self._end(None if isinstance(error, GeneratorExit) else error)  # a generator's body is left, as by a return

    def epochs(self) -> Iterator[EpochScope[X, Y, P]]:
        """The epochs: begin_epoch and after_epoch fire around each.

        Raises:
            LoopError: The fit has not been entered, has ended, or its epochs have been asked for before.
        """
        self._check_open("for epoch in fit.epochs()", "with loop.fit(...) as fit")
        if self._epochs is not None:
            raise LoopError("the epochs of a fit are gone over once: more of them are a fit of their own.")
        self._epochs = self._gone_over()
        return self._epochs

    def _gone_over(self) -> Iterator[EpochScope[X, Y, P]]:
        for epoch in range(self.start_epoch, self.n_epochs):
            if self._over():
                return
            begun_earlier = self._resume is not None
            if begun_earlier or self.begin_epoch(epoch):
                self._epoch = scope = EpochScope(self, epoch)
                yield scope
                self.end_epoch(epoch)
                self._epoch = None
        self._all_epochs_ran = not self._over()

    def check_epoch(self, epoch: EpochScope[X, Y, P]) -> None:
        """Refuses a pass over data in an epoch that has ended.

        Args:
            epoch: The epoch.

        Raises:
            LoopError: It has ended.
        """
        if not (self.cancelled and self._open):  # in what is left of a cancelled fit there is nothing to go over
            self._check_under_way(epoch.epoch)

    @override
    def _check_under_way(self, epoch: int) -> None:
        if self._epoch is None or self._epoch.epoch != epoch:
            raise LoopError(
                f"epoch {epoch} has ended: its passes over data belong inside the body of its loop, for epoch in "
                f"fit.epochs(). Of data without an end an epoch takes a part: epoch.train(islice(data, n)). A "
                f"validation after the fit is with loop.validation() as scope."
            )

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
            self._open, self._epoch = False, None
            if self._stop_hearing is not None:
                self._stop_hearing()
            self._loop.stop()
        raise_all(errors, error)

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
            LoopError: The epoch has ended.
        """
        self._fit.check_epoch(self)
        return self._fit.train_pass(dl, self.epoch)

    def validate(self, dl: Iterable[tuple[X, Y]]) -> Iterator[ValidBatch[X, Y, P]]:
        """A pass over the validation data, between begin_validate and after_validate.

        The model's `eval()` and `torch.no_grad()` are the caller's.

        Args:
            dl: The batches, each a pair of inputs and targets.

        Raises:
            BatchError: The loader gave no batch, or one that is no pair.
            LoopError: The epoch has ended.
        """
        self._fit.check_epoch(self)
        return self._fit.valid_pass(dl, self.epoch)
