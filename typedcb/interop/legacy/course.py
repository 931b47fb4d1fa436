"""Callbacks of lessons 05b and 09b of the fastai course: hooks without arguments, answers by Cancel exceptions."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Final, Mapping, Optional, Union

from typing_extensions import override

from ...cell import Cell, cell
from ...events import (
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
    BeginBatch,
    BeginEpoch,
    BeginFit,
    BeginValidate,
)
from ...learner import Learner
from ...outcomes import Cancel, CancelBatch, CancelEpoch, CancelTrain, InBatch, InEpoch, SkipStep, SkipZeroGrad
from .old import LegacyCallbacks, Old, OneOrMore, warn_of_misspelt
from .runner import (
    COURSE_HOOKS,
    Runner,
    batch_begins,
    batch_ends,
    bound,
    epoch_begins,
    fit_begins,
    name_them,
    warn_of_shadows,
)

_BY_NAME: Final[Mapping[str, type[InBatch]]] = {
    "CancelBatchException": CancelBatch,
    "CancelEpochException": CancelEpoch,
    "CancelTrainException": CancelTrain,
}

_SHADOWS: Final = ("xb", "yb", "pred", "loss")


@dataclass(frozen=True)
class CourseCallbacks(LegacyCallbacks):
    """Old callbacks of lessons 05b and 09b in a typed learner; `course` makes it."""

    run: Runner
    """What the old callbacks read through."""

    cancels: Mapping[type[BaseException], type[InBatch]] = field(
        default_factory=dict[type[BaseException], type[InBatch]]
    )
    """Which exceptions of theirs mean which Cancel, besides those that are known by name."""

    leaked: Cell[Optional[InBatch]] = cell(None, saved=False)
    """The Cancel of a batch whose gradients were kept, as the original did, until the batch has ended."""

    later: Cell[Optional[InEpoch]] = cell(None, saved=False)
    """A Cancel that came where a typed hook may answer none, until the next hook that may."""

    @override
    def begin_fit(self, event: BeginFit) -> Optional[CancelTrain]:
        """Asks the old callbacks."""
        fit_begins(self.run, event)
        return _train(self._tell("begin_fit", CancelTrain))

    @override
    def begin_epoch(self, event: BeginEpoch) -> Optional[InEpoch]:
        """Asks the old callbacks. A CancelEpoch leaves the epoch out; from the original it escaped."""
        epoch_begins(self.run, event)
        return _beyond_batch(self._tell("begin_epoch", CancelEpoch, CancelTrain))

    @override
    def begin_batch(self, event: BeginBatch[object, object]) -> Union[BeginBatch[object, object], InBatch]:
        """Asks the old callbacks, and takes what they put into `run.xb` and `run.yb`."""
        batch_begins(self.run, event)
        cancel = self._tell("begin_batch", CancelBatch, CancelEpoch, CancelTrain)
        if cancel is not None:
            return cancel
        if self.run.xb is event.xb and self.run.yb is event.yb:
            return event
        return event.with_batch(self.run.xb, self.run.yb)

    @override
    def after_pred(self, event: AfterPred[object, object, object]) -> Union[AfterPred[object, object, object], InBatch]:
        """Asks the old callbacks, and takes what they put into `run.pred`."""
        self.run.pred = event.pred
        cancel = self._tell("after_pred", CancelBatch, CancelEpoch, CancelTrain)
        if cancel is not None:
            return cancel
        return event if self.run.pred is event.pred else event.with_pred(self.run.pred)

    @override
    def after_loss(self, event: AfterLoss[object, object, object]) -> Union[AfterLoss[object, object, object], InBatch]:
        """Asks the old callbacks, and takes what they put into `run.loss`."""
        self.run.loss = event.loss  # typedcb: ignore[typedcb-graph-in-cell]  # its callbacks want it so
        cancel = self._tell("after_loss", CancelBatch, CancelEpoch, CancelTrain)
        if cancel is not None:
            return cancel
        return event if self.run.loss is event.loss else event.with_loss(self.run.loss)

    @override
    def after_backward(self, event: AfterBackward[object, object, object]) -> Optional[Union[SkipStep, CancelTrain]]:
        """Asks the old callbacks. As in the original, a cancelled batch's gradients are kept, with a warning."""
        self.run.pred, self.run.loss = event.pred, event.loss
        cancel = self._tell("after_backward", CancelBatch, CancelEpoch, CancelTrain)
        if cancel is None or isinstance(cancel, CancelTrain):
            return cancel
        self.leaked.value = cancel
        return SkipStep()

    @override
    def after_step(self, event: AfterStep[object, object, object]) -> Optional[Union[SkipZeroGrad, CancelTrain]]:
        """Asks the old callbacks. As in the original, a cancelled batch's gradients are kept, with a warning."""
        self.run.pred, self.run.loss = event.pred, event.loss
        cancel = self._tell("after_step", CancelBatch, CancelEpoch, CancelTrain)
        if cancel is None or isinstance(cancel, CancelTrain):
            return cancel
        self.leaked.value = cancel
        return SkipZeroGrad()

    @override
    def after_cancel_batch(self, event: AfterCancelBatch[object, object, object]) -> None:
        """Tells the old callbacks; a Cancel of theirs is answered when the batch ends."""
        self.later.value = _beyond_batch(self._tell("after_cancel_batch", CancelEpoch, CancelTrain))

    @override
    def after_batch(self, event: AfterBatch[object, object, object]) -> Optional[InEpoch]:
        """Asks the old callbacks, once those have been told of a cancel whose batch typedcb only skipped."""
        leaked, self.leaked.value = self.leaked.value, None
        cancel = None if isinstance(leaked, CancelBatch) else leaked
        if isinstance(leaked, CancelBatch):
            cancel = _beyond_batch(self._tell("after_cancel_batch", CancelEpoch, CancelTrain))
        batch_ends(self.run, event)
        told = _beyond_batch(self._tell("after_batch", CancelEpoch, CancelTrain))
        return told or cancel or self._late()

    @override
    def after_cancel_epoch(self, event: AfterCancelEpoch) -> None:
        """Tells the old callbacks; a Cancel of theirs is answered at the next hook that may."""
        self.later.value = _train(self._tell("after_cancel_epoch", CancelTrain))

    @override
    def begin_validate(self, event: BeginValidate) -> Optional[CancelTrain]:
        """Asks the old callbacks."""
        if late := _train(self._late()):
            return late
        self.run.in_train = False
        return _train(self._tell("begin_validate", CancelTrain))

    @override
    def after_epoch(self, event: AfterEpoch) -> Optional[CancelTrain]:
        """Asks the old callbacks."""
        return _train(self._late() or self._tell("after_epoch", CancelTrain))

    @override
    def after_cancel_train(self, event: AfterCancelTrain) -> None:
        """Tells the old callbacks."""
        self._tell("after_cancel_train")

    @override
    def after_fit(self, event: AfterFit) -> None:
        """Tells all old callbacks, whatever the others do; in the original one's error kept the rest from it."""
        self._raise(self._call_all(partial(self._ask, old, "after_fit") for old in self.callbacks))

    def _late(self) -> Optional[InEpoch]:
        cancel, self.later.value = self.later.value, None
        return cancel

    def _tell(self, hook: str, *legal: type[InBatch]) -> Optional[InBatch]:
        """Calls a hook of each old callback, until one cancels.

        Args:
            hook: The hook's name.
            *legal: What may be cancelled there; anything else goes on as the error that it is, as in the original.
        """
        for old in self.callbacks:
            try:
                self._ask(old, hook)
            except Exception as error:
                cancel = self._cancel_of(error)
                if not isinstance(cancel, legal):
                    _say_legal(error, cancel, hook, legal)
                    raise
                self._warn_of_cancel(old, hook, cancel)
                return cancel
        return None

    def _ask(self, old: Old, hook: str) -> None:
        """Calls one hook as the original did: by the callback's own `__call__`, where it has one."""
        answer: object = None
        if callable(old):
            answer = old(hook)
        elif (function := getattr(old, hook, None)) is not None:
            answer = function()
        warn_of_shadows(self, old, hook, _SHADOWS)
        if answer:
            self._warn(
                old,
                hook,
                f"returned {answer!r}, and lessons 05b and 09b ignore what a hook returns. If it is of lesson 04, give "
                f"it to runner04; else raise a Cancel exception to skip something.",
            )

    def _cancel_of(self, error: Exception) -> Optional[InBatch]:
        """Which Cancel an exception means; None where it means none."""
        if isinstance(error, (CancelBatch, CancelEpoch, CancelTrain)):
            return error
        for known, kind in self.cancels.items():
            if isinstance(error, known):
                return kind(str(error))
        for cls in type(error).__mro__:
            if cls.__name__ in _BY_NAME:
                return _BY_NAME[cls.__name__](str(error))
        return None

    def _warn_of_cancel(self, old: Old, hook: str, cancel: Cancel) -> None:
        """Warns where a Cancel did something else than it says, in the original."""
        if hook == "begin_epoch" and isinstance(cancel, CancelEpoch):
            self._warn(
                old,
                hook,
                "cancelled the epoch at its beginning: in the original that escaped from fit, here it leaves the epoch "
                "out, its validation and after_epoch included.",
            )
        if hook in ("after_backward", "after_step") and not isinstance(cancel, CancelTrain):
            self._warn(
                old,
                hook,
                f"raised {type(cancel).__name__} when the gradients were there: the original did not zero them, so "
                f"that the next step takes them too, and it is the same here. A typed callback says which is meant: "
                f"{'SkipStep()' if hook == 'after_backward' else 'SkipZeroGrad()'} keeps them, {type(cancel).__name__}"
                f"() drops them.",
            )


def course(
    learn: Learner[object, object, object],
    callbacks: OneOrMore,
    *,
    cancels: Optional[Mapping[type[BaseException], type[InBatch]]] = None,
) -> CourseCallbacks:
    """Runs callbacks of lessons 05b and 09b of the fastai course in a typed learner.

    Args:
        learn: The learner; `learn.add(course, [Old()])` and `cb_funcs=[partial(course, callbacks=Old())]` fill it in.
        callbacks: One old callback, or a list of them, which run in the order of their `_order`.
        cancels: Which exceptions of theirs mean which Cancel. CancelBatchException, CancelEpochException,
            CancelTrainException and classes derived of them are known by name.

    Returns:
        The typed callback that runs them.

    Raises:
        CallbackError: A class, or a typed callback, is among them.
    """
    run = Runner(learn)
    adapter = CourseCallbacks(learn, bound(callbacks, run), run, cancels=cancels or {})
    name_them(adapter, run)
    warn_of_misspelt(adapter, COURSE_HOOKS)
    return adapter


def _train(cancel: Optional[Cancel]) -> Optional[CancelTrain]:
    return cancel if isinstance(cancel, CancelTrain) else None


def _beyond_batch(cancel: Optional[Cancel]) -> Optional[InEpoch]:
    return cancel if isinstance(cancel, (CancelEpoch, CancelTrain)) else None


def _say_legal(error: Exception, cancel: Optional[Cancel], hook: str, legal: tuple[type[Cancel], ...]) -> None:
    """Notes on a Cancel that goes out as an error what would have been legal, once."""
    if cancel is not None:
        names = " or ".join(kind.__name__ for kind in legal) or "no Cancel"
        error.add_note(
            f"{type(error).__name__} escapes from {hook}, as it did in the original; legal there is {names}."
        )
