"""Further kinds of mistakes, as one would make them with typedcb.

`# error`: every type checker reports the line, with no plugin; `# some`: some do. A code: `typedcb check` and the mypy plugin report it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD
from typing_extensions import override

from typedcb import (
    AfterEpoch,
    AfterLoss,
    AnyCallback,
    AnyLearnerCallback,
    BatchEvent,
    BeginBatch,
    BeginEpoch,
    BeginFit,
    Callback,
    CancelBatch,
    Cell,
    DataBunch,
    Learner,
    LearnerCallback,
    LossEvent,
    cell,
)
from typedcb.callbacks import AvgStats, GradientClip, Recorder, SaveBest, TorchScheduler, accuracy

batches = [(torch.randn(4, 2), torch.arange(4) % 2)]
learn = Learner(nn.Linear(2, 2), DataBunch(batches, batches), F.cross_entropy, partial(SGD, lr=0.1))
stats = AvgStats(accuracy)
recorder = learn.add(Recorder)


# -- FU-01
@dataclass(frozen=True)
class FU01(AnyLearnerCallback):
    @override
    def setup(self) -> None: ...  # error

    def teardown(self) -> None: ...  # typedcb-unknown-hook


# -- FU-02
@dataclass(frozen=True)
class FU02(AnyCallback):
    @override
    def end_epoch(self, event: AfterEpoch) -> None: ...  # error

    def epoch_begin(self, event: BeginEpoch) -> None: ...  # typedcb-unknown-hook


# -- FU-03
@dataclass(frozen=True)
class FU03(Callback):
    @override
    def begin_batch(self, event: BeginBatch, xb: Tensor | None = None) -> None:  # typedcb-unfilled-parameter
        print(xb)


# -- FU-04
@dataclass(frozen=True)
class FU04(AnyCallback):
    @override
    def after_step(self, event: BatchEvent, **kwargs: object) -> None:  # typedcb-unfilled-parameter
        print(kwargs.get("model"))


# -- FU-05
@dataclass(frozen=True)
class FU05(AnyCallback):
    count: Cell[int] = cell(0)

    def __init__(self, every: int) -> None:  # typedcb-own-init
        print(every)


# -- FU-06
@dataclass(frozen=True)
class FU06(AnyCallback):
    @override
    def begin_fit(self, event: BeginFit) -> None:
        print("begins")

        def after_fit(self: FU06) -> None:  # typedcb-misplaced-hook # some
            print("ends")


# -- FU-07
class FU07:
    def after_epoch(self, event: AfterEpoch) -> None: ...


learn.fit(1, cbs=[FU07()])  # error


# -- FU-08
@dataclass(frozen=True)
class FU08(AnyCallback):
    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        print(learn.opt.param_groups[0]["lr"])  # typedcb-undeclared-dependency


# -- FU-09
@dataclass(frozen=True)
class FU09(AnyCallback):
    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        print(stats.valid_loss.value)  # typedcb-undeclared-dependency


# -- FU-10
@dataclass(frozen=True)
class FU10(AnyLearnerCallback):
    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        print(self.validation_data)  # error
        print(self.learn.validation_data)  # error


# -- FU-11
@dataclass(frozen=True)
class FU11(Callback):
    @override
    def begin_batch(self, event: BeginBatch) -> None:
        xb = event.xb
        xb += 1.0  # typedcb-event-assignment
        print(xb)


# -- FU-12
@dataclass(frozen=True)
class FU12(AnyCallback):
    order: int = 3  # error


# -- FU-13
@dataclass(frozen=True)
class FU13(AnyLearnerCallback):
    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        self.learn.opt.lr = 0.02  # error


# -- FU-14
@dataclass(frozen=True)
class FU14(AnyLearnerCallback):
    @override
    def begin_epoch(self, event: BeginEpoch) -> None:
        print(self.learn.opt.defaults["lr"])  # typedcb-dead-setting


# -- FU-15
@dataclass(frozen=True)
class FU15(LearnerCallback[Tensor, Tensor, Tensor, nn.Sequential]):
    @override
    def begin_fit(self, event: BeginFit) -> None:
        self.learn.model[0] = nn.Linear(2, 2)  # typedcb-new-weights


# -- FU-16
@dataclass(frozen=True)
class FU16(AnyCallback):
    @override
    def begin_batch(self, event: BatchEvent) -> int:  # error
        return -1


# -- FU-17
@dataclass(frozen=True)
class FU17(AnyCallback):
    stats: AvgStats[object, object]

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        if self.stats.valid_loss:  # typedcb-dead-condition # some
            print("save")


# -- FU-18
@dataclass(frozen=True)
class FU18(AnyCallback):
    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        raise KeyboardInterrupt  # typedcb-illegal-cancel


# -- FU-19
@dataclass(frozen=True)
class FU19(AnyLearnerCallback):
    @override
    def after_step(self, event: BatchEvent) -> None:
        self.learn.model.stop_training = True  # error


# -- FU-20
@dataclass(frozen=True)
class FU20(AnyLearnerCallback):
    best: Cell[tuple[Tensor, ...]] = cell(())

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        self.best.value = tuple(p.detach() for p in self.learn.model.parameters())  # typedcb-live-weights


# -- FU-21
SaveBest(learn, recorder.losses, mode="min")  # error

# -- FU-22
SaveBest(learn, "x", mode="min")  # error

# -- FU-23
clip = GradientClip(learn, clip=0.1)
clip.max_norm = 1.0  # some


# -- FU-24
@dataclass(frozen=True)
class FU24(AnyLearnerCallback):
    @override
    def after_step(self, event: BatchEvent) -> None:
        model = self.learn.model
        model.eval()  # typedcb-against-the-loop


# -- FU-25
@dataclass(frozen=True)
class FU25(LearnerCallback[Tensor, Tensor, Tensor, nn.Sequential]):
    sample: Tensor

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        print(self.learn.model(self.sample))  # typedcb-against-the-loop # some


# -- FU-26
@dataclass(frozen=True)
class FU26(AnyCallback):
    schedule: TorchScheduler

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        scheduler = self.schedule.scheduler.value
        if scheduler is not None:
            scheduler.step()  # typedcb-against-the-loop


# -- FU-27
@dataclass(frozen=True)
class FU27(AnyLearnerCallback):
    @override
    def after_loss(self, event: LossEvent) -> None:
        for parameter in self.learn.model.parameters():
            print(parameter.grad)  # typedcb-gradients

    @override
    def after_step(self, event: BatchEvent) -> None:
        nn.utils.clip_grad_norm_(self.learn.model.parameters(), 1.0)  # typedcb-gradients


# -- FU-28
@dataclass(frozen=True)
class FU28(Callback):
    @override
    def after_loss(self, event: AfterLoss) -> AfterLoss:
        return event.with_loss(event.loss.detach() * 2)  # typedcb-graph-lost


# -- FU-29
@dataclass(frozen=True)
class FU29(AnyCallback):
    @override
    def after_loss(self, event: LossEvent) -> None:
        try:
            if event.index > 10:
                raise CancelBatch("too far")  # typedcb-unused-answer
        except Exception:
            print("went on")


# -- FU-30
@dataclass(frozen=True)
class FU30(AnyLearnerCallback):
    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        self.learn.validate()  # typedcb-against-the-loop
