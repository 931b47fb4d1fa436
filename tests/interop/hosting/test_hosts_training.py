"""The same callbacks measure the same in every trainer and in a learner; those that change nothing change nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import torch
from driving import DRIVERS, driver
from five import TASK, Five, learner_of, same
from recording import Recorder as Events
from torch import Tensor

from typedcb import Completed
from typedcb.callbacks import AvgStats, SmoothLoss, accuracy


@pytest.mark.parametrize("name", DRIVERS)
def test_five_callbacks_measure_what_they_measure_in_a_learner(name: str) -> None:
    host = driver(name)
    theirs, ours, task = Five(), Five(), host.task(TASK)

    ran = host.fit(task, host.hosting(*theirs.hostable))
    learn = learner_of(task, ours.hostable)
    learn.fit(task.n_epochs)

    assert_same(ours.measured, theirs.measured, host.exact)
    assert len(theirs.recorder[0].losses) == task.n_epochs * len(task.train)
    assert_same([weight.detach() for weight in learn.model.parameters()], ran.weights, host.exact)


@pytest.mark.parametrize("name", DRIVERS)
def test_callbacks_that_only_look_leave_the_trainer_as_it_is(name: str) -> None:
    host = driver(name)
    bare = host.fit(TASK, None)
    stats, events = AvgStats(accuracy), Events()
    hosting = host.hosting(stats, SmoothLoss(), events)
    hosted = host.fit(TASK, hosting)

    assert hosted.losses == bare.losses
    assert same(hosted.weights, bare.weights)
    assert isinstance(hosting.outcome, Completed)
    told = [event.loss.item() for event in events.of("after_loss") if event.phase == "train"]
    assert told == bare.losses, "the losses that callbacks are told are the trainer's own"


@pytest.mark.parametrize("name", DRIVERS)
def test_the_bare_trainer_comes_to_what_a_learner_comes_to(name: str) -> None:
    host = driver(name)
    task = host.task(TASK)
    bare = host.fit(task, None)
    learn = learner_of(task, [])
    learn.fit(task.n_epochs)
    assert_same([weight.detach() for weight in learn.model.parameters()], bare.weights, host.exact)


@pytest.mark.parametrize("name", DRIVERS)
def test_every_event_is_told_in_a_learners_order_with_a_learners_content(name: str) -> None:
    host = driver(name)
    theirs, ours, task = Events(), Events(), host.task(TASK)
    host.fit(task, host.hosting(theirs))
    learner_of(task, [ours]).fit(task.n_epochs)
    assert theirs.seen == ours.seen
    for mine, other in zip(ours.events, theirs.events, strict=True):
        assert_same(mine, other, host.exact)


def assert_same(ours: Any, theirs: Any, exact: bool) -> None:
    """Compares two events, or what callbacks have measured, field by field; to the rounding of float32 if not exact."""
    assert type(ours) is type(theirs)
    if isinstance(ours, msgspec.Struct):
        for field in ours.__struct_fields__:
            assert_same(getattr(ours, field), getattr(theirs, field), exact)
    elif isinstance(ours, (dict, list, tuple)):
        assert len(ours) == len(theirs)
        for one, other in zip(values(ours), values(theirs), strict=True):
            assert_same(one, other, exact)
    elif isinstance(ours, Tensor):
        assert torch.equal(ours, theirs) if exact else torch.allclose(ours, theirs, rtol=1e-5, atol=1e-6)
        assert ours.requires_grad == theirs.requires_grad
    elif isinstance(ours, float) and not exact:
        assert ours == pytest.approx(theirs, rel=1e-5)
    else:
        assert ours == theirs


def values(items: Any) -> Any:
    return sorted(items.items()) if isinstance(items, dict) else items


@pytest.mark.parametrize("name", DRIVERS)
def test_what_callbacks_are_told_is_the_trainers_own(name: str) -> None:
    host = driver(name)
    parts: list[Any] = []

    def factory(given: Any) -> Events:
        parts.append(given)
        return Events()

    ran = host.fit(TASK, host.hosting(factory))
    assert len(parts) == 1
    trained = {id(weight) for weight in ran.model.parameters()}
    assert {id(weight) for weight in parts[0].model.parameters()} == trained
    assert {id(weight) for group in parts[0].opt.param_groups for weight in group["params"]} == trained
