"""Lightning's own callbacks, and hosted ones that do the same: what a few listeners cost, and what many do."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any, Callable

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from typedcb.callbacks import (
    LR,
    AvgStats,
    BatchTransform,
    GradientClip,
    ParamScheduler,
    Recorder,
    SmoothLoss,
    accuracy,
    one_cycle,
)
from typedcb.interop.lightning import host

from .listeners import Reads, ReadsBothEnds
from .task import Batches, Pair, mlp, sgd

CLIP, BETA, TOP = 0.05, 0.98, 0.2

Fit = Callable[[], object]
"""A fit, from making the model to its end."""


def moved(xb: Tensor, yb: Tensor) -> Pair:
    """Another batch."""
    return xb * 1.5 + 0.25, yb


class _Means(L.Callback):
    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        self.samples, self.loss, self.metric = 0, 0.0, 0.0

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        size = len(batch[1])
        self.samples += size
        with torch.no_grad():
            self.loss = self.loss + outputs["loss"] * size
            self.metric = self.metric + accuracy(outputs["pred"], batch[1]) * size

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        self.row = float(self.loss / self.samples), float(self.metric / self.samples)


class _Smooth(L.Callback):
    def on_fit_start(self, trainer: Any, module: Any) -> None:
        self.mean, self.count = 0.0, 0

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.mean = BETA * self.mean + (1 - BETA) * outputs["loss"]
        self.count += 1


class _Record(L.Callback):
    def on_fit_start(self, trainer: Any, module: Any) -> None:
        self.losses: list[float] = []
        self.rates: list[float] = []
        self.pending: list[Tensor] = []

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.pending.append(outputs["loss"])
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        self.losses += torch.stack(self.pending).tolist()
        self.pending.clear()


class _Clip(L.Callback):
    def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
        nn.utils.clip_grad_norm_([one for one in module.parameters() if one.grad is not None], CLIP)


class _Scheduled(L.Callback):
    def on_fit_start(self, trainer: Any, module: Any) -> None:
        self.schedule = one_cycle(TOP)

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        where = (trainer.current_epoch + batch_idx / trainer.num_training_batches) / trainer.max_epochs
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = self.schedule(where)


class _Module(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model = mlp()

    @override
    def forward(self, xb: Tensor) -> Tensor:
        pred: Tensor = self.model(xb)
        return pred

    @override
    def training_step(self, batch: Pair, index: int) -> Any:
        xb, yb = batch
        return F.cross_entropy(self(xb), yb)

    @override
    def configure_optimizers(self) -> torch.optim.Optimizer:
        return sgd(self.model.parameters())


class _Telling(_Module):
    """The same with its prediction in what it returns: without that, Lightning's callbacks cannot be told of it."""

    @override
    def training_step(self, batch: Pair, index: int) -> Any:
        xb, yb = batch
        pred = self(xb)
        return {"loss": F.cross_entropy(pred, yb), "pred": pred.detach()}


class _Moving(_Telling):
    @override
    def on_before_batch_transfer(self, batch: Pair, dataloader_idx: int) -> Pair:
        return moved(*batch)


class _Read(L.Callback):
    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        _ = outputs["loss"], batch_idx


class _ReadBothEnds(L.Callback):
    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        _ = batch_idx

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        _ = outputs["pred"], outputs["loss"]


def reads(batches: Batches, n_epochs: int) -> tuple[Fit, Fit]:
    """The loss of each batch."""
    return _fits(batches, n_epochs, lambda: [_Read()], lambda: [Reads()], _Module)


def both_ends(batches: Batches, n_epochs: int) -> tuple[Fit, Fit]:
    """Where each batch begins, and, where it ends, its prediction and its loss."""
    return _fits(batches, n_epochs, lambda: [_ReadBothEnds()], lambda: [ReadsBothEnds()], _Telling)


def five(batches: Batches, n_epochs: int) -> tuple[Fit, Fit]:
    """_Means of the loss and of a metric, a smoothed loss, a record, clipping, a schedule, and another batch."""
    return _fits(batches, n_epochs, _own_five, _typed_five, _Moving)


def _typed_five() -> list[Any]:
    return [
        AvgStats(accuracy), SmoothLoss(BETA), Recorder, partial(GradientClip, clip=CLIP),
        partial(ParamScheduler, param=LR, schedule=one_cycle(TOP)), BatchTransform(moved, train_only=True),
    ]  # fmt: skip


def _own_five() -> list[Any]:
    """The same as Lightning's callbacks, each as one would write it; the batch is the module's to replace there."""
    return [_Means(), _Smooth(), _Record(), _Clip(), _Scheduled()]


def _fits(
    batches: Batches,
    n_epochs: int,
    own: Callable[[], list[Any]],
    ours: Callable[[], list[Any]],
    module: Callable[[], _Module],
) -> tuple[Fit, Fit]:
    """A fit with Lightning's callbacks, and one with typed ones.

    Args:
        batches: The training batches.
        n_epochs: How many epochs.
        own: Makes Lightning's callbacks.
        ours: Makes the typed ones.
        module: Makes the module of Lightning's, which does for them what a callback there cannot.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    def fit(trained: Any, callbacks: list[Any]) -> object:
        trainer = L.Trainer(accelerator="cpu", max_epochs=n_epochs, barebones=True, callbacks=callbacks)
        trainer.fit(trained, batches)
        return [weight.detach() for weight in trained.parameters()]

    return lambda: fit(module(), own()), lambda: fit(_Module(), [host(*ours())])
