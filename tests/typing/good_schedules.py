"""Schedules, searches, watches and limits as people write them, in a learner and in a loop of one's own."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, OneCycleLR, StepLR
from typing_extensions import assert_type

from typedcb import DataBunch, Learner, Loop
from typedcb.callbacks import (
    BATCH_10,
    LR,
    MOMENTUM,
    AvgStats,
    CheckFinite,
    Diverged,
    EarlyStopping,
    Hyper,
    LRFinder,
    OneCycle,
    ParamScheduler,
    ReduceLROnPlateau,
    SaveBest,
    Schedule,
    SmoothGradNorm,
    SmoothLoss,
    StopAfterNBatches,
    TerminateOnNaN,
    TorchScheduler,
    accuracy,
    combine,
    cosine,
    flat_cosine,
    linear,
    one_cycle,
)
from typedcb.needs import Parts

Text = dict[str, Tensor]
batches = [(torch.ones(2, 4), torch.zeros(2, dtype=torch.long)), (torch.zeros(2, 4), torch.ones(2, dtype=torch.long))]
smooth, stats = SmoothLoss(), AvgStats(accuracy)
learn = Learner(
    nn.Linear(4, 3),
    DataBunch(batches, batches),
    F.cross_entropy,
    partial(SGD, lr=0.1, momentum=0.9),
    cbs=[smooth, stats, TerminateOnNaN(), StopAfterNBatches(3), EarlyStopping(smooth, "min")],
    cb_funcs=[
        partial(OneCycle, highest=0.1),
        partial(OneCycle, highest=(0.1,), momentum=None),
        partial(ParamScheduler, param=LR, schedule=one_cycle(0.1)),
        partial(TorchScheduler, factory=partial(StepLR, step_size=3), every="epoch"),
        partial(ReduceLROnPlateau, monitor=stats.valid_loss, mode="min"),
        partial(SaveBest, monitor=stats.valid(accuracy), mode="max"),
        partial(LRFinder, loss=smooth, n_batches=2),
        SmoothGradNorm,
        CheckFinite,
    ],
)
learn.fit(1, cbs=[EarlyStopping(stats.valid_loss, mode="min", patience=2), TerminateOnNaN(every=10)])

# What learn.add fills in, and gives back.

finder = learn.add(LRFinder, smooth, 1e-6, 1.0, n_batches=50, stop=BATCH_10)
assert_type(finder, LRFinder)
assert_type(finder.lrs.value, tuple[float, ...])
assert_type(learn.add(SaveBest, stats.valid_loss, "min", on_cpu=False).epoch.value, int | None)
assert_type(learn.add(SmoothGradNorm, 0.9).value, float)
learn.add(LRFinder, smooth, stop=Diverged(3.0, "batch"))
learn.add(LRFinder, smooth, stop=None)
learn.add(TorchScheduler, partial(OneCycleLR, max_lr=0.1, total_steps=10), "batch")
learn.add(TorchScheduler, partial(LambdaLR, lr_lambda=lambda step: 0.9**step), every="epoch")
learn.add(TorchScheduler, lambda opt: CosineAnnealingLR(opt, 10), "batch")
learn.add(ParamScheduler, MOMENTUM, (cosine(0.9, 0.8),))
learn.add(ParamScheduler, Hyper("dampening"), flat_cosine(1e-3, 1e-5))
schedule: Schedule = combine((0.3, linear(0.0, 1.0)), (0.7, lambda position: 1 - position))
assert_type(schedule(0.5), float)


def suggested(finder: LRFinder) -> float:
    """What is read off a search."""
    assert_type(finder.suggestion(), float)
    assert_type(finder.lrs[0], float)
    return finder.suggestion("steepest")


# A monitor is anything that has a value to read.

learn.add(ReduceLROnPlateau, finder.best, "min")
learn.add(ReduceLROnPlateau, stats.valid_metrics.map(lambda values: values[0]), mode="max", min_lr=1e-5)
EarlyStopping(learn.add(SmoothGradNorm), "min")

# Batches of any payload, and a loop without a learner.

texts: list[tuple[Text, Tensor]] = [({"ids": torch.ones(2, 4)}, torch.zeros(2))]
text_smooth = SmoothLoss()
text_learn = Learner[Text, Tensor, Tensor](
    nn.Linear(4, 3), DataBunch[Text, Tensor](texts), F.cross_entropy, Adam, cbs=[text_smooth, TerminateOnNaN()]
)
text_learn.add(LRFinder, text_smooth)
text_learn.add(OneCycle, 0.1)
model = nn.Linear(4, 3)
parts = Parts(model, SGD(model.parameters(), lr=0.1))
own_smooth = SmoothLoss()
Loop[Text, Tensor, Tensor](
    [own_smooth, LRFinder(parts, own_smooth), OneCycle(parts, 0.1), SaveBest(parts, own_smooth, "min")]
)
