"""Whatever callbacks answer, a trainer that hosts them does what a learner does: the same events, the same weights."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from driving import DRIVERS, Task, driver
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recording import Recorder
from test_grammar import Decision, Oops, Scripted, Shape, assert_grammatical, programs
from tiny import Weight, learner, pairs, total
from torch.optim import SGD

LR = 2.0**-10

shapes = st.builds(Shape, st.integers(1, 3), st.integers(1, 3), st.integers(0, 2))


def task_of(shape: Shape) -> Task:
    return Task(Weight, total, partial(SGD, lr=LR), pairs(shape.n_train), pairs(shape.n_valid), shape.n_epochs)


def end_of(run: Any) -> tuple[Any, list[str]]:
    """What a fit gave, and its errors."""
    try:
        return run(), []
    except Oops as error:
        return None, [str(error)]
    except BaseExceptionGroup as group:
        return None, [str(error) for error in group.exceptions]


def compare(name: str, program: list[tuple[Decision, ...]], shape: Shape) -> None:
    """Runs the same callbacks under a host and in a learner."""
    host = driver(name)
    first, hosted, ours = Recorder(), [Scripted(script) for script in program], [Scripted(s) for s in program]
    hosting = host.hosting(first, *hosted)
    learn = learner(*ours, n_train=shape.n_train, n_valid=shape.n_valid, lr=LR)

    ran, errors = end_of(lambda: host.fit(task_of(shape), hosting))
    outcome, expected = end_of(lambda: learn.fit(shape.n_epochs))

    assert errors == expected
    assert [list(each.heard) for each in hosted] == [list(each.heard) for each in ours]
    assert_grammatical(first.seen)
    if ran is not None:
        assert type(hosting.outcome) is type(outcome)
        assert ran.weights[0].item() == learn.model.w.item()


@pytest.mark.parametrize("name", DRIVERS)
def test_a_trainer_does_what_a_learner_does(name: str) -> None:
    @settings(max_examples=20, suppress_health_check=list(HealthCheck))
    @given(program=programs, shape=shapes)
    def check(program: list[tuple[Decision, ...]], shape: Shape) -> None:
        compare(name, program, shape)

    driver(name)
    check()
