"""Mistakes of sections A to C as one would make them with typedcb: names, signatures, fields that are not there.

`# error`: every type checker reports the line, with no plugin; `# some`: some do. A code: `typedcb check` and the mypy plugin report it.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from typing_extensions import override

import typedcb
from typedcb import (
    AfterBatch,
    AfterEpoch,
    AfterPred,
    AnyCallback,
    AnyLearnerCallback,
    BeginBatch,
    BeginEpoch,
    BeginFit,
    Callback,
    Cell,
    SkipStep,
    cell,
)
from typedcb.callbacks import AvgStats


# -- PL-01
@dataclass(frozen=True)
class PL01(AnyCallback):
    @override
    def after_epochs(self, event: AfterEpoch) -> None: ...  # error

    def after_epoch_(self, event: AfterEpoch) -> None: ...  # typedcb-unknown-hook


# -- FA-01
@dataclass(frozen=True)
class FA01(AnyCallback):
    @override
    def before_fit(self, event: BeginFit) -> None: ...  # error

    def before_epoch(self, event: BeginEpoch) -> None: ...  # typedcb-unknown-hook


# -- CO-01
@dataclass(frozen=True)
class CO01(AnyCallback):
    @override
    def on_epoch_end(self, event: AfterEpoch) -> None: ...  # error

    def on_batch_end(self, event: AfterBatch) -> None: ...  # typedcb-unknown-hook


# -- PL-02
@dataclass(frozen=True)
class PL02(Callback):
    @override
    def after_batch(self, event: AfterBatch, dataloader: int) -> None: ...  # error


# -- SK-02
@dataclass(frozen=True)
class SK02(AnyCallback):
    @override
    def after_epoch(self) -> None: ...  # error


# -- HF-03
@dataclass(frozen=True)
class HF03(AnyLearnerCallback):
    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        print(event.tokenizer)  # error
        print(self.learn.tokenizer)  # error


# -- KE-01
@dataclass(frozen=True)
class KE01(AnyCallback):
    @override
    def after_epoch(self, logs: dict[str, float]) -> None: ...  # error


# -- IG-01
print(typedcb.AfterEpochs)  # error


@dataclass(frozen=True)
class IG01(AnyCallback):
    @override
    def after_epoch(self, event: AfterEpoch, loss: float, lr: float) -> None: ...  # error


# -- F1-01
@dataclass(frozen=True)
class F101(Callback):
    @override
    def after_batch(self, last_loss: Tensor) -> None: ...  # error


# -- FA-03
@dataclass(frozen=True)
class FA03(Callback):
    @override
    def after_batch(self, event: AfterBatch) -> None:
        print(event.loss)  # typedcb-too-late # error


# -- FA-05
@dataclass(frozen=True)
class FA05(AnyLearnerCallback):
    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        print(self.learn.smooth_loss)  # error
        print(self.learn.predictions)  # error


# -- PL-03
@dataclass(frozen=True)
class PL03(AnyCallback):
    stats: AvgStats[object, object]

    @override
    def begin_epoch(self, event: BeginEpoch) -> None:
        print(self.stats.valid_acc)  # error
        print(event.valid_loss)  # error


# -- HF-05
@dataclass(frozen=True)
class HF05(Callback):
    @override
    def begin_batch(self, event: BeginBatch) -> None:
        print(event.loss)  # typedcb-too-early # error

    @override
    def after_pred(self, event: AfterPred) -> None:
        print(event.loss.mean())  # typedcb-too-early # error


# -- KE-03
def ke03(stats: AvgStats[object, object]) -> bool:
    return stats.acc > 0.9  # error


# -- KE-05
@dataclass(frozen=True)
class KE05(AnyCallback):
    @override
    def begin_epoch(self, event: BeginEpoch) -> None:
        print(event.loss > 50)  # typedcb-too-early # error
        print(event.logs)  # error


# -- TT-02
@dataclass(frozen=True)
class TT02(Callback):
    @override
    def begin_fit(self, event: BeginFit) -> None:
        print(event.pred + 1)  # typedcb-too-early # error


# -- CO-03
@dataclass(frozen=True)
class CO03(AnyCallback):
    every: int

    def match(self, step: int) -> bool:  # error
        print(step % self.every == 0)

    @override
    def after_backward(self, event: typedcb.BatchEvent) -> SkipStep:  # error
        SkipStep()  # typedcb-unused-answer


# -- FA-07
@dataclass(frozen=True)
class FA07(AnyLearnerCallback):
    gen_mode: bool = False

    @override
    def begin_fit(self, event: BeginFit) -> None:
        self.gen_mode = True  # typedcb-self-assignment # error


@dataclass(frozen=True)
class FA07Undeclared(AnyLearnerCallback):
    @override
    def begin_fit(self, event: BeginFit) -> None:
        self.generator: nn.Module = self.learn.model  # typedcb-self-assignment # some


# -- F1-02
@dataclass(frozen=True)
class F102(AnyCallback):
    step_size: int = 1

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        print(self.setp_size)  # error


# -- IG-05
@dataclass(frozen=True)
class IG05(AnyCallback):
    best: Cell[float] = cell(0.0)

    @override
    def begin_fit(self, event: BeginFit) -> None:
        self.best.vaule = 1.0  # error
        self.bset.value = 1.0  # error


