"""A count over training and validation batches together."""

from dataclasses import dataclass
from typing import Any, ClassVar

from typedcb import AnyCallback, Callback, Cell, Phase, Series, cell, series


@dataclass(frozen=True)
class Mixes(AnyCallback):
    count: Cell[int] = cell(0)
    mean: Cell[float] = cell(0.0)
    seen: Series[int] = series()
    last: Cell[int] = cell(0)

    def after_batch(self, event: Any) -> None:
        self.count.value += 1  # typedcb-both-phases
        self.last.value = event.reached.index
        self._note(event.reached.index)

    def after_loss(self, event: Any) -> None:
        self.mean.value = 0.9 * self.mean.value + 0.1 * float(event.step)  # typedcb-both-phases

    def after_step(self, event: Any) -> None:
        self.count.value += 1

    def after_pred(self, event: Any) -> None:
        self.count.value += 1  # typedcb-both-phases

    def _note(self, index: int) -> None:
        self.seen.append(index)  # typedcb-both-phases


@dataclass(frozen=True)
class Says(Callback):
    phases: ClassVar[tuple[Phase, ...]] = ("train",)
    count: Cell[int] = cell(0)

    def after_batch(self, event: Any) -> None:
        self.count.value += 1


@dataclass(frozen=True)
class Inherits(Says):
    def after_loss(self, event: Any) -> None:
        self.count.value += 1


@dataclass(frozen=True)
class Asks(AnyCallback):
    count: Cell[int] = cell(0)

    def after_batch(self, event: Any) -> None:
        if event.reached.phase == "train":
            self.count.value += 1
