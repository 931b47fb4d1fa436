"""Section E: hooks that raise, nest, hang, keep and save; fits in threads."""

from __future__ import annotations

import gc
import signal
import threading
import time
import weakref
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from recording import At, EveryHook, Recorder, answering, raising
from tiny import Weight, learner, own_loop, pairs, total
from torch import Tensor
from torch.optim import SGD

from typedcb import (
    AnyCallback,
    CancelBatch,
    CancelEpoch,
    Cancelled,
    CancelTrain,
    Completed,
    DataBunch,
    Failed,
    HookError,
    Learner,
    Loop,
    LoopError,
    Series,
    series,
)
from typedcb.callbacks import Checkpoint, Timer
from typedcb.hooks import HOOKS

REACHED_BY: dict[str, tuple[str, Exception]] = {
    "after_cancel_batch": ("after_pred", CancelBatch()),
    "after_cancel_epoch": ("begin_batch", CancelEpoch()),
    "after_cancel_train": ("after_epoch", CancelTrain()),
}
"""What has to be answered where, for a hook to be called at all."""

PHASES = dict.fromkeys(
    ("begin_batch", "after_pred", "after_loss", "after_cancel_batch", "after_batch"), ("train", "valid")
)
"""The hooks that are called in both."""

PLACES = [(hook, phase) for hook in HOOKS for phase in PHASES.get(hook, (None,))]


class Oops(Exception):
    """An error of one's own."""


@dataclass(frozen=True)
class Late(Recorder):
    """Writes down all events after every other callback got them."""

    order = 1000  # type: ignore[misc]  # a ClassVar of the base


def failing(hook: str, phase: str | None, error: BaseException) -> tuple[Learner[Any, Any, Any], Recorder, Late]:
    """A learner in which a hook raises, the second time that it is called in its phase where there is one."""
    first, last = Recorder(), Late()
    cbs = [first, At(hook, raising(error), phase=phase, index=1 if phase else None), last]
    if hook in REACHED_BY:
        by, cancel = REACHED_BY[hook]
        cbs.append(At(by, answering(cancel), phase=phase))
    return learner(*cbs, lr=0.01), first, last


# ---------------------------------------------------------------------------------------------- E1, E2, E3: they raise


@pytest.mark.parametrize("error", [Oops("mine", 3), Oops(), KeyboardInterrupt(), SystemExit(3)], ids=repr)
@pytest.mark.parametrize(("hook", "phase"), PLACES)
def test_an_error_in_any_hook_ends_the_fit_in_order(hook: str, phase: str | None, error: BaseException) -> None:
    learn, first, last = failing(hook, phase, error)
    error.__dict__.pop("__notes__", None)
    with pytest.raises(type(error)) as failed:
        learn.fit(2)
    assert failed.value is error
    assert error.__notes__[0].startswith(f"typedcb: in At.{hook}"), "it says where it was, and that alone"
    assert len(error.__notes__) == 1
    for told in (first, last):
        assert told.hooks[-1] == "after_fit", "all are told of the end, whoever failed"
        assert told.hooks.count("after_fit") == 1
    assert first.hooks.count("begin_batch") == first.hooks.count("after_batch")
    if hook != "after_fit":
        assert isinstance(first.events[-1].outcome, Failed)
        assert first.events[-1].outcome.error is error
    told_by_all = hook in ("after_batch", "after_cancel_train", "after_fit")
    assert first.hooks.count(hook) - last.hooks.count(hook) == (not told_by_all), "nobody behind it is called"
    assert not learn._loop.running


@pytest.mark.parametrize(("hook", "phase"), PLACES)
def test_the_next_fit_after_an_error_in_any_hook_is_as_good_as_any(hook: str, phase: str | None) -> None:
    learn = failing(hook, phase, Oops())[0]
    with pytest.raises(Oops):
        learn.fit(1)
    learn.remove(*learn.cbs)
    recorder = Recorder()
    assert isinstance(learn.fit(2, cbs=[recorder]), Completed)
    expected = Recorder()
    learner(expected, lr=0.01).fit(2)
    assert recorder.seen == expected.seen
    assert learn.model.training


@pytest.mark.parametrize("second", ["after_batch", "after_fit"])
@pytest.mark.parametrize(("hook", "phase"), PLACES)
def test_an_error_in_cleaning_up_comes_with_the_first_one_and_keeps_nobody_from_it(
    hook: str, phase: str | None, second: str
) -> None:
    if hook in ("after_batch", "after_fit"):
        return  # they are the cleaning up
    learn, _, last = failing(hook, phase, Oops("first"))
    learn._attach([At(second, lambda event: 1 / 0 if isinstance(_error_of(event), Oops) else None)])
    inside = bool(phase) or hook in ("after_backward", "after_step")
    expected: type[BaseException] = ExceptionGroup if second == "after_fit" or inside else Oops
    with pytest.raises(expected) as failed:
        learn.fit(1)
    if isinstance(failed.value, ExceptionGroup):
        assert [type(error) for error in failed.value.exceptions] == [Oops, ZeroDivisionError]
    assert last.hooks[-1] == "after_fit"


@pytest.mark.parametrize("phase", ["train", "valid"])
def test_an_error_in_after_batch_keeps_nobody_from_it(phase: str) -> None:
    """Neither in an ordinary batch; the errors of those behind come with the first one."""
    learn, first, last = failing("after_batch", phase, Oops("first"))
    learn._attach([At("after_batch", lambda event: 1 / 0 if isinstance(event.error, Oops) else None)])
    with pytest.raises(ExceptionGroup) as failed:
        learn.fit(1)
    assert [type(error) for error in failed.value.exceptions] == [Oops, ZeroDivisionError]
    assert first.hooks.count("after_batch") == last.hooks.count("after_batch") == last.hooks.count("begin_batch")
    assert isinstance(last.of("after_batch")[-1].error, Oops), "those behind are told of it"


@pytest.mark.parametrize(("one", "other"), [(CancelEpoch, CancelTrain), (CancelTrain, CancelEpoch)])
def test_a_cancel_in_after_batch_keeps_nobody_from_it_and_the_stronger_one_is_obeyed(one: Any, other: Any) -> None:
    last = Recorder()
    learn = learner(At("after_batch", lambda event: one("1")), At("after_batch", lambda event: other("2")), last)
    outcome = learn.fit(2)
    assert isinstance(outcome, Cancelled)
    assert isinstance(outcome.cancel, CancelTrain)
    assert last.hooks.count("after_batch") == 1


def _error_of(event: Any) -> object:
    outcome = getattr(event, "outcome", None)
    return outcome.error if isinstance(outcome, Failed) else getattr(event, "error", None)


# --------------------------------------------------------------------------------------------------- E12, E13: nested


def test_a_fit_that_is_refused_inside_of_another_has_touched_nothing() -> None:
    def nested(event: Any) -> None:
        learn.model.eval()  # as somebody would have it here
        for call in (partial(learn.fit, 1, cbs=[Recorder()]), learn.validate, learn.predict):
            with pytest.raises(LoopError, match="a fit is under way"):
                call()
        assert learn.model.w.grad is not None
        assert not learn.model.training
        assert len(learn.cbs) == 1

    learn = learner(At("after_backward", nested), n_train=2, n_valid=1)
    learn.fit(1)
    assert learn.model.w.item() == 1 - 1 - 2, "both gradients were stepped on"


def test_of_many_threads_that_fit_one_learner_one_does() -> None:
    started, go = threading.Barrier(8), threading.Event()
    answers: list[object] = []

    def wait(event: Any) -> None:
        go.wait(10)

    learn = learner(At("begin_fit", wait))
    attached = learn.cbs

    def work() -> None:
        started.wait(10)
        try:
            answers.append(learn.fit(1, cbs=[Recorder()]))
        except LoopError as error:
            answers.append(error)
        finally:
            if len(answers) == 7:
                go.set()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sum(isinstance(answer, LoopError) for answer in answers) == 7
    assert sum(isinstance(answer, Completed) for answer in answers) == 1
    assert learn.cbs == attached
    assert learn.model.w.item() == 1 - 1 - 2


def test_a_loop_of_ones_own_is_run_by_one_thread_at_a_time() -> None:
    loop = Loop[Any, Any, Any]()
    refused: list[BaseException] = []

    def other() -> None:
        try:
            own_loop(loop)
        except LoopError as error:
            refused.append(error)

    with loop.fit(1) as fit:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(10)
        list(fit.epochs())
    assert len(refused) == 1


def test_two_learners_train_in_two_threads_as_each_would_alone() -> None:
    alone = learner(lr=0.1)
    alone.fit(50)
    both = [learner(Recorder(), lr=0.1) for _ in range(2)]
    threads = [threading.Thread(target=learn.fit, args=(50,)) for learn in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [learn.model.w.item() for learn in both] == [alone.model.w.item()] * 2


def test_a_fit_in_another_thread_works_and_leaves_the_signal_handlers_alone(tmp_path: Path) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    during: list[object] = []
    look = At("after_step", lambda event: during.append({n: signal.getsignal(n) for n in before}))
    learn = learner(look)
    learn.add(Checkpoint, tmp_path, at_end=True)
    outcome: list[object] = []
    thread = threading.Thread(target=lambda: outcome.append(learn.fit(1)))
    thread.start()
    thread.join(30)
    assert isinstance(outcome[0], Completed)
    assert during == [before, before]


# ------------------------------------------------------------------------------------------ E7: what an event holds


def test_a_prediction_that_is_changed_in_place_is_noticed_where_its_gradient_needs_it() -> None:
    def spoil(event: Any) -> None:
        event.pred.add_(1)

    learn: Any = Learner(
        Weight(), DataBunch(pairs(1)), lambda pred, yb: pred.sum(), partial(SGD, lr=0.1), cbs=[At("after_loss", spoil)]
    )
    learn._model.forward = lambda xb: (learn.model.w * xb).exp()
    with pytest.raises(RuntimeError, match="modified by an inplace operation") as failed:
        learn.fit(1)
    assert failed.value.__notes__ == ["typedcb: in epoch 0, batch 0, train"]


# ------------------------------------------------------------------------------------------------- E15: saving inside


@pytest.mark.parametrize(
    "hook", ["begin_fit", "begin_batch", "after_backward", "after_step", "after_epoch", "after_fit"]
)
def test_a_learner_may_be_saved_in_a_hook_and_not_loaded(hook: str, tmp_path: Path) -> None:
    weights: list[float] = []

    def save(event: Any) -> None:
        if not weights:
            weights.append(learn.model.w.item())
            learn.save(tmp_path / "saved")
            with pytest.raises(LoopError, match="a checkpoint is loaded before or after it"):
                learn.load(tmp_path / "saved")

    learn = learner(At(hook, save), lr=0.5)
    learn.fit(2)
    other = learner()
    other.load(tmp_path / "saved", {"At": "reset"})
    assert [other.model.w.item()] == weights


# ------------------------------------------------------------------------------------------ E16, E17, E18: Cancel, time


@pytest.mark.parametrize("cancel", [CancelBatch, CancelEpoch, CancelTrain])
@pytest.mark.parametrize("hook", ["after_cancel_batch", "after_cancel_epoch", "after_cancel_train"])
def test_a_cancel_while_a_cancel_is_told_of_is_an_error_and_no_circle(hook: str, cancel: type[Exception]) -> None:
    by, first = REACHED_BY[hook]
    recorder = Recorder()
    with pytest.raises(HookError, match=f"At.{hook} raised {cancel.__name__}; legal there is None"):
        learner(recorder, At(by, answering(first)), At(hook, raising(cancel()))).fit(2)
    assert recorder.hooks.count(hook) == 1
    assert recorder.hooks[-1] == "after_fit"


@dataclass(frozen=True)
class Slow(AnyCallback):
    def after_step(self, event: Any) -> None:
        time.sleep(0.03)


def test_a_slow_callback_shows_in_the_time_of_the_batches() -> None:
    timer = Timer()
    learner(Slow(), timer, n_train=3).fit(1)
    assert timer.epochs[0].computing >= 0.09
    assert timer.epochs[0].waiting < 0.09


# ------------------------------------------------------------------------------------------------- E19: graphs are kept


@dataclass(frozen=True)
class Hoards(EveryHook):
    """Keeps every event from after_backward on."""

    kept: Series[Any] = series()

    def decide(self, hook: str, event: Any) -> None:
        if hook in ("after_backward", "after_step", "after_batch", "after_fit"):
            self.kept.append(event)


ALIVE: weakref.WeakSet[Any] = weakref.WeakSet()
"""One marker for each node of a graph that is still there."""


class Graph(torch.autograd.Function):
    """Multiplies, and lets a test see whether its node of the graph is still there."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        marker = Marker()
        ctx.marker = marker
        ALIVE.add(marker)
        return x * 1

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


class Marker:
    """Lives as long as the node that holds it."""


@pytest.mark.parametrize("error", [False, True])
def test_a_callback_that_keeps_all_its_events_keeps_no_graph(error: bool) -> None:
    hoards = Hoards()
    cbs = [hoards, At("after_loss", raising(Oops()), phase="valid")] if error else [hoards]
    data = DataBunch(pairs(5), pairs(1))
    learn: Any = Learner(Weight(), data, lambda pred, yb: total(Graph.apply(pred), yb), partial(SGD, lr=0.001), cbs=cbs)
    if error:
        with pytest.raises(Oops):
            learn.fit(1)
    else:
        learn.fit(2)
    assert len(hoards.kept) > 10
    gc.collect()
    assert len(ALIVE) == 0


def test_a_learner_that_is_dropped_is_freed_with_its_callbacks() -> None:
    learn = learner(Recorder())
    learn.fit(1)
    seen = weakref.ref(learn.model), weakref.ref(learn.cbs[0].told)
    del learn
    gc.collect()
    assert [ref() for ref in seen] == [None, None]
