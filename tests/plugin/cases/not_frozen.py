"""A callback that is no frozen dataclass."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, TypeVar

import attrs
from typing_extensions import dataclass_transform, final

from typedcb import AnyCallback, Callback

T = TypeVar("T")


class Plain(Callback):  # typedcb-not-frozen
    clip: float


@dataclass
class Thawed(Callback):  # typedcb-not-frozen
    clip: float


@dataclass(frozen=False)
class Melted(Callback):  # typedcb-not-frozen
    clip: float


@dataclass()
class Bare(Callback):  # typedcb-not-frozen
    clip: float


@attrs.define
class Defined(Callback):  # typedcb-not-frozen
    clip: float


@final
class Final(AnyCallback):  # typedcb-not-frozen
    pass


@final
@dataclass(frozen=True)
class Good(AnyCallback):
    clip: float


class Child(Thawed):  # typedcb-not-frozen
    pass


class Abstract(AnyCallback):
    @abstractmethod
    def score(self) -> float: ...


options: Any = {"frozen": True}


@dataclass(**options)
class Unpacked(AnyCallback):
    pass


@dataclass_transform(frozen_default=True)
def callback(cls: type[T]) -> type[T]:
    return dataclass(frozen=True)(cls)


@callback
class ByOwnDecorator(AnyCallback):
    clip: float = 0.0


class Ignored(AnyCallback):  # typedcb: ignore[typedcb-not-frozen]
    pass
