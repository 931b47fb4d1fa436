"""Runs fastai v2."""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any

from driving import Driver, Loader, Ran, Task
from torch import nn
from typing_extensions import override

from typedcb.interop.hosting import Hosting
from typedcb.interop.hosts import FASTAI


def learner_of(task: Task, *callbacks: Any, **options: Any) -> Any:
    """A quiet learner, with fastai's default callbacks."""
    from fastai.data.core import DataLoaders  # noqa: PLC0415
    from fastai.learner import Learner  # noqa: PLC0415
    from fastai.optimizer import OptimWrapper  # noqa: PLC0415

    lr = task.opt([nn.Parameter()]).param_groups[0]["lr"]  # fastai gives it to the optimizer itself
    settings: dict[str, Any] = {
        "loss_func": task.loss, "opt_func": partial(OptimWrapper, opt=task.opt), "lr": lr, "cbs": list(callbacks),
    }  # fmt: skip
    learn = Learner(DataLoaders(Loader(task.train), Loader(task.valid)), task.model(), **{**settings, **options})
    learn.logger = lambda *args: None
    for bar in [cb for cb in learn.cbs if type(cb).__name__ == "ProgressCallback"]:  # there once it was imported
        learn.remove_cb(bar)
    return learn


def losses_of(learn: Any) -> list[float]:
    """Where the loss of each training batch will stand."""
    from fastai.callback.core import Callback  # noqa: PLC0415

    losses: list[float] = []

    class KeepsLosses(Callback):
        order = 70

        def after_batch(self) -> None:
            if learn.training:
                losses.append(learn.loss.item())

    learn.add_cb(KeepsLosses())
    return losses


class Fastai(Driver):
    name = "fastai"
    package = "fastai"
    host = FASTAI

    @override
    def hosting(self, *callbacks: Any, **options: Any) -> Hosting[Any, Any, Any]:
        hosted: Hosting[Any, Any, Any] = importlib.import_module("typedcb.interop.fastai").host(*callbacks, **options)
        return hosted

    @override
    def fit(self, task: Task, hosting: Any, **options: Any) -> Ran:
        if hosting is not None and hosting.learn is not None:  # fastai has a callback in one learner at a time
            hosting.learn.remove_cb(hosting)
        learn = learner_of(task, *([] if hosting is None else [hosting]), **options)
        losses = losses_of(learn)
        learn.fit(task.n_epochs)
        return Ran(learn.model, losses)


FOUND = (Fastai(),)
