"""How an event is folded through the callbacks, and what an error carries when it leaves."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any

import pytest
from recording import At, EveryHook, Recorder, answering, raising
from tiny import learner, own_loop, pairs

from typedcb import (
    AnyCallback,
    CancelBatch,
    CancelEpoch,
    CancelTrain,
    Failed,
    HookError,
    Loop,
    SkipBackward,
    SkipStep,
    SkipValidate,
    SkipZeroGrad,
)
from typedcb.dispatch import Skipped, fold, tell_all
from typedcb.errors import place
from typedcb.events import AfterFit, AfterLoss, BeginBatch, Completed
from typedcb.hooks import AFTER_FIT, AFTER_LOSS, BEGIN_BATCH


@dataclass(frozen=True)
class Late(Recorder):
    """Records after all others."""

    order = 1000


def batch() -> BeginBatch[int, int]:
    return BeginBatch("train", 0, 0, None, 0, xb=1, yb=1)


# -------------------------------------------------------------------------------------------------------- folding


def test_each_callback_sees_what_those_before_it_made_of_the_event() -> None:
    seen: list[int] = []

    def double(event: BeginBatch[int, int]) -> BeginBatch[int, int]:
        seen.append(event.xb)
        return event.with_batch(event.xb * 2, event.yb)

    folded = fold(BEGIN_BATCH, (double, double, double), batch())
    assert isinstance(folded, BeginBatch)
    assert (seen, folded.xb, folded.yb) == ([1, 2, 4], 8, 1)


def test_no_answers_leave_the_event_as_it_is() -> None:
    event = batch()
    assert fold(BEGIN_BATCH, (), event) is event
    assert fold(BEGIN_BATCH, (answering(None),), event) is event


@pytest.mark.parametrize("act", [answering, raising])
def test_a_cancel_ends_the_round(act: Any) -> None:
    called: list[int] = []
    cancel = CancelBatch()
    answer = fold(BEGIN_BATCH, (lambda e: called.append(1), act(cancel), lambda e: called.append(3)), batch())
    assert answer is cancel
    assert called == [1]


def test_a_skip_does_not_end_the_round_and_is_taken_with_later_changes() -> None:
    event = AfterLoss("train", 0, 0, None, 0, xb=1, yb=1, pred=1, loss=1)  # type: ignore[arg-type]
    answer = fold(AFTER_LOSS, (answering(SkipBackward()), lambda e: e.with_loss(e.loss + 1)), event)
    assert isinstance(answer, Skipped)
    assert (answer.event.loss, answer.skip) == (2, SkipBackward())


def test_a_cancel_after_a_skip_has_its_way() -> None:
    cancel = CancelEpoch()
    event = AfterLoss("train", 0, 0, None, 0, xb=1, yb=1, pred=1, loss=1)  # type: ignore[arg-type]
    assert fold(AFTER_LOSS, (answering(SkipBackward()), answering(cancel)), event) is cancel


def test_tell_all_calls_everybody_and_hands_back_the_errors_in_order() -> None:
    called: list[int] = []
    first, second = ValueError("first"), KeyboardInterrupt()
    listeners = (raising(first), lambda e: called.append(2), raising(second), lambda e: called.append(4))
    assert tell_all(AFTER_FIT, listeners, AfterFit(Completed())) == [first, second]
    assert called == [2, 4]


@pytest.mark.parametrize(
    ("hook", "skip", "missing"),
    [
        ("after_loss", SkipBackward(), {"after_backward", "after_step"}),
        ("after_backward", SkipStep(), {"after_step"}),
        ("after_step", SkipZeroGrad(), set()),
        ("begin_validate", SkipValidate(), {"after_validate"}),
    ],
)
def test_all_callbacks_see_the_event_of_a_skip(hook: str, skip: Any, missing: set[str]) -> None:
    late = Late()
    learner(At(hook, answering(skip)), late).fit(1)
    assert hook in late.hooks
    assert not missing & set(late.hooks)


def test_a_cancel_hides_its_hook_from_later_callbacks_and_nothing_else() -> None:
    late = Late()
    learner(At("after_pred", answering(CancelBatch())), late, n_train=1, n_valid=0).fit(1)
    assert late.hooks[2:5] == ["begin_batch", "after_cancel_batch", "after_batch"]


# ----------------------------------------------------------------------------------------------- errors carry notes


@dataclass(frozen=True)
class Deep(EveryHook):
    """Fails in a helper of its hook."""

    hook: str

    def decide(self, hook: str, event: Any) -> None:
        if hook == self.hook:
            self.helper()

    def helper(self) -> None:
        raise KeyError("no such key")


@pytest.mark.parametrize(
    ("hook", "where"),
    [
        ("begin_fit", ""),
        ("begin_epoch", ", epoch 0"),
        ("begin_batch", ", epoch 0, batch 0, train"),
        ("after_pred", ", epoch 0, batch 0, train"),
        ("after_loss", ", epoch 0, batch 0, train"),
        ("after_backward", ", epoch 0, batch 0, train"),
        ("after_step", ", epoch 0, batch 0, train"),
        ("after_batch", ", epoch 0, batch 0, train"),
        ("begin_validate", ", epoch 0"),
        ("after_validate", ", epoch 0"),
        ("after_epoch", ", epoch 0"),
        ("after_fit", ""),
    ],
)
def test_an_error_in_a_hook_keeps_its_type_and_traceback_and_says_where_it_was(hook: str, where: str) -> None:
    with pytest.raises(KeyError, match="no such key") as failed:
        learner(Deep(hook)).fit(1)
    assert failed.value.__notes__ == [f"typedcb: in Deep.{hook}{where}"]
    assert "helper" in [frame.name for frame in traceback.extract_tb(failed.value.__traceback__)]
    assert failed.value.__cause__ is None


def test_the_place_of_an_error_in_validation_says_so() -> None:
    failing = At("after_loss", raising(KeyError("x")), phase="valid", index=1)
    with pytest.raises(KeyError) as failed:
        learner(failing).fit(1)
    assert failed.value.__notes__ == ["typedcb: in At.after_loss, epoch 0, batch 1, valid"]


def test_an_illegal_answer_says_where_it_was_too() -> None:
    with pytest.raises(HookError) as refused:
        learner(At("after_step", answering(CancelBatch), epoch=1, index=1)).fit(2)
    assert refused.value.__notes__ == ["typedcb: in At.after_step, epoch 1, batch 1, train"]


def test_an_error_in_the_body_of_ones_own_loop_says_where_it_was() -> None:
    loop = Loop[Any, Any, Any]()
    with pytest.raises(ZeroDivisionError) as failed, loop.fit(1) as fit:
        for epoch in fit.epochs():
            for batch_ in epoch.train(pairs(3)):
                batch_.pred(1 / (2 - batch_.xb.item()))
    assert failed.value.__notes__ == ["typedcb: in epoch 0, batch 1, train"]


def test_only_the_nearest_place_is_noted() -> None:
    error = ValueError()
    place(error, "in the cellar")
    place(error, "in the house")
    assert error.__notes__ == ["typedcb: in the cellar"]


def test_notes_of_others_are_kept() -> None:
    error = ValueError()
    error.add_note("mine")
    place(error, "in the cellar")
    assert error.__notes__ == ["mine", "typedcb: in the cellar"]


# ------------------------------------------------------------------------------------------- errors as a fit ends


def test_one_callbacks_error_in_after_fit_keeps_no_other_from_its_own() -> None:
    late = Late()
    with pytest.raises(ValueError, match="mine"):
        learner(At("after_fit", raising(ValueError("mine"))), late).fit(1)
    assert late.hooks[-1] == "after_fit"


def test_several_errors_come_together_the_first_one_first() -> None:
    first, second, third = ValueError("loss"), OSError("file"), KeyError("bar")
    cbs = [
        At("after_loss", raising(first)),
        At("after_fit", raising(second)),
        At("after_fit", raising(third)),
    ]
    with pytest.raises(ExceptionGroup) as failed:
        learner(*cbs).fit(1)
    assert failed.value.exceptions == (first, second, third)
    assert [error.__notes__[0].split(",")[0] for error in failed.value.exceptions] == [
        "typedcb: in At.after_loss",
        "typedcb: in At.after_fit",
        "typedcb: in At.after_fit",
    ]


def test_two_errors_in_after_fit_alone_come_together() -> None:
    cbs = [At("after_fit", raising(ValueError("a"))), At("after_fit", raising(ValueError("b")))]
    with pytest.raises(ExceptionGroup, match="the fit failed") as failed:
        learner(*cbs).fit(1)
    assert [str(error) for error in failed.value.exceptions] == ["a", "b"]


def test_a_cancel_from_after_batch_does_not_swallow_an_error_in_flight() -> None:
    for cancel in (CancelEpoch(), CancelTrain()):
        recorder = Recorder()
        cbs = [At("after_loss", raising(ValueError("real"))), At("after_batch", raising(cancel))]
        with pytest.raises(ValueError, match="real"):
            learner(recorder, *cbs).fit(2)
        assert recorder.hooks[-2:] == ["after_batch", "after_fit"]
        assert isinstance(recorder.events[-1].outcome, Failed)


def test_an_error_in_after_batch_while_another_is_in_flight_comes_second() -> None:
    cbs = [At("after_loss", raising(ValueError("real"))), At("after_batch", raising(KeyError("too")))]
    late = Late()
    with pytest.raises(ExceptionGroup) as failed:
        learner(*cbs, late).fit(1)
    assert [type(error) for error in failed.value.exceptions] == [ValueError, KeyError]
    assert late.hooks[-2:] == ["after_batch", "after_fit"]


def test_an_error_in_after_cancel_batch_does_not_keep_after_batch_from_coming() -> None:
    recorder = Recorder()
    cbs = [At("after_pred", answering(CancelBatch())), At("after_cancel_batch", raising(ValueError("mine")))]
    with pytest.raises(ValueError, match="mine"):
        learner(recorder, *cbs).fit(1)
    assert recorder.hooks[-3:] == ["after_cancel_batch", "after_batch", "after_fit"]


def test_an_error_in_after_cancel_train_makes_the_fit_a_failed_one() -> None:
    recorder = Recorder()
    cbs = [At("begin_fit", answering(CancelTrain())), At("after_cancel_train", raising(ValueError("mine")))]
    with pytest.raises(ValueError, match="mine"):
        learner(recorder, *cbs).fit(1)
    assert isinstance(recorder.events[-1].outcome, Failed)


@pytest.mark.parametrize(
    "hook", ["begin_fit", "begin_epoch", "begin_batch", "after_step", "after_batch", "after_epoch"]
)
def test_ctrl_c_ends_the_fit_with_after_fit_and_propagates(hook: str) -> None:
    recorder = Recorder()
    pressed = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt) as interrupted:
        learner(recorder, At(hook, raising(pressed))).fit(1)
    assert interrupted.value is pressed
    (after_fit,) = recorder.of("after_fit")
    assert isinstance(after_fit.outcome, Failed)
    assert after_fit.outcome.error is pressed
    assert recorder.hooks.count("begin_batch") == recorder.hooks.count("after_batch")


def test_ctrl_c_and_an_error_in_after_fit_come_together_as_what_is_no_mere_exception() -> None:
    cbs = [At("after_step", raising(KeyboardInterrupt())), At("after_fit", raising(ValueError("mine")))]
    with pytest.raises(BaseExceptionGroup) as failed:
        learner(*cbs).fit(1)
    assert not isinstance(failed.value, ExceptionGroup), "except Exception lets it through"
    assert [type(error) for error in failed.value.exceptions] == [KeyboardInterrupt, ValueError]


def test_an_error_in_begin_fit_still_ends_the_fit() -> None:
    recorder = Recorder()
    loop = Loop[Any, Any, Any]([recorder, At("begin_fit", raising(ValueError("mine")))])
    with pytest.raises(ValueError, match="mine"):
        own_loop(loop)
    assert recorder.hooks == ["begin_fit", "after_fit"]
    assert not loop.running


def test_a_cancel_may_be_raised_from_deep_inside_a_helper() -> None:
    @dataclass(frozen=True)
    class Deeper(AnyCallback):
        def after_loss(self, event: Any) -> None:
            self.check(event.loss.item())

        def check(self, value: float) -> None:
            if value > 0:
                raise CancelTrain("positive")

    outcome = learner(Deeper()).fit(1)
    assert outcome.cancel.reason == "positive"  # type: ignore[union-attr]
