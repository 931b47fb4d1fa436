"""Runs skorch."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from driving import Driver, Loader, Ran, Task
from torch import nn
from typing_extensions import override

from typedcb.interop.hosting import Hosting
from typedcb.interop.hosts import SKORCH


class Criterion(nn.Module):
    """A loss function as the module that skorch wants."""

    def __init__(self, loss: Any) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, pred: Any, yb: Any) -> Any:
        return self.loss(pred, yb)


def net_of(task: Task, *callbacks: Any, mixin: bool = True, **options: Any) -> Any:
    """A quiet net, without skorch's own callbacks."""
    from skorch import NeuralNet  # noqa: PLC0415
    from skorch.dataset import Dataset  # noqa: PLC0415
    from skorch.helper import predefined_split  # noqa: PLC0415

    typed: Any = importlib.import_module("typedcb.interop.skorch").TypedNet
    # the loaders give the batches, whatever the data sets are
    valid = Dataset(torch.zeros(1), torch.zeros(1)) if task.valid else None
    settings: dict[str, Any] = {
        "criterion": Criterion, "criterion__loss": task.loss,
        "optimizer": lambda params, **_: task.opt(params), "max_epochs": task.n_epochs,
        "iterator_train": lambda dataset, **_: Loader(task.train), "verbose": 0, "callbacks": list(callbacks),
        "iterator_valid": lambda dataset, **_: Loader(task.valid),
        "train_split": predefined_split(valid) if valid is not None else None,
    }  # fmt: skip
    return (typed if mixin else NeuralNet)(task.model(), **{**settings, **options})


class Skorch(Driver):
    name = "skorch"
    package = "skorch"
    host = SKORCH

    @override
    def hosting(self, *callbacks: Any, **options: Any) -> Hosting[Any, Any, Any]:
        hosted: Hosting[Any, Any, Any] = importlib.import_module("typedcb.interop.skorch").host(*callbacks, **options)
        return hosted

    @override
    def fit(self, task: Task, hosting: Any, **options: Any) -> Ran:
        net = net_of(task, *([] if hosting is None else [hosting]), mixin=hosting is not None, **options)
        net.fit(torch.zeros(1), torch.zeros(1))
        losses = [batch["train_loss"] for epoch in net.history for batch in epoch["batches"] if "train_loss" in batch]
        return Ran(net.module_, losses)


FOUND = (Skorch(),)
