"""One small classification, and the five callbacks that every trainer hosts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from driving import Driver, Pair, Ran, Task
from torch import Tensor, nn
from torch.optim import SGD

from typedcb import AnyCallback, DataBunch, Learner, Series, series
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


def net() -> nn.Module:
    """The same weights each time."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def batches(n: int, seed: int) -> list[Pair]:
    drawn = torch.Generator().manual_seed(seed)
    return [(torch.randn(8, 4, generator=drawn), torch.randint(0, 3, (8,), generator=drawn)) for _ in range(n)]


TASK = Task(net, F.cross_entropy, partial(SGD, lr=0.1, momentum=0.9), batches(5, 2), batches(2, 3), n_epochs=3)


def moved(xb: Tensor, yb: Tensor) -> tuple[Tensor, Tensor]:
    return xb * 1.5 + 0.25, yb


@dataclass(frozen=True)
class Rows(AnyCallback):
    """Keeps the row of an AvgStats after each epoch."""

    order: ClassVar[int] = 500

    stats: AvgStats[Any, Any]
    kept: Series[tuple[float, ...]] = series()

    def after_epoch(self, event: object, /) -> None:
        self.kept.append(self.stats.row)


class Five:
    """The five, and what they have measured."""

    def __init__(self) -> None:
        self.stats = AvgStats(accuracy)
        self.rows = Rows(self.stats)
        self.smooth = SmoothLoss()
        self.recorder: list[Recorder] = []
        self.hostable: list[Any] = [
            self.stats,
            self.rows,
            self.smooth,
            self._recorder,
            partial(GradientClip, clip=0.05),
            partial(ParamScheduler, param=LR, schedule=one_cycle(0.2)),
            BatchTransform(moved, train_only=True),
        ]

    def _recorder(self, parts: Any) -> Recorder:
        self.recorder.append(Recorder(parts))
        return self.recorder[0]

    @property
    def measured(self) -> dict[str, object]:
        """All figures of the fit."""
        return {
            "losses": self.recorder[0].losses.value,
            "rates": self.recorder[0].params.value,
            "epochs": self.recorder[0].epoch_ends.value,
            "rows": self.rows.kept.value,
            "smooth": self.smooth.value,
        }


def learner_of(task: Task, hostable: list[Any]) -> Learner[Any, Any, Any]:
    """A learner of the same task."""
    learn: Learner[Any, Any, Any] = Learner(
        task.model(), DataBunch(list(task.train), list(task.valid) or None), task.loss, task.opt
    )
    for one in hostable:
        if isinstance(one, AnyCallback.__origin__):  # type: ignore[attr-defined]
            learn._loop.add(one)
        else:
            learn._loop.add(one(learn))
    return learn


def same(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    """Whether weights are equal, bit for bit."""
    return len(ours) == len(theirs) and all(map(torch.equal, ours, theirs))


Fit = Callable[[Driver, Task, Any], Ran]
