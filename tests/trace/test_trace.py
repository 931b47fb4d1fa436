"""A Trace records what happens, and changes nothing of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from planted import fit, noisy
from recording import At, Recorder, Seen, answering, raising
from tiny import Weight, learner, own_loop, pairs, total
from torch import nn
from torch.optim import SGD

from typedcb import (
    AnyCallback,
    BeginBatch,
    Callback,
    CancelBatch,
    Cell,
    DataBunch,
    Learner,
    Loop,
    Series,
    TraceError,
    TraceWarning,
    cell,
    series,
)
from typedcb.events import BatchEvent, LossEvent
from typedcb.hooks import HOOKS
from typedcb.needs import Parts
from typedcb.trace import ItemsValue, TensorValue, TextValue, Trace, TracedRun, WeightValue, read
from typedcb.trace.options import HookName


def traced(learn: Any, path: Path, n_epochs: int = 1, **options: Any) -> TracedRun:
    learn.add(Trace, path, **options)
    try:
        learn.fit(n_epochs)
    finally:
        run = read(path).runs[-1]
    return run


def weights(learn: Any) -> list[list[int]]:
    return [value.detach().view(-1).view(torch.int32).tolist() for value in learn.model.parameters()]


def test_it_tells_of_every_event_in_its_order(tmp_path: Path) -> None:
    recorder = Recorder()
    run = traced(learner(recorder), tmp_path / "t", n_epochs=2)

    told = [Seen(event.hook, event.epoch, event.phase, event.index) for event in run.events]

    assert told == recorder.seen
    assert [event.number for event in run.events] == list(range(len(told)))
    assert run.end is not None
    assert run.end.outcome == "Completed"


def test_an_event_that_nobody_hears_is_recorded_too(tmp_path: Path) -> None:
    run = traced(learner(), tmp_path / "t")

    assert {event.hook for event in run.events} == set(HOOKS) - {
        "after_cancel_batch",
        "after_cancel_epoch",
        "after_cancel_train",
    }
    assert all(event.calls == () for event in run.events)


@pytest.mark.parametrize("thorough", [False, True])
def test_a_fit_comes_to_the_same_weights_with_it(tmp_path: Path, thorough: bool) -> None:
    for name in ("a", "b"):
        torch.manual_seed(0)
        learn = fit(tmp_path / name, at=("begin_batch", noisy(0)), trace={"thorough": thorough})
        if name == "a":
            with_trace = weights(learn)
    without: Any = fit(tmp_path / "c", at=("begin_batch", noisy(0)), trace={"watch": (), "fields": ()})
    assert weights(without) == with_trace


def test_without_one_the_plan_has_the_hooks_themselves() -> None:
    learn = learner(recorder := Recorder())

    assert learn._loop._attached.plan.train.after_loss == (recorder.after_loss,)


def test_each_turn_says_who_when_and_what_was_answered(tmp_path: Path) -> None:
    skipping = At("begin_batch", answering(CancelBatch("too odd")), index=1)
    run = traced(learner(Recorder(), skipping), tmp_path / "t")

    [event] = [
        event for event in run.events if event.hook == "begin_batch" and event.index == 1 and event.phase == "train"
    ]

    assert [run.callback(call.callback).name for call in event.calls] == ["Recorder", "At"]
    assert [(call.answer, call.reason) for call in event.calls] == [(None, ""), ("CancelBatch", "too odd")]
    assert all(call.at >= 0 and 0 < call.seconds < event.seconds for call in event.calls)


@dataclass(frozen=True)
class Double(Callback):
    def begin_batch(self, event: BeginBatch) -> BeginBatch:
        return event.with_batch(event.xb * 2, event.yb)


def test_fields_are_told_of_as_the_first_is_given_them_and_as_each_leaves_them(tmp_path: Path) -> None:
    run = traced(learner(Double()), tmp_path / "t")

    event = next(event for event in run.events if event.hook == "begin_batch")
    before, after = event.fields["xb"], event.calls[0].fields["xb"]

    assert isinstance(before, TensorValue)
    assert isinstance(after, TensorValue)
    assert (before.shape, before.dtype, before.mean, after.mean) == ((1,), "float32", 1.0, 2.0)
    assert before.hash != after.hash
    assert "yb" not in event.calls[0].fields


@dataclass(frozen=True)
class Counts(AnyCallback):
    steps: Cell[int] = cell(0, reset="epoch")
    losses: Series[float] = series()

    def after_loss(self, event: LossEvent) -> None:
        if event.phase == "train":
            self.losses.append(float(event.loss.detach()))

    def after_step(self, event: BatchEvent) -> None:
        self.steps.value += 1


def test_cells_are_told_of_when_they_change_and_by_whom(tmp_path: Path) -> None:
    run = traced(learner(Counts()), tmp_path / "t", n_epochs=2)

    changes = [
        (event.hook, call.changed["cells:Counts.steps"])
        for event in run.events
        for call in event.calls
        if "cells:Counts.steps" in call.changed
    ]
    resets = [event.hook for event in run.events if event.before.get("cells:Counts.steps") == 0]
    grown = [call.changed.get("cells:Counts.losses") for event in run.events for call in event.calls]

    assert changes == [("after_step", 1), ("after_step", 2)] * 2
    assert resets == ["begin_fit", "begin_epoch"]
    assert [value.length for value in grown if isinstance(value, ItemsValue)] == [1, 2, 3, 4]
    assert run.header.callbacks[0].cells == {"steps": "epoch", "losses": "fit"}


def test_a_series_that_is_emptied_and_filled_to_the_same_length_has_changed(tmp_path: Path) -> None:
    counts = Counts()

    def refill(event: Any) -> None:
        counts.losses.restart()
        counts.losses.append(-1.0)

    run = traced(learner(counts, At("after_step", refill, index=0)), tmp_path / "t")

    event = next(event for event in run.events if event.hook == "after_step")
    assert event.calls[-1].changed["cells:Counts.losses"] == ItemsValue("Series", 1, (-1.0,))


def test_the_weights_have_a_fingerprint_at_every_step(tmp_path: Path) -> None:
    run = traced(learner(lr=0.5), tmp_path / "t")

    steps = [event.before for event in run.events if event.hook == "after_step"]
    total_of, each = steps[0]["weights"], steps[0]["weights:w"]

    assert isinstance(total_of, WeightValue)
    assert isinstance(each, WeightValue)
    assert each.norm == 0.5  # 1 - 0.5 * 1
    assert len({before["weights"] for before in steps}) == 2


def test_gradients_are_those_that_each_callback_leaves(tmp_path: Path) -> None:
    def halve(event: Any) -> None:
        learn.model.w.grad.mul_(0.5)

    learn = learner(At("after_backward", halve))
    run = traced(learn, tmp_path / "t")

    event = next(event for event in run.events if event.hook == "after_backward")
    before, after = event.before["gradients:w"], event.calls[0].changed["gradients:w"]
    assert isinstance(before, WeightValue)
    assert isinstance(after, WeightValue)
    assert (before.norm, after.norm) == (1.0, 0.5)


def test_hyperparameters_are_told_of_with_their_group(tmp_path: Path) -> None:
    def warm(event: Any) -> None:
        learn.opt.param_groups[0]["lr"] = 0.25

    learn = learner(At("begin_batch", warm, index=1, phase="train"))
    run = traced(learn, tmp_path / "t")

    changes = [call.changed for event in run.events for call in event.calls if "hypers:lr" in call.changed]
    assert changes == [{"hypers:lr": 0.25}]
    assert run.header.optimizer["class"] == "SGD"


def test_an_error_is_recorded_with_its_place_and_ends_the_run(tmp_path: Path) -> None:
    learn = learner(At("after_loss", raising(ZeroDivisionError("by zero")), index=1))
    learn.add(Trace, tmp_path / "t")
    with pytest.raises(ZeroDivisionError):
        learn.fit(1)

    run = read(tmp_path / "t").runs[0]
    [error] = [call.error for event in run.events for call in event.calls if call.error]

    assert (error.kind, error.message) == ("ZeroDivisionError", "by zero")
    assert error.place.startswith("recording.py:")
    assert run.end is not None
    assert run.end.outcome == "Failed"
    assert run.end.error is not None
    assert (run.end.error.kind, run.end.error.message) == ("ZeroDivisionError", "by zero")
    assert [event.hook for event in run.events][-2:] == ["after_batch", "after_fit"]


def test_an_error_of_the_loops_body_is_told_of_by_after_batch(tmp_path: Path) -> None:
    learn = learner()
    learn._loss_func = lambda pred, yb: 1 / 0
    learn.add(Trace, tmp_path / "t")
    with pytest.raises(ZeroDivisionError):
        learn.fit(1)

    run = read(tmp_path / "t").runs[0]
    ended = next(event for event in run.events if event.hook == "after_batch")
    assert ended.fields["error"] == TextValue("ZeroDivisionError", "division by zero")
    assert ended.fields["reached"] == "AfterPred"


def test_it_works_in_a_loop_of_ones_own(tmp_path: Path) -> None:
    model = Weight()
    opt = SGD(model.parameters(), lr=1.0)
    loop: Any = Loop([Trace(Parts(model, opt), tmp_path / "t"), recorder := Recorder()])
    own_loop(loop)

    run = read(tmp_path / "t").runs[0]
    assert [event.hook for event in run.events] == recorder.hooks
    assert run.header.model["class"] == "Weight"


def test_a_validation_outside_of_a_fit_is_a_run_of_its_own(tmp_path: Path) -> None:
    learn = learner(Recorder())
    learn.add(Trace, tmp_path / "t")
    learn.validate()
    learn.fit(1)
    learn.predict()
    learn.validate()

    runs = read(tmp_path / "t").runs
    assert [run.header.kind for run in runs] == ["validation", "fit", "validation"]
    assert [run.end and run.end.outcome for run in runs] == ["Validated", "Completed", "Validated"]


def test_further_fits_are_added_and_another_trace_begins_anew(tmp_path: Path) -> None:
    learn = learner()
    trace = learn.add(Trace, tmp_path / "t")
    learn.fit(1)
    learn.fit(1)
    assert len(read(tmp_path / "t").runs) == 2

    learn.remove(trace)
    learn.add(Trace, tmp_path / "t")
    learn.fit(1)
    assert len(read(tmp_path / "t").runs) == 1


def test_with_append_what_is_there_is_gone_on_with(tmp_path: Path) -> None:
    for _ in range(2):
        traced(learner(), tmp_path / "t", append=True)
    assert len(read(tmp_path / "t").runs) == 2


def test_every_nth_batch_and_some_events_alone(tmp_path: Path) -> None:
    run = traced(
        learner(Recorder(), n_train=5, n_valid=0), tmp_path / "t", every_batches=2, events=("after_loss", "after_epoch")
    )
    assert [(event.hook, event.index) for event in run.events] == [
        ("after_loss", 0),
        ("after_loss", 2),
        ("after_loss", 4),
        ("after_epoch", None),
    ]


def test_what_is_not_wanted_is_not_recorded(tmp_path: Path) -> None:
    run = traced(learner(Counts()), tmp_path / "t", fields=("loss",), watch=("cells",), hashes=False, stats=False)

    assert {name.partition(":")[0] for event in run.events for name in event.before} == {"cells"}
    fields = {name: value for event in run.events for name, value in event.fields.items()}
    assert {"xb", "yb", "pred"} & fields.keys() == set()
    assert fields["loss"] == TensorValue((), "float32")


@pytest.mark.parametrize(
    ("setting", "value"),
    [("every_batches", 0), ("block", -1), ("events", ("after_los",)), ("fields", ("x",)), ("watch", ("weight",))],
)
def test_a_setting_that_is_none_is_refused(setting: str, value: Any, tmp_path: Path) -> None:
    wrong: Any = {setting: value}
    with pytest.raises(ValueError, match=f"Trace.{setting}"):
        Trace(learner(), tmp_path / "t", **wrong)


def test_a_place_that_cannot_be_written_ends_the_fit_at_its_beginning(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    learn = learner()
    learn.add(Trace, tmp_path / "folder")
    with pytest.raises(TraceError, match="cannot be written"):
        learn.fit(1)


def test_a_full_disk_ends_the_trace_and_not_the_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = 0
    write = os.pwrite

    def short(file: int, content: bytes, at: int) -> int:
        nonlocal written
        written += 1
        return write(file, content if written < 5 else content[:5], at)

    monkeypatch.setattr(os, "pwrite", short)
    learn = learner()
    learn.add(Trace, tmp_path / "t")
    with pytest.warns(TraceWarning, match="the fit goes on"):
        learn.fit(1)
    trace = read(tmp_path / "t")
    assert 0 < len(trace.runs[0].events) < 5


KILLED = """
import os, signal, sys
sys.path[:0] = {paths!r}
from recording import At
from tiny import learner
from typedcb.trace import Trace
from pathlib import Path
def kill(event): os.kill(os.getpid(), signal.SIGKILL)
learn = learner(At("after_step", kill, epoch=1, index=1))
learn.add(Trace, Path(sys.argv[1]))
learn.fit(3)
"""


def test_a_run_that_is_killed_has_its_trace_up_to_the_end(tmp_path: Path) -> None:
    paths = [str(Path(__file__).parents[1])]
    script = KILLED.format(paths=paths)
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "t")], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL

    run = read(tmp_path / "t").runs[0]
    last = run.events[-1]
    assert run.end is None
    assert (last.hook, last.epoch, last.index) == ("after_backward", 1, 1)


def test_the_header_says_what_was_run(tmp_path: Path) -> None:
    smooth = Counts()
    run = traced(learner(smooth, At("after_fit", answering(None))), tmp_path / "t")

    header = run.header
    assert header.versions["torch"] == torch.__version__
    assert [info.name for info in header.callbacks] == ["Counts", "At"]
    assert header.callbacks[1].settings["hook"] == "after_fit"
    assert header.callbacks[0].hooks == ("after_loss", "after_step")
    assert header.seeds["torch"] == torch.initial_seed()


def test_the_names_of_hooks_are_those_of_the_table() -> None:
    assert get_args(HookName) == tuple(HOOKS)


def test_two_traces_do_not_see_each_other(tmp_path: Path) -> None:
    learn = learner(Counts())
    learn.add(Trace, tmp_path / "a")
    learn.add(Trace, tmp_path / "b")
    learn.fit(1)

    runs = [read(tmp_path / name).runs[0] for name in ("a", "b")]
    assert [[info.name for info in run.header.callbacks] for run in runs] == [["Counts"]] * 2
    assert [len(event.calls) for event in runs[0].events] == [len(event.calls) for event in runs[1].events]


def test_payloads_that_are_no_tensors_are_recorded(tmp_path: Path) -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.tensor(1.0))

        def forward(self, xb: Any) -> Any:
            return {"out": self.w * xb["x"]}

    batches = [({"x": x, "name": "one"}, y) for x, y in pairs(2)]
    learn: Any = Learner(
        Named(), DataBunch[Any, Any](batches), lambda pred, yb: total(pred["out"], yb), partial(SGD, lr=0.1)
    )
    run = traced(learn, tmp_path / "t")

    begun = next(event for event in run.events if event.hook == "begin_batch")
    xb = begun.fields["xb"]
    assert getattr(xb, "entries", {})["name"] == "one"
    assert isinstance(getattr(xb, "entries", {})["x"], TensorValue)


def test_tensors_are_held_for_a_batch_alone(tmp_path: Path) -> None:
    held = []
    learn = learner(At("after_loss", lambda event: held.append(len(recorder()._summarize._known))), n_train=30)
    learn.add(Trace, tmp_path / "t", events=("after_loss",))

    def recorder() -> Any:
        return learn._loop._attached.plan.train.after_loss[0]._act.__self__

    learn.fit(2)
    assert max(held) <= 4
    run = read(tmp_path / "t").runs[0]
    assert all({"xb", "loss"} <= event.fields.keys() for event in run.events if event.hook == "after_loss")
    assert recorder()._held == {}
