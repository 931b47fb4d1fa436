"""What `pred`, `loss`, `backward` and `step` do in a loop's own batches.

What a type calls Predicted, WithLoss and BackwardDone is one object at run time, a cursor. A loop's overhead lies in
what is done here, so that there is a cursor for passes to which nobody listens, and one for several processes.
"""

from __future__ import annotations

from torch import Tensor, autograd
from typing_extensions import override

from .cursor import Cursor
from .dispatch import fold
from .events import AfterLoss, P, X, Y
from .hooks import AFTER_LOSS
from .losses import check_graph, check_loss
from .optimizer import Steps, check_closure
from .scopes import BackwardDone, Evaluated, Predicted, ValidPredicted, WithLoss
from .stages import BACKWARD, CANCELLED, LOSS, PREDICTED, STEPPED


class TrainCursor(Cursor[X, Y, P], Predicted[X, Y, P], WithLoss, BackwardDone):
    """Predicted, WithLoss and BackwardDone in one."""

    __slots__ = ()

    # As Cursor has them: pyright takes an assignment in a subclass for a declaration of its own.
    stage: int
    steps: int

    @override
    def loss(self, loss: Tensor, /) -> WithLoss:
        if self.stage != PREDICTED:
            self._check_stopped("loss")
        else:
            self.computed = loss
            self.stage = LOSS
            if self.hears_loss:
                if not self.index:  # what a loss function gives does not change its shape from batch to batch
                    check_loss(loss)
                event = AfterLoss(
                    self.phase, self.epoch, self.index, self.n_batches, self.steps, self.xb, self.yb, self.pred, loss
                )
                answer = fold(AFTER_LOSS, self.plan.after_loss, event)
                if answer is not event:
                    self.take_after_loss(answer)
        return self

    @override
    def backward(self) -> BackwardDone:
        if self.stage != LOSS:
            self._check_stopped("backward")
            return self
        try:
            autograd.backward((self.computed,))  # as loss.backward() does, with one call less
        except Exception as error:
            check_graph(self.computed, error)
            raise
        self.stage = BACKWARD
        if self.hears_backward:
            self._fire_after_backward()
        return self

    @override
    def step(self, opt: Steps, /) -> None:
        if self.stage != BACKWARD:
            self._check_stopped("step")
            if self.cancel is not None and self._furthest == BACKWARD:
                opt.zero_grad()
            return
        try:
            opt.step()
        except TypeError:
            check_closure(opt)
            raise
        self.steps += 1
        self.stage = STEPPED
        if not self.hears_step or self._fire_after_step():
            opt.zero_grad()


class QuietTrainCursor(TrainCursor[X, Y, P]):
    """The same when nobody listens after begin_batch: the calls do not ask, which is a tenth of what they cost."""

    __slots__ = ()

    stage: int  # as said
    steps: int

    @override
    def loss(self, loss: Tensor, /) -> WithLoss:
        if self.stage != PREDICTED:
            self._check_stopped("loss")
        else:
            self.computed = loss
            self.stage = LOSS
        return self

    @override
    def backward(self) -> BackwardDone:
        if self.stage != LOSS:
            return super().backward()
        try:
            autograd.backward((self.computed,))
        except Exception as error:
            check_graph(self.computed, error)
            raise
        self.stage = BACKWARD
        return self

    @override
    def step(self, opt: Steps, /) -> None:
        if self.stage != BACKWARD:
            super().step(opt)
            return
        try:
            opt.step()
        except TypeError:
            check_closure(opt)
            raise
        self.steps += 1
        self.stage = STEPPED
        opt.zero_grad()


class EngineTrainCursor(TrainCursor[X, Y, P]):
    """The same with the plan's own backward, which an engine of several processes brings."""

    __slots__ = ()

    stage: int  # as said

    @override
    def backward(self) -> BackwardDone:
        if self.stage != LOSS or self.plan.backward is None:
            return super().backward()
        try:
            cancel = self.plan.backward(self.computed)
        except Exception as error:
            check_graph(self.computed, error)
            raise
        self.stage = BACKWARD
        if cancel is not None:
            self._stop(CANCELLED, cancel)
        elif self.hears_backward:
            self._fire_after_backward()
        return self


class ValidCursor(Cursor[X, Y, P], ValidPredicted[X, Y, P], Evaluated):
    """ValidPredicted and Evaluated in one."""

    __slots__ = ()

    stage: int  # as said

    @override
    def loss(self, loss: Tensor, /) -> Evaluated:
        if self.stage != PREDICTED:
            self._check_stopped("loss")
        else:
            check_loss(loss)
            self.computed = loss
            self.stage = LOSS
            if self.hears_loss:
                self.take_after_loss(fold(AFTER_LOSS, self.plan.after_loss, self._after_loss()))
        return self
