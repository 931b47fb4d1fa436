"""Ranks that are threads of this process, as far as shares and votes ask for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from typedcb.ranks import Alone

T = TypeVar("T")


class Meeting:
    """Where threads tell each other what they have: each round ends when all have come."""

    def __init__(self, n: int) -> None:
        self.barrier = threading.Barrier(n)
        self.said: list[Any] = [None] * n

    def told(self, rank: int, what: Any) -> tuple[Any, ...]:
        self.said[rank] = what
        self.barrier.wait(20)
        everybody = tuple(self.said)
        self.barrier.wait(20)
        return everybody


class Rank(Alone):
    """One of several ranks."""

    compares = True

    def __init__(self, rank: int, meeting: Meeting) -> None:
        self._rank = rank
        self._meeting = meeting
        self.who = ""
        self.rounds: list[str] = []
        self.hooks: list[bool] = []

    @property
    def rank(self) -> int:
        return self._rank

    @property
    def world_size(self) -> int:
        return self._meeting.barrier.parties

    def gather(self, values: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        assert not self.who, f"{self.who} is alone"
        self.rounds.append("gather")
        return self._meeting.told(self._rank, tuple(values))

    def exchange(self, text: str) -> tuple[str, ...]:
        self.rounds.append("exchange")
        return self._meeting.told(self._rank, text)

    def alone(self, who: str, /) -> None:
        self.who = who

    def in_hook(self, begins: bool, /) -> None:
        self.hooks.append(begins)


class Alike(Rank):
    """A rank whose others say whatever it says itself."""

    def __init__(self, rank: int, world_size: int) -> None:
        super().__init__(rank, Meeting(world_size))

    def gather(self, values: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        return (tuple(values),) * self.world_size


def on_ranks(n: int, do: Callable[[Rank], T]) -> list[T]:
    """What a function comes to on each of several ranks; an error of one breaks the round of the others."""
    meeting = Meeting(n)

    def guarded(rank: int) -> T:
        try:
            return do(Rank(rank, meeting))
        except BaseException:
            meeting.barrier.abort()
            raise

    with ThreadPoolExecutor(n) as pool:
        futures = [pool.submit(guarded, rank) for rank in range(n)]
    errors = [error for future in futures if (error := future.exception()) is not None]
    for error in errors:
        if not isinstance(error, threading.BrokenBarrierError):
            raise error
    return [future.result() for future in futures]
