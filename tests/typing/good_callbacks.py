"""Callbacks as people write them: settings, cells, dependencies, payloads, bases of one's own, attrs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Generic, Literal, Optional, TypeVar

import attrs
from torch import Tensor, nn
from typing_extensions import assert_type, override

from typedcb import (
    AfterBackward,
    AfterBatch,
    AfterEpoch,
    AfterLoss,
    AfterPred,
    AfterStep,
    AnyCallback,
    AnyLearnerCallback,
    BatchEvent,
    BeginBatch,
    BeginFit,
    Callback,
    CancelTrain,
    Cell,
    Learner,
    LearnerCallback,
    LossEvent,
    Phase,
    Readable,
    Series,
    SkipStep,
    View,
    cell,
    series,
)

Text = dict[str, Tensor]


class Net(nn.Module):
    """A model class of one's own."""

    def __init__(self, depth: int = 1) -> None:
        super().__init__()
        self.depth = depth
        self.body = nn.Linear(2, 4)
        self.head = nn.Linear(4, 2)

    @override
    def forward(self, xb: Tensor) -> Tensor:
        pred: Tensor = self.head(self.body(xb).relu())
        return pred


# Over any payload, a given one, or one that is left open.


@dataclass(frozen=True)
class GradientClip(AnyLearnerCallback):
    """Fits every learner."""

    clip: float

    @override
    def after_backward(self, event: BatchEvent) -> None:
        assert_type(self.learn, Learner[object, object, object, nn.Module])
        nn.utils.clip_grad_norm_(self.learn.model.parameters(), self.clip)


@dataclass(frozen=True)
class Unsqueeze(Callback):
    """Tensors by default, without brackets."""

    @override
    def begin_batch(self, event: BeginBatch) -> BeginBatch:
        return event.with_batch(event.xb.unsqueeze(0).squeeze(0), event.yb)


@dataclass(frozen=True)
class DropKeys(Callback[Text, Tensor, Tensor]):
    """Batches of a dict."""

    @override
    def begin_batch(self, event: BeginBatch[Text, Tensor]) -> BeginBatch[Text, Tensor]:
        return event.with_batch({key: value for key, value in event.xb.items() if key != "meta"}, event.yb)


X = TypeVar("X")
Y = TypeVar("Y")
P = TypeVar("P")


@dataclass(frozen=True)
class ToDevice(Callback[X, Y, P], Generic[X, Y, P]):
    """Generic in its payload: it fits every loop, and may replace the batch."""

    device: str

    @override
    def begin_batch(self, event: BeginBatch[X, Y]) -> BeginBatch[X, Y]:
        return event.with_batch(event.xb, event.yb)


@dataclass(frozen=True)
class KeepLast(Callback[object, object, P], Generic[P]):
    """Generic in the predictions alone, and keeps one."""

    last: Cell[Optional[P]] = cell(None)

    @override
    def after_pred(self, event: AfterPred[object, object, P]) -> None:
        self.last.value = event.pred


@dataclass(frozen=True)
class Depth(LearnerCallback[object, object, object, Net]):
    """Needs a learner of this model, and completes the model's own fields."""

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        assert_type(self.learn.model.depth, int)
        assert_type(self.learn.model.head, nn.Linear)


@dataclass(frozen=True)
class NoBrackets(LearnerCallback):
    """A learner of tensors."""

    clip: float

    @override
    def after_backward(self, event: AfterBackward) -> None:
        assert_type(self.learn, Learner[Tensor, Tensor, Tensor, nn.Module])
        nn.utils.clip_grad_norm_(self.learn.model.parameters(), self.clip)


# State: cells, series, and views of them.


@dataclass(frozen=True)
class SmoothLoss(AnyCallback):
    phases: ClassVar[tuple[Phase, ...]] = ("train",)

    beta: float = 0.98
    smooth: Cell[float] = cell(0.0)
    count: Cell[int] = cell(0, reset="epoch")
    best: Cell[Optional[float]] = cell(None, reset="never", saved=False)
    held_out: Cell[float] = cell(0.0, phase="valid")
    history: Series[float] = series(reset="never")
    shapes: Series[tuple[int, ...]] = series(saved=False)

    @property
    def value(self) -> float:
        """A callback with a value is readable itself."""
        return self.smooth.value

    @property
    def percent(self) -> View[str]:
        return self.smooth.map(lambda value: f"{value:.0%}")

    @override
    def after_loss(self, event: LossEvent) -> None:
        self.smooth.value = self.beta * self.smooth.value + (1 - self.beta) * event.loss.item()
        self.count.value += 1
        self.history.append(event.loss.item())
        if self.best.value is None or self.smooth.value < self.best.value:
            self.best.value = self.smooth.value


smooth = SmoothLoss()
assert_type(smooth.smooth, Cell[float])
assert_type(smooth.smooth.value, float)
assert_type(smooth.smooth.initial, float)
assert_type(smooth.count.value, int)
assert_type(smooth.best.value, Optional[float])
assert_type(smooth.history.value, tuple[float, ...])
assert_type(smooth.history[0:2], tuple[float, ...])
assert_type(list(smooth.history), list[float])
assert_type(len(smooth.history), int)
assert_type(smooth.percent, View[str])
assert_type(smooth.percent.value, str)
assert_type(smooth.count.map(str).value, str)
assert_type(Cell(1, reset="fit").value, int)

# Dependencies: fields that are callbacks, cells, or anything with a value.


@dataclass(frozen=True)
class LRFinder(LearnerCallback[object, object, object]):
    loss: SmoothLoss
    max_iter: int = 100
    best: Cell[float] = cell(float("inf"))

    @override
    def after_step(self, event: AfterStep[object, object, object]) -> CancelTrain | None:
        if event.step >= self.max_iter or self.loss.value > 4 * self.best.value:
            return CancelTrain("the loss has diverged")
        self.best.value = min(self.loss.value, self.best.value)
        return None


@dataclass(frozen=True)
class EarlyStopping(AnyCallback):
    monitor: Readable[float]
    patience: int = 3
    mode: Literal["min", "max"] = "min"

    @override
    def after_epoch(self, event: AfterEpoch) -> CancelTrain | None:
        assert_type(self.monitor.value, float)
        return CancelTrain("no improvement") if self.monitor.value > 1e6 else None


@dataclass(frozen=True)
class Report(AnyCallback):
    """Several dependencies, one of them optional and one a tuple."""

    finder: LRFinder
    columns: tuple[Readable[object], ...]
    label: View[str]
    history: Series[float]
    clip: Optional[GradientClip] = None

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        assert_type([column.value for column in self.columns], list[object])
        assert_type(self.label.value, str)
        assert_type(self.finder.loss.value, float)
        if self.clip is not None:
            assert_type(self.clip.clip, float)


stop_by_cell = EarlyStopping(smooth.smooth, mode="max")
stop_by_callback = EarlyStopping(smooth)
stop_by_view = EarlyStopping(smooth.count.map(float), patience=1)

# Bases of one's own, mixins, attrs.


@dataclass(frozen=True)
class Every(AnyCallback):
    """A base of one's own, with a setting and a hook."""

    n: int

    @override
    def after_backward(self, event: BatchEvent) -> SkipStep | None:
        return SkipStep() if (event.index + 1) % self.n else None


@dataclass(frozen=True)
class EveryAfter(Every):
    """Narrows its base's hook, and calls it."""

    first: int = 0

    @override
    def after_backward(self, event: BatchEvent) -> SkipStep | None:
        return super().after_backward(event) if event.step >= self.first else None


@dataclass(frozen=True)
class AlwaysSkip(Every):
    """Promises more than its base."""

    @override
    def after_backward(self, event: object) -> SkipStep:
        return SkipStep()


class Named:
    """A mixin that is no callback."""

    @property
    def title(self) -> str:
        return type(self).__name__


class CountsSteps:
    """A mixin with a hook of its own."""

    def after_step(self, event: BatchEvent, /) -> None:
        assert_type(event.step, int)


@dataclass(frozen=True)
class Mixed(Named, CountsSteps, AnyCallback):
    prefix: str = ""

    @override
    def begin_fit(self, event: BeginFit) -> None:
        assert_type(self.prefix + self.title, str)


@attrs.frozen
class Scale(Callback):
    """attrs serves as well."""

    factor: float
    calls: Cell[int] = cell(0)

    @override
    def after_pred(self, event: AfterPred) -> AfterPred:
        self.calls.value += 1
        return event.with_pred(event.pred * self.factor)


@attrs.frozen
class ScaleLoss(AnyLearnerCallback):
    """attrs with a learner, which it has to name again, and a default that is made for each instance."""

    learn: Learner[object, object, object]
    weights: tuple[float, ...] = attrs.field(factory=tuple)

    @override
    def after_loss(self, event: AfterLoss[object, object, object]) -> AfterLoss[object, object, object]:
        return event.with_loss(event.loss * sum(self.weights))


@dataclass(frozen=True)
class Limits:
    """A setting may be a class of its own."""

    low: float
    high: float


@dataclass(frozen=True)
class Clamp(Callback):
    limits: Limits
    names: tuple[str, ...] = field(default=(), kw_only=True)

    @override
    def after_pred(self, event: AfterPred) -> AfterPred:
        return event.with_pred(event.pred.clamp(self.limits.low, self.limits.high))

    @override
    def after_batch(self, event: AfterBatch) -> None:
        assert_type(event.reached.index, int)


scale = Scale(2.0)
assert_type(scale.factor, float)
assert_type(scale.calls.value, int)
clamp = Clamp(Limits(-1, 1), names=("logits",))
assert_type(clamp.limits.low, float)
every_after = EveryAfter(2, first=10)
assert_type(every_after.n, int)
keep = KeepLast[Tensor]()
assert_type(keep.last.value, Optional[Tensor])

# One list of them all keeps its payload.
tensor_callbacks: list[Callback] = [
    Unsqueeze(), smooth, stop_by_cell, every_after, AlwaysSkip(3), Mixed(), scale, clamp, keep, ToDevice("cpu")
]  # fmt: skip
any_callbacks: list[AnyCallback] = [smooth, stop_by_cell, stop_by_callback, Mixed("a")]
text_callbacks: list[Callback[Text, Tensor, Tensor]] = [DropKeys(), smooth, ToDevice("cpu"), *any_callbacks]
