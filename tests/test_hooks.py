"""HOOKS says at run time what the types say to a checker; every answer that is not legal is refused, with words."""

from __future__ import annotations

import inspect
import re
import sys
import typing
from typing import Any

import pytest
import torch
from recording import At, Recorder, answering, raising
from tiny import learner

import typedcb.hooks
from typedcb import (
    Callback,
    CancelBatch,
    CancelEpoch,
    CancelTrain,
    HookError,
    SkipBackward,
    SkipStep,
    SkipValidate,
    SkipZeroGrad,
)
from typedcb.hooks import HOOKS, HookSpec
from typedcb.outcomes import Cancel

OUTCOMES: tuple[type, ...] = (
    CancelBatch,
    CancelEpoch,
    CancelTrain,
    SkipBackward,
    SkipStep,
    SkipZeroGrad,
    SkipValidate,
)
REPLACES = {"with_batch": "BeginBatch", "with_pred": "AfterPred", "with_loss": "AfterLoss"}
UNREACHED = {
    "after_cancel_batch": ("begin_batch", CancelBatch()),
    "after_cancel_epoch": ("begin_batch", CancelEpoch()),
    "after_cancel_train": ("begin_batch", CancelTrain()),
}


def legal_in_types(function: Any) -> set[str]:
    """The names of what a hook's return type allows, besides None."""
    names = {"Tensor": torch.Tensor, "nn": torch.nn}
    returned = typing.get_type_hints(function, vars(sys.modules[function.__module__]) | names)["return"]
    parts = typing.get_args(returned) or (returned,)
    return {(typing.get_origin(part) or part).__name__ for part in parts} - {"NoneType"}


def legal_at_run_time(spec: HookSpec) -> set[str]:
    kinds = {kind.__name__ for kind in (*spec.cancels, *([spec.skip] if spec.skip else []))}
    return kinds | ({REPLACES[spec.replace]} if spec.replace else set())


def protocol_of(spec: HookSpec) -> type:
    found: type = vars(typedcb.hooks)[f"{spec.event.__name__}Hook"]
    return found


def test_there_is_a_hook_for_each_method_of_callback_and_each_protocol() -> None:
    methods = [name for name, value in vars(Callback).items() if inspect.isfunction(value) and name[0] != "_"]
    protocols = [name for name in vars(typedcb.hooks) if name.endswith("Hook")]
    assert methods == list(HOOKS)
    assert sorted(protocols) == sorted(f"{spec.event.__name__}Hook" for spec in HOOKS.values())


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_is_named_for_its_event(name: str) -> None:
    words = re.findall("[A-Z][a-z]*", HOOKS[name].event.__name__)
    assert name == "_".join(words).lower() == HOOKS[name].name


@pytest.mark.parametrize("name", HOOKS)
def test_what_is_legal_at_run_time_is_what_the_types_allow(name: str) -> None:
    spec = HOOKS[name]
    expected = legal_at_run_time(spec)
    assert legal_in_types(vars(Callback)[name]) == expected
    assert legal_in_types(vars(protocol_of(spec))[name]) == expected


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_takes_its_event_by_position_in_the_base_and_in_the_protocol(name: str) -> None:
    for function in (vars(Callback)[name], vars(protocol_of(HOOKS[name]))[name]):
        (_, event) = inspect.signature(function).parameters.values()
        assert event.kind is inspect.Parameter.POSITIONAL_ONLY
        assert re.match(r"\w+", event.annotation)[0] == HOOKS[name].event.__name__  # type: ignore[index]


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_of_the_base_answers_none(name: str) -> None:
    assert vars(Callback)[name](None, None) is None


def test_hooks_cannot_be_added_at_run_time() -> None:
    with pytest.raises(TypeError):
        HOOKS["after_lunch"] = HOOKS["after_loss"]  # type: ignore[index]


# ------------------------------------------------------------------------------------------------- illegal answers


def fit_with(name: str, act: Any) -> Recorder:
    """A fit in which a callback does something at a hook, which is reached whatever that takes."""
    recorder, cbs = Recorder(), [At(name, act)]
    if name in UNREACHED:
        hook, cancel = UNREACHED[name]
        cbs.append(At(hook, answering(cancel)))
    learner(recorder, *cbs, n_train=1, n_valid=1).fit(1)
    return recorder


def is_legal(name: str, outcome: type) -> bool:
    return outcome.__name__ in legal_at_run_time(HOOKS[name])


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: outcome.__name__)
@pytest.mark.parametrize("name", HOOKS)
def test_an_outcome_is_taken_where_it_is_legal_and_refused_elsewhere(name: str, outcome: type) -> None:
    if is_legal(name, outcome):
        fit_with(name, answering(outcome()))
        return
    with pytest.raises(HookError) as refused:
        fit_with(name, answering(outcome()))
    assert f"At.{name} answered a {outcome.__name__}; legal there is {HOOKS[name].legal}." == str(refused.value)
    assert any(f"in At.{name}" in note for note in refused.value.__notes__)


@pytest.mark.parametrize("cancel", [CancelBatch, CancelEpoch, CancelTrain], ids=lambda cancel: cancel.__name__)
@pytest.mark.parametrize("name", HOOKS)
def test_a_cancel_may_be_raised_where_it_may_be_returned(name: str, cancel: type[Cancel]) -> None:
    if is_legal(name, cancel):
        assert fit_with(name, raising(cancel())).seen == fit_with(name, answering(cancel())).seen
        return
    with pytest.raises(HookError) as refused:
        fit_with(name, raising(cancel("why")))
    assert f"At.{name} raised {cancel.__name__}; legal there is {HOOKS[name].legal}." == str(refused.value)
    assert isinstance(refused.value.__cause__, cancel), "the traceback shows where it was raised"


@pytest.mark.parametrize("answer", [True, False, 0, 1, {}, {"skip_bwd": True}, [], "stop", torch.ones(())], ids=repr)
@pytest.mark.parametrize("name", HOOKS)
def test_what_other_systems_take_for_an_answer_is_refused(name: str, answer: object) -> None:
    with pytest.raises(HookError, match=f"At.{name} answered .*legal there is None"):
        fit_with(name, answering(answer))


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: outcome.__name__)
@pytest.mark.parametrize("name", HOOKS)
def test_the_class_of_an_outcome_is_no_outcome(name: str, outcome: type) -> None:
    with pytest.raises(
        HookError, match=rf"the class {outcome.__name__}, not an instance: write {outcome.__name__}\(\)"
    ):
        fit_with(name, answering(outcome))


def test_raising_the_class_of_a_cancel_raises_one() -> None:
    assert fit_with("after_loss", raising(CancelBatch)).hooks.count("after_cancel_batch") == 2


@pytest.mark.parametrize("name", [name for name, spec in HOOKS.items() if not spec.replace])
def test_a_hook_that_only_reads_may_not_hand_its_event_back(name: str) -> None:
    with pytest.raises(HookError, match=rf"At.{name} answered an? {HOOKS[name].event.__name__}; legal"):
        fit_with(name, lambda event: event)


@pytest.mark.parametrize("name", [name for name, spec in HOOKS.items() if spec.replace])
def test_a_hook_that_may_replace_its_event_may_hand_it_back_as_it_is(name: str) -> None:
    assert fit_with(name, lambda event: event).seen == fit_with(name, answering(None)).seen


@pytest.mark.parametrize("name", [name for name, spec in HOOKS.items() if spec.replace])
def test_an_event_kept_from_an_earlier_batch_is_refused(name: str) -> None:
    kept: list[Any] = []

    def keep(event: Any) -> object:
        kept.append(event)
        return kept[0]

    with pytest.raises(HookError) as refused:
        learner(At(name, keep), n_train=2).fit(1)
    assert (
        f"At.{name} answered an event of another batch (epoch 0, batch 0, train, not epoch 0, batch 1, train)"
        in str(refused.value)
    )
    assert f"event.{HOOKS[name].replace}(...)" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "change", "field"),
    [
        ("after_pred", lambda event: event.with_batch(event.xb + 1, event.yb), "xb"),
        ("after_pred", lambda event: event.with_batch(event.xb, event.yb + 1), "yb"),
        ("after_loss", lambda event: event.with_batch(event.xb, event.yb + 1), "yb"),
        ("after_loss", lambda event: event.with_pred(event.pred + 1), "pred"),
    ],
)
def test_an_event_that_replaces_what_its_hook_may_not_replace_is_refused(name: str, change: Any, field: str) -> None:
    with pytest.raises(HookError, match=f"another {field}: this hook may replace what event.{HOOKS[name].replace}"):
        fit_with(name, change)


def test_an_event_of_another_hook_is_refused() -> None:
    kept: list[Any] = []
    with pytest.raises(HookError, match=r"answered a BeginBatch; legal there is None or event\.with_pred"):
        learner(At("begin_batch", kept.append), At("after_pred", lambda event: kept[-1])).fit(1)
