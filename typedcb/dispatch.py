"""Callbacks become a plan, and an event is folded through it.

The plan is made when callbacks are attached: for each hook the bound methods of those that override it. So an event
that nobody listens to costs one look at an empty tuple, and a callback costs nothing at hooks that it leaves alone.

`fold` hands an event to each hook in turn. Each sees what those before it made of it; a Cancel ends the round; a Skip
is remembered while the round goes on. What ends, after_batch and after_fit, is told to all, whatever one of them does.

A callback that is a `Watcher` is handed each event's hooks while the plan is made, and may stand around them: that is
how a trace sees every turn, and why a loop without one pays nothing for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from operator import attrgetter
from typing import TYPE_CHECKING, Callable, Generic, Iterable, Optional, Protocol, Sequence, TypeVar, Union, cast

import attrs
import msgspec
from typing_extensions import TypeAlias

from . import hooks
from .articles import an_instance
from .callback import Callback, SomeCallback
from .cell import State
from .errors import HookError, place
from .events import (
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
    AfterValidate,
    BeginBatch,
    BeginEpoch,
    BeginFit,
    BeginValidate,
    LossEvent,
    P,
    Phase,
    X,
    Y,
)
from .hooks import HookSpec
from .outcomes import Cancel, Skip

if TYPE_CHECKING:
    from torch import Tensor

E = TypeVar("E", bound=msgspec.Struct)

Listeners: TypeAlias = tuple[Callable[[E], object], ...]
"""The hooks that want an event, in the order in which they run. `fold` checks what they answer."""


class Watching(Protocol):
    """Stands around the hooks of a plan."""

    def around(self, spec: HookSpec, listeners: Listeners[E], /) -> Listeners[E]:
        """The hooks to call instead of those that want an event.

        Args:
            spec: What the hooks may answer.
            listeners: The hooks, in the order in which they run; none where nobody wants the event.
        """
        ...


class Watcher(ABC):
    """A mixin for a callback that watches the turns of the others; it stands behind Callback among the bases."""

    @abstractmethod
    def watching(self, callbacks: Sequence[SomeCallback], /) -> Watching:
        """What stands around the hooks of a plan; asked for each time that a plan is made.

        Args:
            callbacks: All callbacks of the plan, in the order in which they run.
        """


class SeesLastLoss(ABC):
    """A mixin for a callback that runs early, and yet wants the loss that all others have left; behind Callback too.

    It is for what backward will begin at: a loss that `after_loss` is given may be replaced by a later callback.
    """

    @abstractmethod
    def last_loss(self, event: LossEvent, /) -> None:
        """Called behind all hooks of after_loss, unless one of them cancels the batch."""


class ChecksPlace(ABC):
    """A mixin for a callback that is right only where it stands among the others; behind Callback too."""

    @abstractmethod
    def check_place(self, before: Sequence[SomeCallback], /) -> None:
        """Refuses to stand where it does; asked whenever callbacks are attached or removed.

        Args:
            before: Those that hear the same batches, and run before it.

        Raises:
            CallbackError: It says which of them, why, and what to do.
        """


@attrs.frozen
class Skipped(Generic[E]):
    """What `fold` answers when a Skip was asked for: the event as it is after the round, and the Skip."""

    event: E
    skip: Skip


@attrs.frozen
class BatchPlan(Generic[X, Y, P]):
    """Whom to call at the events of a batch, in one phase."""

    begin_batch: Listeners[BeginBatch[X, Y]]
    after_pred: Listeners[AfterPred[X, Y, P]]
    after_loss: Listeners[AfterLoss[X, Y, P]]
    after_backward: Listeners[AfterBackward[X, Y, P]]
    after_step: Listeners[AfterStep[X, Y, P]]
    after_cancel_batch: Listeners[AfterCancelBatch[X, Y, P]]
    after_batch: Listeners[AfterBatch[X, Y, P]]
    backward: Optional[Callable[[Tensor], Optional[Cancel]]] = None
    """How the gradients are computed, where torch's own backward is not all of it; a Cancel for gradients of no use."""


@attrs.frozen
class Plan(Generic[X, Y, P]):
    """Whom to call at each event, and which cells to reset when."""

    begin_fit: Listeners[BeginFit]
    begin_epoch: Listeners[BeginEpoch]
    after_cancel_epoch: Listeners[AfterCancelEpoch]
    begin_validate: Listeners[BeginValidate]
    after_validate: Listeners[AfterValidate]
    after_epoch: Listeners[AfterEpoch]
    after_cancel_train: Listeners[AfterCancelTrain]
    after_fit: Listeners[AfterFit]
    train: BatchPlan[X, Y, P]
    valid: BatchPlan[X, Y, P]
    reset_with_fit: tuple[State, ...]
    reset_with_epoch: tuple[State, ...]


def plan_of(
    callbacks: Sequence[SomeCallback],
    own: Sequence[Callback[X, Y, P]],
    states: Iterable[State],
    watchings: Iterable[Watching] = (),
) -> Plan[X, Y, P]:
    """The plan of a loop.

    Args:
        callbacks: All that hear of the fit, in the order in which they run.
        own: Those of them that hear of the loop's own batches, in the same order.
        states: The cells of all.
        watchings: What stands around the hooks.
    """
    those = tuple(states)
    plan: Plan[X, Y, P] = Plan(
        begin_fit=tuple(cb.begin_fit for cb in callbacks if overrides(cb, hooks.BEGIN_FIT)),
        begin_epoch=tuple(cb.begin_epoch for cb in callbacks if overrides(cb, hooks.BEGIN_EPOCH)),
        after_cancel_epoch=tuple(cb.after_cancel_epoch for cb in callbacks if overrides(cb, hooks.AFTER_CANCEL_EPOCH)),
        begin_validate=tuple(cb.begin_validate for cb in callbacks if overrides(cb, hooks.BEGIN_VALIDATE)),
        after_validate=tuple(cb.after_validate for cb in callbacks if overrides(cb, hooks.AFTER_VALIDATE)),
        after_epoch=tuple(cb.after_epoch for cb in callbacks if overrides(cb, hooks.AFTER_EPOCH)),
        after_cancel_train=tuple(cb.after_cancel_train for cb in callbacks if overrides(cb, hooks.AFTER_CANCEL_TRAIN)),
        after_fit=tuple(cb.after_fit for cb in callbacks if overrides(cb, hooks.AFTER_FIT)),
        train=batch_plan(own, "train"),
        valid=batch_plan(own, "valid"),
        reset_with_fit=tuple(state for state in those if state.reset in ("fit", "epoch")),
        reset_with_epoch=tuple(state for state in those if state.reset == "epoch"),
    )
    for watching in watchings:
        plan = watched(plan, watching)
    return plan


def watchings_of(callbacks: Sequence[SomeCallback]) -> tuple[Watching, ...]:
    """What the watchers among callbacks, which are in the order in which they run, stand around hooks with."""
    return tuple(callback.watching(callbacks) for callback in callbacks if isinstance(callback, Watcher))


def check_places(callbacks: Sequence[SomeCallback]) -> None:
    """Refuses callbacks, which hear the same batches, in an order that is not right for one of them.

    Args:
        callbacks: In the order in which they run.

    Raises:
        CallbackError: It says which of them, why, and what to do.
    """
    for index, callback in enumerate(callbacks):
        if isinstance(callback, ChecksPlace):
            callback.check_place(callbacks[:index])


def watched(plan: Plan[X, Y, P], watching: Watching) -> Plan[X, Y, P]:
    """A plan with somebody around its hooks."""
    return Plan(
        begin_fit=watching.around(hooks.BEGIN_FIT, plan.begin_fit),
        begin_epoch=watching.around(hooks.BEGIN_EPOCH, plan.begin_epoch),
        after_cancel_epoch=watching.around(hooks.AFTER_CANCEL_EPOCH, plan.after_cancel_epoch),
        begin_validate=watching.around(hooks.BEGIN_VALIDATE, plan.begin_validate),
        after_validate=watching.around(hooks.AFTER_VALIDATE, plan.after_validate),
        after_epoch=watching.around(hooks.AFTER_EPOCH, plan.after_epoch),
        after_cancel_train=watching.around(hooks.AFTER_CANCEL_TRAIN, plan.after_cancel_train),
        after_fit=watching.around(hooks.AFTER_FIT, plan.after_fit),
        train=batch_watched(plan.train, watching),
        valid=batch_watched(plan.valid, watching),
        reset_with_fit=plan.reset_with_fit,
        reset_with_epoch=plan.reset_with_epoch,
    )


def batch_watched(plan: BatchPlan[X, Y, P], watching: Watching) -> BatchPlan[X, Y, P]:
    """The plan of a batch with somebody around its hooks."""
    return BatchPlan(
        begin_batch=watching.around(hooks.BEGIN_BATCH, plan.begin_batch),
        after_pred=watching.around(hooks.AFTER_PRED, plan.after_pred),
        after_loss=watching.around(hooks.AFTER_LOSS, plan.after_loss),
        after_backward=watching.around(hooks.AFTER_BACKWARD, plan.after_backward),
        after_step=watching.around(hooks.AFTER_STEP, plan.after_step),
        after_cancel_batch=watching.around(hooks.AFTER_CANCEL_BATCH, plan.after_cancel_batch),
        after_batch=watching.around(hooks.AFTER_BATCH, plan.after_batch),
        backward=plan.backward,
    )


def batch_plan(callbacks: Iterable[Callback[X, Y, P]], phase: Phase) -> BatchPlan[X, Y, P]:
    """The plan of callbacks, which are in the order in which they run, for one phase."""
    those = [callback for callback in callbacks if phase in callback.phases]
    return BatchPlan(
        begin_batch=tuple(cb.begin_batch for cb in those if overrides(cb, hooks.BEGIN_BATCH)),
        after_pred=tuple(cb.after_pred for cb in those if overrides(cb, hooks.AFTER_PRED)),
        after_loss=(
            *(cb.after_loss for cb in those if overrides(cb, hooks.AFTER_LOSS)),
            *(cb.last_loss for cb in those if isinstance(cb, SeesLastLoss)),
        ),
        after_backward=tuple(cb.after_backward for cb in those if overrides(cb, hooks.AFTER_BACKWARD)),
        after_step=tuple(cb.after_step for cb in those if overrides(cb, hooks.AFTER_STEP)),
        after_cancel_batch=tuple(cb.after_cancel_batch for cb in those if overrides(cb, hooks.AFTER_CANCEL_BATCH)),
        after_batch=tuple(cb.after_batch for cb in those if overrides(cb, hooks.AFTER_BATCH)),
    )


def overrides(callback: SomeCallback, spec: HookSpec) -> bool:
    """Whether a callback's class has this hook of its own: the base's does nothing, and is never called."""
    for owner in type(callback).__mro__:
        if owner is Callback:
            return False
        if spec.name in vars(owner):
            return True
    return False


def fold(spec: HookSpec, listeners: Iterable[Callable[[E], object]], event: E) -> Union[E, Cancel, Skipped[E]]:
    """Hands an event to each hook in turn.

    Args:
        spec: What the hooks may answer.
        listeners: The hooks, in the order in which they run.
        event: What the first of them is given.

    Returns:
        The event as the hooks left it; or the Cancel that ended the round; or, when a Skip was asked for, both.

    Raises:
        HookError: A hook answered or raised what is not legal there.
    """
    skip: Optional[Skip] = None
    listener: Callable[[E], object] = _nobody
    try:
        for listener in listeners:
            answer = listener(event)
            if answer is None:
                continue
            if isinstance(answer, spec.cancels):
                return answer
            if spec.skip is not None and isinstance(answer, spec.skip):
                skip = answer
            else:
                event = _replaced(spec, listener, event, answer)
    except Cancel as cancel:
        if isinstance(cancel, spec.cancels):
            return cancel
        error = _illegal(spec, listener, f"raised {type(cancel).__name__}")
        place(error, where(listener, event))
        raise error from cancel
    except BaseException as error:
        place(error, where(listener, event))
        raise
    return event if skip is None else Skipped(event, skip)


def tell_all(
    spec: HookSpec, listeners: Listeners[E], event: E, before: Iterable[BaseException] = ()
) -> list[BaseException]:
    """Hands an event to every hook, whatever the others do, and returns the errors instead of raising them.

    Args:
        spec: What the hooks may answer; a Cancel that is legal there has nothing left to end, and is passed over.
        listeners: The hooks, in the order in which they run.
        event: What each of them is given.
        before: What has gone wrong already. After a second Ctrl-C nobody else is told.
    """
    errors: list[BaseException] = []
    for listener in listeners:
        try:
            fold(spec, (listener,), event)
        except BaseException as error:  # noqa: BLE001  # handed to the caller, who raises all of them together
            errors.append(error)
            if interrupted_twice([*before, *errors]):
                break
    return errors


def interrupted_twice(errors: Iterable[BaseException]) -> bool:
    """Whether Ctrl-C was pressed again while the first was being cleaned up after: that is obeyed at once."""
    return sum(isinstance(error, KeyboardInterrupt) for error in errors) > 1


def where(listener: Callable[[E], object], event: E) -> str:
    """The place of a hook and its event in words, such as `in GradientClip.after_backward, epoch 0, batch 3, train`."""
    return f"in {_name(listener)}{_position(event)}"


def _nobody(event: object) -> None:
    """Stands for the hook while none has been called."""


def _name(listener: Callable[[E], object]) -> str:
    callback: object = getattr(listener, "__self__", None)
    return f"{type(callback).__name__}.{getattr(listener, '__name__', 'hook')}"


def _position(event: msgspec.Struct) -> str:
    fields: dict[str, object] = msgspec.structs.asdict(event)
    reached = fields.get("reached")
    if isinstance(reached, msgspec.Struct):
        return _position(reached)
    words = [f", {name} {fields[field]}" for field, name in (("epoch", "epoch"), ("index", "batch")) if field in fields]
    return "".join(words) + (f", {fields['phase']}" if "phase" in fields else "")


_identity: Callable[[object], object] = attrgetter("phase", "epoch", "index", "step")
"""What tells one batch from another, by its event."""


def _replaced(spec: HookSpec, listener: Callable[[E], object], event: E, answer: object) -> E:
    """The event that a hook handed back, when it may."""
    if not spec.replace or not _same_class(answer, event):
        raise _illegal(spec, listener, f"answered {_describe(answer)}")
    new = cast(E, answer)
    if _identity(new) != _identity(event):
        raise HookError(
            f"{_name(listener)} answered an event of another batch ({_position(new).lstrip(', ')}, not "
            f"{_position(event).lstrip(', ')}): answer event.{spec.replace}(...) of the event that it was given."
        )
    for field in spec.fixed:
        if getattr(new, field) is not getattr(event, field):
            raise HookError(
                f"{_name(listener)} answered an event with another {field}: this hook may replace what "
                f"event.{spec.replace}(...) replaces, and nothing else."
            )
    return new


def _same_class(answer: object, event: object) -> bool:
    return type(answer) is type(event)


def _describe(answer: object) -> str:
    if isinstance(answer, type):
        return f"the class {answer.__name__}, not an instance: write {answer.__name__}()"
    if isinstance(answer, (Cancel, msgspec.Struct)) or attrs.has(type(answer)):
        return an_instance(answer)
    text = repr(answer)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(answer).__name__})"


def _illegal(spec: HookSpec, listener: Callable[[E], object], what: str) -> HookError:
    return HookError(f"{_name(listener)} {what}; legal there is {spec.legal}.")
