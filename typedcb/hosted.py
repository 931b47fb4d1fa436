"""A fit in somebody else's trainer: told of each moment, it fires the event that belongs there.

`typedcb.loop` pulls batches from a loader; a foreign trainer does that itself, and calls. Both fire the same events
through the same plan and the same cursor, so that a callback cannot tell one from the other.

    fit = Hosted(Loop(callbacks), n_epochs=3)
    fit.begin()
    if fit.begin_epoch(0) and fit.begin_pass("train", 0, n_batches):
        if fit.begin_batch(0, xb, yb):
            pred = fit.predicted(model(fit.batch.xb))
            loss = fit.lost(loss_func(pred, fit.batch.yb))
            if fit.goes_on:
                loss.backward()
                fit.backward_done()
            if fit.goes_on:
                opt.step()
                if fit.stepped():
                    opt.zero_grad()
        fit.end_batch()
        fit.end_pass()
        fit.end_epoch(0)
    fit.end()

What a trainer cannot deliver is a `Host`'s to say, and `check_host` refuses a callback that asks for it.
"""

from __future__ import annotations

import inspect
import typing
from functools import partial
from typing import Callable, Final, Generic, Iterable, Mapping, Optional, Sequence, Union, cast

import attrs
from torch import Tensor
from typing_extensions import TypeAlias

from .answers import answers_of, hook_of, legal_answers
from .callback import Callback, SomeCallback, is_callback
from .cursor import Cursor
from .dispatch import BatchPlan, fold
from .errors import CallbackError, LoopError
from .events import AfterLoss, P, Phase, X, Y
from .fit import FitScope
from .hooks import AFTER_LOSS, HOOKS
from .loop import Loop
from .losses import check_loss
from .needs import HasModelAndOpt
from .position import Resumption
from .stages import BACKWARD, BEGUN, ENDED, LOSS, PREDICTED, SKIPPED, STEPPED

Answers: TypeAlias = Mapping[str, frozenset[type]]
"""By a hook's name, the classes of what it may answer besides None. A hook that is not named is never called."""

Hostable: TypeAlias = Union[Callback[X, Y, P], Callable[[HasModelAndOpt], Callback[X, Y, P]]]
"""A callback, or a factory that is called with the trainer's model and optimizer: `partial(GradientClip, clip=0.1)`."""


ALL_ANSWERS: Final[Answers] = {name: legal_answers(spec) for name, spec in HOOKS.items()}
"""Every hook, and all that it may answer: what a loop of typedcb's own does."""


@attrs.frozen
class Host:
    """What a trainer can do for typed callbacks."""

    name: str
    """The trainer in words, such as `Keras's fit`."""

    answers: Answers
    """The hooks that it calls, and what they may answer there."""

    advice: Mapping[str, str] = {}
    """By a hook's name, what to do where it is not called or its answer not honoured."""


def check_host(host: Host, callbacks: Iterable[SomeCallback]) -> None:
    """Refuses callbacks that ask for what a trainer cannot do, by the hooks that they have and their return types.

    Args:
        host: The trainer.
        callbacks: The callbacks.

    Raises:
        CallbackError: It names the callback, the hook, the trainer and what to do instead.
    """
    for callback in callbacks:
        check_kind(host, type(callback))


def check_kind(host: Host, kind: type[SomeCallback]) -> None:
    """Refuses a class of callbacks that ask for what a trainer cannot do.

    Args:
        host: The trainer.
        kind: The class.

    Raises:
        CallbackError: It names the callback, the hook, the trainer and what to do instead.
    """
    for problem in unmet(host, kind):
        raise CallbackError(problem)


def unmet(host: Host, kind: type[SomeCallback]) -> list[str]:
    """What a callback asks for that a trainer cannot do, in words; nothing where it can be hosted.

    Args:
        host: The trainer.
        kind: The callback's class.
    """
    problems: list[str] = []
    for name, spec in HOOKS.items():
        if hook_of(kind, spec) is None:
            continue
        advice = f" {host.advice[name]}" if name in host.advice else ""
        if name not in host.answers:
            problems.append(f"{kind.__name__}.{name} would never be called: {host.name} has no such moment.{advice}")
            continue
        beyond = sorted(answer.__name__ for answer in answers_of(kind, spec) - host.answers[name])
        if beyond:
            problems.append(
                f"{kind.__name__}.{name} may answer {' or '.join(beyond)}, by its return type, and {host.name} cannot "
                f"do that there.{advice} A hook that never answers it says so: -> None."
            )
    return problems


def kind_of(hostable: object) -> Optional[type[SomeCallback]]:
    """The class of a callback, or of what a factory will make; None where a factory does not say.

    A class says it, a partial of one too, and a function by its return type.

    Args:
        hostable: A callback or a factory.
    """
    if is_callback(hostable):
        return type(hostable)
    made_by: object = hostable
    while isinstance(made_by, partial):
        made_by = cast("partial[object]", made_by).func
    if inspect.isfunction(made_by):
        try:
            made_by = typing.get_type_hints(made_by).get("return")
        except (NameError, TypeError, AttributeError):  # a name that only the type checker knows
            return None
    return cast("type[SomeCallback]", made_by) if inspect.isclass(made_by) and issubclass(made_by, Callback) else None


def made_for(parts: HasModelAndOpt, hostable: Sequence[Hostable[X, Y, P]]) -> list[Callback[X, Y, P]]:
    """The callbacks, factories called.

    Args:
        parts: The trainer's model and optimizer.
        hostable: Callbacks and factories.

    Raises:
        CallbackError: A factory made no callback.
    """
    made: list[Callback[X, Y, P]] = []
    for one in hostable:
        if not is_callback(one):
            made.append(_checked_made(one, one(parts)))
        else:
            instance: object = one  # checkers take it for a factory that is a callback too
            made.append(cast("Callback[X, Y, P]", instance))
    return made


def _checked_made(factory: object, made: Callback[X, Y, P]) -> Callback[X, Y, P]:
    """What a factory made, when it is a callback."""
    if not is_callback(made):
        raise CallbackError(
            f"{factory!r} made {made!r}, which is no callback: a factory is called with the trainer's model and "
            f"optimizer, and returns a callback instance."
        )
    return made


def heard(plan: BatchPlan[X, Y, P]) -> bool:
    """Whether anybody listens to what happens in a batch.

    Args:
        plan: Whom to call at the events of a batch, in one phase.
    """
    before_step = plan.begin_batch or plan.after_pred or plan.after_loss or plan.after_backward
    return bool(before_step or plan.after_step or plan.after_cancel_batch or plan.after_batch)


class HostedCursor(Cursor[X, Y, P]):
    """Where a pass over the data is whose batches a trainer runs."""

    __slots__ = ()

    steps: int
    """How many training batches of this fit have been stepped on."""

    stage: int
    """How far the batch has come, from BEGUN to ENDED."""

    def lost(self, loss: Tensor) -> Tensor:
        """Takes the loss, and fires after_loss: the loss as the callbacks left it."""
        if self.stage != PREDICTED:
            raise self._out_of_turn("lost")
        if not self.index:  # what a loss function gives does not change its shape from batch to batch
            check_loss(loss)
        self.computed = loss
        self.stage = LOSS
        if self.hears_loss:
            event = AfterLoss(  # as _after_loss makes it, with one call less
                self.phase, self.epoch, self.index, self.n_batches, self.steps, self.xb, self.yb, self.pred, loss
            )
            answer = fold(AFTER_LOSS, self.plan.after_loss, event)
            if answer is not event:
                self.take_after_loss(answer)
        return self.computed if self.stage == LOSS else loss

    def backward_done(self) -> None:
        """Takes note that the gradients are there, and fires after_backward."""
        if self.stage != LOSS:
            raise self._out_of_turn("backward_done")
        self.stage = BACKWARD
        if self.hears_backward:
            self._fire_after_backward()

    def stepped(self) -> bool:
        """Takes note of the optimizer's step, and fires after_step: whether the gradients are to be zeroed."""
        if self.stage != BACKWARD:
            raise self._out_of_turn("stepped")
        self.steps += 1
        self.stage = STEPPED
        return not self.hears_step or self._fire_after_step()

    def drops_gradients(self) -> bool:
        """Whether the batch was cancelled with its gradients there: they are not to leak into the next step."""
        return self.cancel is not None and self._furthest == BACKWARD

    def _out_of_turn(self, call: str) -> LoopError:
        return LoopError(
            f"{call} is out of turn ({self.place}): a batch goes through predicted, lost, backward_done and stepped, "
            f"once each."
        )


class Hosted(FitScope[X, Y, P], Generic[X, Y, P]):
    """A fit whose trainer calls. Each method fires an event; what a callback asked for is what the methods say.

    Args:
        loop: The callbacks.
        n_epochs: How many epochs the fit is to reach, counted from 0.
        start_epoch: The first epoch that runs.
        resume: Where an earlier fit was left, between two epochs; `restore` is called after begin_fit.
    """

    cursor: Optional[Cursor[X, Y, P]]
    """Where the latest pass over the data is."""

    def __init__(
        self, loop: Loop[X, Y, P], n_epochs: int, start_epoch: int = 0, resume: Optional[Resumption] = None
    ) -> None:
        super().__init__(loop, n_epochs, start_epoch, resume)
        self._current: Optional[HostedCursor[X, Y, P]] = None
        self._train: Optional[HostedCursor[X, Y, P]] = None

    @property
    def batch(self) -> HostedCursor[X, Y, P]:
        """The batch under way: its `xb`, `yb`, `pred` and `value`, as the callbacks left them.

        Raises:
            LoopError: No pass over the data has begun.
        """
        if self._current is None:
            raise LoopError("no pass over the data has begun.")
        return self._current

    @property
    def goes_on(self) -> bool:
        """Whether the batch under way is neither cancelled nor skipped."""
        return self._current is not None and self._current.stage < SKIPPED

    @property
    def cut_short(self) -> bool:
        """Whether the pass under way, or the whole fit, was cancelled: no more batches of it."""
        return self._cancel is not None or (self._cut_short is not None and self._cut_short is self._current)

    def begin(self) -> bool:
        """Fires begin_fit: whether the fit is to run."""
        self.__enter__()
        return not self.cancelled

    def begin_pass(self, phase: Phase, epoch: int, n_batches: Optional[int]) -> bool:
        """Begins a pass over the data; begin_validate fires. Whether it is to run.

        A validation may stand inside a training pass, between two batches.

        Args:
            phase: Which data it goes over.
            epoch: The epoch's number, from 0.
            n_batches: How many batches there are; None where nobody knows.
        """
        self.close_pass()
        if self.cancelled or (phase == "valid" and not self.begin_validation(epoch)):
            return False
        plan = self.plan.train if phase == "train" else self.plan.valid
        self._current = self.cursor = HostedCursor(plan, phase, epoch, n_batches, self.steps)
        if phase == "train":
            self._train = self._current
        else:
            self._validating = epoch
        return True

    def end_pass(self) -> None:
        """Ends the pass under way; after_validate fires after a validation, and a training pass around it goes on."""
        self.close_pass()
        train = self._train
        if train is not None and self._current is not train:
            train.steps = self.steps
            self._current = self.cursor = train
        else:
            self._train = None

    def begin_batch(self, index: int, xb: X, yb: Y) -> bool:
        """Fires begin_batch: whether the batch is to run; `batch.xb` and `batch.yb` are what the callbacks made of it.

        Args:
            index: The batch's number in its pass, from 0.
            xb: The inputs.
            yb: The targets.
        """
        cursor = self._current or self.batch
        if cursor.stage != ENDED:
            self.close_batch()
        cursor.index, cursor.xb, cursor.yb = index, xb, yb
        cursor.stage = BEGUN
        if cursor.plan.begin_batch:
            cursor.begin()
        return cursor.stage < SKIPPED

    def predicted(self, pred: P) -> P:
        """Fires after_pred: the prediction as the callbacks left it."""
        cursor = self._current or self.batch  # the property says that there is none, and costs more
        if cursor.stage < SKIPPED:
            cursor.predicted(pred)
        return cursor.pred if cursor.stage == PREDICTED else pred

    def lost(self, loss: Tensor) -> Tensor:
        """Fires after_loss: the loss as the callbacks left it."""
        cursor = self._current or self.batch
        return cursor.lost(loss) if cursor.stage < SKIPPED else loss

    def backward_done(self) -> bool:
        """Fires after_backward, the gradients being there: whether the optimizer is to step."""
        cursor = self._current or self.batch
        if cursor.stage < SKIPPED:
            cursor.backward_done()
        return cursor.stage == BACKWARD

    def stepped(self) -> bool:
        """Fires after_step: whether the gradients are to be zeroed."""
        cursor = self._current or self.batch
        return cursor.stage >= SKIPPED or cursor.stepped()

    def end_batch(self) -> None:
        """Ends the batch under way: after_cancel_batch, after_batch and after_cancel_epoch fire."""
        self.close_batch()

    def end(self, error: Optional[BaseException] = None, *, whole: bool = True) -> None:
        """Fires after_fit, and raises what goes wrong in it.

        Args:
            error: What ended the fit, if something went wrong.
            whole: Whether the trainer ran all of its epochs.
        """
        self._all_epochs_ran = whole and not self.cancelled
        self._end(error)
