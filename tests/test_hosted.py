"""A trainer that calls fires what a loop that pulls fires; what a trainer cannot do is refused before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Optional

import pytest
from hypothesis import given, settings
from recording import Recorder, Seen
from test_grammar import Decision, Oops, Scripted, Shape, assert_grammatical, programs, shapes
from tiny import Weight, learner, pairs, total
from torch.optim import SGD

from typedcb import (
    AfterLoss,
    AnyCallback,
    BatchEvent,
    Callback,
    CallbackError,
    CancelTrain,
    Completed,
    Loop,
    LoopError,
    SkipBackward,
)
from typedcb.callbacks import AvgStats, GradientAccumulation, GradientClip
from typedcb.hosted import Host, Hosted, check_host, made_for, unmet
from typedcb.needs import Parts
from typedcb.outcomes import SkipStep

LR = 2.0**-10


class Pushing:
    """Somebody else's trainer: it has its own loops, and calls."""

    def __init__(self, loop: Loop[Any, Any, Any]) -> None:
        self.loop = loop
        self.model = Weight()
        self.opt = SGD(self.model.parameters(), lr=LR)

    def fit(self, shape: Shape) -> Hosted[Any, Any, Any]:
        fit = Hosted(self.loop, shape.n_epochs)
        fit.begin()  # where this fails, the fit has ended
        try:
            for epoch in range(shape.n_epochs):
                if not fit.cancelled and fit.begin_epoch(epoch):
                    self.run_pass(fit, "train", epoch, shape.n_train)
                    if shape.n_valid:
                        self.run_pass(fit, "valid", epoch, shape.n_valid)
                    fit.end_epoch(epoch)
        except BaseException as error:
            fit.end(error)
            raise
        fit.end()
        return fit

    def run_pass(self, fit: Hosted[Any, Any, Any], phase: Any, epoch: int, n: int) -> None:
        if not fit.begin_pass(phase, epoch, n):
            return
        for index, (xb, yb) in enumerate(pairs(n)):
            if fit.begin_batch(index, xb, yb):
                self.run_batch(fit, phase)
            fit.end_batch()
            if fit.cut_short:
                break
        fit.end_pass()

    def run_batch(self, fit: Hosted[Any, Any, Any], phase: str) -> None:
        pred = fit.predicted(self.model(fit.batch.xb))
        if not fit.goes_on:
            return
        loss = fit.lost(total(pred, fit.batch.yb))
        if phase == "valid" or not fit.goes_on:
            return
        loss.backward()
        if fit.backward_done():
            self.opt.step()
            if fit.stepped():
                self.opt.zero_grad()
        elif fit.batch.drops_gradients():
            self.opt.zero_grad()


def end_of(run: Any) -> tuple[str, list[str]]:
    """How a fit ended, and its errors."""
    try:
        return type(run()).__name__.lower(), []
    except Oops as error:
        return "failed", [str(error)]
    except ExceptionGroup as group:
        return "failed", [str(error) for error in group.exceptions]


@settings(max_examples=300)
@given(program=programs, shape=shapes)
def test_a_trainer_that_calls_does_what_a_learner_does(program: list[tuple[Decision, ...]], shape: Shape) -> None:
    first, pushed, pulled = Recorder(), [Scripted(script) for script in program], [Scripted(s) for s in program]
    trainer = Pushing(Loop([first, *pushed]))
    learn = learner(*pulled, n_train=shape.n_train, n_valid=shape.n_valid, lr=LR)

    ended = end_of(lambda: trainer.fit(shape).outcome)

    assert ended == end_of(lambda: learn.fit(shape.n_epochs))
    assert_grammatical(first.seen)
    assert [list(each.heard) for each in pushed] == [list(each.heard) for each in pulled]
    assert trainer.model.w.item() == learn.model.w.item()


def test_a_validation_between_two_training_batches_leaves_the_training_pass_as_it_was() -> None:
    told = Recorder()
    fit = Hosted(Loop([told]), n_epochs=1)
    fit.begin()
    fit.begin_epoch(0)
    model = Weight()

    def batch(index: int) -> None:
        xb, yb = pairs(1)[0]
        fit.begin_batch(index, xb, yb)
        fit.lost(total(fit.predicted(model(xb)), yb))
        if fit.batch.phase == "train":
            fit.batch.value.backward()
            fit.backward_done()
            fit.stepped()
        fit.end_batch()

    fit.begin_pass("train", 0, 3)
    batch(0)
    batch(1)
    fit.begin_pass("valid", 0, 1)
    batch(0)
    fit.end_pass()
    batch(2)
    fit.end_pass()
    fit.end_epoch(0)
    fit.end()

    begun = [(seen.phase, seen.index) for seen in told.seen if seen.hook == "begin_batch"]
    assert begun == [("train", 0), ("train", 1), ("valid", 0), ("train", 2)]
    assert [event.step for event in told.of("begin_batch")] == [0, 1, 2, 2]
    assert told.hooks.count("after_validate") == 1
    assert isinstance(fit.outcome, Completed)


def test_a_call_out_of_turn_is_refused_with_its_place() -> None:
    fit = Hosted(Loop[Any, Any, Any](), n_epochs=1)
    fit.begin()
    with pytest.raises(LoopError, match="no pass over the data has begun"):
        fit.predicted(1)
    fit.begin_pass("train", 0, 1)
    fit.begin_batch(0, *pairs(1)[0])
    with pytest.raises(LoopError, match=r"backward_done is out of turn \(epoch 0, batch 0, train\)"):
        fit.backward_done()


# ------------------------------------------------------------------------------------------------ what a host can do


@dataclass(frozen=True)
class SkipsLoss(AnyCallback):
    def after_loss(self, event: AfterLoss[object, object, object], /) -> Optional[SkipBackward]:
        return None


@dataclass(frozen=True)
class Stops(AnyCallback):
    def after_epoch(self, event: object, /) -> Optional[CancelTrain]:
        return None


@dataclass(frozen=True)
class Reads(AnyCallback):
    def after_loss(self, event: AfterLoss[object, object, object], /) -> None: ...
    def after_backward(self, event: BatchEvent, /) -> None: ...


POOR = Host(
    "a poor trainer",
    {"after_loss": frozenset(), "after_epoch": frozenset({CancelTrain})},
    {"after_loss": "Use the rich one.", "after_backward": "Use the rich one."},
)


def test_what_a_trainer_cannot_do_is_read_from_the_hooks_and_their_return_types() -> None:
    assert unmet(POOR, Stops) == []
    assert unmet(POOR, SkipsLoss) == [
        "SkipsLoss.after_loss may answer SkipBackward, by its return type, and a poor trainer cannot do that there. "
        "Use the rich one. A hook that never answers it says so: -> None."
    ]
    assert unmet(POOR, Reads) == [
        "Reads.after_backward would never be called: a poor trainer has no such moment. Use the rich one."
    ]


def test_a_callback_that_a_trainer_cannot_host_is_refused() -> None:
    with pytest.raises(CallbackError, match=r"SkipsLoss\.after_loss may answer SkipBackward"):
        check_host(POOR, [Stops(), SkipsLoss()])
    check_host(POOR, [Stops()])


def test_a_rich_trainer_hosts_accumulation() -> None:
    answers = {"begin_epoch": frozenset[type](), "after_backward": frozenset({SkipStep})}
    assert not [
        problem for problem in unmet(Host("rich", answers), GradientAccumulation) if "after_backward" in problem
    ]


def test_factories_are_called_with_the_trainers_model_and_optimizer() -> None:
    model = Weight()
    parts = Parts(model, SGD(model.parameters(), lr=1.0))
    stats = AvgStats()
    made = made_for(parts, [stats, partial(GradientClip, clip=0.1)])
    assert made[0] is stats
    assert isinstance(made[1], GradientClip)
    assert made[1].clip == 0.1
    wrong: Any = dict
    with pytest.raises(CallbackError, match=r"made .*, which is no callback"):
        made_for(Parts(model, parts.opt), [lambda _: wrong()])


def test_callbacks_over_object_are_hostable_anywhere() -> None:
    hosted: list[Callback[Any, Any, Any]] = made_for(Parts(Weight(), SGD([Weight().w], lr=1.0)), [Stops()])
    assert isinstance(hosted[0], Stops)
    assert Seen.of("begin_fit", object()) == Seen("begin_fit", None, None, None)
