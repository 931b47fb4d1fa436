"""Callbacks of the Runner of lessons 04 and 05: hooks without arguments, and `return True` skips what comes next."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final, Optional, Union

from typing_extensions import override

from ...cell import Cell, cell
from ...events import (
    AfterBackward,
    AfterBatch,
    AfterCancelEpoch,
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
from ...outcomes import CancelBatch, CancelEpoch, CancelTrain, InBatch, SkipStep, SkipValidate, SkipZeroGrad
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

_SHADOWS: Final = ("xb", "yb", "pred", "loss", "stop")


@dataclass(frozen=True)
class Runner04Callbacks(LegacyCallbacks):
    """Old callbacks of the Runner of lesson 04 in a typed learner; `runner04` makes it."""

    run: Runner
    """What the old callbacks read through."""

    idle: Cell[bool] = cell(False, saved=False)
    """Whether this pass over the data is left out: the old callbacks hear nothing of the batch that ends it."""

    @override
    def begin_fit(self, event: BeginFit) -> Optional[CancelTrain]:
        """True ends the fit."""
        fit_begins(self.run, event)
        return CancelTrain("begin_fit returned True") if self._tell("begin_fit") else None

    @override
    def begin_epoch(self, event: BeginEpoch) -> None:
        """True, or `run.stop`, leaves the epoch's training out; its validation comes."""
        epoch_begins(self.run, event)
        skipped = self._tell("begin_epoch")
        self.idle.value = skipped or self.run.stop

    @override
    def begin_batch(self, event: BeginBatch[object, object]) -> Union[BeginBatch[object, object], InBatch]:
        """True leaves the batch out."""
        if self.idle.value:
            return CancelEpoch("left out by a callback of lesson 04")
        batch_begins(self.run, event)
        if self._tell("begin_batch"):
            return CancelBatch("begin_batch returned True")
        if self.run.xb is event.xb and self.run.yb is event.yb:
            return event
        return event.with_batch(self.run.xb, self.run.yb)

    @override
    def after_pred(self, event: AfterPred[object, object, object]) -> Union[AfterPred[object, object, object], InBatch]:
        """True ends the batch."""
        self.run.pred = event.pred
        if self._tell("after_pred"):
            return CancelBatch("after_pred returned True")
        return event if self.run.pred is event.pred else event.with_pred(self.run.pred)

    @override
    def after_loss(self, event: AfterLoss[object, object, object]) -> Union[AfterLoss[object, object, object], InBatch]:
        """True ends the batch."""
        self.run.loss = event.loss  # typedcb: ignore[typedcb-graph-in-cell]  # its callbacks want it so
        if self._tell("after_loss"):
            return CancelBatch("after_loss returned True")
        return event if self.run.loss is event.loss else event.with_loss(self.run.loss)

    @override
    def after_backward(self, event: AfterBackward[object, object, object]) -> Optional[SkipStep]:
        """True skips the step and, in this Runner, the zeroing of the gradients."""
        self.run.pred, self.run.loss = event.pred, event.loss
        return SkipStep() if self._tell("after_backward") else None

    @override
    def after_step(self, event: AfterStep[object, object, object]) -> Optional[SkipZeroGrad]:
        """True skips the zeroing of the gradients."""
        self.run.pred, self.run.loss = event.pred, event.loss
        return SkipZeroGrad() if self._tell("after_step") else None

    @override
    def after_batch(self, event: AfterBatch[object, object, object]) -> Optional[CancelEpoch]:
        """Tells the old callbacks, but not of a batch that one of them broke; `run.stop` ends this pass."""
        if self.idle.value or self.broken.value:
            return None
        batch_ends(self.run, event)
        self._tell("after_batch")
        if not self.run.stop:
            return None
        self.run.stop = False
        return CancelEpoch("run.stop")

    @override
    def after_cancel_epoch(self, event: AfterCancelEpoch) -> None:
        """The pass that was left out is over."""
        self.idle.value = self.run.stop = False

    @override
    def begin_validate(self, event: BeginValidate) -> Optional[SkipValidate]:
        """True, or `run.stop`, leaves validation out."""
        self.run.in_train = False
        skipped = self._tell("begin_validate")
        stopped, self.run.stop = self.run.stop, False
        return SkipValidate() if skipped or stopped else None

    @override
    def after_epoch(self, event: AfterEpoch) -> Optional[CancelTrain]:
        """True ends the fit."""
        return CancelTrain("after_epoch returned True") if self._tell("after_epoch") else None

    @override
    def after_fit(self, event: AfterFit) -> None:
        """Tells all old callbacks, whatever the others do; in the original one's error kept the rest from it."""
        self.broken.value = False
        self._raise(self._call_all(partial(self._ask, old, "after_fit") for old in self.callbacks))

    def _tell(self, hook: str) -> bool:
        """Calls a hook of each old callback, until one returns True: whether one did."""
        return any(self._ask(old, hook) for old in self.callbacks)

    def _ask(self, old: Old, hook: str) -> bool:
        function: Old = getattr(old, hook, None)
        answer = function is not None and bool(self._call(function))
        warn_of_shadows(self, old, hook, _SHADOWS)
        return answer


def runner04(learn: Learner[object, object, object], callbacks: OneOrMore) -> Runner04Callbacks:
    """Runs callbacks of the Runner of lessons 04 and 05 of the fastai course in a typed learner.

    Args:
        learn: The learner; `learn.add(runner04, [Old()])` and `cb_funcs=[partial(runner04, callbacks=Old())]` fill it
            in.
        callbacks: One old callback, or a list of them, which run in the order of their `_order`.

    Returns:
        The typed callback that runs them.

    Raises:
        CallbackError: A class, or a typed callback, is among them.
    """
    run = Runner(learn)
    adapter = Runner04Callbacks(learn, bound(callbacks, run), run)
    name_them(adapter, run)
    warn_of_misspelt(adapter, COURSE_HOOKS)
    return adapter
