"""Methods that nobody calls, parameters that nobody fills, an `__init__` that makes nothing."""

import functools
from dataclasses import dataclass, field
from typing import Any, Callable, Optional

from typedcb import AnyCallback, AnyLearnerCallback, Cell, cell


@dataclass(frozen=True)
class OtherOrder(AnyCallback):
    def end_epoch(self, event: Any) -> None: ...  # typedcb-unknown-hook

    def train_batch_start(self, event: Any) -> None: ...  # typedcb-unknown-hook

    def eval_before_forward(self, event: Any) -> None: ...  # typedcb-unknown-hook

    def optimizer_step(self) -> None: ...

    def start(self) -> None: ...


@dataclass(frozen=True)
class SetUp(AnyLearnerCallback):
    def setup(self) -> None: ...  # typedcb-unknown-hook

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None: ...  # typedcb-unknown-hook

    def set_model(self, model: Any) -> None: ...  # typedcb-unknown-hook

    def match(self, event: Any, state: Any) -> None: ...  # typedcb-unknown-hook


@dataclass(frozen=True)
class SetsItselfUp(AnyLearnerCallback):
    def begin_fit(self, event: Any) -> None:
        self.initialize()

    def initialize(self) -> None: ...

    def close(self) -> None: ...

    def apply(self, scale: float) -> None: ...


@dataclass(frozen=True)
class Indented(AnyCallback):
    count: Cell[int] = cell(0)

    def begin_fit(self, event: Any) -> None:
        print("begins")

        def after_epoch(self: Any, event: Any) -> None:  # typedcb-misplaced-hook
            self.count.value += 1

    def after_fit(self, event: Any) -> None:
        def after_epoch(self: Any) -> None: ...

        def after_step(count: int) -> None: ...

        after_epoch(self)


def after_loss(self: Any, event: Any) -> None: ...  # typedcb-misplaced-hook


def after_pred(event: Any) -> None: ...


def after_step(self: Any, event: Any) -> None: ...


@dataclass(frozen=True)
class Assigned(AnyCallback):
    after_step = after_step


@dataclass(frozen=True)
class Unfilled(AnyCallback):
    def begin_batch(self, event: Any, xb: Any = None) -> None: ...  # typedcb-unfilled-parameter

    def after_epoch(self, event: Any, *, logs: Optional[str] = None) -> None: ...  # typedcb-unfilled-parameter

    def after_step(self, event: Any, **kwargs: Any) -> None:  # typedcb-unfilled-parameter
        print(kwargs.get("model"))

    def after_fit(self, event: Any, *args: Any) -> None:  # typedcb-unfilled-parameter
        print(args)


def filled(hook: Callable[..., None]) -> Callable[[Any, Any], None]:
    @functools.wraps(hook)
    def call(self: Any, event: Any) -> None:
        hook(self, event, 3)

    return call


@dataclass(frozen=True)
class Filled(AnyCallback):
    @filled
    def after_epoch(self, event: Any, _factor: int = 1) -> None: ...

    def after_step(self, event: Any, _factor: int = 1) -> None: ...

    def after_fit(self, event: Any, *args: Any, **kwargs: Any) -> None:
        super().after_fit(event, *args, **kwargs)


@dataclass(frozen=True)
class OwnInit(AnyCallback):
    every: int
    count: Cell[int] = cell(0)

    def __init__(self, every: int) -> None:  # typedcb-own-init
        print(every)


@dataclass(frozen=True)
class MakesThem(AnyCallback):
    every: int
    names: tuple[str, ...] = field(default=())

    def __init__(self, every: int) -> None:
        object.__setattr__(self, "every", every)
        object.__setattr__(self, "names", ())


@dataclass(frozen=True)
class MakesThemByAnAlias(AnyCallback):
    every: int
    names: tuple[str, ...]
    put = object.__setattr__

    def __init__(self, every: int) -> None:
        self.put("every", every)
        self.put("names", ())


put_from_outside = object.__setattr__


@dataclass(frozen=True)
class MakesThemByAnAliasOutside(AnyCallback):
    every: int

    def __init__(self, every: int) -> None:
        put_from_outside(self, "every", every)


@dataclass(frozen=True)
class HasNone(AnyCallback):
    def __init__(self) -> None:
        print("made")
