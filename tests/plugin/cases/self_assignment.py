"""An attribute made on self in a method."""

from dataclasses import dataclass
from typing import Any

from typedcb import AnyCallback, BatchEvent, Cell, Series, cell, series


@dataclass(frozen=True)
class Counts(AnyCallback):
    n: int = 0
    count: Cell[int] = cell(0)
    history: Series[int] = series()

    def __post_init__(self) -> None:
        self.double = 2 * self.n  # typedcb-self-assignment
        object.__setattr__(self, "n", 3)

    def begin_fit(self, event: object) -> None:
        self.n += 1  # typedcb-self-assignment
        self.total: float = 0.0  # typedcb-self-assignment
        self.a, self.b = 1, 2  # typedcb-self-assignment
        for self.i in range(3):  # typedcb-self-assignment
            pass
        del self.n  # typedcb-self-assignment
        with open("log") as self.file:  # typedcb-self-assignment
            pass

    def after_step(this, event: BatchEvent) -> None:
        this.steps = event.step  # typedcb-self-assignment

    def after_batch(self, event: Any) -> None:
        self.count.value += 1  # typedcb-both-phases
        self.history.append(self.count.value)  # typedcb-both-phases
        self.count.value, n = 3, 4
        print(self.n == 3, n)

    @staticmethod
    def made(other: Any) -> None:
        other.n = 3

    @classmethod
    def named(cls, name: str) -> None:
        cls.title = name

    def helper(self) -> None:
        class Inner:
            def __init__(self) -> None:
                self.x = 3

        def inner(self: Any) -> None:
            self.x = 3

        print(Inner, inner)
