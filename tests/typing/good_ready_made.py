"""The ready-made callbacks that train, change batches or look on, as people write them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import mkdtemp

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD
from torchmetrics.classification import MulticlassAccuracy
from typing_extensions import assert_type

from typedcb import Cell, DataBunch, FitOutcome, Learner, Loop, Series, View
from typedcb.callbacks import (
    EMA,
    LR,
    MOMENTUM,
    ActivationStats,
    AvgStats,
    BatchTransform,
    CSVLogger,
    EpochTime,
    ForwardHooks,
    Freeze,
    GradientAccumulation,
    GradientClip,
    LabelSmoothing,
    MixedPrecision,
    MixUp,
    PeakMemory,
    Profiler,
    Progress,
    Recorder,
    SmoothLoss,
    TensorBoard,
    Timer,
    ToDevice,
    Unfreeze,
    accuracy,
    discriminative,
    freeze_to,
    leaves,
)
from typedcb.needs import Parts
from typedcb.summary import Summary

Pair = tuple[Tensor, Tensor]
Text = dict[str, Tensor]
folder = Path(mkdtemp())
batches: list[Pair] = [(torch.randn(4, 3), torch.arange(4) % 2) for _ in range(3)]

stats = AvgStats(accuracy)
assert_type(stats.valid_loss, Cell[float])
assert_type(stats.valid(accuracy), View[float])
assert_type(stats.header, tuple[str, ...])
both = AvgStats((accuracy, MulticlassAccuracy(2)))
nothing = AvgStats()
smooth = SmoothLoss(beta=0.9)

learn = Learner(
    nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)),
    DataBunch(batches, batches),
    F.cross_entropy,
    partial(SGD, lr=0.1, momentum=0.9),
    cbs=[stats, smooth, Progress(stats, smooth), LabelSmoothing(0.1), CSVLogger(stats, folder / "fit.csv"), Timer()],
    cb_funcs=[partial(GradientClip, clip=0.1), PeakMemory, ActivationStats],
    splitter=lambda net: [net[0].parameters(), net[2].parameters()],
)
assert_type(learn, Learner[Tensor, Tensor, Tensor, nn.Sequential])

accumulation = learn.add(GradientAccumulation, n=2)
assert_type(accumulation, GradientAccumulation)
assert_type(learn.add(GradientClip, 1.0, by="value").clip, float)
ema = learn.add(EMA, decay=0.9, validate=False)
learn.add(MixedPrecision, dtype=torch.bfloat16)
recorder = learn.add(Recorder)
assert_type(recorder.losses, Series[float])
assert_type(learn.add(Recorder, MOMENTUM).params.value, tuple[tuple[float, ...], ...])
assert_type(learn.get(Timer).epochs, Series[EpochTime])
assert_type(learn.get(ActivationStats).means.value, tuple[tuple[float, ...], ...])


def look(module: nn.Module, output: object) -> None:
    """Looks at an output."""


def noise(xb: Tensor, yb: Tensor) -> Pair:
    """Adds noise."""
    return xb + 0.1 * torch.randn_like(xb), yb


mixup = MixUp(partial(F.cross_entropy, reduction="none"), alpha=0.2)
assert_type(mixup.weights.value, Tensor)
outcome = learn.fit(
    1,
    cbs=[BatchTransform(noise, train_only=True), ForwardHooks(leaves(learn.model), look), mixup, ToDevice("cpu")],
    cb_funcs=[Freeze, partial(Unfreeze, epoch=1), partial(TensorBoard, folder=folder / "tb", stats=stats)],
)
assert_type(outcome, FitOutcome)
ema.copy_to(learn.model)
freeze_to(learn.opt, -1)
discriminative(learn.opt, 1e-4, 1e-2, param=LR)
profiled = Profiler(folder / "traces", wait=1, warmup=1, active=1)

# What a learner offers in one call.

assert_type(learn.fit_one_cycle(1, (0.01, 0.1)), FitOutcome)
assert_type(learn.lr_find(n_batches=5).lrs, Series[float])
assert_type(learn.summary(), Summary)
learn.freeze()
learn.unfreeze()

# In a loop of one's own, and over other batches than tensors.

model = nn.Linear(3, 2)
parts = Parts(model, SGD(model.parameters(), lr=0.1))
assert_type(parts, Parts[nn.Linear])
loop = Loop[Tensor, Tensor, Tensor]([GradientClip(parts, 0.1), Recorder(parts), AvgStats(accuracy), EMA(parts)])


def drop(xb: Text, yb: Tensor) -> tuple[Text, Tensor]:
    """Drops what the model does not take."""
    return {"a": xb["a"]}, yb


texts = Loop[Text, Tensor, Tensor]([BatchTransform(drop), ToDevice("cpu"), AvgStats(accuracy), SmoothLoss()])
