"""The bases that users' notebooks have, one of each old style, and ways to give a class all of its hooks at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

C = TypeVar("C", bound=type)

COURSE_HOOKS = [
    "begin_fit",
    "begin_epoch",
    "begin_batch",
    "after_pred",
    "after_loss",
    "after_backward",
    "after_step",
    "after_cancel_batch",
    "after_batch",
    "after_cancel_epoch",
    "begin_validate",
    "after_epoch",
    "after_cancel_train",
    "after_fit",
]

V1_HOOKS = [
    "train_begin",
    "epoch_begin",
    "batch_begin",
    "loss_begin",
    "backward_begin",
    "backward_end",
    "step_end",
    "batch_end",
    "epoch_end",
    "train_end",
]


class RunnerBase:
    """A base as in lesson 04 for the Runner: reads through its runner."""

    _order = 0
    run: Any

    def set_runner(self, run: Any) -> None:
        self.run = run

    def __getattr__(self, name: str) -> Any:
        return getattr(self.run, name)

    @property
    def name(self) -> str:
        return type(self).__name__.lower()


class CourseBase(RunnerBase):
    """A base as in lesson 05b: the same, and it calls its hooks itself."""

    def __call__(self, hook: str) -> bool:
        method = getattr(self, hook, None)
        return bool(method and method())


class HandlerBase:
    """A base as in lesson 04 for the CallbackHandler: every hook answers True."""

    learn: Any

    def begin_fit(self, learn: Any) -> object:
        self.learn = learn
        return True

    def begin_epoch(self, epoch: int) -> object:
        self.epoch = epoch
        return True

    def begin_batch(self, xb: Any, yb: Any) -> object:
        return True

    def after_loss(self, loss: Any) -> object:
        return True

    def after_backward(self) -> object:
        return True

    def after_step(self) -> object:
        return True

    def begin_validate(self) -> object:
        return True

    def after_epoch(self) -> object:
        return True

    def after_fit(self) -> object:
        return True


class V1Base:
    """A base as in fastai v1: every hook takes keyword arguments and answers nothing."""

    _order = 0

    def on_train_begin(self, **kwargs: Any) -> Any: ...
    def on_epoch_begin(self, **kwargs: Any) -> Any: ...
    def on_batch_begin(self, **kwargs: Any) -> Any: ...
    def on_loss_begin(self, **kwargs: Any) -> Any: ...
    def on_backward_begin(self, **kwargs: Any) -> Any: ...
    def on_backward_end(self, **kwargs: Any) -> Any: ...
    def on_step_end(self, **kwargs: Any) -> Any: ...
    def on_batch_end(self, **kwargs: Any) -> Any: ...
    def on_epoch_end(self, **kwargs: Any) -> Any: ...
    def on_train_end(self, **kwargs: Any) -> Any: ...


class V1LearnerBase(V1Base):
    """The same for callbacks that are made with a learner."""

    def __init__(self, learn: Any) -> None:
        self.learn = learn


def course_hooks(cls: C) -> C:
    """Gives a class all hooks of the course, each of which asks its `at`."""

    def hook_of(name: str) -> Callable[[Any], object]:
        def hook(self: Any) -> object:
            return self.at(name)

        return hook

    for name in COURSE_HOOKS:
        setattr(cls, name, hook_of(name))
    return cls


def v1_hooks(cls: C) -> C:
    """Gives a class all hooks of v1, each of which asks its `at`."""

    def hook_of(name: str) -> Callable[..., object]:
        def hook(self: Any, **kwargs: Any) -> object:
            return self.at(name, kwargs)

        return hook

    for name in V1_HOOKS:
        setattr(cls, f"on_{name}", hook_of(name))
    return cls
