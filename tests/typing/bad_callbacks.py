"""Mistakes in callbacks themselves: fields, cells, dependencies, payloads.

Every line marked `# error` must be reported by every type checker, and no other line.
"""

from __future__ import annotations

from dataclasses import dataclass

import attrs
from good_callbacks import (
    Clamp,
    Depth,
    DropKeys,
    EarlyStopping,
    Every,
    EveryAfter,
    GradientClip,
    KeepLast,
    Limits,
    LRFinder,
    Report,
    Scale,
    SmoothLoss,
    Text,
    ToDevice,
    Unsqueeze,
)
from good_learner import clip, finder, learn, smooth, text_learn
from torch import Tensor
from typing_extensions import override

from typedcb import (
    AfterBackward,
    AfterEpoch,
    AfterStep,
    AnyCallback,
    AnyLearnerCallback,
    BatchEvent,
    Callback,
    CancelTrain,
    Cell,
    LearnerCallback,
    Readable,
    Series,
    View,
    cell,
    series,
)

# A callback is frozen; what changes is a cell.


@dataclass(frozen=True)
class WritesToSelf(Callback):
    n: int = 0
    total: Cell[float] = cell(0.0)

    @override
    def after_step(self, event: AfterStep) -> None:
        self.n += 1  # error
        self.total = Cell(0.0)  # error


@attrs.frozen
class WritesToAttrs(Callback):
    n: int = 0

    @override
    def after_step(self, event: AfterStep) -> None:
        self.n = 1  # error


@dataclass(frozen=True)
class MisspeltFields(AnyLearnerCallback):
    clip: float

    @override
    def after_backward(self, event: BatchEvent) -> None:
        print(self.clp)  # error
        print(self.modle)  # error
        print(self.learn.modle)  # error
        print(self.learn.opt.lr)  # error
        print(self.learn.model.depth.bit_length())  # error
        self.learn.data = None  # error
        self.learn.model = self.learn.model  # error


class Undecorated(LearnerCallback[object, object, object]):
    """Without a decorator a field is no parameter."""

    clip: float


Undecorated(learn, clip=0.1)  # error


# A constructor takes the fields.
Clamp()  # error
Clamp(Limits(0, 1), ("logits",))  # error
Clamp(Limits(0, "1"))  # error
Clamp(limits=(0, 1))  # error
Every("2")  # error
Every(n=2, m=3)  # error
EveryAfter(first=1)  # error
Scale("2")  # error
Scale(2.0).factor = 3.0  # error
Clamp(Limits(0, 1)).limits = Limits(0, 2)  # error

# Cells hold what they were declared with.


@dataclass(frozen=True)
class WrongCells(AnyCallback):
    count: Cell[int] = cell("0")  # error
    best: Cell[float] = cell(None)  # error
    total: Cell[float] = 0.0  # error
    wait: Cell[int] = cell(0, reset="batch")  # error
    held: Cell[float] = cell(0.0, phase="test")  # error
    seen: Cell[int] = cell(0, resets="epoch")  # error
    items: Series[int] = series([])  # error
    mixed: Cell[int] = series()  # error
    bare: Series[float] = cell(())  # error


smooth.smooth.value = "x"  # error
smooth.count.value += 0.5  # error
smooth.count = 3  # error
smooth.smooth.vale = 1.0  # error
smooth.smooth + 1.0  # error
smooth.history.append("x")  # error
smooth.history.value = ("x",)  # error
smooth.history["last"]  # error
smooth.percent.value = "3%"  # error
smooth.count.map(len)  # error
smooth.best.value + 1.0  # error


def reads(monitor: Readable[float], view: View[str]) -> None:
    """A readable is read, and no more."""
    monitor.value = 0.0  # error
    view.value = ""  # error
    print(monitor.best)  # error
    print(view.value + 1)  # error


# Dependencies are callbacks and readables of the class that is asked for.
EarlyStopping(smooth.smoth)  # error
EarlyStopping("valid_loss")  # error
EarlyStopping(0.5)  # error
EarlyStopping(smooth.percent)  # error
EarlyStopping(smooth.history)  # error
EarlyStopping(smooth.best)  # error
EarlyStopping(finder)  # error
EarlyStopping(lambda: 0.5)  # error
EarlyStopping(smooth.smooth, mode="maximum")  # error
LRFinder(learn, Unsqueeze())  # error
LRFinder(learn, SmoothLoss)  # error
LRFinder(smooth)  # error
LRFinder(learn, smooth.smooth)  # error
Report(finder, smooth.smooth, smooth.percent, smooth.history)  # error
Report(finder, (), "title", smooth.history)  # error
Report(finder, (), smooth.percent, smooth.smooth)  # error
Report(finder, (), smooth.percent, smooth.history, clip)  # error

# A learner of the wrong payload or model.


@dataclass(frozen=True)
class OfTensors(LearnerCallback):
    pass


@dataclass(frozen=True)
class OfTexts(LearnerCallback[Text, Tensor, Tensor]):
    pass


OfTensors(text_learn)  # error
OfTexts(learn)  # error
Depth(learn)  # error
GradientClip(learn.model, 0.1)  # error
Callback[Tensor, Tensor, Tensor, Tensor]  # error

# A list of callbacks is of one payload.
tensor_callbacks: list[Callback] = [Unsqueeze(), DropKeys()]  # error
any_callbacks: list[AnyCallback] = [Unsqueeze()]  # error
text_callbacks: list[Callback[Text, Tensor, Tensor]] = [Scale(2.0)]  # error
text_keep: Callback[Text, Tensor, Text] = KeepLast[Tensor]()  # error
text_device: Callback[Text, Tensor, Tensor] = ToDevice[Tensor, Tensor, Tensor]("cpu")  # error
any_device: AnyCallback = ToDevice[Tensor, Tensor, Tensor]("cpu")  # error


class Mixin:
    """A mixin whose hook is none of a callback's."""

    def after_backward(self, event: AfterEpoch, /) -> None: ...


@dataclass(frozen=True)
class Mixed(Mixin, Callback):  # error
    pass


class StopsMixin:
    """A mixin whose hook may answer what a callback's may not."""

    def after_backward(self, event: AfterBackward, /) -> Tensor:
        return event.loss


@dataclass(frozen=True)
class MixedAgain(StopsMixin, Callback):  # error
    pass


@dataclass(frozen=True)
class Called(AnyCallback):
    """Something to call, and nothing to read."""

    def __call__(self) -> CancelTrain:
        return CancelTrain()


Called().after_fit()  # error
EarlyStopping(Called())  # error
