"""A batch under way, as types: each call hands out what may be called next.

    batch                                  TrainBatch: xb, yb                begin_batch has fired
    out = batch.pred(model(batch.xb))      Predicted: pred too               after_pred
    loss = out.loss(loss_func(...))        WithLoss: value too               after_loss
    done = loss.backward()                 BackwardDone                      after_backward
    done.step(opt)                                                           after_step

A call in the wrong order is a type error, and a LoopError. When a callback cancels the batch, what is handed out goes
on to accept calls and does nothing more, so that the loop's body needs no `if`; `out.cancelled` is for a body that
would rather `continue`. In validation there is nothing to step on: ValidBatch, ValidPredicted, Evaluated.

A scope always stands at the batch of its pass that is under way (`typedcb.cursor`). Take tensors out of it; keeping the
scope itself keeps no batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from torch import Tensor

from .events import P, X, Y
from .optimizer import Steps

L_co = TypeVar("L_co", covariant=True)


class HasPrediction(ABC, Generic[L_co, X, Y, P]):
    """A batch, or a turn in one, whose prediction is there.

    Type parameters:
        L_co: What has the loss.
        X: The inputs.
        Y: The targets.
        P: The prediction.
    """

    __slots__ = ()

    xb: X
    """The inputs."""

    yb: Y
    """The targets."""

    pred: P
    """The prediction, as the callbacks left it."""

    cancelled: bool
    """Whether a callback has cancelled it: nothing more happens in it."""

    @abstractmethod
    def loss(self, loss: Tensor, /) -> L_co:
        """Fires after_loss.

        Args:
            loss: The loss of `pred`, a scalar tensor.

        Returns:
            The loss as the callbacks left it; in training, the way to backward.

        Raises:
            BatchError: The loss is no scalar tensor.
        """


class HasLoss(ABC):
    """A batch, or a turn in one, whose loss is there."""

    __slots__ = ()

    @property
    @abstractmethod
    def value(self) -> Tensor:
        """The loss as the callbacks left it; in training it holds its graph until backward has run."""

    cancelled: bool
    """Whether a callback has cancelled it: nothing more happens in it."""


class Predicted(HasPrediction["WithLoss", X, Y, P]):
    """A training batch whose prediction is there."""

    __slots__ = ()


class WithLoss(HasLoss):
    """A training batch whose loss is there."""

    __slots__ = ()

    @abstractmethod
    def backward(self) -> BackwardDone:
        """Computes the gradients and fires after_backward, unless a callback skipped that.

        Returns:
            The way to the step.
        """


class BackwardDone(ABC):
    """A training batch whose gradients are there."""

    __slots__ = ()

    cancelled: bool
    """Whether a callback has cancelled this batch: nothing more happens in it."""

    @abstractmethod
    def step(self, opt: Steps, /) -> None:
        """Steps, fires after_step and zeroes the gradients, unless a callback skipped that.

        The gradients of a batch that was cancelled after backward are dropped: call it also then, or they are added to
        the next batch's.

        Args:
            opt: The optimizer.
        """


class ValidPredicted(HasPrediction["Evaluated", X, Y, P]):
    """A validation batch, or a turn in one, whose prediction is there."""

    __slots__ = ()


class Evaluated(HasLoss):
    """A validation batch, or a turn in one, whose loss is there."""

    __slots__ = ()
