"""What a loop trains beside others: a model, its optimizer and its callbacks, with turns of its own in each batch.

    critic = Objective[Tensor, Tensor, Scores](critic_net, critic_opt, cb_funcs=[partial(GradientClip, clip=1.0)])
    generator = Objective[Tensor, Tensor, Tensor](generator_net, generator_opt, [SmoothLoss()])
    loop = Loop[Tensor, Tensor]([...], objectives=[critic, generator])
    ...
        for batch in epoch.train(dl):
            turn = batch.turn(critic, batch.xb, noise())
            out = turn.pred(Scores(critic_net(turn.xb), critic_net(generator_net(turn.yb).detach())))
            out.loss(critic_loss(out.pred)).backward().step()
            ...

An objective's callbacks hear its turns as a loop's callbacks hear batches, and they hear the events of the fit, of the
epochs and of the validations with everybody else. So a callback needs to know nothing of objectives: which of them it
is for is said by where it stands.
"""

from __future__ import annotations

from typing import Any, Callable, Generic, Optional, Sequence

from torch import nn
from torch.optim import Optimizer
from typing_extensions import TypeVar, override

from .attach import Group, made_by
from .callback import Callback, SomeCallback, field_values, is_callback
from .cursor import Cursor
from .dispatch import BatchPlan, Watching, batch_plan, batch_watched
from .engine import Engine
from .errors import CallbackError, LoopError
from .events import P, X, Y
from .optimizer import check_closure
from .stages import ENDED
from .turns import TrainTurn, Turn, TurnCursor, ValidTurn, ValidTurnCursor

M = TypeVar("M", bound=nn.Module, default=nn.Module)


class Objective(Group, Generic[X, Y, P, M]):
    """A model and the optimizer that steps it, with callbacks of their own; a loop gives it turns in its batches.

    It has a `model` and an `opt`, which is all that `GradientClip`, the schedules and their like want: pass them in
    `cb_funcs`.

    Type parameters:
        X: The inputs of a turn.
        Y: The targets of a turn.
        P: What the models make of a turn. With several forward passes a NamedTuple of tensors, say.
        M: The model's own class.

    Args:
        model: The model that is trained.
        opt: The optimizer that steps; its parameters are those whose gradients a turn computes.
        cbs: Callback instances; they hear the turns of this objective alone.
        cb_funcs: Factories, each called with this objective, such as `partial(GradientClip, clip=0.1)`.
        name: What errors call it; the name of the model's class by default.

    Raises:
        CallbackError: An instance stands among the factories, or a callback was made for another objective.
        LoopError: The optimizer's step wants a closure, as LBFGS's does.
    """

    def __init__(
        self,
        model: M,
        opt: Optimizer,
        cbs: Sequence[Callback[X, Y, P]] = (),
        cb_funcs: Sequence[Callable[[Objective[X, Y, P, M]], Callback[X, Y, P]]] = (),
        *,
        name: str = "",
    ) -> None:
        check_closure(opt)
        self._model = model
        self._opt = opt
        self._name = name or type(model).__name__
        self._steps = 0
        self._under_way: Optional[TurnCursor[X, Y, P]] = None
        self._cbs = (*cbs, *made_by(self, "the objective", cb_funcs))
        for callback in self._cbs:
            self._check_mine(callback)
        self._plan_train: BatchPlan[X, Y, P] = batch_plan((), "train")
        self._plan_valid: BatchPlan[X, Y, P] = batch_plan((), "valid")
        self._engaged_train, self._engaged_valid = self._plan_train, self._plan_valid

    @property
    @override
    def model(self) -> M:
        """The model that is trained."""
        return self._model

    @property
    @override
    def opt(self) -> Optimizer:
        """The optimizer that steps."""
        return self._opt

    @property
    @override
    def cbs(self) -> tuple[Callback[X, Y, P], ...]:
        """The callbacks; in the order in which they run, once a loop has the objective."""
        return self._cbs

    @property
    @override
    def name(self) -> str:
        """What errors call it."""
        return self._name

    @property
    @override
    def steps(self) -> int:
        """How many steps it has taken in the fit: what its events have as `step`."""
        return self._steps if self._under_way is None else self._under_way.steps

    @override
    def arrange(self, order: Sequence[SomeCallback], watchings: Sequence[Watching]) -> None:
        """Takes the order in which its callbacks run; a loop calls it.

        Args:
            order: All callbacks of the loop and of its objectives.
            watchings: What stands around their hooks.
        """
        rank = {id(callback): place for place, callback in enumerate(order)}
        self._cbs = tuple(sorted(self._cbs, key=lambda callback: rank[id(callback)]))
        self._plan_train = batch_plan(self._cbs, "train")
        self._plan_valid = batch_plan(self._cbs, "valid")
        for watching in watchings:
            self._plan_train = batch_watched(self._plan_train, watching)
            self._plan_valid = batch_watched(self._plan_valid, watching)

    @override
    def engage(self, engine: Engine) -> None:
        """Takes the processes that a fit or a validation runs in; a loop calls it as one begins.

        Args:
            engine: The processes.
        """
        self._engaged_train = engine.planned_turn(self._plan_train, self._opt)
        self._engaged_valid = engine.planned_turn(self._plan_valid, self._opt)

    @override
    def restart(self, steps: int) -> None:
        """Begins a fit; a loop calls it.

        Args:
            steps: How many steps it has taken in a fit that is taken up.
        """
        self._steps = steps
        self._under_way = None

    # Any: a turn's payload is not its batch's
    def train_turn(self, batch: Cursor[Any, Any, Any], xb: X, yb: Y) -> Turn[X, Y, P]:
        """A turn in a training batch; `batch.turn` calls it.

        Args:
            batch: The batch under way.
            xb: The inputs.
            yb: The targets.

        Raises:
            LoopError: The batch has ended, or its loop has no such objective.
        """
        self._make_way(batch)
        cursor = TrainTurn(batch, self._engaged_train, self._name, self._steps, xb, yb, self._opt)
        self._begin(cursor)
        return Turn(cursor)

    # Any: as said
    def valid_turn(self, batch: Cursor[Any, Any, Any], xb: X, yb: Y) -> ValidTurn[X, Y, P]:
        """A turn in a validation batch; `batch.turn` calls it.

        Args:
            batch: The batch under way.
            xb: The inputs.
            yb: The targets.

        Raises:
            LoopError: The batch has ended, or its loop has no such objective.
        """
        self._make_way(batch)
        cursor = ValidTurnCursor(batch, self._engaged_valid, self._name, self._steps, xb, yb)
        self._begin(cursor)
        return ValidTurn(cursor)

    @override
    def end_turn(self) -> None:
        """Ends the turn that is under way, if one is; a loop calls it at the end of each batch."""
        cursor = self._under_way
        if cursor is None:
            return
        cancel = cursor.close()
        self._settle(cursor)
        if cancel is not None:
            cursor.batch.stop_for(cancel)

    @override
    def fail_turn(self, error: BaseException) -> list[BaseException]:
        """Ends the turn that is under way, if one is, by an error: what went wrong in that."""
        cursor = self._under_way
        if cursor is None:
            return []
        self._settle(cursor)
        return list(cursor.late) if cursor.stage == ENDED else cursor.fail(error)

    def _make_way(self, batch: Cursor[Any, Any, Any]) -> None:  # Any: a turn's payload is not its batch's
        """Ends the turn before, and refuses a batch that cannot have one."""
        if not any(objective is self for objective in batch.objectives):
            raise LoopError(
                f"{self._name} is no objective of this loop: name it when the loop is made, "
                f"Loop(..., objectives=[...])."
            )
        if batch.stage == ENDED:
            raise LoopError(f"this batch ({batch.place}) has ended: batch.turn belongs inside the body of its loop.")
        self.end_turn()

    def _begin(self, cursor: TurnCursor[X, Y, P]) -> None:
        if cursor.cancelled:
            return  # so was its batch: no callback hears of it
        self._under_way = cursor
        if cursor.plan.begin_batch:
            cursor.begin()

    def _settle(self, cursor: TurnCursor[X, Y, P]) -> None:
        self._steps = cursor.steps
        self._under_way = None

    def _check_mine(self, callback: object) -> None:
        """Refuses a callback that was made for another objective."""
        for name, value in field_values(callback).items() if is_callback(callback) else ():
            if isinstance(value, Objective) and value is not self:
                raise CallbackError(
                    f"{type(callback).__name__}.{name} is another objective than the one whose turns it would hear: "
                    f"pass it there, or in cb_funcs, which fill the objective in."
                )
