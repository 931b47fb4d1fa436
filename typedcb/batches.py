"""The batches of a loop, as its body has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Optional, TypeVar

from .batch_cursors import EngineTrainCursor, QuietTrainCursor, TrainCursor, ValidCursor
from .dispatch import BatchPlan
from .events import P, Phase, X, Y
from .scopes import Predicted, ValidPredicted
from .stages import PREDICTED

if TYPE_CHECKING:
    from torch import nn

    from .objective import Objective
    from .turns import Turn, ValidTurn

X2 = TypeVar("X2")
Y2 = TypeVar("Y2")
P2 = TypeVar("P2")
M2 = TypeVar("M2", bound="nn.Module")


class Scope(Generic[X, Y]):
    """What a batch and a turn have in common."""

    __slots__ = ("xb", "yb")

    xb: X
    """The inputs, as the callbacks left them."""

    yb: Y
    """The targets, as the callbacks left them."""


class TrainBatch(Scope[X, Y], Generic[X, Y, P]):
    """A training batch: begin_batch has fired."""

    __slots__ = ("cursor",)

    cursor: TrainCursor[X, Y, P]

    def __init__(
        self, plan: BatchPlan[X, Y, P], phase: Phase, epoch: int, n_batches: Optional[int], steps: int
    ) -> None:
        heard = plan.after_pred or plan.after_loss or plan.after_backward or plan.after_step
        if plan.backward is not None:
            self.cursor = EngineTrainCursor(plan, phase, epoch, n_batches, steps)
        elif heard:
            self.cursor = TrainCursor(plan, phase, epoch, n_batches, steps)
        else:
            self.cursor = QuietTrainCursor(plan, phase, epoch, n_batches, steps)

    def pred(self, pred: P, /) -> Predicted[X, Y, P]:
        """Fires after_pred.

        Args:
            pred: What the model made of `xb`.

        Returns:
            The prediction as the callbacks left it, and the way to the loss.
        """
        cursor = self.cursor
        if cursor.stage or cursor.hears_pred:
            cursor.predicted(pred)
        else:  # the same, when nobody listens
            cursor.pred = pred
            cursor.stage = PREDICTED
        return cursor

    def turn(self, objective: Objective[X2, Y2, P2, M2], xb: X2, yb: Y2, /) -> Turn[X2, Y2, P2]:
        """Gives an objective a turn in this batch: its own pred, loss, backward and step, told to its own callbacks.

        It lasts until the objective's next turn, or until the batch ends; turns of others may come meanwhile.

        Args:
            objective: One of the loop's.
            xb: Its inputs, which need not be the batch's.
            yb: Its targets.

        Returns:
            The way to the prediction. In a batch that was cancelled meanwhile it accepts calls and does nothing.

        Raises:
            LoopError: The batch has ended, or the loop has no such objective.
        """
        return objective.train_turn(self.cursor, xb, yb)


class ValidBatch(Scope[X, Y], Generic[X, Y, P]):
    """A validation batch: begin_batch has fired."""

    __slots__ = ("cursor",)

    cursor: ValidCursor[X, Y, P]

    def __init__(
        self, plan: BatchPlan[X, Y, P], phase: Phase, epoch: int, n_batches: Optional[int], steps: int
    ) -> None:
        self.cursor = ValidCursor(plan, phase, epoch, n_batches, steps)

    def pred(self, pred: P, /) -> ValidPredicted[X, Y, P]:
        """Fires after_pred.

        Args:
            pred: What the model made of `xb`.

        Returns:
            The prediction as the callbacks left it, and the way to the loss.
        """
        self.cursor.predicted(pred)
        return self.cursor

    def turn(self, objective: Objective[X2, Y2, P2, M2], xb: X2, yb: Y2, /) -> ValidTurn[X2, Y2, P2]:
        """Gives an objective a turn in this batch: its own pred and loss, told to its own callbacks.

        Args:
            objective: One of the loop's.
            xb: Its inputs, which need not be the batch's.
            yb: Its targets.

        Returns:
            The way to the prediction.

        Raises:
            LoopError: The batch has ended, or the loop has no such objective.
        """
        return objective.valid_turn(self.cursor, xb, yb)
