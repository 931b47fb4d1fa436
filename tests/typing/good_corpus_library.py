"""A library built on typedcb, generic in its batches: no cast, no ignore and no Any; it is also run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Callable, Generic, Iterable, Protocol, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD
from typing_extensions import TypeVar, override

from typedcb import (
    AfterEpoch,
    AfterLoss,
    AfterStep,
    AnyCallback,
    BeginBatch,
    Callback,
    CancelTrain,
    Cell,
    DataBunch,
    Learner,
    LearnerCallback,
    Readable,
    Series,
    cell,
    series,
)
from typedcb.callbacks import AvgStats, EarlyStopping
from typedcb.losses import LossFunc

X = TypeVar("X")
Y = TypeVar("Y")
P = TypeVar("P")
M = TypeVar("M", bound=nn.Module)


# ------------------------------------------------------------------------------ callbacks that are generic themselves


@dataclass(frozen=True)
class Transform(Callback[X, Y, P], Generic[X, Y, P]):
    """Applies a function of the user's to every batch."""

    change: Callable[[X, Y], tuple[X, Y]]
    applied: Cell[int] = cell(0)

    @override
    def begin_batch(self, event: BeginBatch[X, Y]) -> BeginBatch[X, Y]:
        self.applied.value += 1
        return event.with_batch(*self.change(event.xb, event.yb))


@dataclass(frozen=True)
class Collect(Callback[object, Y, P], Generic[Y, P]):
    """Collects what a function reads of each training step."""

    read: Callable[[P, Y], float]
    values: Series[float] = series()

    @override
    def after_step(self, event: AfterStep[object, Y, P]) -> None:
        self.values.append(self.read(event.pred, event.yb))


@dataclass(frozen=True)
class OnModel(LearnerCallback[X, Y, P, M], Generic[X, Y, P, M]):
    """Calls a function with the learner's model, whose class it keeps."""

    act: Callable[[M, int], None]

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        self.act(self.learn.model, event.epoch)


@dataclass(frozen=True)
class Penalty(Callback[X, Y, P], Generic[X, Y, P]):
    """Adds a penalty of the prediction to the loss."""

    of: Callable[[P], Tensor]
    scale: Readable[float]

    @override
    def after_loss(self, event: AfterLoss[X, Y, P]) -> AfterLoss[X, Y, P]:
        return event.with_loss(event.loss + self.scale.value * self.of(event.pred))


@dataclass(frozen=True)
class Ramp(AnyCallback):
    """A scale that grows from epoch to epoch; others read it."""

    step: float
    value_: Cell[float] = cell(0.0)

    @property
    def value(self) -> float:
        """The scale now."""
        return self.value_.value

    @override
    def after_epoch(self, event: AfterEpoch) -> CancelTrain | None:
        self.value_.value += self.step
        return CancelTrain("full") if self.value > 1 else None


# -------------------------------------------------------------------------------- a library's class around a learner


class Recipe(Generic[X, Y, P, M]):
    """What a library offers: a model, a loss and what to do to batches, for batches of any kind."""

    def __init__(
        self, model: M, loss: LossFunc[P, Y], change: Callable[[X, Y], tuple[X, Y]], penalty: Callable[[P], Tensor]
    ) -> None:
        self.model = model
        self.loss = loss
        self.transform = Transform[X, Y, P](change)
        self.ramp = Ramp(0.3)
        self.penalty = Penalty[X, Y, P](penalty, self.ramp)

    def learner(
        self, train: Iterable[tuple[X, Y]], valid: Iterable[tuple[X, Y]], cbs: Sequence[Callback[X, Y, P]] = ()
    ) -> Learner[X, Y, P, M]:
        """A learner with the recipe's own callbacks, and those of the user."""
        return Learner[X, Y, P, M](
            self.model,
            DataBunch[X, Y](train, valid),
            self.loss,
            partial(SGD, lr=0.01),
            cbs=[self.transform, self.ramp, self.penalty, *cbs],
        )

    def train(self, train: Iterable[tuple[X, Y]], valid: Iterable[tuple[X, Y]], n_epochs: int) -> AvgStats[Y, P]:
        """Trains, and gives back what was measured."""
        stats = AvgStats[Y, P]()
        stop = EarlyStopping(stats.valid_loss, mode="min", patience=n_epochs)
        self.learner(train, valid, cbs=[stats, stop]).fit(n_epochs)
        return stats


class Named(Protocol):
    """Whatever has a name."""

    @property
    def name(self) -> str:
        """The name."""
        ...


@dataclass(frozen=True)
class Report(AnyCallback, Generic[P]):
    """A callback that is generic in what it reads, and not in its batches."""

    of: Readable[P]
    show: Callable[[P], str]
    lines: Series[str] = series()

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        self.lines.append(f"{event.epoch}: {self.show(self.of.value)}")


Words = dict[str, Tensor]


class Bag(nn.Module):
    """A model of words."""

    seen: int

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.seen = 0

    @override
    def forward(self, xb: Words) -> Tensor:
        """Scores of shape (samples, 2)."""
        scores: Tensor = self.layer(xb["counts"])
        return scores


def halve(xb: Words, yb: Tensor) -> tuple[Words, Tensor]:
    """Halves the counts."""
    return {**xb, "counts": xb["counts"] / 2}, yb


def note(model: Bag, epoch: int) -> None:
    """Writes an epoch into a model of a known class."""
    model.seen = epoch


def spread(pred: Tensor) -> Tensor:
    """A penalty."""
    return pred.var()


def share(pred: Tensor, yb: Tensor) -> float:
    """A number to collect."""
    return float((pred.argmax(1) == yb).float().mean())


def run() -> None:
    """Trains by a recipe, over dicts."""
    words: Words = {"counts": torch.ones(4, 3)}
    batches = [(words, torch.tensor([0, 1, 0, 1]))] * 2
    recipe = Recipe(Bag(), F.cross_entropy, halve, spread)
    stats = recipe.train(batches, batches, 2)
    assert stats.valid_loss.value > 0
    assert recipe.transform.applied.value == 8
    again = Recipe(Bag(), F.cross_entropy, halve, spread)
    collect = Collect(share)
    report = Report(again.ramp, lambda scale: f"{scale:.1f}")
    learn = again.learner(batches, batches, cbs=[collect, report])
    learn.fit(2, cb_funcs=[lambda learn: OnModel(learn, note)])
    assert len(collect.values) == 4
    assert report.lines.value == ("0: 0.3", "1: 0.6")
    assert learn.model.seen == 1
