"""The typestate loop: what a body may call when, how it may be left, and what comes in any case."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from itertools import islice
from typing import Any

import pytest
import torch
from recording import At, Recorder, answering, raising
from tiny import Weight, own_loop, pairs, total
from torch.optim import LBFGS, SGD

from typedcb import (
    BatchError,
    CancelBatch,
    CancelEpoch,
    Cancelled,
    CancelTrain,
    Completed,
    Failed,
    Loop,
    LoopError,
    SkipBackward,
    SkipStep,
    SkipValidate,
    SkipZeroGrad,
)


class Steps:
    """An optimizer that counts."""

    def __init__(self) -> None:
        self.stepped = self.zeroed = 0

    def step(self) -> None:
        self.stepped += 1

    def zero_grad(self) -> None:
        self.zeroed += 1


def train(loop: Loop[Any, Any, Any], n_epochs: int = 1, n_train: int = 2) -> Steps:
    """Trains by the book, and counts the steps."""
    model, opt = Weight(), Steps()
    with loop.fit(n_epochs) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(pairs(n_train)):
                out = batch.pred(model(batch.xb))
                out.loss(total(out.pred, out.yb)).backward().step(opt)
    return opt


def batches_of(loop: Loop[Any, Any, Any], n: int = 2) -> Iterator[Any]:
    """The training batches of one epoch, inside of a fit."""
    with loop.fit(1) as fit:
        for epoch in fit.epochs():
            yield from epoch.train(pairs(n))


# ------------------------------------------------------------------------------------------------------- a batch


def test_a_loop_by_the_book_trains() -> None:
    assert own_loop(Loop(), n_epochs=2).w.item() == 1 - 2 * (1 + 2)


def test_what_callbacks_make_of_a_batch_is_what_the_body_gets() -> None:
    loop = Loop[Any, Any, Any](
        [
            At("begin_batch", lambda event: event.with_batch(event.xb + 10, event.yb + 20)),
            At("after_pred", lambda event: event.with_pred(event.pred * 2)),
            At("after_loss", lambda event: event.with_loss(event.loss * 3)),
        ]
    )
    model = Weight()
    for batch in batches_of(loop, 1):
        assert (batch.xb.item(), batch.yb.item()) == (11, 21)
        out = batch.pred(model(batch.xb))
        assert (out.xb.item(), out.yb.item(), out.pred.item()) == (11, 21, 22)
        loss = out.loss(total(out.pred, out.yb))
        assert loss.value.item() == 22 * 21 * 3
        done = loss.backward()
        assert model.w.grad is not None
        assert model.w.grad.item() == 11 * 2 * 21 * 3, "backward runs on the replaced loss"
        done.step(Steps())


@pytest.mark.parametrize("listened", [True, False])
def test_each_of_a_batchs_calls_comes_once_and_in_turn(listened: bool) -> None:
    model, opt = Weight(), Steps()
    for batch in batches_of(Loop([Recorder()] if listened else []), 1):
        scope: Any = batch.cursor
        with pytest.raises(
            LoopError, match=r"loss is out of turn .*goes through pred, loss, backward and step, once each"
        ):
            scope.loss(torch.ones(()))
        with pytest.raises(LoopError, match="backward is out of turn"):
            scope.backward()
        with pytest.raises(LoopError, match="step is out of turn"):
            scope.step(opt)
        out = batch.pred(model(batch.xb))
        with pytest.raises(LoopError, match=r"batch\.pred is out of turn \(epoch 0, batch 0, train\)"):
            batch.pred(model(batch.xb))
        loss = out.loss(total(out.pred, out.yb))
        with pytest.raises(LoopError, match="loss is out of turn"):
            out.loss(total(out.pred, out.yb))
        done = loss.backward()
        with pytest.raises(LoopError, match="backward is out of turn"):
            loss.backward()
        done.step(opt)
        with pytest.raises(LoopError, match="step is out of turn"):
            done.step(opt)
    assert (opt.stepped, opt.zeroed) == (1, 1)


@pytest.mark.parametrize("listened", [True, False])
def test_each_of_a_validation_batchs_calls_comes_once_and_in_turn(listened: bool) -> None:
    with Loop[Any, Any, Any]([Recorder()] if listened else []).validation() as scope:
        for batch in scope.validate(pairs(1)):
            with pytest.raises(LoopError, match="loss is out of turn"):
                batch.cursor.loss(torch.ones(()))
            out = batch.pred(batch.xb)
            with pytest.raises(LoopError, match=r"batch\.pred is out of turn \(epoch 0, batch 0, valid\)"):
                batch.pred(batch.xb)
            out.loss(torch.ones(()))
            with pytest.raises(LoopError, match="loss is out of turn"):
                out.loss(torch.ones(()))


def test_a_batch_that_has_ended_takes_no_more_calls() -> None:
    kept = list(batches_of(Loop([Recorder()])))
    with pytest.raises(LoopError, match=r"has ended: batch\.pred belongs inside the body of its loop"):
        kept[0].pred(torch.ones(1))


@pytest.mark.parametrize(
    "cancel", [CancelBatch(), CancelEpoch(), CancelTrain()], ids=lambda cancel: type(cancel).__name__
)
@pytest.mark.parametrize("hook", ["after_pred", "after_loss", "after_backward", "after_step"])
def test_a_cancelled_batch_goes_on_to_take_calls_and_does_nothing_more(hook: str, cancel: Any) -> None:
    recorder = Recorder()
    opt = train(Loop([recorder, At(hook, answering(cancel), index=0)]), n_train=2)
    order = ["after_pred", "after_loss", "after_backward", "after_step"]
    first = [seen.hook for seen in recorder.seen if seen.index == 0 and seen.hook in order]
    assert first == order[: order.index(hook) + 1]
    goes_on = isinstance(cancel, CancelBatch)
    assert opt.stepped == (hook == "after_step") + goes_on


def test_a_batch_cancelled_at_its_beginning_does_not_reach_the_body() -> None:
    loop = Loop[Any, Any, Any]([At("begin_batch", answering(CancelBatch()), index=0)])
    assert [batch.xb.item() for batch in batches_of(loop)] == [2]


def test_a_body_can_ask_whether_its_batch_was_cancelled() -> None:
    loop = Loop[Any, Any, Any]([At("after_loss", answering(CancelBatch()), index=1)])
    model, asked = Weight(), []
    for batch in batches_of(loop):
        out = batch.pred(model(batch.xb))
        loss = out.loss(total(out.pred, out.yb))
        asked.append((loss.cancelled, loss.backward().cancelled))
    assert asked == [(False, False), (True, True)]


@pytest.mark.parametrize("hook", ["after_backward", "after_step"])
def test_the_gradients_of_a_batch_cancelled_after_backward_are_dropped(hook: str) -> None:
    opt = train(Loop([At(hook, answering(CancelBatch()), index=0)]))
    assert opt.zeroed == 2


@pytest.mark.parametrize(
    ("hook", "skip", "stepped", "zeroed"),
    [
        ("after_loss", SkipBackward(), 0, 0),
        ("after_backward", SkipStep(), 0, 0),
        ("after_step", SkipZeroGrad(), 2, 0),
    ],
)
def test_a_skip_leaves_out_one_thing_and_keeps_the_gradients(hook: str, skip: Any, stepped: int, zeroed: int) -> None:
    opt = train(Loop([At(hook, answering(skip))]))
    assert (opt.stepped, opt.zeroed) == (stepped, zeroed)


def test_gradients_under_skip_step_add_up() -> None:
    model = own_loop(Loop([At("after_backward", answering(SkipStep()), index=0)]), n_train=2, n_valid=1)
    assert model.w.item() == 1 - (1 + 2)


def test_gradients_under_skip_zero_grad_are_taken_again() -> None:
    model = own_loop(Loop([At("after_step", answering(SkipZeroGrad()), index=0)]), n_train=2, n_valid=1)
    assert model.w.item() == 1 - 1 - (1 + 2)


@pytest.mark.parametrize(
    ("loss", "what"),
    [
        (torch.ones(3, requires_grad=True), r"a tensor of shape \(3,\)"),
        (1.5, "a float"),
        (None, "a NoneType"),
        ((torch.ones(()), torch.ones(())), "a tuple"),
    ],
    ids=["shape", "float", "None", "tuple"],
)
@pytest.mark.parametrize("listened", [True, False])
@pytest.mark.parametrize("phase", ["train", "valid"])
def test_a_loss_that_is_no_scalar_tensor_is_refused(loss: Any, what: str, listened: bool, phase: str) -> None:
    loop = Loop[Any, Any, Any]([Recorder()] if listened else [])
    expected = f"the loss is {what}, and has to be a scalar tensor: reduce it"
    with pytest.raises(BatchError, match=expected) as refused, loop.fit(1) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(pairs(1)) if phase == "train" else ():
                batch.pred(batch.xb).loss(loss).backward()
            for held_out in epoch.validate(pairs(1)):
                held_out.pred(held_out.xb).loss(loss)
    assert refused.value.__notes__ == [f"typedcb: in epoch 0, batch 0, {phase}"]


def test_an_error_of_backward_that_is_not_the_losss_is_left_as_it_is() -> None:
    loss = torch.ones((), requires_grad=True).exp()
    loss.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        for batch in batches_of(Loop()):
            batch.pred(batch.xb).loss(loss).backward()


@pytest.mark.parametrize("listened", [True, False])
def test_a_loss_without_a_graph_is_refused_with_what_may_be_the_reason(listened: bool) -> None:
    loop = Loop[Any, Any, Any]([Recorder()] if listened else [])
    with pytest.raises(BatchError, match=r"no graph.*no parameter.*frozen.*no_grad.*detached") as refused:
        for batch in batches_of(loop):
            batch.pred(batch.xb).loss(torch.ones(())).backward()
    assert isinstance(refused.value.__cause__, RuntimeError), "torch's own words are kept"


# -------------------------------------------------------------------------------------------------------- cancels


def test_cancel_epoch_ends_the_pass_alone() -> None:
    recorder = Recorder()
    own_loop(Loop([recorder, At("after_pred", answering(CancelEpoch()), phase="train")]))
    assert recorder.hooks == [
        *("begin_fit", "begin_epoch", "begin_batch", "after_pred", "after_batch", "after_cancel_epoch"),
        *("begin_validate", *("begin_batch", "after_pred", "after_loss", "after_batch") * 2, "after_validate"),
        *("after_epoch", "after_fit"),
    ]


def test_cancel_epoch_in_validation_still_ends_the_validation() -> None:
    recorder = Recorder()
    own_loop(Loop([recorder, At("after_pred", answering(CancelEpoch()), phase="valid")]))
    assert recorder.hooks[-5:] == ["after_batch", "after_cancel_epoch", "after_validate", "after_epoch", "after_fit"]


def test_cancel_epoch_at_the_beginning_leaves_the_epoch_out() -> None:
    recorder = Recorder()
    loop = Loop[Any, Any, Any]([recorder, At("begin_epoch", answering(CancelEpoch()), epoch=0)])
    own_loop(loop, n_epochs=2)
    assert recorder.hooks[:4] == ["begin_fit", "begin_epoch", "after_cancel_epoch", "begin_epoch"]


@pytest.mark.parametrize(
    ("hook", "before"),
    [
        ("begin_fit", "begin_fit"),
        ("begin_epoch", "begin_epoch"),
        ("begin_batch", "after_batch"),
        ("after_step", "after_batch"),
        ("after_batch", "after_batch"),
        ("begin_validate", "begin_validate"),
        ("after_validate", "after_validate"),
        ("after_epoch", "after_epoch"),
    ],
)
def test_cancel_train_ends_the_fit_at_once(hook: str, before: str) -> None:
    recorder, cancel = Recorder(), CancelTrain("enough")
    loop = Loop[Any, Any, Any]([recorder, At(hook, answering(cancel))])
    fit_outcome = outcome_of(loop, n_epochs=2)
    assert isinstance(fit_outcome, Cancelled)
    assert fit_outcome.cancel is cancel
    assert recorder.hooks[-3:] == [before, "after_cancel_train", "after_fit"]


def outcome_of(loop: Loop[Any, Any, Any], n_epochs: int) -> Any:
    model = Weight()
    with loop.fit(n_epochs) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(pairs(2)):
                out = batch.pred(model(batch.xb))
                out.loss(total(out.pred, out.yb)).backward().step(Steps())
            for held_out in epoch.validate(pairs(2)):
                held_out.pred(held_out.xb)
    return fit.outcome


def test_cancel_train_is_not_weakened_by_a_cancel_epoch_from_after_batch() -> None:
    recorder = Recorder()
    cbs = [At("after_pred", answering(CancelTrain())), At("after_batch", answering(CancelEpoch()))]
    own_loop(Loop([recorder, *cbs]))
    assert recorder.hooks[-3:] == ["after_batch", "after_cancel_train", "after_fit"]


def test_cancel_batch_may_be_made_a_cancel_epoch_by_after_batch() -> None:
    recorder = Recorder()
    cbs = [At("after_pred", answering(CancelBatch())), At("after_batch", answering(CancelEpoch()))]
    own_loop(Loop([recorder, *cbs]), n_valid=1)
    assert recorder.hooks[3:7] == ["after_pred", "after_cancel_batch", "after_batch", "after_cancel_epoch"]


def test_skip_validate_leaves_out_one_validation() -> None:
    recorder = Recorder()
    own_loop(Loop([recorder, At("begin_validate", answering(SkipValidate()), epoch=0)]), n_epochs=2)
    assert recorder.hooks.count("begin_validate") == 2
    assert recorder.hooks.count("after_validate") == 1
    assert recorder.hooks.count("after_epoch") == 2
    assert [seen.epoch for seen in recorder.seen if seen.phase == "valid"] == [1] * 8


def test_after_a_cancel_train_the_rest_of_the_body_has_nothing_to_run_over() -> None:
    loop = Loop[Any, Any, Any]([At("begin_batch", answering(CancelTrain()))])
    with loop.fit(3) as fit:
        for epoch in fit.epochs():
            assert list(epoch.train(pairs(2))) == []
            assert fit.cancelled
            assert list(epoch.train(pairs(2))) == []
            assert list(epoch.validate(pairs(2))) == []
            assert epoch.epoch == 0
    assert isinstance(fit.outcome, Cancelled)


def test_a_cancel_raised_outside_of_a_hook_is_an_error_like_any_other() -> None:
    recorder = Recorder()
    with pytest.raises(CancelBatch):
        for _ in batches_of(Loop([recorder])):
            raise CancelBatch
    assert recorder.hooks[-1] == "after_batch" or recorder.hooks[-1] == "after_fit"


# ------------------------------------------------------------------------------------------ bodies that are left


def test_a_break_ends_the_batch_when_the_loop_is_next_asked_for_something() -> None:
    recorder = Recorder()
    with Loop[Any, Any, Any]([recorder]).fit(1) as fit:
        for epoch in fit.epochs():
            for _ in epoch.train(pairs(3)):
                break
            assert recorder.hooks[-1] == "begin_batch"
            for _ in epoch.validate(pairs(3)):
                assert recorder.hooks[-3:] == ["after_batch", "begin_validate", "begin_batch"]
                break
    assert recorder.hooks[-4:] == ["after_batch", "after_validate", "after_epoch", "after_fit"]
    assert isinstance(fit.outcome, Completed)


def test_leaving_the_epochs_is_a_fit_that_was_ended_early() -> None:
    recorder = Recorder()
    with Loop[Any, Any, Any]([recorder]).fit(2) as fit:
        for epoch in fit.epochs():
            for _ in epoch.validate(pairs(2)):
                break
            break
    assert recorder.hooks[-4:] == ["after_batch", "after_validate", "after_cancel_train", "after_fit"]
    assert isinstance(fit.outcome, Cancelled)
    assert fit.outcome.cancel.reason == "the loop over the epochs was left before its end"


def test_a_batch_that_is_left_halfway_ends_where_it_came_to() -> None:
    recorder = Recorder()
    for batch in batches_of(Loop([recorder])):
        batch.pred(batch.xb)
    assert [type(event.reached).__name__ for event in recorder.of("after_batch")] == ["AfterPred", "AfterPred"]


def test_an_error_in_the_body_ends_the_batch_and_the_fit() -> None:
    recorder = Recorder()
    error = ValueError("mine")
    loop = Loop[Any, Any, Any]([recorder])
    with pytest.raises(ValueError, match="mine") as raised, loop.fit(2) as fit:
        for epoch in fit.epochs():
            for _ in epoch.train(pairs(2)):
                raise error
    assert raised.value is error
    assert recorder.hooks == ["begin_fit", "begin_epoch", "begin_batch", "after_batch", "after_fit"]
    assert isinstance(fit.outcome, Failed)
    assert fit.outcome.error is error


def test_a_pass_over_other_data_may_follow_in_the_same_epoch() -> None:
    recorder = Recorder()
    opt = Steps()
    with Loop[Any, Any, Any]([recorder]).fit(1) as fit:
        for epoch in fit.epochs():
            for n in (2, 1):
                for batch in epoch.train(pairs(n)):
                    batch.pred(batch.xb).loss(torch.ones((), requires_grad=True)).backward().step(opt)
    assert [(e.index, e.step, e.n_batches) for e in recorder.of("begin_batch")] == [(0, 0, 2), (1, 1, 2), (0, 2, 1)]


def validating_each_step(loop: Loop[Any, Any, Any]) -> tuple[int, int]:
    """Validates inside of the training pass; how many training and validation batches ran."""
    model, opt, ran = Weight(), Steps(), [0, 0]
    with loop.fit(1) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(pairs(3)):
                ran[0] += 1
                out = batch.pred(model(batch.xb))
                out.loss(total(out.pred, out.yb)).backward().step(opt)
                for _ in epoch.validate(pairs(1)):
                    ran[1] += 1
    return ran[0], ran[1]


def test_a_validation_inside_of_a_training_batch_ends_that_batch_first() -> None:
    recorder = Recorder()
    assert validating_each_step(Loop([recorder])) == (3, 3)
    inside = recorder.hooks[2:11]
    assert inside == [
        *("begin_batch", "after_pred", "after_loss", "after_backward", "after_step", "after_batch"),
        *("begin_validate", "begin_batch", "after_batch"),
    ]
    assert [e.index for e in recorder.of("begin_batch") if e.phase == "train"] == [0, 1, 2]
    assert [e.step for e in recorder.of("begin_batch")] == [0, 1, 1, 2, 2, 3]


@pytest.mark.parametrize("listened", [True, False])
def test_a_cancel_train_from_a_validation_inside_of_a_training_batch_ends_the_training(listened: bool) -> None:
    cbs: list[Any] = [Recorder()] if listened else []
    assert validating_each_step(Loop([*cbs, At("begin_validate", answering(CancelTrain()))])) == (1, 0)


@pytest.mark.parametrize(("cancel", "expected"), [(CancelTrain(), (1, 0)), (CancelEpoch(), (1, 1))])
def test_a_cancel_from_the_end_of_a_training_batch_holds_when_a_validation_ended_it(
    cancel: Any, expected: tuple[int, int]
) -> None:
    assert validating_each_step(Loop([At("after_batch", answering(cancel), phase="train")])) == expected


# -------------------------------------------------------------------------------------------------- fits and loops


@pytest.mark.parametrize(("n_epochs", "start_epoch"), [(-1, 0), (2, 3), (2, -1)])
def test_a_range_of_epochs_that_is_none_is_refused(n_epochs: int, start_epoch: int) -> None:
    with pytest.raises(ValueError, match=f"n_epochs={n_epochs}, start_epoch={start_epoch}: a fit runs the epochs from"):
        Loop[Any, Any, Any]().fit(n_epochs, start_epoch=start_epoch)


def test_a_fit_of_no_epochs_begins_and_ends() -> None:
    recorder = Recorder()
    own_loop(Loop([recorder]), n_epochs=0)
    assert recorder.hooks == ["begin_fit", "after_fit"]


def test_of_two_threads_one_is_refused_however_near_they_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop[Any, Any, Any]()
    threads: list[threading.Thread] = []
    refused: list[LoopError] = []

    def begin_another() -> None:
        try:
            loop.start()
        except LoopError as error:
            refused.append(error)

    def over_while_another_begins(engine: Any) -> nullcontext[None]:
        if not threads:
            threads.append(threading.Thread(target=begin_another))
            threads[0].start()
            threads[0].join(10)
        return nullcontext()

    monkeypatch.setattr("typedcb.loop.over", over_while_another_begins)
    with loop.fit(0):
        assert len(refused) == 1
    assert not loop.running


def test_a_fit_inside_of_a_fit_is_refused() -> None:
    loop = Loop[Any, Any, Any]()
    with loop.fit(1):
        with pytest.raises(LoopError, match="a fit is under way on this loop: a fit inside a fit"), loop.fit(1):
            pass
        with pytest.raises(LoopError, match="a fit is under way"), loop.validation():
            pass
        assert loop.running
    assert not loop.running


def test_a_loop_can_be_used_again_after_an_error() -> None:
    loop = Loop[Any, Any, Any]([At("after_step", raising(ValueError), index=1)])
    with pytest.raises(ValueError):  # the class is all there is
        own_loop(loop)
    own_loop(loop, n_train=1)


def test_the_outcome_is_there_when_the_fit_has_ended() -> None:
    with Loop[Any, Any, Any]().fit(0) as fit:
        with pytest.raises(LoopError, match="the fit has not ended: its outcome is there after the with block"):
            _ = fit.outcome
        list(fit.epochs())
    assert isinstance(fit.outcome, Completed)


def test_a_validation_of_its_own_fires_no_fit() -> None:
    recorder = Recorder()
    with Loop[Any, Any, Any]([recorder]).validation(epoch=4) as scope:
        for batch in scope.validate(pairs(1)):
            assert batch.pred(batch.xb).loss(torch.ones(())).value.item() == 1
    assert recorder.hooks == [
        *("begin_validate", "begin_batch", "after_pred", "after_loss", "after_batch", "after_validate"),
    ]
    assert {e.epoch for e in recorder.events[:4]} == {4}


def test_predicting_fires_what_happens_to_a_batch_and_nothing_around_it() -> None:
    recorder = Recorder()
    with Loop[Any, Any, Any]([recorder]).validation() as scope:
        for batch in scope.predict(pairs(1)):
            batch.pred(batch.xb)
    assert recorder.hooks == ["begin_batch", "after_pred", "after_batch"]


def test_an_error_in_a_validation_of_its_own_ends_its_batch() -> None:
    recorder = Recorder()
    loop = Loop[Any, Any, Any]([recorder])
    with pytest.raises(ZeroDivisionError) as failed, loop.validation() as scope:
        for _ in scope.validate(pairs(1)):
            _ = 1 / 0
    assert recorder.hooks[-2:] == ["begin_batch", "after_batch"]
    assert failed.value.__notes__ == ["typedcb: in epoch 0, batch 0, valid"]
    assert not loop.running


def test_keeping_a_batchs_tensors_keeps_them_as_they_were() -> None:
    model, losses = Weight(), []
    opt = SGD(model.parameters(), lr=0.0)
    with Loop[Any, Any, Any]().fit(1) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(pairs(3)):
                out = batch.pred(model(batch.xb))
                loss = out.loss(total(out.pred, out.yb))
                losses.append(loss.value)
                loss.backward().step(opt)
    assert [loss.item() for loss in losses] == [1, 2, 3]


def test_a_fit_is_entered_once() -> None:
    fit = Loop[Any, Any, Any]().fit(0)
    with fit:
        pass

    with pytest.raises(LoopError, match=r"a new one is a new call of loop\.fit"), fit:
        pass


def test_leaving_the_epochs_early_is_one_cancel_for_all_who_are_told() -> None:
    recorder = Recorder()
    with Loop[Any, Any, Any]([recorder]).fit(2) as fit:
        for _ in fit.epochs():
            break

    assert isinstance(fit.outcome, Cancelled)
    (told,) = recorder.of("after_fit")
    assert told.outcome.cancel is fit.outcome.cancel


@pytest.mark.parametrize("shape", [(1,), (1, 1)])
def test_a_loss_of_one_number_that_is_no_scalar_is_refused_also_when_nobody_listens(shape: tuple[int, ...]) -> None:
    model = Weight()
    with (
        pytest.raises(BatchError, match="has to be a scalar tensor"),
        Loop[Any, Any, Any]().fit(1) as fit,
    ):
        for epoch in fit.epochs():
            for batch in epoch.train(pairs(3)):
                out = batch.pred(model(batch.xb))
                out.loss(out.pred.reshape(shape)).backward().step(SGD(model.parameters(), lr=1.0))


@pytest.mark.parametrize("cbs", [(), (Recorder(),)])
def test_an_optimizer_that_wants_a_closure_is_refused_at_its_first_step(cbs: Any) -> None:
    model = Weight()
    with pytest.raises(LoopError, match=r"LBFGS\.step wants closure: it computes the loss .* such as AdamW") as caught:
        for batch in batches_of(Loop(cbs)):
            out = batch.pred(model(batch.xb))
            out.loss(total(out.pred, out.yb)).backward().step(LBFGS(model.parameters()))
    assert isinstance(caught.value.__context__, TypeError)


def test_a_type_error_inside_of_a_step_is_left_as_it_is() -> None:
    class Breaks(Steps):
        def step(self) -> None:
            raise TypeError("of its own")

    model = Weight()
    with pytest.raises(TypeError, match="of its own"):
        for batch in batches_of(Loop()):
            out = batch.pred(model(batch.xb))
            out.loss(total(out.pred, out.yb)).backward().step(Breaks())


def test_an_object_may_step_with_a_closure_of_its_own() -> None:
    """What the refusal of LBFGS advises."""
    model = Weight()
    opt = LBFGS(model.parameters(), lr=0.1)

    def closure() -> float:
        opt.zero_grad()
        loss = model.w.sum() ** 2
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
        return float(loss.detach())

    class Closing(Steps):
        def step(self) -> None:
            opt.step(closure)  # type: ignore[no-untyped-call]  # as above

    for batch in batches_of(Loop(), 1):
        out = batch.pred(model(batch.xb))
        out.loss(total(out.pred, out.yb)).backward().step(Closing())
    assert model.w.item() != 1


# ----------------------------------------------------------------------------------------- scopes that are kept


def test_a_scope_that_is_not_entered_is_refused() -> None:
    loop = Loop[Any, Any, Any]()
    with pytest.raises(LoopError, match=r"inside the block of with loop\.fit\(\.\.\.\) as fit"):
        loop.fit(1).epochs()
    for scope in (loop.validation().validate, loop.validation().predict):
        with pytest.raises(LoopError, match=r"inside the block of with loop\.validation\(\) as scope"):
            scope(pairs(1))


def test_the_epochs_of_a_fit_are_gone_over_once() -> None:
    recorder = Recorder()
    with (
        pytest.raises(LoopError, match="more of them are a fit of their own"),
        Loop[Any, Any, Any]([recorder]).fit(1) as fit,
    ):
        for _ in fit.epochs():
            pass
        fit.epochs()
    assert recorder.hooks == ["begin_fit", "begin_epoch", "after_epoch", "after_fit"]


class Kept:
    """What somebody keeps of an epoch, and uses later."""

    def __init__(self, what: str, recorder: Recorder) -> None:
        self._what = what
        self._recorder = recorder
        self._uses: list[Any] = []

    def keep(self, epoch: Any) -> None:
        if self._what == "the epoch":
            self._uses = [lambda: next(epoch.train(pairs(2))), lambda: next(epoch.validate(pairs(2)))]
            return
        for one in (epoch.train(pairs(3)), epoch.validate(pairs(3))):
            if self._what == "passes that have begun":
                next(one)
            self._uses.append(partial(next, one))

    def use(self) -> None:
        before = len(self._recorder.hooks)
        for use in self._uses:
            with pytest.raises(LoopError, match="epoch 0 has ended"):
                use()
        assert len(self._uses) == 2
        assert len(self._recorder.hooks) == before


@pytest.mark.parametrize("what", ["the epoch", "passes", "passes that have begun"])
@pytest.mark.parametrize("until", ["the next epoch", "the end of the epochs", "the end of the fit"])
def test_what_is_kept_of_an_epoch_that_has_ended_fires_nothing(what: str, until: str) -> None:
    recorder = Recorder()
    kept = Kept(what, recorder)
    with Loop[Any, Any, Any]([recorder]).fit(2) as fit:
        for epoch in fit.epochs():
            if epoch.epoch == 0:
                kept.keep(epoch)
            elif until == "the next epoch":
                kept.use()
        if until == "the end of the epochs":
            kept.use()
    if until == "the end of the fit":
        kept.use()
    assert isinstance(fit.outcome, Completed)


def test_in_what_is_left_of_a_cancelled_fit_there_is_nothing_to_go_over() -> None:
    recorder = Recorder()
    with Loop[Any, Any, Any]([recorder, At("after_batch", answering(CancelTrain()))]).fit(2) as fit:
        for epoch in fit.epochs():
            list(epoch.train(pairs(2)))
        assert list(epoch.train(pairs(2))) == []
        assert list(epoch.validate(pairs(2))) == []
    assert isinstance(fit.outcome, Cancelled)


def test_a_pass_may_be_gone_over_in_parts_with_a_validation_between() -> None:
    recorder = Recorder()
    with Loop[Any, Any, Any]([recorder]).fit(1) as fit:
        for epoch in fit.epochs():
            batches = epoch.train(pairs(3))
            for _ in islice(batches, 1):
                pass
            for _ in epoch.validate(pairs(1)):
                pass
            for _ in batches:
                pass
    assert [(event.phase, event.index) for event in recorder.of("begin_batch")] == [
        ("train", 0),
        ("valid", 0),
        ("train", 1),
        ("train", 2),
    ]


def test_a_pass_that_is_kept_beyond_a_validation_of_its_own_fires_nothing() -> None:
    recorder = Recorder()
    with Loop[Any, Any, Any]([recorder]).validation() as scope:
        passes = [scope.validate(pairs(2)), scope.predict(pairs(2)), scope.predict(pairs(2))]
        next(passes[-1])
    fired = len(recorder.hooks)
    for one in passes:
        with pytest.raises(LoopError, match=r"with loop\.validation\(\) as scope"):
            next(one)
    assert len(recorder.hooks) == fired


def test_a_fit_in_a_generator_that_is_dropped_was_left_early_and_did_not_fail() -> None:
    recorder = Recorder()
    loop = Loop[Any, Any, Any]([recorder])
    batches = batches_of(loop)
    next(batches)
    del batches
    assert not loop.running
    assert recorder.hooks[-3:] == ["after_batch", "after_cancel_train", "after_fit"]
    assert recorder.of("after_batch")[0].error is None
    assert isinstance(recorder.of("after_fit")[0].outcome, Cancelled)
