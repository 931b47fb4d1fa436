"""Callbacks of the CallbackHandler of lesson 04: hooks with arguments, and `return False` means don't."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final, Optional, Union

from typing_extensions import override

from ...cell import Cell, cell
from ...events import (
    AfterBackward,
    AfterBatch,
    AfterEpoch,
    AfterFit,
    AfterLoss,
    AfterStep,
    BeginBatch,
    BeginEpoch,
    BeginFit,
    BeginValidate,
    Failed,
)
from ...learner import Learner
from ...outcomes import (
    CancelBatch,
    CancelEpoch,
    CancelTrain,
    InBatch,
    SkipBackward,
    SkipStep,
    SkipValidate,
    SkipZeroGrad,
)
from .old import LegacyCallbacks, Old, OneOrMore, instances, warn_of_misspelt
from .standin import StandIn

HANDLER_HOOKS: Final = (
    "begin_fit",
    "begin_epoch",
    "begin_batch",
    "after_loss",
    "after_backward",
    "after_step",
    "begin_validate",
    "after_epoch",
    "after_fit",
)
"""The hooks that the handler calls."""


class LearnerOf04(StandIn):
    """What old callbacks of the handler get as `learn`."""

    stop: bool
    """Ends the pass over the data that is under way; it is cleared when it is read, after each batch and epoch."""

    def __init__(self, learn: Learner[object, object, object]) -> None:
        super().__init__("learner", learn, "model", "data", "loss_func", "opt", "device")
        self.stop = False


@dataclass(frozen=True)
class HandlerCallbacks(LegacyCallbacks):
    """Old callbacks of the handler of lesson 04 in a typed learner; `handler04` makes it."""

    run: LearnerOf04
    """What the old callbacks get as `learn`."""

    refused: Cell[bool] = cell(False, saved=False)
    """Whether begin_fit was answered False: after_fit does not come then."""

    unstepped: Cell[bool] = cell(False, saved=False)
    """Whether the step of this batch is skipped, which the old after_step still has to be told of."""

    idle: Cell[bool] = cell(False, saved=False)
    """Whether the latest epoch was left out."""

    @override
    def begin_fit(self, event: BeginFit) -> Optional[CancelTrain]:
        """False ends the fit, without after_fit."""
        self.run.stop = False
        self.idle.value = event.n_epochs == event.start_epoch
        self.refused.value = not self._tell("begin_fit", self.run)
        return CancelTrain("begin_fit returned False") if self.refused.value else None

    @override
    def begin_epoch(self, event: BeginEpoch) -> Optional[CancelEpoch]:
        """False leaves the epoch out, its validation and after_epoch included."""
        self.idle.value = not self._tell("begin_epoch", event.epoch)
        return CancelEpoch("begin_epoch returned False") if self.idle.value else None

    @override
    def begin_batch(self, event: BeginBatch[object, object]) -> Optional[CancelBatch]:
        """False leaves the batch out."""
        go_on = self._tell("begin_batch", event.xb, event.yb)
        return None if go_on else CancelBatch("begin_batch returned False")

    @override
    def after_loss(self, event: AfterLoss[object, object, object]) -> Optional[Union[SkipBackward, InBatch]]:
        """False ends the batch. As in the original, nobody is told of a validation loss."""
        if event.phase == "valid":
            return None
        return None if self._tell("after_loss", event.loss) else SkipBackward()

    @override
    def after_backward(self, event: AfterBackward[object, object, object]) -> Optional[SkipStep]:
        """False skips the step alone: after_step is called all the same, and the gradients are zeroed."""
        self.unstepped.value = not self._tell("after_backward")
        return SkipStep() if self.unstepped.value else None

    @override
    def after_step(self, event: AfterStep[object, object, object]) -> Optional[SkipZeroGrad]:
        """False skips the zeroing of the gradients."""
        return None if self._tell("after_step") else SkipZeroGrad()

    @override
    def after_batch(self, event: AfterBatch[object, object, object]) -> Optional[CancelEpoch]:
        """Ends a batch whose step was skipped; `learn.stop` ends this pass."""
        skipped, self.unstepped.value = self.unstepped.value, False
        if self.broken.value:
            return None
        if skipped and self._tell("after_step"):
            self.learn.opt.zero_grad()
        return CancelEpoch("learn.stop") if self._stopped() else None

    @override
    def begin_validate(self, event: BeginValidate) -> Optional[SkipValidate]:
        """False leaves validation out."""
        return None if self._tell("begin_validate") else SkipValidate()

    @override
    def after_epoch(self, event: AfterEpoch) -> Optional[CancelTrain]:
        """False ends the fit; so does `learn.stop`, before the old callbacks hear of the epoch's end."""
        if self._stopped():
            return CancelTrain("learn.stop")
        return None if self._tell("after_epoch") else CancelTrain("after_epoch returned False")

    @override
    def after_fit(self, event: AfterFit) -> None:
        """Tells all old callbacks, but as in the original not of a fit that was refused, or failed."""
        self.broken.value = False
        if self.refused.value or isinstance(event.outcome, Failed):
            return
        if self.idle.value:
            self._warn_of_idle()
        self._raise(self._call_all(partial(self._ask, old, "after_fit") for old in self.callbacks))

    def _stopped(self) -> bool:
        stop, self.run.stop = self.run.stop, False
        return stop

    def _tell(self, hook: str, *args: object) -> bool:
        """Calls a hook of each old callback, until one answers False: whether none did."""
        return all(self._ask(old, hook, *args) for old in self.callbacks)

    def _ask(self, old: Old, hook: str, *args: object) -> bool:
        function: Old = getattr(old, hook, None)
        answer: object = True if function is None else self._call(function, *args)
        if answer is None and hook != "after_fit":
            self._warn(
                old,
                hook,
                "returned None, which the original took for False: it skipped what comes next, without a word. Here "
                "None means go on, as in a typed callback; return True or False to say it.",
            )
        return answer is None or bool(answer)

    def _warn_of_idle(self) -> None:
        for old in self.callbacks:
            self._warn(
                old,
                "after_fit",
                "is called, although no epoch was left in which to train: the original left it out when the last "
                "epoch was skipped, or there was none.",
            )


def handler04(learn: Learner[object, object, object], callbacks: OneOrMore) -> HandlerCallbacks:
    """Runs callbacks of the CallbackHandler of lesson 04 of the fastai course in a typed learner.

    Args:
        learn: The learner; `learn.add(handler04, [Old()])` and `cb_funcs=[partial(handler04, callbacks=Old())]` fill
            it in.
        callbacks: One old callback, or a list of them, which run in that order.

    Returns:
        The typed callback that runs them.

    Raises:
        CallbackError: A class, or a typed callback, is among them.
    """
    adapter = HandlerCallbacks(learn, instances(callbacks), LearnerOf04(learn))
    warn_of_misspelt(adapter, HANDLER_HOOKS)
    return adapter
