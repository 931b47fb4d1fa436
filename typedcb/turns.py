"""A turn of an objective in a batch, as types: each call hands out what may be called next.

    turn = batch.turn(critic, xb, yb)      Turn: xb, yb                      the critic's begin_batch has fired
    out = turn.pred(critic_net(turn.xb))   TurnPredicted: pred too           after_pred
    loss = out.loss(loss_func(...))        TurnLoss: value too               after_loss
    done = loss.backward()                 TurnBackward                      after_backward
    done.step()                                                              after_step

These are the scopes of a batch (`typedcb.scopes`) once more, with two differences: `step` takes no optimizer, since
the objective has its own; and `backward` computes the gradients of that optimizer's parameters alone, so that what the
loss runs through on its way, such as a discriminator under its generator, gets none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import wraps
from typing import Any, Callable, Generic, Optional, TypeVar

from torch import Tensor, autograd, nn, no_grad
from torch.optim import Optimizer
from typing_extensions import Concatenate, ParamSpec, TypeAlias, override

from .batch_cursors import ValidCursor
from .batches import Scope
from .cursor import Cursor
from .dispatch import BatchPlan, fold
from .errors import LoopError, within
from .events import P, X, Y
from .hooks import AFTER_LOSS
from .in_shards import own_shard
from .losses import check_graph, check_loss
from .outcomes import Cancel, CancelBatch
from .scopes import Evaluated, HasLoss, HasPrediction, ValidPredicted
from .stages import BACKWARD, BEGUN, CANCELLED, LOSS, PREDICTED, STEPPED

C = TypeVar("C", bound="TurnCursor[Any, Any, Any]")  # Any: a bound names no type variables
PS = ParamSpec("PS")
R = TypeVar("R")

Mark: TypeAlias = tuple[Optional[Tensor], int]
"""A parameter's gradient, and how often it has been changed in place."""


class TurnPredicted(HasPrediction["TurnLoss", X, Y, P]):
    """A turn whose prediction is there."""

    __slots__ = ()


class TurnLoss(HasLoss):
    """A turn whose loss is there."""

    __slots__ = ()

    @abstractmethod
    def backward(self) -> TurnBackward:
        """Computes the gradients of the objective's parameters, and fires after_backward, unless a callback skipped it.

        Returns:
            The way to the step.

        Raises:
            LoopError: The loss depends on none of the parameters that the objective's optimizer trains.
            BatchError: The loss has no graph.
        """


class TurnBackward(ABC):
    """A turn whose gradients are there."""

    __slots__ = ()

    cancelled: bool
    """Whether a callback has cancelled this turn: nothing more happens in it."""

    @abstractmethod
    def step(self) -> None:
        """Steps the objective's optimizer, fires after_step and zeroes the gradients, unless a callback skipped that.

        The gradients of a turn that was cancelled after backward are dropped: call it also then, or they are added to
        those of the next turn. A turn that is not stepped leaves its gradients there on purpose: the objective's next
        turn adds to them.
        """


def _within_its_turn(method: Callable[Concatenate[C, PS], R]) -> Callable[Concatenate[C, PS], R]:
    """The same method, whose errors say in whose turn they happened."""

    @wraps(method)
    def call(self: C, /, *args: PS.args, **kwargs: PS.kwargs) -> R:
        try:
            return method(self, *args, **kwargs)
        except BaseException as error:
            within(error, f"in the turn of {self.name}")
            raise

    return call


class TurnCursor(Cursor[X, Y, P]):
    """Where a turn is: how far it has come, and the batch that it stands in.

    Args:
        batch: The batch, as the loop's own callbacks have it.
        plan: Whom to call at its events.
        name: The objective's, in words.
        steps: How many steps the objective has taken.
        xb: The inputs.
        yb: The targets.
    """

    __slots__ = ("batch", "name")

    # Any: a turn's payload is not its batch's
    batch: Cursor[Any, Any, Any]
    """The batch, as the loop's own callbacks have it."""

    name: str
    """The objective's, in words."""

    xb: X
    """The inputs, as the objective's callbacks left them."""

    yb: Y
    """The targets, as the objective's callbacks left them."""

    index: int
    """The batch's number in this pass over the data, from 0."""

    cancelled: bool
    """Whether a callback has cancelled this turn, or its batch."""

    stage: int
    """How far the turn has come, from BEGUN to ENDED."""

    def __init__(
        self, batch: Cursor[Any, Any, Any], plan: BatchPlan[X, Y, P], name: str, steps: int, xb: X, yb: Y
    ) -> None:  # Any: a turn's payload is not its batch's
        super().__init__(plan, batch.phase, batch.epoch, batch.n_batches, steps)
        self.index = batch.index
        self.batch = batch
        self.name = name
        self.xb = xb
        self.yb = yb
        self.stage = CANCELLED if batch.cancelled else BEGUN
        self.cancelled = batch.cancelled

    @property
    @override
    def place(self) -> str:
        """Where it is in the fit, in words."""
        return f"the turn of {self.name}, {super().place}"

    @override
    @_within_its_turn
    def begin(self) -> None:
        """Fires begin_batch."""
        super().begin()

    @override
    @_within_its_turn
    def predicted(self, pred: P) -> None:
        """Takes the prediction, and fires after_pred."""
        super().predicted(pred)

    @override
    @_within_its_turn
    def close(self) -> Optional[Cancel]:
        """Ends it: after_cancel_batch and after_batch fire. What of a Cancel is for more than this turn."""
        return super().close()

    @override
    def _stop(self, stage: int, cancel: Optional[Cancel]) -> None:
        super()._stop(stage, cancel)
        if cancel is not None and not isinstance(cancel, CancelBatch):
            self.batch.stop_for(cancel)


class TrainTurn(TurnCursor[X, Y, P], TurnPredicted[X, Y, P], TurnLoss, TurnBackward):
    """TurnPredicted, TurnLoss and TurnBackward in one.

    Args:
        batch: The batch, as the loop's own callbacks have it.
        plan: Whom to call at its events.
        name: The objective's, in words.
        steps: How many steps the objective has taken.
        xb: The inputs.
        yb: The targets.
        opt: The objective's optimizer.
    """

    __slots__ = ("opt",)

    opt: Optimizer
    """The objective's optimizer."""

    steps: int
    """How many steps the objective has taken."""

    stage: int
    """How far the turn has come, from BEGUN to ENDED."""

    def __init__(
        self,
        batch: Cursor[Any, Any, Any],  # Any: a turn's payload is not its batch's
        plan: BatchPlan[X, Y, P],
        name: str,
        steps: int,
        xb: X,
        yb: Y,
        opt: Optimizer,
    ) -> None:
        super().__init__(batch, plan, name, steps, xb, yb)
        self.opt = opt

    @override
    @_within_its_turn
    def loss(self, loss: Tensor, /) -> TurnLoss:
        if self.stage != PREDICTED:
            self._check_stopped("loss")
            return self
        check_loss(loss)
        self.computed = loss
        self.stage = LOSS
        if self.hears_loss:
            self.take_after_loss(fold(AFTER_LOSS, self.plan.after_loss, self._after_loss()))
        return self

    @override
    @_within_its_turn
    def backward(self) -> TurnBackward:
        if self.stage != LOSS:
            self._check_stopped("backward")
            return self
        trained = trained_by(self.opt)
        before = marks(trained)
        try:
            if trained and self.plan.backward is not None:  # an engine's, over several processes
                self.plan.backward(self.computed)
            elif trained:
                autograd.backward((self.computed,), inputs=trained)
        except Exception as error:
            check_graph(self.computed, error)
            raise
        if not any(map(is_reached, trained, before)):
            raise self._reaches_nothing(trained)
        self.stage = BACKWARD
        if self.hears_backward:
            self._fire_after_backward()
        return self

    @override
    @_within_its_turn
    def step(self) -> None:
        if self.stage != BACKWARD:
            self._check_stopped("step")
            if self.cancel is not None and self._furthest == BACKWARD:
                self.opt.zero_grad()
            return
        self.opt.step()
        self.steps += 1
        self.stage = STEPPED
        if not self.hears_step or self._fire_after_step():
            self.opt.zero_grad()

    def _reaches_nothing(self, trained: list[Tensor]) -> LoopError:
        if not trained:
            return LoopError(f"the optimizer of {self.name} has no parameter that requires a gradient: all are frozen.")
        return LoopError(
            f"the loss of {self.name} depends on none of the {len(trained)} parameters that its optimizer trains "
            f"({self.place}), so that a step would do nothing: is it another objective's loss, or was something on "
            f"the way detached?"
        )


class ValidTurnCursor(TurnCursor[X, Y, P], ValidCursor[X, Y, P]):
    """ValidPredicted and Evaluated in one."""

    __slots__ = ()

    @override
    @_within_its_turn
    def loss(self, loss: Tensor, /) -> Evaluated:
        return super().loss(loss)


class _AnyTurn(Scope[X, Y], Generic[C, X, Y]):
    """What a turn in training and one in validation have in common."""

    __slots__ = ("cursor",)

    xb: X
    """The inputs."""

    yb: Y
    """The targets."""

    cursor: C
    """Where it is."""

    def __init__(self, cursor: C) -> None:
        self.cursor = cursor
        self.xb = cursor.xb
        self.yb = cursor.yb

    @property
    def cancelled(self) -> bool:
        """Whether a callback has cancelled this turn, or the batch that it stands in: nothing more happens in it."""
        return self.cursor.cancelled


class Turn(_AnyTurn[TrainTurn[X, Y, P], X, Y], Generic[X, Y, P]):
    """An objective's turn in a training batch: begin_batch of its callbacks has fired."""

    __slots__ = ()

    def pred(self, pred: P, /) -> TurnPredicted[X, Y, P]:
        """Fires after_pred.

        Args:
            pred: What the models made of this turn. Several forward passes may be in it: P is the objective's own, a
                NamedTuple of tensors say.

        Returns:
            The prediction as the callbacks left it, and the way to the loss.
        """
        self.cursor.predicted(pred)
        return self.cursor


class ValidTurn(_AnyTurn[ValidTurnCursor[X, Y, P], X, Y], Generic[X, Y, P]):
    """An objective's turn in a validation batch: begin_batch of its callbacks has fired."""

    __slots__ = ()

    def pred(self, pred: P, /) -> ValidPredicted[X, Y, P]:
        """Fires after_pred.

        Args:
            pred: What the models made of this turn.

        Returns:
            The prediction as the callbacks left it, and the way to the loss.
        """
        self.cursor.predicted(pred)
        return self.cursor


def trained_by(opt: Optimizer) -> list[Tensor]:
    """The parameters that an optimizer steps and that require a gradient."""
    groups: list[dict[str, list[nn.Parameter]]] = opt.param_groups
    return [parameter for group in groups for parameter in group["params"] if parameter.requires_grad]


def marks(parameters: list[Tensor]) -> list[Mark]:
    """What tells whether backward has reached each parameter.

    A turn that was not stepped has left its gradients, which backward adds to.

    Args:
        parameters: The parameters, before backward.
    """
    return [
        (None, 0) if parameter.grad is None else (parameter.grad, _version(parameter.grad)) for parameter in parameters
    ]


def is_reached(parameter: Tensor, before: Mark) -> bool:
    """Whether backward has reached a parameter.

    Args:
        parameter: The parameter, after backward.
        before: What `marks` said of it.
    """
    old, version = before
    return parameter.grad is not old or (old is not None and _version(old) != version)


def _version(gradient: Tensor) -> int:
    """How often a gradient has been changed in place; of one in shards this rank's shard, which is what is added to."""
    if not hasattr(gradient, "to_local"):
        return gradient._version
    with no_grad():
        return own_shard(gradient)._version
