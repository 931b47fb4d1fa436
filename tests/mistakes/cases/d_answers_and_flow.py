"""Mistakes of sections D to P as one would make them with typedcb: answers, monitors, lists of callbacks, memory.

`# error`: every type checker reports the line, with no plugin; `# some`: some do. A code: `typedcb check` and the mypy plugin report it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from typing_extensions import override

from typedcb import (
    AfterBackward,
    AfterBatch,
    AfterEpoch,
    AfterPred,
    AfterStep,
    AnyCallback,
    BatchEvent,
    BeginBatch,
    BeginValidate,
    Callback,
    CancelBatch,
    Cell,
    DataBunch,
    Learner,
    LearnerCallback,
    Loop,
    LossEvent,
    Series,
    SkipStep,
    cell,
    series,
)
from typedcb.callbacks import AvgStats, EarlyStopping, GradientClip, SaveBest, TorchScheduler, accuracy

batches = [(torch.randn(4, 2), torch.arange(4) % 2)]
learn = Learner(nn.Linear(2, 2), DataBunch(batches, batches), F.cross_entropy, partial(SGD, lr=0.1))
stats = AvgStats(accuracy)


# -- PL-09
@dataclass(frozen=True)
class PL09(AnyCallback):
    @override
    def after_epoch(self, event: AfterEpoch) -> dict[str, int]:  # error
        return {"n": 1}


# -- HF-10
@dataclass(frozen=True)
class HF10(AnyCallback):
    @override
    def after_step(self, event: BatchEvent) -> bool:  # error
        return True


# -- F1-03
@dataclass(frozen=True)
class F103(AnyCallback):
    @override
    def after_epoch(self, event: AfterEpoch) -> SkipStep:  # error
        return SkipStep()


# -- FA-10
@dataclass(frozen=True)
class FA10(Callback):
    @override
    def begin_batch(self, event: BeginBatch) -> BeginBatch:  # error
        event.with_batch(event.xb + 0.1, event.yb)  # typedcb-unused-with


@dataclass(frozen=True)
class FA10SaysNone(Callback):
    @override
    def after_pred(self, event: AfterPred) -> None:
        event.with_pred(event.pred + 0.1)  # typedcb-unused-with


# -- V3-03
@dataclass(frozen=True)
class V303(AnyCallback):
    @override
    def begin_validate(self, event: BeginValidate) -> bool:  # error
        return True


# -- FA-11
@dataclass(frozen=True)
class FA11(Callback):
    @override
    def after_batch(self, event: AfterBatch) -> None:
        if event.reached.index > 10:
            raise CancelBatch("too far")  # typedcb-illegal-cancel

    @override
    def after_epoch(self, event: AfterEpoch) -> CancelBatch:  # error
        return CancelBatch("too late")


# -- HF-17
@dataclass(frozen=True)
class HF17(LearnerCallback):
    @override
    def after_step(self, event: AfterStep) -> None:
        self.learn.shuold_training_stop = True  # error
        event.shuold_training_stop = True  # typedcb-event-assignment # some


# -- FA-12
@dataclass(frozen=True)
class FA12(AnyCallback):
    run_after = EarlyStopping  # typedcb-unknown-setting


# -- ANY-01
@dataclass(frozen=True)
class ANY01(AnyCallback):
    losses = [0.0]  # typedcb-mutable-field


# -- PL-14
@dataclass(frozen=True)
class PL14(AnyCallback):
    n: int = 0

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        self.n += 1  # typedcb-self-assignment # error


# -- PL-16
loop = Loop[Tensor, Tensor, Tensor]()
loop.fit(3, start_epoch=1, start_batch=500)  # error

# -- PL-19
EarlyStopping(stats.valid_loss, mode="min", rank_zero_only=True)  # error
EarlyStopping("val_loss", mode="min")  # error

# -- PL-21
EarlyStopping(stats.valid_loss)  # error
EarlyStopping(stats.valid_loss, mode="maximum")  # error

# -- IG-09
EarlyStopping(stats.valid_loss, patience=2)  # error

# -- FA-15
SaveBest(learn, "val_loss", mode="min")  # error
SaveBest(learn, stats.val_loss, mode="min")  # error


# -- PL-23
def one_cycle(opt: Optimizer) -> LRScheduler:
    return OneCycleLR(opt, 0.1, total_steps=10)


TorchScheduler(learn, one_cycle)  # error
TorchScheduler(learn, one_cycle, interval="step")  # error
TorchScheduler(learn, one_cycle, every="step")  # error

# -- V3-04
Learner(learn.model, learn.data, F.cross_entropy, partial(SGD, lr=0.1), cbs=[AvgStats])  # error
Learner(learn.model, learn.data, F.cross_entropy, partial(SGD, lr=0.1), cb_funcs=[AvgStats(accuracy)])  # error
learn.fit(1, cbs=[partial(GradientClip, clip=0.1)])  # error

# -- V3-05
learn.fit(1, cbs=(AvgStats(accuracy) for _ in range(2)))  # error


# -- FA-19
@dataclass(frozen=True)
class FA19(Callback):
    n_batches: Cell[int] = cell(0)

    @override
    def after_batch(self, event: AfterBatch) -> None:
        self.n_batches.value += 1  # typedcb-both-phases


# -- PL-28
@dataclass(frozen=True)
class PL28(Callback):
    losses: Series[Tensor] = series()

    @override
    def after_loss(self, event: LossEvent) -> None:
        if event.phase == "train":
            self.losses.append(event.loss)  # typedcb-graph-in-cell

    @override
    def after_backward(self, event: AfterBackward) -> None:
        self.losses.append(event.loss)


# -- ANY-02
@dataclass(frozen=True)
class ANY02(AnyCallback):
    shown: Cell[str] = cell("")

    @override
    def after_backward(self, event: LossEvent) -> None:
        self.shown.value = f"{event.loss.item():.4f}"  # typedcb-device-sync
