"""Whatever callbacks answer, a trainer that hosts them does what a learner does: the same events, the same weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import pytest
from driving import DRIVERS, Task, driver
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recording import EveryHook, Recorder, Seen
from test_grammar import Decision, Oops, Scripted, Shape, assert_grammatical, programs
from tiny import Weight, learner, pairs, total
from torch.optim import SGD

from typedcb import Callback, Series, series
from typedcb.hooks import HOOKS

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


def same_as_a_learner(name: str, hosted: list[Any], ours: list[Any], shape: Shape) -> None:
    """Runs the same callbacks under a host and in a learner."""
    host = driver(name)
    hosting = host.hosting(*hosted)
    learn = learner(*ours, n_train=shape.n_train, n_valid=shape.n_valid, lr=LR)

    ran, errors = end_of(lambda: host.fit(task_of(shape), hosting))
    outcome, expected = end_of(lambda: learn.fit(shape.n_epochs))

    assert errors == expected
    if ran is not None:
        assert type(hosting.outcome) is type(outcome)
        assert ran.weights[0].item() == learn.model.w.item()


@cache
def hearing(hooks: frozenset[str], phases: tuple[str, ...]) -> type[Scripted]:
    """A class of scripted callbacks that have these hooks alone."""
    namespace = {
        "__annotations__": {"script": tuple, "heard": Series[Seen]}, "heard": series(reset="never"), "phases": phases,
        "decide": Scripted.decide, **{name: vars(EveryHook.__mro__[1])[name] for name in hooks}, "__module__": __name__,
    }  # fmt: skip
    made: Any = dataclass(frozen=True)(type("Some", (Callback,), namespace))
    return made  # type: ignore[no-any-return]  # a class that is made here


@pytest.mark.parametrize("name", DRIVERS)
def test_a_trainer_does_what_a_learner_does(name: str) -> None:
    @settings(max_examples=20, suppress_health_check=list(HealthCheck))
    @given(program=programs, shape=shapes)
    def check(program: list[tuple[Decision, ...]], shape: Shape) -> None:
        first, hosted, ours = Recorder(), [Scripted(script) for script in program], [Scripted(s) for s in program]
        same_as_a_learner(name, [first, *hosted], ours, shape)
        assert [list(each.heard) for each in hosted] == [list(each.heard) for each in ours]
        assert_grammatical(first.seen)

    driver(name)
    check()


some_hooks = st.frozensets(st.sampled_from(sorted(HOOKS)), min_size=1, max_size=3)
some_phases = st.sampled_from([("train", "valid"), ("train", "valid"), ("train",), ("valid",)])


@pytest.mark.parametrize("name", DRIVERS)
def test_it_does_so_for_callbacks_that_listen_to_little(name: str) -> None:
    @settings(max_examples=20, suppress_health_check=list(HealthCheck))
    @given(data=st.data(), program=programs, shape=shapes)
    def check(data: st.DataObject, program: list[tuple[Decision, ...]], shape: Shape) -> None:
        kinds = [
            hearing(data.draw(some_hooks) | {one.hook for one in script[:1]}, data.draw(some_phases))
            for script in program
        ]
        hosted, ours = ([kind(script) for kind, script in zip(kinds, program, strict=True)] for _ in range(2))
        same_as_a_learner(name, hosted, ours, shape)
        assert [list(each.heard) for each in hosted] == [list(each.heard) for each in ours]

    driver(name)
    check()
