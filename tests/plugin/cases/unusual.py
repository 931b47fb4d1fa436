"""Unusual code, on which nothing may stumble."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from missing_module import *  # type: ignore[import-not-found]
from missing_module import Missing
from typedcb import *
from typedcb import AnyCallback, Callback

if sys.version_info >= (3, 99):
    from typedcb import Nothing  # type: ignore[attr-defined]

Loop1 = Loop2  # type: ignore[used-before-def, has-type]
Loop2 = Loop1


class OfMissing(Missing):  # type: ignore[misc]
    def on_train_batch_end(self) -> None: ...


class OfCall(NamedTuple("T", [("a", int)])):
    def on_train_batch_end(self) -> None: ...


class Itself(Itself):  # type: ignore[misc, used-before-def, no-redef]
    pass


@dataclass(frozen=True)
class Empty(AnyCallback): ...


@dataclass(frozen=True)
class WithKeywords(AnyCallback, metaclass=type):
    after_loss = None  # type: ignore[assignment]
    begin_fit: Any  # type: ignore[assignment]

    def after_backward() -> None: ...  # type: ignore[misc, override]

    def after_step(*args: Any, **kwargs: Any) -> None:
        args[0].x = 3

    def after_pred(self, *, event: Any) -> None:  # type: ignore[override]
        print(event.loss)

    if TYPE_CHECKING:

        def on_something(self) -> None: ...

    for _i in range(3):
        pass

    lambda_ = lambda self: self

    def odd(self) -> Any:
        raise

    def odder(self) -> Any:
        match self:
            case Empty():
                return [x.y for x in ()]  # type: ignore[attr-defined]
            case _:
                return (yield)

    a, (b, *c) = 1, (2, 3)


Dynamic = type("Dynamic", (Callback,), {})


class OfDynamic(Dynamic):  # type: ignore[misc, valid-type]
    pass


class Generic1(Callback["Nowhere", int, "1 +"]):  # type: ignore[name-defined, valid-type, syntax]  # typedcb-not-frozen
    field: "1 +"  # type: ignore[valid-type, syntax]
