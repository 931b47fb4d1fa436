"""Callbacks that answer every hook from one place: what the tests record with, and what they decide with."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from typedcb import Callback, Series, series
from typedcb.hooks import HOOKS


class Seen(NamedTuple):
    """An event as it was told: which hook, and where in the fit."""

    hook: str
    epoch: int | None
    phase: str | None
    index: int | None

    @classmethod
    def of(cls, hook: str, event: Any) -> Seen:
        where = getattr(event, "reached", event)
        return cls(hook, *(getattr(where, name, None) for name in ("epoch", "phase", "index")))


def _hook(name: str) -> Callable[[Any, Any], object]:
    def hook(self: Any, event: Any) -> object:
        return self.decide(name, event)

    hook.__name__ = name
    return hook


@dataclass(frozen=True)
class EveryHook(type("Hooks", (Callback,), {name: _hook(name) for name in HOOKS})):  # type: ignore[misc]
    """Overrides all hooks, and leaves each answer to `decide`."""

    def decide(self, hook: str, event: Any) -> object:
        raise NotImplementedError


@dataclass(frozen=True)
class Recorder(EveryHook):
    """Writes down all events, before any other callback gets them."""

    order: ClassVar[int] = -1000

    told: Series[tuple[Seen, Any]] = series(reset="never")

    def decide(self, hook: str, event: Any) -> None:
        self.told.append((Seen.of(hook, event), event))

    @property
    def seen(self) -> list[Seen]:
        return [seen for seen, _ in self.told]

    @property
    def events(self) -> list[Any]:
        return [event for _, event in self.told]

    @property
    def hooks(self) -> list[str]:
        return [seen.hook for seen in self.seen]

    def of(self, *hooks: str) -> list[Any]:
        """The events of these hooks."""
        return [event for seen, event in self.told if seen.hook in hooks]


@dataclass(frozen=True)
class At(EveryHook):
    """Does one thing at a hook: at each of its events, or at one place alone."""

    hook: str
    act: Callable[[Any], object]
    epoch: int | None = None
    index: int | None = None
    phase: str | None = None

    def decide(self, hook: str, event: Any) -> object:
        if hook != self.hook:
            return None
        seen = Seen.of(hook, event)
        wanted = ((self.epoch, seen.epoch), (self.index, seen.index), (self.phase, seen.phase))
        return self.act(event) if all(want is None or want == got for want, got in wanted) else None


def stable(value: object) -> str:
    """A value as a test's name: its repr without addresses, which are others in every process."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def raising(error: BaseException | type[BaseException]) -> Callable[[Any], object]:
    """An act that raises."""

    def act(event: Any) -> object:
        raise error

    return act


def answering(answer: object) -> Callable[[Any], object]:
    """An act that answers the same whatever it is given."""
    return lambda event: answer
