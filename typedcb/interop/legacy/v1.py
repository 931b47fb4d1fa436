"""Callbacks of fastai v1: `on_...` hooks with keyword arguments, and dicts of what to change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Mapping, Optional, Union

from typing_extensions import TypeIs, override

from ...cell import Cell, cell
from ...data import batch_size
from ...errors import HookError
from ...events import (
    AfterBackward,
    AfterBatch,
    AfterEpoch,
    AfterFit,
    AfterLoss,
    AfterPred,
    AfterStep,
    BeginBatch,
    BeginEpoch,
    BeginFit,
    BeginValidate,
    Failed,
)
from ...learner import Learner
from ...outcomes import CancelEpoch, CancelTrain, SkipBackward, SkipStep, SkipValidate, SkipZeroGrad
from .old import LegacyCallbacks, Old, OneOrMore, in_order, made
from .runner import has_loss
from .v1state import HONOURED, LearnerOfV1, Means, State, begun, misspelt


@dataclass(frozen=True)
class V1Callbacks(LegacyCallbacks):
    """Old callbacks of fastai v1 in a typed learner; `v1` makes it."""

    run: LearnerOfV1
    """What the old callbacks get as `learn`."""

    state: Annotated[State, "v1's hooks are given a dict, which begin_fit fills anew"] = field(default_factory=begun)
    """What the hooks are given as keyword arguments, by v1's names."""

    means: Means = field(default_factory=Means)
    """The smoothed training loss, and the mean of the validation losses."""

    begun: Cell[int] = cell(0, saved=False)
    """How many old callbacks have had their on_train_begin: the others have nothing to end."""

    unstepped: Cell[bool] = cell(False, saved=False)
    """Whether backward was skipped in this batch, and what v1 did after it is done already."""

    @override
    def begin_fit(self, event: BeginFit) -> None:
        """on_train_begin."""
        self.state.clear()
        self.state.update(begun(), n_epochs=event.n_epochs, epoch=event.start_epoch)
        self.means.restart()
        for _ in self._rounds("train_begin", metrics_names=[]):
            self.begun.value += 1

    @override
    def begin_epoch(self, event: BeginEpoch) -> None:
        """on_epoch_begin."""
        self.state.update(epoch=event.epoch, num_batch=0, stop_training=False)
        self.means.valid.clear()
        self._tell("epoch_begin")

    @override
    def begin_batch(self, event: BeginBatch[object, object]) -> BeginBatch[object, object]:
        """on_batch_begin, which may replace `last_input` and `last_target`."""
        state = self.state
        state.update(last_input=event.xb, last_target=event.yb, train=event.phase == "train")
        state.update(stop_epoch=False, skip_step=False, skip_zero=False, skip_bwd=False)
        self.unstepped.value = False
        self._tell("batch_begin")
        if state["last_input"] is event.xb and state["last_target"] is event.yb:
            return event
        return event.with_batch(state["last_input"], state["last_target"])

    @override
    def after_pred(self, event: AfterPred[object, object, object]) -> AfterPred[object, object, object]:
        """on_loss_begin, which may replace `last_output`."""
        self.state.update(last_output=event.pred)
        self._tell("loss_begin")
        pred: object = self.state["last_output"]
        return event if pred is event.pred else event.with_pred(pred)

    @override
    def after_loss(
        self, event: AfterLoss[object, object, object]
    ) -> Optional[Union[AfterLoss[object, object, object], SkipBackward]]:
        """on_backward_begin in training, which may replace `last_loss`, or skip backward."""
        if event.phase == "valid":
            return None
        self.state.update(last_loss=event.loss, smooth_loss=self.means.smooth(event.loss))
        self._tell("backward_begin")
        loss = self.state["last_loss"]
        if not self.state["skip_bwd"]:
            return event if loss is event.loss else event.with_loss(loss)
        self.state.update(last_loss=loss.detach())
        self._go_on_without_backward()
        return SkipBackward()

    @override
    def after_backward(self, event: AfterBackward[object, object, object]) -> Optional[SkipStep]:
        """on_backward_end; when it skips the step, on_step_end is called and the gradients are zeroed all the same."""
        self.state.update(last_loss=event.loss, last_output=event.pred)
        self._tell("backward_end")
        if not self.state["skip_step"]:
            return None
        self._tell("step_end")
        if not self.state["skip_zero"]:
            self.learn.opt.zero_grad()
        return SkipStep()

    @override
    def after_step(self, event: AfterStep[object, object, object]) -> Optional[SkipZeroGrad]:
        """on_step_end, which may keep the gradients."""
        self.state.update(last_loss=event.loss, last_output=event.pred)
        self._tell("step_end")
        return SkipZeroGrad() if self.state["skip_zero"] else None

    @override
    def after_batch(self, event: AfterBatch[object, object, object]) -> Optional[CancelEpoch]:
        """on_batch_end, of a batch that has come to its loss; it may stop this pass."""
        reached = event.reached
        if self.broken.value or not has_loss(reached):
            return None
        self.state.update(last_output=reached.pred)
        if not self.unstepped.value:
            self.state.update(last_loss=reached.loss)
        if reached.phase == "valid":
            self.means.valid.append((reached.loss, batch_size(reached.yb)))
        self._tell("batch_end")
        if reached.phase == "train":
            self.state["iteration"] += 1
            self.state["num_batch"] += 1
        return CancelEpoch("stop_epoch") if self.state["stop_epoch"] else None

    @override
    def begin_validate(self, event: BeginValidate) -> Optional[SkipValidate]:
        """Has no hook in v1; `skip_validate` holds for the rest of the fit."""
        return SkipValidate() if self.state["skip_validate"] else None

    @override
    def after_epoch(self, event: AfterEpoch) -> Optional[CancelTrain]:
        """on_epoch_end, which may end the fit."""
        self.state.update(last_metrics=[self.means.valid_mean])
        self._tell("epoch_end")
        self.state["epoch"] += 1
        return CancelTrain("stop_training") if self.state.get("stop_training") else None

    @override
    def after_fit(self, event: AfterFit) -> None:
        """on_train_end, of all that began, whatever the others do; in v1 one's error kept the rest from it."""
        exception = event.outcome.error if isinstance(event.outcome, Failed) else False
        ready = self.callbacks[: self.begun.value]
        errors = self._call_all(partial(self._ask, old, "train_end", exception=exception) for old in ready)
        self.state["skip_validate"] = self.broken.value = False  # a validation by itself may follow
        self._raise(errors)

    def _go_on_without_backward(self) -> None:
        """What v1 did when backward was skipped: it stepped on the gradients that were there, if any."""
        self.unstepped.value = True
        self._tell("backward_end")
        if not self.state["skip_step"]:
            self.learn.opt.step()
        self._tell("step_end")
        if not self.state["skip_zero"]:
            self.learn.opt.zero_grad()

    def _tell(self, hook: str) -> None:
        """Calls a hook of all old callbacks; each sees what those before it have changed."""
        for _ in self._rounds(hook):
            pass

    def _rounds(self, hook: str, **more: object) -> Iterator[None]:
        for old in self.callbacks:
            self._ask(old, hook, **more)
            yield

    def _ask(self, old: Old, hook: str, **more: object) -> None:
        """Calls one hook, and takes what it returns into the state."""
        function: Old = getattr(old, f"on_{hook}", None)
        answer: object = None if function is None else self._call(function, **self.state, **more)
        if answer is None:
            return
        if not _is_mapping(answer):
            self.broken.value = True
            raise HookError(
                f"{type(old).__name__}.on_{hook} returned {answer!r}, and a hook of v1 returns None or a dict of what "
                f"it changes, such as {{'stop_training': True}}."
            )
        for key, value in answer.items():
            self._change(old, hook, key, value)

    def _change(self, old: Old, hook: str, key: str, value: object) -> None:
        """Takes one item of an answer into the state."""
        if key not in self.state:
            self.broken.value = True
            raise HookError(
                f"{type(old).__name__}.on_{hook} returned '{key}', which isn't a valid key in the state of the "
                f"callbacks at this moment; there is {', '.join(sorted(self.state))}."
            )
        self._warn_of_change(old, hook, key, value)
        self.state[key] = value

    def _warn_of_change(self, old: Old, hook: str, key: str, value: object) -> None:
        """Warns where v1 took an answer without doing what it says."""
        name = f"on_{hook}"
        if hook not in HONOURED.get(key, ()):
            legal = " or ".join(f"on_{there}" for there in HONOURED.get(key, ())) or "no hook"
            self._warn(
                old, name, f"returned '{key}', which is taken there and does nothing, as in v1: {legal} heeds it."
            )
        elif key == "skip_validate" and value:
            self._warn(
                old,
                name,
                "returned 'skip_validate', which holds for the rest of the fit, as in v1. A typed callback answers "
                "SkipValidate() from begin_validate, for one epoch at a time.",
            )
        elif self.state[key] is True and value is False:
            self._warn(
                old,
                name,
                f"returned '{key}': False and so took back what another callback had asked for, as in v1, where the "
                f"last one decides. Return the key only to ask for something.",
            )


def _is_mapping(answer: object) -> TypeIs[Mapping[str, object]]:
    return isinstance(answer, Mapping)


def v1(learn: Learner[object, object, object], callbacks: OneOrMore) -> V1Callbacks:
    """Runs callbacks of fastai v1 in a typed learner.

    What they get as `learn` has model, data, loss_func and opt (with `lr` and `mom` to set); there is no recorder, no
    `save` and no `layer_groups`.

    Args:
        learn: The learner; `learn.add(v1, [Old()])` and `cb_funcs=[partial(v1, callbacks=Old())]` fill it in.
        callbacks: One old callback, or a list of them, which run in the order of their `_order`. A class, a function
            or a partial among them is called with the learner, as those in v1's `callback_fns`.

    Returns:
        The typed callback that runs them.

    Raises:
        CallbackError: A typed callback is among them.
    """
    run = LearnerOfV1(learn)
    adapter = V1Callbacks(learn, in_order(made(callbacks, run)), run)
    for old, name, lesson in misspelt(adapter.callbacks):
        adapter._warn(old, name, lesson)
    return adapter
