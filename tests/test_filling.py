"""What stands in the learner's place and is no learner is refused where the callback is made, in words."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any, Protocol

import attrs
import pytest
from tiny import Weight, learner
from torch import nn
from torch.optim import SGD

from typedcb import AnyCallback, AnyLearnerCallback, CallbackError, Loop, LoopParts, Objective, callbacks
from typedcb.callback import Callback
from typedcb.callbacks import (
    LR,
    AvgStats,
    Checkpoint,
    EarlyStopping,
    GradientClip,
    LRFinder,
    ParamScheduler,
    ReduceLROnPlateau,
    SaveBest,
    SmoothLoss,
    linear,
)
from typedcb.hosted import made_for
from typedcb.needs import HasModel, HasOpt, Parts

FILLED_IN = [
    cls
    for name in dir(callbacks)
    if isinstance(cls := getattr(callbacks, name), type) and issubclass(cls, Callback) and cls is not Callback
    if [field.name for field in dataclasses.fields(cls) if field.init and not field.kw_only][:1] == ["learn"]
]
"""The ready-made callbacks whose first field is a learner's."""


def parts() -> Parts[Weight]:
    model = Weight()
    return Parts(model, SGD(model.parameters(), lr=0.1))


def test_there_are_many_such_callbacks() -> None:
    assert {ReduceLROnPlateau, SaveBest, GradientClip, Checkpoint} < set(FILLED_IN)
    assert len(FILLED_IN) > 15


@pytest.mark.parametrize("cls", FILLED_IN)
def test_no_ready_made_callback_takes_a_cell_for_a_learner(cls: Callable[..., object]) -> None:
    with pytest.raises(CallbackError, match=r"\.learn is AvgStats\.valid_loss(,|:)"):
        cls(AvgStats().valid_loss)


PLATEAU = (
    r"^ReduceLROnPlateau\.learn is AvgStats\.valid_loss, which has no opt: .*"
    r"partial\(ReduceLROnPlateau, monitor=\.\.\.\)"
)


def test_what_a_factory_holds_by_position_does_not_take_the_learners_place() -> None:
    stats = AvgStats()
    factory: Any = partial(ReduceLROnPlateau, stats.valid_loss, mode="min")
    with pytest.raises(CallbackError, match=PLATEAU):
        learner(stats, cb_funcs=[factory])
    learn = learner(stats)
    with pytest.raises(CallbackError, match=PLATEAU):
        learn.fit(1, cb_funcs=[factory])
    with pytest.raises(CallbackError, match=PLATEAU):
        learn.add(factory)
    with pytest.raises(CallbackError, match=PLATEAU):
        made_for(parts(), [factory])
    model = Weight()
    with pytest.raises(CallbackError, match=PLATEAU):
        Objective(model, SGD(model.parameters(), lr=0.1), cb_funcs=[factory])
    assert learn.cbs == (stats,)
    learn.fit(1, cb_funcs=[partial(ReduceLROnPlateau, monitor=stats.valid_loss, mode="min")])


def test_a_callback_that_is_made_without_the_learner_says_how_it_is_made() -> None:
    cls: Any = ReduceLROnPlateau
    with pytest.raises(CallbackError, match=r"Made by hand it is ReduceLROnPlateau\(learn, monitor=\.\.\.\)\.$"):
        cls(AvgStats().valid_loss, mode="min")


@pytest.mark.parametrize(
    ("factory", "what", "named"),
    [
        (partial(GradientClip, 0.1), "0.1, which has no model", "clip=..."),
        (partial(ParamScheduler, LR, linear(0.1, 0.0)), "a Hyper, which has no opt", "param=..., schedule=..."),
        (partial(LRFinder, SmoothLoss()), "a SmoothLoss, which has no model and opt", "loss=..."),
        (
            partial(ReduceLROnPlateau, AvgStats().valid_loss.map(abs), mode="min"),
            "a view of AvgStats.valid_loss",
            "monitor=...",
        ),
        (partial(SaveBest, AvgStats, mode="min"), "the class AvgStats, which has no model", "monitor=..."),
    ],
)
def test_what_was_given_is_named_with_the_fields_that_were_meant(factory: Any, what: str, named: str) -> None:
    with pytest.raises(CallbackError) as refused:
        learner(cb_funcs=[factory])
    assert f".learn is {what}" in str(refused.value)
    assert f"({factory.func.__name__}, {named})" in str(refused.value)


def test_a_model_by_itself_is_refused_for_its_parts() -> None:
    cls: Any = GradientClip
    with pytest.raises(CallbackError) as refused:
        cls(Weight(), 1.0)
    expected = "GradientClip.learn is a Weight, which has no model: the learner belongs there, or Parts(model, opt)"
    assert str(refused.value) == f"{expected} in a loop of your own."


def test_what_a_checkpoint_takes_in_a_loop_of_ones_own_is_said() -> None:
    cls: Any = Checkpoint
    with pytest.raises(CallbackError, match=r"Checkpoint\.learn is a Parts, .*LoopParts\(loop, model, opt, data\)"):
        cls(parts(), "folder")


def test_a_learner_in_the_place_of_what_is_watched_is_refused() -> None:
    factory: Any = partial(EarlyStopping, mode="min")
    with pytest.raises(CallbackError, match=r"EarlyStopping\.monitor is a Learner, which has no value: .*Readable"):
        learner(cb_funcs=[factory])


@dataclass(frozen=True)
class OnLearner(AnyLearnerCallback):
    """One of somebody's own, over a whole learner."""

    factor: float = 1.0


@attrs.frozen
class OnModel(AnyCallback):
    """One of somebody's own, by attrs."""

    learn: HasModel
    factor: float = 1.0


class HasTeacher(Protocol):
    """What somebody's own callback asks for."""

    @property
    def teacher(self) -> nn.Module: ...


@dataclass(frozen=True)
class Distils(AnyCallback):
    """A first field of another name and of somebody's own type."""

    parts: HasTeacher


@dataclass(frozen=True)
class Either(AnyCallback):
    """A first field that may be of several types."""

    learn: HasModel | HasOpt


@dataclass(frozen=True)
class Untyped(AnyCallback):
    """A first field that says nothing."""

    learn: Any


@pytest.mark.parametrize("cls", [OnLearner, OnModel])
def test_callbacks_of_ones_own_are_held_to_it_too(cls: Any) -> None:
    factory: Any = partial(cls, 0.5)
    with pytest.raises(
        CallbackError, match=rf"{cls.__name__}\.learn is 0\.5.*partial\({cls.__name__}, factor=\.\.\.\)"
    ):
        learner(cb_funcs=[factory])
    learn = learner(cb_funcs=[partial(cls, factor=0.5)])
    assert learn.get(cls).factor == 0.5


def test_what_a_protocol_of_ones_own_asks_for_has_to_be_there() -> None:
    cls: Any = Distils
    with pytest.raises(CallbackError, match=r"Distils\.parts is a Weight, which has no teacher: .*HasTeacher"):
        cls(Weight())
    assert cls(SimpleNamespace(teacher=Weight())).parts.teacher


class Computes:
    """Parts whose properties nobody has to ask for, and which come by other ways too."""

    def __init__(self) -> None:
        self.asked = 0

    @property
    def model(self) -> Weight:
        self.asked += 1
        raise RuntimeError("not yet")


class Delegates:
    """Something that hands on whatever it is asked for."""

    def __init__(self, to: object) -> None:
        self.to = to

    def __getattr__(self, name: str) -> Any:
        return getattr(self.to, name)


def test_a_property_is_not_computed_to_find_out() -> None:
    computes = Computes()
    GradientClip(computes, 1.0)
    assert computes.asked == 0


def test_whatever_has_what_is_asked_for_is_taken() -> None:
    own, model = parts(), Weight()
    loop = Loop[Any, Any, Any]()
    for given in (
        own,
        Delegates(own),
        SimpleNamespace(model=model, opt=own.opt),
        Objective(model, own.opt),
        LoopParts(loop, model, own.opt, learner().data),
        learner(),
    ):
        anything: Any = given
        assert GradientClip(anything, 1.0).learn is given
        assert ReduceLROnPlateau(anything, AvgStats().valid_loss, "min").learn is given
        assert Either(anything).learn is given
    assert Untyped(None).learn is None


def test_copies_are_made_as_ever() -> None:
    clip = GradientClip(parts(), 1.0)
    assert copy.copy(clip).clip == dataclasses.replace(clip, clip=1.0).clip == 1.0
    assert pickle.loads(pickle.dumps(clip)).clip == 1.0
