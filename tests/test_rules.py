"""Names that read as a hook's and are none are told apart from a callback's own methods."""

from __future__ import annotations

import functools
from typing import Any, Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recording import stable

from typedcb.hooks import HOOKS
from typedcb.naming import name_problem, near_hook, set_up_problem
from typedcb.rules import init_problem, signature_problem


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("after_bacward", "after_backward"),
        ("after_backwards", "after_backward"),
        ("afterbackward", "after_backward"),
        ("begin_bach", "begin_batch"),
        ("begin_train", "begin_fit"),
        ("end_epoch", "after_epoch"),
        ("epoch_begin", "begin_epoch"),
        ("train_epoch_start", "begin_epoch"),
        ("eval_before_forward", "begin_batch"),
        ("eval_batch_end", "after_batch"),
        ("iteration_start", "begin_batch"),
        ("before_optimizer_step", "after_backward"),
        ("on_before_zero_grad", "after_step"),
        ("After_Loss", "after_loss"),
        ("on_train_batch_end", "after_batch"),
        ("on_train_batch_start", "begin_batch"),
        ("on_train_begin", "begin_fit"),
        ("on_train_end", "after_fit"),
        ("on_epoch_end", "after_epoch"),
        ("on_loss_begin", "after_pred"),
        ("on_backward_begin", "after_loss"),
        ("on_after_backward", "after_backward"),
        ("on_validation_epoch_end", "after_validate"),
        ("before_fit", "begin_fit"),
        ("before_batch", "begin_batch"),
        ("after_cancel_fit", "after_cancel_train"),
    ],
)
def test_a_name_that_reads_as_a_hook_is_refused_with_what_was_meant(name: str, meant: str | None) -> None:
    problem = name_problem(name)
    assert problem is not None
    assert problem.startswith("is no hook; ")
    if meant:
        assert f"did you mean {meant}?" in problem
        assert near_hook(name) == meant


@pytest.mark.parametrize(
    "name",
    [
        "step",
        "reset",
        "value",
        "avg",
        "batch_size",
        "plot",
        "_after_bacward",
        "__after_batch",
        "loss",
        "model",
        "decide",
        "optimizer_step",
        "start",
        "end_of_epoch",
    ],
)
def test_a_name_of_ones_own_is_none_of_the_rules_business(name: str) -> None:
    assert name_problem(name) is None


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_is_no_problem_and_its_own_nearest(name: str) -> None:
    assert name_problem(name) is None
    assert near_hook(name) == name


@given(st.sampled_from(sorted(HOOKS)), st.data())
def test_a_hook_with_a_letter_dropped_or_doubled_is_refused_and_recognised(hook: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(hook) - 1))
    for misspelt in (hook[:at] + hook[at + 1 :], hook[:at] + hook[at] + hook[at:]):
        if misspelt != hook:
            assert name_problem(misspelt) is not None
            assert near_hook(misspelt) == hook


def test_a_name_that_is_near_no_hook_is_answered_with_all_of_them() -> None:
    problem = name_problem("on_x", lambda: True)
    assert problem is not None
    assert all(hook in problem for hook in HOOKS)
    assert "_on_x" in problem, "the way out for a method of one's own"


def plain(self: Any, event: Any) -> None: ...
def with_own(self: Any, event: Any, _scale: int = 0) -> None: ...
def with_any(self: Any, *args: Any, **kwargs: Any) -> None: ...
def another_name(self: Any, batch: Any, /) -> None: ...


@functools.wraps(plain)
def wrapped(*args: Any) -> None: ...


@pytest.mark.parametrize(
    "function", [plain, with_own, with_any, another_name, wrapped, torch.no_grad()(plain)], ids=lambda f: f.__name__
)
def test_a_hook_may_be_anything_that_is_called_with_one_event(function: Any) -> None:
    assert signature_problem("after_loss", function) is None


def with_default(self: Any, event: Any, extra: int = 0) -> None: ...
def with_keyword(self: Any, event: Any, *, extra: Any = None) -> None: ...


@pytest.mark.parametrize("function", [with_default, with_keyword], ids=lambda f: f.__name__)
def test_a_parameter_that_the_loop_never_fills_is_refused(function: Any) -> None:
    problem = signature_problem("after_loss", function)
    assert problem is not None
    assert problem.startswith("takes extra, and the loop hands it one event and nothing else")


@pytest.mark.parametrize("name", ["start_epoch", "end_step", "pred_end"])
def test_a_name_that_begins_as_no_hook_does_is_the_callbacks_own_where_it_calls_it(name: str) -> None:
    assert name_problem(name) is not None
    assert name_problem(name, lambda: True) is None


@pytest.mark.parametrize(
    ("name", "takes", "called", "elsewhere", "refused"),
    [
        ("setup", ["trainer", "pl_module", "stage"], False, True, True),
        ("setup", ["trainer"], True, True, False),
        ("setup", [], False, True, False),  # somebody else may call it
        ("setup", [], False, False, True),
        ("setup", ["path"], False, False, False),  # a method of one's own
        ("set_model", ["model"], False, False, True),
        ("close", [], False, False, False),
        ("close", ["state", "logger"], False, False, True),
        ("reset", ["trainer"], False, False, False),
    ],
)
def test_what_another_framework_would_call_is_refused_where_nobody_else_does(
    name: str, takes: list[str], called: bool, elsewhere: bool, refused: bool
) -> None:
    assert (set_up_problem(name, takes, called=lambda: called, elsewhere=elsewhere) is not None) is refused


@pytest.mark.parametrize(
    ("fields", "mentions", "refused"),
    [(["count"], ["print"], True), (["count"], ["super", "__init__"], False), ([], ["print"], False)],
)
def test_an_init_that_makes_no_field_is_refused(fields: list[str], mentions: list[str], refused: bool) -> None:
    assert (init_problem(fields, mentions) is not None) is refused


def none(self: Any) -> None: ...
def two(self: Any, xb: Any, yb: Any) -> None: ...
def keyword(self: Any, *, event: Any) -> None: ...
def no_self() -> None: ...


@pytest.mark.parametrize("function", [none, two, keyword, no_self], ids=lambda f: f.__name__)
def test_a_hook_that_cannot_be_called_with_one_event_is_refused(function: Any) -> None:
    problem = signature_problem("after_loss", function)
    assert problem is not None
    assert "is called with one event, and cannot be" in problem
    assert "write def after_loss(self, event: AfterLoss)" in problem


def with_factor(hook: Callable[..., None]) -> Callable[[Any, Any], None]:
    @functools.wraps(hook)
    def call(self: Any, event: Any) -> None:
        hook(self, event, extra=3)

    return call


@pytest.mark.parametrize("function", [with_default, with_keyword], ids=lambda f: f.__name__)
def test_a_parameter_that_a_decorator_fills_is_let_through(function: Any) -> None:
    assert signature_problem("after_loss", with_factor(function)) is None


async def waiting(self: Any, event: Any) -> None: ...


async def waiting_generator(self: Any, event: Any) -> Any:
    yield


def generator(self: Any, event: Any) -> Any:
    yield


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (waiting, "is async"),
        (waiting_generator, "is async"),
        (generator, "has a yield in it"),
        (staticmethod(plain), "is a staticmethod, and a hook is a plain method"),
        (classmethod(plain), "is a classmethod, and a hook is a plain method"),
        (property(plain), "is a property, and a hook is a plain method"),
        (functools.partial(plain), "is a partial, and a hook is a plain method"),
        (None, "is a NoneType, and a hook is a plain method"),
    ],
    ids=stable,
)
def test_a_hook_of_a_kind_that_would_not_run_is_refused(value: Any, words: str) -> None:
    problem = signature_problem("after_step", value)
    assert problem is not None
    assert words in problem
    assert "write def after_step(self, event: AfterStep)" in problem
