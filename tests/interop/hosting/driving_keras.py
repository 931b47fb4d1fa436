"""Runs Keras on torch."""

from __future__ import annotations

import importlib
import os
from functools import partial
from typing import Any

from driving import Driver, Ran, Task
from torch import nn
from torch.optim import SGD
from typing_extensions import override

from typedcb.interop.hosting import Hosting
from typedcb.interop.hosts import KERAS, KERAS_CALLBACK

os.environ.setdefault("KERAS_BACKEND", "torch")


def loader_of(pairs: Any) -> Any:
    """A loader as Keras takes it."""
    from torch.utils.data import DataLoader  # noqa: PLC0415

    return DataLoader(list(pairs), batch_size=1, collate_fn=lambda batch: batch[0])


def model_of(task: Task, losses: list[float], *, mixin: bool = True, **options: Any) -> Any:
    """A model of a task, compiled."""
    import keras  # noqa: PLC0415

    typed: Any = importlib.import_module("typedcb.interop.keras").TypedModel
    bases: Any = (typed, keras.Model) if mixin else (keras.Model,)

    class Net(*bases):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner = keras.layers.TorchModuleWrapper(task.model())

        def call(self, xb: Any) -> Any:
            return self.inner(xb)

        def compute_loss(
            self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
        ) -> Any:
            loss = task.loss(y_pred, y)
            if training and loss.device.type != "meta":  # Keras builds a model on none
                losses.append(float(loss.detach()))
            return loss

    settings: Any = task.opt([nn.Parameter()]).param_groups[0]
    net = Net()
    net.built = net.inner.built = True  # or Keras calls the model to find out
    optimizer = keras.optimizers.SGD(settings["lr"], momentum=float(settings["momentum"]))
    net.compile(**{"optimizer": optimizer, "jit_compile": False, **options})
    return net


class Keras(Driver):
    name = "keras"
    package = "keras"
    host = KERAS
    mixin = True
    exact = False  # it has learning rates in float32

    @override
    def task(self, task: Task) -> Task:
        return task.count(opt=partial(SGD, lr=0.1))  # its momentum is another: the learning rate goes into the velocity

    @override
    def hosting(self, *callbacks: Any, **options: Any) -> Hosting[Any, Any, Any]:
        hosted: Hosting[Any, Any, Any] = importlib.import_module("typedcb.interop.keras").host(*callbacks, **options)
        return hosted

    @override
    def fit(self, task: Task, hosting: Any, **options: Any) -> Ran:
        losses: list[float] = []
        net = model_of(task, losses, mixin=self.mixin and hosting is not None, **options)
        net.fit(
            loader_of(task.train), epochs=task.n_epochs, verbose=0, shuffle=False,
            validation_data=loader_of(task.valid) if task.valid else None,
            callbacks=[] if hosting is None else [hosting],
        )  # fmt: skip
        return Ran(net, losses)


class Plain(Keras):
    """Without the mixin."""

    name = "keras_callback"
    host = KERAS_CALLBACK
    mixin = False


FOUND = (Keras(), Plain())
