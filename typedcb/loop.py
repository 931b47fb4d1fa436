"""A training loop as types: each scope hands out the next one, and fires the events on the way.

    loop = Loop[Tensor, Tensor, Tensor]([stats, smooth])
    with loop.fit(n_epochs=3) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(train_dl):
                out = batch.pred(model(batch.xb))
                out.loss(F.cross_entropy(out.pred, out.yb)).backward().step(opt)
            with torch.no_grad():
                for batch in epoch.validate(valid_dl):
                    out = batch.pred(model(batch.xb))
                    out.loss(F.cross_entropy(out.pred, out.yb))

The loop knows no model: `train()` and `eval()`, `no_grad` and devices are its body's. A Cancel ends the `for` that it
is for, and needs nothing of the body. What ends a body early (`break`, an error) is noticed when the loop is next
asked for something, at the latest when the `with` ends: `after_batch` and `after_fit` come in any case.

What the `with` and its `for`s hand out is in `fit` and `validation`, the passes over the data under them are in `run`,
a batch is in `batches` and `scopes`, and the events that it fires are in `cursor`.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from typing import Final, Generic, Optional, Sequence

from .attach import Attached, Group
from .callback import Callback
from .dispatch import Plan
from .engine import Engine, engine_of
from .errors import LoopError
from .events import P, X, Y
from .fit import FitScope
from .position import Position, Resumption
from .ranks import over
from .validation import ValidationScope

_STARTING: Final = threading.Lock()
"""Held while a loop is marked as running, so that of two threads one is refused."""


class Loop(Generic[X, Y, P]):
    """The callbacks of a loop of one's own."""

    def __init__(
        self,
        callbacks: Sequence[Callback[X, Y, P]] = (),
        *,
        objectives: Sequence[Group] = (),
        engine: Optional[Engine] = None,
    ) -> None:
        """Attaches the callbacks.

        Args:
            callbacks: Instances, in any order that suits: what a callback depends on runs before it.
            objectives: What is trained by turns within a batch, each an `Objective` with callbacks of its own.
            engine: The processes that it runs in; one by default.

        Raises:
            CallbackError: One is no callback instance, not frozen, or attached already.
            DependencyError: What one depends on is missing, or there is a circle.
            EngineError: There are objectives, and the engine cannot train them.
        """
        self._engine = engine_of(engine)
        self._over: Optional[AbstractContextManager[None]] = None
        if objectives:
            self._engine.check_turns([objective.model for objective in objectives])
        self._attached: Attached[X, Y, P] = Attached("this loop", objectives, callbacks)
        self._running = False
        self._fit: Optional[FitScope[X, Y, P]] = None

    @property
    def engine(self) -> Engine:
        """The processes that it runs in."""
        return self._engine

    @property
    def cbs(self) -> tuple[Callback[X, Y, P], ...]:
        """The callbacks in the order in which they run."""
        return self._attached.callbacks

    @property
    def objectives(self) -> tuple[Group, ...]:
        """What has turns of its own in the batches."""
        return self._attached.groups

    @property
    def running(self) -> bool:
        """Whether a fit or a validation is under way."""
        return self._running

    @property
    def position(self) -> Optional[Position]:
        """How far the fit has come that is under way, counting what has begun of a batch; None where there is none."""
        return None if self._fit is None else self._fit.position

    def add(self, *callbacks: Callback[X, Y, P]) -> None:
        """Attaches callbacks, all of them or none.

        Args:
            callbacks: Instances that are attached nowhere.

        Raises:
            CallbackError: One is no callback instance, not frozen, or attached already.
            DependencyError: What one depends on is missing, or there is a circle.
            LoopError: A fit is under way.
        """
        self._check_idle("callbacks are added before a fit, or for one fit by fit(cbs=...)")
        self._attached.add(callbacks)

    def remove(self, *callbacks: Callback[X, Y, P]) -> None:
        """Detaches callbacks, all of them or none.

        Args:
            callbacks: Instances that are attached to this loop.

        Raises:
            CallbackError: One is not attached to this loop.
            DependencyError: Another callback depends on one of them.
            LoopError: A fit is under way.
        """
        self._check_idle("callbacks are removed before or after a fit")
        self._attached.remove(callbacks)

    def fit(self, n_epochs: int, *, start_epoch: int = 0, resume: Optional[Resumption] = None) -> FitScope[X, Y, P]:
        """A fit, as a context manager: begin_fit fires as it is entered, after_fit as it is left, in whatever way.

        Args:
            n_epochs: How many epochs the fit is to reach, counted from 0.
            start_epoch: The first epoch that runs.
            resume: Where an earlier fit was left; this one goes on from there, whatever `start_epoch` is.

        Raises:
            ValueError: There is no such range of epochs.
        """
        if resume is not None:
            start_epoch = resume.position.epoch
        if not 0 <= start_epoch <= n_epochs:
            raise ValueError(
                f"n_epochs={n_epochs}, start_epoch={start_epoch}: a fit runs the epochs from start_epoch up to "
                f"n_epochs, so 0 <= start_epoch <= n_epochs."
            )
        return FitScope(self, n_epochs, start_epoch, resume)

    def validation(self, epoch: int = 0) -> ValidationScope[X, Y, P]:
        """A validation outside of any fit, as a context manager: neither begin_fit nor after_fit fires.

        Args:
            epoch: The number that its events carry.
        """
        return ValidationScope(self, epoch)

    def start(self, fit: Optional[FitScope[X, Y, P]] = None) -> Plan[X, Y, P]:
        """Marks the loop as running, and hands out the plan; the loop's own scopes use it.

        Args:
            fit: The fit that begins, where it is one.

        Raises:
            LoopError: It is running already.
        """
        with _STARTING:
            self._check_idle("a fit inside a fit would share its callbacks' state")
            plan = self._engine.planned(self._attached.plan, self._attached.everybody)
            for objective in self._attached.groups:
                objective.engage(self._engine)
            self._running = True
        self._over = over(self._engine)
        self._over.__enter__()
        self._fit = fit
        return plan

    def stop(self) -> None:
        """Marks the loop as idle."""
        if self._over is not None:
            self._over.__exit__(None, None, None)
        self._over = None
        self._running = False
        self._fit = None

    def _check_idle(self, why: str) -> None:
        if self._running:
            raise LoopError(f"a fit is under way on this loop: {why}.")
