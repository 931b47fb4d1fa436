"""What is kept or changed by way of another name, and what is made around a callback."""

from dataclasses import dataclass
from typing import Any, Mapping, Optional

import torch
from torch import Tensor

from typedcb import AnyCallback, AnyLearnerCallback, BeginBatch, Callback, CancelTrain, Cell, Learner, cell
from typedcb.callbacks import AvgStats, Recorder

learn: Any = None
learner = Learner(learn, learn, learn, learn)
stats = AvgStats[Any, Any]()
recorder = learner.add(Recorder)
total = Cell(0)


@dataclass(frozen=True)
class FromOutside(AnyCallback):
    def after_epoch(self, event: Any) -> None:
        print(stats.valid_loss.value, stats.train_loss.value)  # typedcb-undeclared-dependency
        print(learner.opt)  # typedcb-undeclared-dependency
        print(recorder.losses)  # typedcb-undeclared-dependency
        print(learn)

    def after_step(self, event: Any) -> None:
        total.value += 1  # typedcb-shared-state

    def after_fit(self, event: Any) -> None:
        stats = event.outcome
        print(stats)


def made() -> type:
    smooth = AvgStats[Any, Any]()

    @dataclass(frozen=True)
    class Inner(AnyCallback):
        def after_epoch(self, event: Any) -> None:
            print(smooth.valid_loss.value)  # typedcb-undeclared-dependency

    return Inner


@dataclass(frozen=True)
class Declared(AnyLearnerCallback):
    stats: AvgStats[Any, Any]

    def after_epoch(self, event: Any) -> None:
        print(self.stats.valid_loss.value, self.learn.opt)
        if self.stats.valid_loss:  # typedcb-dead-condition
            print("better")
        if self.stats.metrics or self.stats.valid_loss.value:
            print("some")


@dataclass(frozen=True)
class Weights(AnyLearnerCallback):
    some: Cell[Optional[tuple[Tensor, ...]]] = cell(None)
    named: Cell[Optional[Mapping[str, Tensor]]] = cell(None)

    def after_epoch(self, event: Any) -> None:
        self.some.value = tuple(p.detach() for p in self.learn.model.parameters())  # typedcb-live-weights
        self.named.value = {name: v for name, v in self.learn.model.state_dict().items()}  # typedcb-live-weights
        weights = self.learn.model.state_dict()
        self.named.value = weights  # typedcb-live-weights
        self.named.value = {name: value.clone() for name, value in weights.items()}
        self.some.value = tuple(p.norm() for p in self.learn.model.parameters())


@dataclass(frozen=True)
class InPlace(Callback):
    def begin_batch(self, event: BeginBatch) -> None:
        xb, yb = event.xb, event.yb
        xb += 1  # typedcb-event-assignment
        yb[0] = 0  # typedcb-event-assignment
        xb.clamp_(0, 1)  # typedcb-event-assignment
        torch.add(event.xb, 1, out=event.xb)  # typedcb-event-assignment
        xb = xb * 2
        xb += 1
        print(xb)


@dataclass(frozen=True)
class Swallows(AnyCallback):
    def after_loss(self, event: Any) -> None:
        try:
            raise CancelTrain("enough")  # typedcb-unused-answer
        except Exception:
            print("oh")

    def after_step(self, event: Any) -> None:
        try:
            raise CancelTrain("enough")
        except Exception:
            raise

    def after_epoch(self, event: Any) -> None:
        raise KeyboardInterrupt  # typedcb-illegal-cancel

    def begin_epoch(self, event: Any) -> None:
        raise StopIteration()  # typedcb-illegal-cancel
