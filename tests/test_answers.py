"""What a hook may answer is read from its return type, however that is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, TypeVar, Union

import pytest

from typedcb import (
    AfterLoss,
    AfterPred,
    AnyCallback,
    BeginBatch,
    Callback,
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
