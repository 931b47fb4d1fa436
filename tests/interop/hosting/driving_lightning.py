"""Runs Lightning."""

from __future__ import annotations

import importlib
import logging
import warnings
from typing import Any

from driving import Driver, Loader, Pair, Ran, Task
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import override

from typedcb.interop.hosting import Hosting
from typedcb.interop.hosts import LIGHTNING


def module_of(task: Task, losses: list[float]) -> Any:
    """A LightningModule of a task."""
    import lightning as L  # noqa: PLC0415

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = task.model()

        def forward(self, xb: Tensor) -> Tensor:
            return self.net(xb)

        def training_step(self, batch: Pair, batch_idx: int) -> Tensor:
            xb, yb = batch
            loss = task.loss(self(xb), yb)
            losses.append(float(loss))
            return loss

        def validation_step(self, batch: Pair, batch_idx: int) -> Tensor:
            xb, yb = batch
            return task.loss(self(xb), yb)

        def configure_optimizers(self) -> Optimizer:
            return task.opt(self.parameters())

    return Module()


def trainer_of(n_epochs: int, *callbacks: Any, **options: Any) -> Any:
    """A quiet Trainer."""
    import lightning as L  # noqa: PLC0415

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    settings: dict[str, Any] = {
        "accelerator": "cpu", "max_epochs": n_epochs, "callbacks": list(callbacks), "logger": False,
        "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False,
    }  # fmt: skip
    return L.Trainer(**{**settings, **options})


class Lightning(Driver):
    name = "lightning"
    package = "lightning"
    host = LIGHTNING

    @override
    def hosting(self, *callbacks: Any, **options: Any) -> Hosting[Any, Any, Any]:
        hosted: Hosting[Any, Any, Any] = importlib.import_module("typedcb.interop.lightning").host(
            *callbacks, **options
        )
        return hosted

    @override
    def fit(self, task: Task, hosting: Hosting[Any, Any, Any] | None, *, ckpt: Any = None, **options: Any) -> Ran:
        losses: list[float] = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = module_of(task, losses)
            trainer = trainer_of(task.n_epochs, *([] if hosting is None else [hosting]), **options)
            trainer.fit(module, Loader(task.train), Loader(task.valid) if task.valid else None, ckpt_path=ckpt)
        return Ran(module, losses)


FOUND = (Lightning(),)
