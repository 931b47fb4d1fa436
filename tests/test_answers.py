"""What a hook may answer is read from its return type, however that is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial, partialmethod, singledispatchmethod, wraps
from types import new_class
from typing import TYPE_CHECKING, Any, Optional, TypeVar, Union

import pytest

from typedcb import (
    AfterLoss,
    AfterPred,
    AnyCallback,
    BeginBatch,
    Callback,
    CallbackError,
    CancelBatch,
    CancelEpoch,
    CancelTrain,
    SkipBackward,
    SkipStep,
)
from typedcb.answers import answers_of, hook_of, legal_answers
from typedcb.callbacks import AvgStats, EarlyStopping, GradientAccumulation, GradientClip, MixedPrecision
from typedcb.hooks import AFTER_BACKWARD, AFTER_FIT, AFTER_LOSS, AFTER_PRED, BEGIN_BATCH, HOOKS, HookSpec
from typedcb.outcomes import InBatch

if TYPE_CHECKING:
    from torch import Tensor as OnlyForCheckers

T = TypeVar("T")


@dataclass(frozen=True)
class Says(AnyCallback):
    def after_loss(self, event: AfterLoss[object, object, object], /) -> Optional[SkipBackward]:
        return None


@dataclass(frozen=True)
class SaysNothing(AnyCallback):
    def after_loss(self, event: AfterLoss[object, object, object], /) -> None: ...


@dataclass(frozen=True)
class SaysByBar(Callback):
    def after_loss(self, event: AfterLoss, /) -> AfterLoss | CancelTrain | None: ...


@dataclass(frozen=True)
class SaysByAlias(AnyCallback):
    def after_loss(self, event: AfterLoss[object, object, object], /) -> Optional[InBatch]: ...


@dataclass(frozen=True)
class SaysWithCheckersNames(Callback):
    def after_loss(
        self, event: AfterLoss, /
    ) -> Optional[Union[AfterLoss[OnlyForCheckers, OnlyForCheckers, OnlyForCheckers], CancelBatch]]: ...


@dataclass(frozen=True)
class SaysUnknown(Callback):
    def after_loss(self, event: AfterLoss, /) -> Optional[Unheard]: ...  # type: ignore[name-defined]  # noqa: F821


@dataclass(frozen=True)
class SaysUntyped(Callback):
    def after_loss(self, event, /): ...


@dataclass(frozen=True)
class SaysAny(Callback):
    def after_loss(self, event: AfterLoss, /) -> Any: ...


@dataclass(frozen=True)
class Inherits(Says):
    """Has the hook of its base."""


ALL = frozenset({AfterLoss, SkipBackward, CancelBatch, CancelEpoch, CancelTrain})


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Says, {SkipBackward}),
        (SaysNothing, set()),
        (SaysByBar, {AfterLoss, CancelTrain}),
        (SaysByAlias, {CancelBatch, CancelEpoch, CancelTrain}),
        (SaysWithCheckersNames, {AfterLoss, CancelBatch}),
        (SaysUnknown, ALL),
        (SaysUntyped, ALL),
        (SaysAny, ALL),
        (Inherits, {SkipBackward}),
        (GradientClip, set()),
    ],
)
def test_a_hook_may_answer_what_its_return_type_names(kind: type[AnyCallback], expected: set[type]) -> None:
    assert answers_of(kind, AFTER_LOSS) == expected


@pytest.mark.parametrize("spec", HOOKS.values(), ids=lambda spec: spec.name)
def test_a_hook_that_is_left_alone_answers_nothing(spec: HookSpec) -> None:
    assert hook_of(Callback, spec) is None
    assert answers_of(Callback, spec) == frozenset()


def test_the_ready_made_callbacks_answer_what_they_are_for() -> None:
    assert answers_of(GradientAccumulation, AFTER_BACKWARD) == {SkipStep}
    assert answers_of(EarlyStopping, HOOKS["after_epoch"]) == {CancelTrain}
    assert answers_of(AvgStats, HOOKS["after_batch"]) == frozenset()
    assert SkipBackward not in answers_of(MixedPrecision, AFTER_LOSS)


def test_all_that_is_legal_are_the_cancels_the_skip_and_the_event() -> None:
    assert legal_answers(AFTER_LOSS) == ALL
    assert legal_answers(AFTER_PRED) == {AfterPred, CancelBatch, CancelEpoch, CancelTrain}
    assert legal_answers(BEGIN_BATCH) == {BeginBatch, CancelBatch, CancelEpoch, CancelTrain}
    assert legal_answers(AFTER_FIT) == frozenset()


def plain(self: object, event: object) -> Optional[CancelTrain]:
    return None


class Called:
    def __call__(self, event: object) -> None: ...


class Descriptor:
    def __get__(self, instance: object, owner: object = None) -> Callable[[object], None]:
        return Called()


NO_FUNCTIONS = (
    partial(plain, None),
    partialmethod(plain),
    singledispatchmethod(plain),
    lru_cache(plain),
    staticmethod(plain),
    classmethod(plain),
    property(plain),
    Called(),
    Descriptor(),
    None,
)


@pytest.mark.parametrize("hook", NO_FUNCTIONS, ids=lambda hook: type(hook).__name__)
def test_a_hook_that_is_no_plain_function_is_refused_when_the_class_is_made(hook: object) -> None:
    expected = r"Odd\.after_loss is a \w+, and a hook is a plain method: write def after_loss\(self, event: AfterLoss\)"
    with pytest.raises(CallbackError, match=expected):
        new_class("Odd", (AnyCallback,), {}, lambda body: body.update(after_loss=hook))


def test_such_a_hook_of_a_mixin_is_refused_too() -> None:
    mixin = type("Mixin", (), {"after_loss": partial(plain, None)})
    with pytest.raises(CallbackError, match=r"Odd\.after_loss is a partial"):
        new_class("Odd", (mixin, AnyCallback))


def test_a_field_of_a_hook_s_name_is_refused_when_the_class_is_made() -> None:
    with pytest.raises(CallbackError, match=r"Odd\.after_loss is a field, and a hook is a method: write def"):
        new_class("Odd", (AnyCallback,), {}, lambda body: body.update(__annotations__={"after_loss": object}))


def test_a_hook_that_was_put_there_later_is_refused_when_it_is_asked_for() -> None:
    later: Any = new_class("Odd", (AnyCallback,))
    later.after_loss = partial(plain, None)
    with pytest.raises(CallbackError, match=r"Odd\.after_loss is a partial, and a hook is a plain method"):
        hook_of(later, AFTER_LOSS)


def test_a_decorated_hook_answers_what_the_innermost_function_says() -> None:
    @wraps(plain)
    def around(self: Any, event: Any) -> Any:
        return plain(self, event)

    kind = new_class("Decorated", (AnyCallback,), {}, lambda body: body.update(after_loss=around))
    assert hook_of(kind, AFTER_LOSS) is plain
    assert answers_of(kind, AFTER_LOSS) == {CancelTrain}


def test_a_function_around_what_is_no_function_is_a_hook_of_its_own() -> None:
    @wraps(partial(plain), assigned=())
    def around(self: Any, event: Any) -> Optional[CancelTrain]:
        return None

    kind = new_class("Decorated", (AnyCallback,), {}, lambda body: body.update(after_loss=around))
    assert hook_of(kind, AFTER_LOSS) is around
    assert answers_of(kind, AFTER_LOSS) == {CancelTrain}
