"""Mistakes with the ready-made callbacks that train, change batches or look on.

Every line marked `# error` must be reported by every type checker, and no other line.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from good_ready_made import drop, ema, folder, learn, loop, noise, parts, recorder, stats, texts

from typedcb.callbacks import (
    EMA,
    ActivationStats,
    AvgStats,
    BatchTransform,
    CSVLogger,
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
)

# What trains: a setting that is missing, misspelt, of another type, or no such word.

learn.add(GradientAccumulation)  # error
learn.add(GradientAccumulation, n_acc=4)  # error
learn.add(GradientAccumulation, n=2.5)  # error
learn.add(GradientAccumulation, n=2, reduction="average")  # error
learn.add(GradientClip, 0.1, by="norms")  # error
learn.add(EMA, decay="0.9")  # error
learn.add(MixedPrecision, dtype="float16")  # error
learn.add(MixedPrecision, torch.float16, "65536")  # error
learn.add(Freeze, first="head")  # error
learn.add(Unfreeze)  # error
freeze_to(learn.model, -1)  # error
discriminative(learn.opt, 1e-4)  # error
discriminative(learn.opt, 1e-4, 1e-2, param="lr")  # error
ema.decay = 0.5  # error
ema.copy_to(learn)  # error

# What changes batches: a function over other batches, a loss that is none, a callback for other batches.

learn.fit(1, cbs=[BatchTransform(drop)])  # error
BatchTransform()  # error
BatchTransform(noise, only_train=True)  # error
MixUp()  # error
MixUp(0.4)  # error
MixUp(partial(F.cross_entropy, reduction="none"), alpha="0.4")  # error
LabelSmoothing("0.1")  # error
ToDevice()  # error
texts.add(BatchTransform(noise))  # error
texts.add(LabelSmoothing(0.1))  # error

# What looks on: a callback where a table is wanted, a path that is a word, a figure that is not there.

Progress(SmoothLoss())  # error
Progress(stats, stats)  # error
CSVLogger(folder / "fit.csv", stats)  # error
CSVLogger(stats, "fit.csv")  # error
TensorBoard(learn, "runs")  # error
learn.add(TensorBoard, folder, every="10")  # error
learn.add(Recorder, "lr")  # error
learn.add(PeakMemory, 1)  # error
learn.add(ActivationStats, modules=learn.model)  # error
ForwardHooks(learn.model, print)  # error
Profiler("traces")  # error
Timer(10)  # error
AvgStats("accuracy")  # error
stats.valid("accuracy")  # error
stats.valid_loss.value = "low"  # error
recorder.losses.append("low")  # error
Recorder(stats)  # error
GradientClip(0.1)  # error
GradientClip(parts)  # error
SmoothLoss("0.9")  # error

# What a learner offers in one call.

learn.fit_one_cycle(1)  # error
learn.fit_one_cycle(1, "0.1")  # error
learn.lr_find(start="1e-7")  # error
learn.freeze("head")  # error
learn.summary().total  # error
loop.add(AvgStats)  # error
accuracy(stats, stats)  # error
