"""The places at which servers fall short, without the package: plain dataclasses and functions show that it is they.

`shortfalls.py` says which mark of the package each of these stands for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Callable, Generic, ParamSpec, TypeVar

from typing_extensions import final, override

PS = ParamSpec("PS")
T = TypeVar("T")


@dataclass
class Settings:
    """Two settings."""

    first: int
    """The first of the settings."""

    second: int = 0
    """The second of the settings."""


def call(function: Callable[PS, T], /, *args: PS.args, **kwargs: PS.kwargs) -> T:
    """Calls a function."""
    return function(*args, **kwargs)


def through_a_param_spec() -> Settings:
    """Keywords that a ParamSpec stands for."""
    return call(Settings, first=1)
    #                     ^ complete: first=, second=


def through_partial() -> partial[Settings]:
    """Keywords of a partial call."""
    return partial(Settings, first=1)
    #                        ^ complete: first=, second=


def in_a_pattern(settings: Settings) -> int:
    """Keywords of a class pattern."""
    match settings:
        case Settings(first=first):
            #         ^ complete: first=
            return first


@dataclass
class Base:
    """Something with a method."""

    def after_it(self, event: int) -> int:
        """Called after it."""
        return event


@dataclass
class Derived(Base):
    """Overrides the method."""

    @override
    def after_it(self, event: int) -> int:
        #   ^ complete: after_it
        return event + 1


def generic(content: T, *, times: int = 1) -> list[T]:
    """Repeats something.

    Args:
        content: What is repeated.
        times: How often it is repeated.
    """
    return [content] * times


def of_a_generic_function() -> list[int]:
    """Keywords of a generic function."""
    return generic(content=0, times=2)
    #              ^ complete: content=, times=


@dataclass
class Box(Generic[T]):
    """Holds something."""

    content: T
    """What the box holds."""


@final
class Sealed(Box[T]):
    """A generic class that has no subclass."""


def in_a_generic_dataclass() -> Box[int]:
    """The keyword of a generic dataclass."""
    return Box(content=1)
    #          ^ complete: content=


def of_a_dataclass() -> Settings:
    """What is shown of a dataclass that is being made."""
    return Settings(first=1)
    #               ^ complete: first=, second=
    #               ^ signature: first, second


def of_a_final_class(sealed: Sealed[int]) -> int:
    """A field of a generic class that is final."""
    return sealed.content
    #             ^ complete: content


class Shelf(Generic[T]):
    """Holds several things."""

    def __init__(self, contents: tuple[T, ...] = ()) -> None:
        """Puts them in.

        Args:
            contents: What the shelf holds.
        """
        self.contents = contents


def of_what_is_subscripted() -> Shelf[int]:
    """The keyword of a generic class whose argument is given."""
    return Shelf[int](contents=(1,))
    #                 ^ complete: contents=


assert through_a_param_spec() == through_partial()() == of_a_dataclass() == Settings(1)
assert in_a_pattern(Settings(1)) == 1
assert Derived().after_it(1) == len(of_a_generic_function()) == 2
assert in_a_generic_dataclass().content == of_a_final_class(Sealed(1)) == of_what_is_subscripted().contents[0]
