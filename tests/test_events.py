"""What events hold, and what they do not: graphs, later fields, anything when nobody listens."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import msgspec
import pytest
import torch
from recording import At, Recorder, answering
from tiny import Weight, bunch, learner, own_loop, pairs, total
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils.data import DataLoader, IterableDataset

import typedcb.batch_cursors
import typedcb.cursor
import typedcb.events
import typedcb.fit
import typedcb.run
from typedcb import (
    AfterBackward,
    AfterBatch,
    AfterCancelBatch,
    AfterLoss,
    AfterPred,
    AfterStep,
    BeginBatch,
    BeginFit,
    Callback,
    CancelBatch,
    CancelEpoch,
    Cancelled,
    CancelTrain,
    Completed,
    DataBunch,
    Failed,
    Learner,
    Loop,
    OnlyBegun,
    SkipBackward,
    SkipStep,
)
from typedcb.hooks import HOOKS

EVENTS = [spec.event for spec in HOOKS.values()]
IN_BATCH = [BeginBatch, AfterPred, AfterLoss, AfterBackward, AfterStep]


class TwoHeads(nn.Module):
    """Predicts a nest of tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(1.0))

    def forward(self, xb: Tensor) -> dict[str, Any]:
        return {"mean": self.w * xb, "others": (self.w * 2, [self.w * 3])}


def fields(event: type) -> tuple[str, ...]:
    names: tuple[str, ...] = event.__struct_fields__  # type: ignore[attr-defined]
    return names


@pytest.mark.parametrize("event", [*EVENTS, Completed, Cancelled, Failed], ids=lambda event: event.__name__)
def test_an_event_cannot_be_changed(event: type) -> None:
    made = event(*([None] * len(fields(event))))
    for name in (*fields(event), "anything"):
        with pytest.raises(AttributeError):
            setattr(made, name, 1)


def test_a_batch_event_has_the_fields_of_its_moment_alone() -> None:
    begin = ("phase", "epoch", "index", "n_batches", "step", "xb", "yb")
    assert fields(BeginBatch) == begin
    assert fields(AfterPred) == (*begin, "pred")
    assert fields(AfterLoss) == fields(AfterBackward) == fields(AfterStep) == (*begin, "pred", "loss")


def test_begin_batch_has_no_loss() -> None:
    recorder = Recorder()
    learner(recorder).fit(1)
    with pytest.raises(AttributeError, match="loss"):
        _ = recorder.of("begin_batch")[0].loss


def test_batch_events_grow_by_inheritance() -> None:
    assert all(issubclass(later, earlier) for earlier, later in pairwise(IN_BATCH))


def test_replacing_leaves_the_event_itself_as_it_was() -> None:
    event = AfterLoss("train", 0, 1, 2, 3, xb="x", yb="y", pred="p", loss=torch.tensor(1.0))
    other = event.with_loss(torch.tensor(2.0))
    assert (event.loss.item(), other.loss.item()) == (1.0, 2.0)
    assert type(other) is AfterLoss
    assert event.with_pred("q").pred == "q"
    assert (event.with_batch("a", "b").xb, event.with_batch("a", "b").yb, event.xb) == ("a", "b", "x")


def test_up_to_the_loss_events_hold_the_graph_and_from_after_backward_on_they_do_not() -> None:
    recorder = Recorder()
    learner(recorder).fit(1)
    for name, has_graph in (
        ("after_pred", True),
        ("after_loss", True),
        ("after_backward", False),
        ("after_step", False),
    ):
        for event in recorder.of(name):
            if event.phase == "train":
                assert event.pred.requires_grad is has_graph, name
                assert name == "after_pred" or event.loss.requires_grad is has_graph, name


def test_every_tensor_of_a_nested_prediction_is_detached() -> None:
    recorder = Recorder()
    loss_func = lambda pred, yb: (pred["mean"] * yb).sum()  # noqa: E731
    Learner(TwoHeads(), bunch(1, 0), loss_func, partial(SGD, lr=0.1), cbs=[recorder]).fit(1)

    def tensors(pred: dict[str, Any]) -> list[Tensor]:
        return [pred["mean"], pred["others"][0], pred["others"][1][0]]

    assert all(tensor.requires_grad for tensor in tensors(recorder.of("after_loss")[0].pred))
    for event in (*recorder.of("after_backward", "after_step"), recorder.of("after_batch")[0].reached):
        assert not any(tensor.requires_grad for tensor in tensors(event.pred))


@pytest.mark.parametrize(
    ("hook", "answer", "reached"),
    [
        ("begin_batch", CancelBatch(), OnlyBegun),
        ("after_pred", CancelBatch(), AfterPred),
        ("after_loss", CancelBatch(), AfterLoss),
        ("after_loss", SkipBackward(), AfterLoss),
        ("after_backward", CancelBatch(), AfterBackward),
        ("after_backward", SkipStep(), AfterBackward),
        ("after_step", CancelBatch(), AfterStep),
        ("after_step", None, AfterStep),
    ],
)
def test_after_batch_has_the_furthest_event_of_the_batch_detached(hook: str, answer: Any, reached: type) -> None:
    recorder = Recorder()
    learner(recorder, At(hook, answering(answer)), n_train=1, n_valid=0).fit(1)
    told: list[AfterBatch[Any, Any, Any] | AfterCancelBatch[Any, Any, Any]]
    told = recorder.of("after_batch", "after_cancel_batch")
    assert len(told) == (2 if isinstance(answer, CancelBatch) else 1)
    for event in told:
        assert type(event.reached) is reached
        assert not getattr(event.reached, "pred", torch.ones(())).requires_grad
        assert not getattr(event.reached, "loss", torch.ones(())).requires_grad
        assert (event.reached.epoch, event.reached.index, event.reached.step) == (0, 0, 0)


def test_after_batch_has_what_callbacks_made_of_the_batch() -> None:
    recorder = Recorder()
    changes = [
        At("begin_batch", lambda event: event.with_batch(event.xb + 1, event.yb * 2)),
        At("after_pred", lambda event: event.with_pred(event.pred * 3)),
        At("after_loss", lambda event: event.with_loss(event.loss * 5)),
    ]
    learner(recorder, *changes, n_train=1, n_valid=0).fit(1)
    reached = recorder.of("after_batch")[0].reached
    assert (reached.xb.item(), reached.yb.item(), reached.pred.item(), reached.loss.item()) == (2, 2, 6, 60)


def test_after_batch_of_a_batch_that_failed_has_how_far_it_came() -> None:
    recorder = Recorder()
    failing = At("after_pred", lambda event: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        learner(recorder, failing).fit(1)
    reached = recorder.of("after_batch")[0].reached
    assert type(reached) is AfterPred
    assert not reached.pred.requires_grad


def test_a_validation_batch_goes_as_far_as_the_loss() -> None:
    recorder = Recorder()
    learner(recorder).fit(1)
    assert {type(e.reached) for e in recorder.of("after_batch") if e.reached.phase == "valid"} == {AfterLoss}


def test_step_counts_the_batches_that_were_stepped_on_before() -> None:
    recorder = Recorder()
    skips = At("after_backward", answering(SkipStep()), epoch=0, index=1)
    learner(recorder, skips, n_train=3, n_valid=1).fit(2)
    steps = [(e.phase, e.step) for e in recorder.of("begin_batch")]
    assert steps == [
        *[("train", 0), ("train", 1), ("train", 1), ("valid", 2)],
        *[("train", 2), ("train", 3), ("train", 4), ("valid", 5)],
    ]
    assert [e.step for e in recorder.of("after_step")] == [0, 1, 2, 3, 4], "the step itself does not count"
    assert [e.reached.step for e in recorder.of("after_batch")] == [step for _, step in steps]


def test_index_counts_each_pass_from_zero() -> None:
    recorder = Recorder()
    learner(recorder, n_train=2, n_valid=1).fit(2)
    assert [e.index for e in recorder.of("begin_batch")] == [0, 1, 0, 0, 1, 0]
    assert {e.n_batches for e in recorder.of("begin_batch") if e.phase == "train"} == {2}


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    """Batches of which nobody knows how many there are."""

    def __iter__(self) -> Any:
        yield from pairs(2)


class Endless:
    """An iterable that has no length."""

    def __iter__(self) -> Any:
        yield from pairs(2)


@pytest.mark.parametrize("loader", [DataLoader(Stream(), batch_size=None), Endless()], ids=["DataLoader", "iterable"])
def test_n_batches_is_none_where_the_loader_does_not_know(loader: Any) -> None:
    recorder = Recorder()
    Learner(Weight(), DataBunch(loader), total, partial(SGD, lr=0.1), cbs=[recorder]).fit(1)
    assert [e.n_batches for e in recorder.of("begin_batch")] == [None, None]


def test_the_events_of_epochs_and_fits_carry_their_numbers() -> None:
    recorder = Recorder()
    learner(recorder).fit(2)
    (begin,) = recorder.of("begin_fit")
    assert (begin.n_epochs, begin.start_epoch) == (2, 0)
    assert [(e.epoch, e.n_epochs) for e in recorder.of("begin_epoch", "after_epoch")] == [
        (0, 2),
        (0, 2),
        (1, 2),
        (1, 2),
    ]
    assert [e.epoch for e in recorder.of("begin_validate", "after_validate")] == [0, 0, 1, 1]


def test_a_fit_that_is_taken_up_again_starts_where_it_says() -> None:
    recorder = Recorder()
    with Loop[Any, Any, Any]([recorder]).fit(3, start_epoch=2) as fit:
        assert [epoch.epoch for epoch in fit.epochs()] == [2]
    (begin,) = recorder.of("begin_fit")
    assert (begin.n_epochs, begin.start_epoch) == (3, 2)


@pytest.mark.parametrize(
    ("hook", "cancel", "told_by"),
    [
        ("after_pred", CancelBatch("too long"), "after_cancel_batch"),
        ("after_pred", CancelEpoch("too long"), "after_cancel_epoch"),
        ("after_pred", CancelTrain("too long"), "after_cancel_train"),
    ],
)
def test_the_event_of_a_cancel_has_the_very_cancel(hook: str, cancel: Exception, told_by: str) -> None:
    recorder = Recorder()
    learner(recorder, At(hook, answering(cancel), index=0, phase="train")).fit(1)
    (event,) = recorder.of(told_by)
    assert event.cancel is cancel
    assert event.cancel.reason == "too long"


def test_after_fit_says_how_the_fit_ended() -> None:
    stop, error = CancelTrain("enough"), ValueError("broken")

    def outcome_of(*cbs: Any) -> Any:
        recorder = Recorder()
        with suppress(ValueError):
            learner(recorder, *cbs).fit(1)
        return recorder.of("after_fit")[0].outcome

    assert type(outcome_of()) is Completed
    cancelled = outcome_of(At("after_batch", answering(stop)))
    assert type(cancelled) is Cancelled
    assert cancelled.cancel is stop

    def fail(event: Any) -> None:
        raise error

    failed = outcome_of(At("after_step", fail))
    assert type(failed) is Failed
    assert failed.error is error


# ------------------------------------------------------------------------------------ what nobody listens to


def callback_of(hook: str, function: Callable[..., object]) -> Any:
    """A callback that overrides one hook."""
    return dataclass(frozen=True)(type("CallbackOfOne", (Callback,), {hook: function}))()


def counting(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts how often the loop makes each event."""
    made = dict.fromkeys((spec.event.__name__ for spec in HOOKS.values()), 0)

    def counted(event: type[msgspec.Struct]) -> type[msgspec.Struct]:
        def count(self: object) -> None:
            made[event.__name__] += 1

        return msgspec.defstruct(
            event.__name__, [], bases=(event,), namespace={"__post_init__": count}, frozen=True, eq=False
        )

    for module in (typedcb.fit, typedcb.run, typedcb.cursor, typedcb.batch_cursors):
        for event in EVENTS:
            if vars(module).get(event.__name__) is event:
                monkeypatch.setattr(module, event.__name__, counted(event))
    return made


def test_an_event_that_nobody_listens_to_is_never_built(monkeypatch: pytest.MonkeyPatch) -> None:
    made = counting(monkeypatch)
    learner().fit(2)
    own_loop(Loop())
    learner().validate()
    learner().predict()
    assert made == dict.fromkeys(made, 0)


@pytest.mark.parametrize("hook", HOOKS)
def test_a_listener_has_its_own_event_built_and_no_other(monkeypatch: pytest.MonkeyPatch, hook: str) -> None:
    heard: list[Any] = []
    cancels = {
        "after_cancel_batch": CancelBatch(),
        "after_cancel_epoch": CancelEpoch(),
        "after_cancel_train": CancelTrain(),
    }
    cbs = [callback_of(hook, lambda self, event: heard.append(event))]
    needed = {HOOKS[hook].event}
    if hook in cancels:
        cbs.append(callback_of("begin_batch", lambda self, event: cancels[hook]))
        needed.add(BeginBatch)
    if hook == "after_batch":
        needed |= {AfterStep, AfterLoss}  # how far a training and a validation batch come
    made = counting(monkeypatch)
    learner(*cbs, n_train=1, n_valid=1).fit(1)
    assert {name for name, count in made.items() if count} == {event.__name__ for event in needed}
    assert heard


# ---------------------------------------------------------------------------------- the order in the docstring


def documented(*, cancel_batch: bool = False, cancel_epoch: bool = False, cancel_train: bool = False) -> list[str]:
    """The events of a fit of two epochs of two and two batches, read off the docstring of events.py."""
    text = typedcb.events.__doc__ or ""
    block = text[text.index("    begin_fit") : text.index("A batch's events")].rstrip().splitlines()
    kept = {"after_cancel_batch": cancel_batch, "after_cancel_epoch": cancel_epoch, "after_cancel_train": cancel_train}

    def expand(lines: list[str]) -> list[str]:
        events: list[str] = []
        while lines:
            line, lines = lines[0], lines[1:]
            depth = len(line) - len(line.lstrip())
            if "for each" in line:
                body = []
                while lines and len(lines[0]) - len(lines[0].lstrip()) > depth:
                    body.append(lines[0])
                    lines = lines[1:]
                events += expand(body) * 2
            else:
                named = re.findall(r"\[?\w+\]?", re.split(r"\s{3,}", line.strip())[0])
                events += [name for name in named if not name.startswith("[") or kept[name.strip("[]")]]
        return [event.strip("[]") for event in events]

    return expand(block)


def test_events_come_in_the_order_that_the_docstring_shows() -> None:
    recorder = Recorder()
    learner(recorder).fit(2)
    assert recorder.hooks == documented()


def test_the_docstring_shows_every_event() -> None:
    shown = set(documented(cancel_batch=True, cancel_epoch=True, cancel_train=True))
    assert shown == set(HOOKS)


def test_after_cancel_batch_stands_where_the_docstring_shows_it() -> None:
    recorder = Recorder()
    cancels = [
        At("after_step", answering(CancelBatch()), phase="train"),
        At("after_loss", answering(CancelBatch()), phase="valid"),
    ]
    learner(recorder, *cancels).fit(2)
    assert recorder.hooks == documented(cancel_batch=True)


def test_after_cancel_epoch_stands_where_the_docstring_shows_it() -> None:
    recorder = Recorder()
    learner(recorder, At("after_batch", answering(CancelEpoch()), index=1)).fit(2)
    assert recorder.hooks == documented(cancel_epoch=True)


def test_after_cancel_train_stands_where_the_docstring_shows_it() -> None:
    recorder = Recorder()
    learner(recorder, At("after_epoch", answering(CancelTrain()), epoch=1)).fit(2)
    assert recorder.hooks == documented(cancel_train=True)


def test_an_event_is_told_by_its_class_and_read_by_its_fields() -> None:
    match BeginFit(3, 1):
        case BeginFit(n_epochs=n, start_epoch=start):
            assert (n, start) == (3, 1)
