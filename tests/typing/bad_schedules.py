"""Mistakes with schedules, searches, watches and limits.

Every line marked `# error` must be reported by every type checker, and no other line.
"""

from __future__ import annotations

from functools import partial

from good_schedules import finder, learn, parts, smooth, stats
from torch.optim.lr_scheduler import StepLR

from typedcb.callbacks import (
    LR,
    CheckFinite,
    Diverged,
    EarlyStopping,
    LRFinder,
    OneCycle,
    ParamScheduler,
    ReduceLROnPlateau,
    SaveBest,
    SmoothGradNorm,
    StopAfterNBatches,
    TerminateOnNaN,
    TorchScheduler,
    combine,
    linear,
    one_cycle,
)

# What is watched: a name that does not exist, what has no value, what is no number, a mode that is none.

EarlyStopping(stats.val_loss, "min")  # error
EarlyStopping(stats, "min")  # error
EarlyStopping("valid_loss", "min")  # error
EarlyStopping(stats.valid_metrics, "max")  # error
EarlyStopping(smooth, "auto")  # error
EarlyStopping(smooth)  # error
learn.add(ReduceLROnPlateau, stats.valid_loss)  # error
learn.add(ReduceLROnPlateau, stats.valid_loss, "less")  # error
learn.add(SaveBest, finder.lrs, "min")  # error
learn.add(SaveBest, stats.valid_loss, "min", "cpu")  # error
ReduceLROnPlateau(stats.valid_loss, mode="min")  # error
SaveBest(stats.valid_loss, "min")  # error

# What is scheduled: a hyperparameter by its name, a value for a schedule, a schedule that is none.

learn.add(ParamScheduler, "lr", linear(0.0, 1.0))  # error
learn.add(ParamScheduler, LR, 0.1)  # error
learn.add(ParamScheduler, LR, linear)  # error
combine(linear(0.0, 1.0), linear(1.0, 0.0))  # error
one_cycle(0.1, 0.3)  # error
learn.add(OneCycle, "0.1")  # error
learn.add(OneCycle, 0.1, 0.9)  # error
learn.add(OneCycle, 0.1, (0.95, 0.85, 0.95))  # error
learn.add(OneCycle)  # error

# torch's schedulers: one that is made already, one that lacks its settings, a word that is none.

learn.add(TorchScheduler, StepLR(learn.opt, 3), "epoch")  # error
learn.add(TorchScheduler, StepLR, "epoch")  # error
learn.add(TorchScheduler, partial(StepLR, step_size=3))  # error
learn.add(TorchScheduler, partial(StepLR, step_size=3), "step")  # error

# A search: its smoothed loss, its rule, how it is read; limits; what a learner is for them.

learn.add(LRFinder)  # error
learn.add(LRFinder, stats)  # error
learn.add(LRFinder, smooth, stop=4.0)  # error
Diverged(4.0, "raw")  # error
finder.suggestion("lowest")  # error
finder.loss = smooth  # error
LRFinder(parts.model, smooth)  # error
SmoothGradNorm(parts.opt)  # error
StopAfterNBatches("5")  # error
TerminateOnNaN(every=0.5)  # error
learn.add(CheckFinite, on_bad="warn")  # error
CheckFinite(parts.opt)  # error
