"""Which callbacks a loop has: what is refused among them, and the order in which they run."""

from __future__ import annotations

import gc
import itertools
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recording import Recorder
from tiny import learner

from typedcb import (
    AnyCallback,
    CallbackError,
    Cell,
    DependencyError,
    Loop,
    LoopError,
    Readable,
    Series,
    View,
    cell,
    series,
)
from typedcb.dependencies import running_order

log: list[str] = []


@pytest.fixture(autouse=True)
def empty_log() -> None:
    log.clear()


@dataclass(frozen=True)
class Named(AnyCallback):
    """Says its name when a fit begins."""

    name: str

    def begin_fit(self, event: object) -> None:
        log.append(self.name)


@dataclass(frozen=True)
class Early(Named):
    order: ClassVar[int] = -1


@dataclass(frozen=True)
class Late(Named):
    order: ClassVar[int] = 1


@dataclass(frozen=True)
class Smooth(Named):
    mean: Cell[float] = cell(0.0)
    history: Series[float] = series()


@dataclass(frozen=True)
class LateSmooth(Smooth):
    order: ClassVar[int] = 100


@dataclass(frozen=True)
class Needs(Named):
    """Depends on whatever it is given."""

    on: Any


@dataclass(frozen=True)
class EarlyNeeds(Needs):
    order: ClassVar[int] = -1


def ran(*cbs: Any) -> list[str]:
    """The names of callbacks in the order in which they run."""
    log.clear()
    loop = Loop[Any, Any, Any](cbs)
    with loop.fit(0):
        pass
    assert [cb.name for cb in loop.cbs] == log, "cbs are listed as they run"
    loop.remove(*cbs)
    return list(log)


# -------------------------------------------------------------------------------------------------------- order


def test_ties_run_as_they_were_attached() -> None:
    assert ran(Named("a"), Named("b"), Named("c")) == ["a", "b", "c"]


def test_callbacks_run_by_ascending_order() -> None:
    assert ran(Late("late"), Named("a"), Early("early"), Named("b")) == ["early", "a", "b", "late"]


def test_a_dependency_runs_before_what_depends_on_it_whatever_their_orders() -> None:
    smooth = LateSmooth("smooth")
    assert ran(EarlyNeeds("needs", smooth), Named("a"), smooth) == ["a", "smooth", "needs"]


READS: dict[str, Callable[[Smooth], Any]] = {
    "callback": lambda smooth: smooth,
    "cell": lambda smooth: smooth.mean,
    "series": lambda smooth: smooth.history,
    "map": lambda smooth: smooth.mean.map(abs),
    "view": lambda smooth: View(lambda: len(smooth.history), smooth.history),
    "tuple": lambda smooth: (Cell(1), smooth.mean),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_what_belongs_to_another_callback_is_a_dependency_on_it(read: Callable[[Smooth], Any]) -> None:
    smooth = Smooth("smooth")
    assert ran(Needs("needs", read(smooth)), smooth) == ["smooth", "needs"]


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_dependency_that_is_not_attached_is_refused_by_field_and_name(read: Callable[[Smooth], Any]) -> None:
    with pytest.raises(DependencyError, match=r"Needs\.on .*Smooth.*not attached: pass th.* in cbs too, or add it"):
        Loop[Any, Any, Any]([Needs("needs", read(Smooth("smooth")))])


@pytest.mark.parametrize("value", [None, 3, "smooth", Cell(1), Cell(1).map(abs), (1, 2), [Named("x")]], ids=repr)
def test_other_values_are_no_dependencies(value: Any) -> None:
    assert ran(Needs("needs", value)) == ["needs"]


def test_a_dependency_in_a_field_for_any_readable() -> None:
    @dataclass(frozen=True)
    class Monitors(Named):
        monitor: Readable[float]

    smooth = Smooth("smooth")
    assert ran(Monitors("monitors", smooth.mean), smooth) == ["smooth", "monitors"]


def test_a_chain_of_dependencies_runs_from_its_end() -> None:
    a = Named("a")
    b = Needs("b", a)
    c = Needs("c", b)
    assert ran(c, b, a) == ["a", "b", "c"]


def test_a_dependency_that_was_attached_before_is_found() -> None:
    smooth = Smooth("smooth")
    loop = Loop[Any, Any, Any]([smooth])
    loop.add(Needs("needs", smooth.mean))
    assert [cb.name for cb in loop.cbs] == ["smooth", "needs"]


def test_equal_callbacks_are_told_apart_as_dependencies() -> None:
    one, other = Smooth("same"), Smooth("same")
    assert one == other
    with pytest.raises(DependencyError, match="that very instance"):
        Loop[Any, Any, Any]([one, Needs("needs", other)])


@given(
    orders=st.lists(st.integers(-2, 2), min_size=1, max_size=6),
    edges=st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=8),
)
def test_the_running_order_is_the_first_of_all_that_respect_the_dependencies(
    orders: list[int], edges: set[tuple[int, int]]
) -> None:
    """Of callbacks that are ready, the one of lowest order, then the one that was attached first."""
    kinds = [dataclass(frozen=True)(type("Of", (Needs,), {"order": order})) for order in orders]
    cbs: list[Any] = []
    for index, kind in enumerate(kinds):  # a callback can depend on earlier ones alone, so there is no circle
        cbs.append(kind(str(index), tuple(cbs[on] for to, on in sorted(edges) if to == index and on < index)))
    shuffled = cbs[::-1]
    found = [int(shuffled[at].name) for at in running_order(shuffled)]

    expected: list[int] = []
    while len(expected) < len(cbs):
        ready = [
            int(cb.name)
            for cb in shuffled
            if int(cb.name) not in expected and all(int(on.name) in expected for on in cb.on)
        ]
        expected.append(min(ready, key=lambda index: orders[index]))
    assert found == expected


def circle(*names: str) -> list[Any]:
    """Callbacks that depend on each other in a circle."""
    cbs = [Needs(name, None) for name in names]
    for cb, after in zip(cbs, [*cbs[1:], cbs[0]], strict=True):
        object.__setattr__(cb, "on", after)
    return cbs


@pytest.mark.parametrize("size", [2, 3])
def test_a_circle_is_refused_and_shown(size: int) -> None:
    with pytest.raises(DependencyError, match=f"in a circle: {' → '.join(['Needs'] * (size + 1))}. One of them"):
        Loop[Any, Any, Any]([Named("free"), *circle(*"abc"[:size])])


def test_what_merely_depends_on_a_circle_is_not_shown_as_part_of_it() -> None:
    a, b = circle("a", "b")
    with pytest.raises(DependencyError, match=r"in a circle: Needs → Needs → Needs\. One"):
        Loop[Any, Any, Any]([EarlyNeeds("outside", a), a, b])


def test_a_callback_that_has_itself_in_a_field_is_no_circle() -> None:
    (alone,) = circle("alone")
    assert ran(alone) == ["alone"]


# ------------------------------------------------------------------------------------------------- what is refused


def test_a_class_among_cbs_is_refused_with_both_ways_out() -> None:
    with pytest.raises(CallbackError, match=r"Recorder in cbs is a class.*write Recorder\(\.\.\.\).*or pass it in cb_"):
        learner(Recorder)


@pytest.mark.parametrize("factory", [partial(Named, "a"), lambda learn: Named("a")], ids=["partial", "lambda"])
def test_a_factory_among_cbs_is_refused_with_where_it_belongs(factory: Any) -> None:
    with pytest.raises(CallbackError, match="in cbs is a factory, and cbs are instances: pass it in cb_funcs"):
        learner(factory)


@pytest.mark.parametrize(
    "thing", [None, 3, "Named", object(), [Named("a")]], ids=["None", "3", "str", "object", "list"]
)
def test_what_is_no_callback_is_refused(thing: Any) -> None:
    with pytest.raises(CallbackError, match="in cbs is no callback: a callback is an instance of a subclass of Callb"):
        learner(thing)


def test_an_instance_that_was_made_past_the_check_is_refused_when_attached() -> None:
    class Plain(AnyCallback): ...

    with pytest.raises(CallbackError, match="Plain is no frozen dataclass"):
        learner(object.__new__(Plain))


def test_one_instance_is_attached_once() -> None:
    named = Named("a")
    with pytest.raises(
        CallbackError, match="this Named is attached to this loop twice: each of its hooks would run tw"
    ):
        learner(named, named)
    learn = learner(named)
    with pytest.raises(CallbackError, match="twice"):
        learn.fit(1, cbs=[named])


def test_one_instance_belongs_to_one_learner_at_a_time() -> None:
    named = Named("a")
    learn = learner(named)
    with pytest.raises(
        CallbackError, match=r"attached to another loop or learner.*make another instance, or remove it"
    ):
        learner(named)
    learn.remove(named)
    assert learner(named).cbs == (named,)


def test_an_instance_of_a_learner_that_is_gone_can_be_attached_again() -> None:
    named = Named("a")
    gone = learner(named)
    dead = weakref.ref(gone)
    del gone
    gc.collect()
    assert dead() is None, "an attachment keeps no learner alive"
    learner(named)


def test_equal_instances_may_both_be_attached() -> None:
    assert ran(Named("a"), Named("a")) == ["a", "a"]


def test_when_one_is_refused_none_is_attached() -> None:
    loop = Loop[Any, Any, Any]()
    good = Named("good")
    for bad in (None, Needs("needs", Smooth("not attached"))):
        with pytest.raises(CallbackError):
            loop.add(good, bad)  # type: ignore[arg-type]
        assert loop.cbs == ()
    loop.add(good)
    assert loop.cbs == (good,)


def test_a_cell_that_two_callbacks_call_their_own_is_refused() -> None:
    smooth = Smooth("a")
    with pytest.raises(
        CallbackError, match=r"Smooth\.mean is the cell of another Smooth too: each needs one of its own"
    ):
        Loop[Any, Any, Any]([smooth, Smooth("b", smooth.mean)])


# -------------------------------------------------------------------------------------------------------- removal


def test_removing_what_was_not_attached_is_refused() -> None:
    with pytest.raises(CallbackError, match="Named is not attached to this loop"):
        learner().remove(Named("a"))
    with pytest.raises(CallbackError, match="not attached"):
        learner(Named("a")).remove(Named("a"))  # equal, and another one


def test_removing_what_another_depends_on_is_refused_and_removes_nothing() -> None:
    smooth = Smooth("smooth")
    needs = Needs("needs", smooth.mean)
    learn = learner(needs, smooth)
    with pytest.raises(DependencyError, match=r"Needs\.on reads Smooth\.mean, whose Smooth is not attached"):
        learn.remove(smooth)
    assert learn.cbs == (smooth, needs)
    learn.remove(smooth, needs)
    assert learn.cbs == ()


def test_removing_one_twice_in_a_call_removes_it_once() -> None:
    named = Named("a")
    learn = learner(named)
    learn.remove(named, named)
    assert learn.cbs == ()
    learner(named)


def test_a_removed_callback_is_called_no_more() -> None:
    named = Named("a")
    learn = learner(named)
    learn.remove(named)
    learn.fit(0)
    assert log == []


@pytest.mark.parametrize("act", ["add", "remove"])
def test_callbacks_are_neither_added_nor_removed_during_a_fit(act: str) -> None:
    named = Named("a")
    loop = Loop[Any, Any, Any]([named] if act == "remove" else [])
    expected = r"a fit is under way on this loop: callbacks are (added|removed) before"
    with pytest.raises(LoopError, match=expected), loop.fit(1):
        getattr(loop, act)(named)
    assert not loop.running


def test_adding_and_removing_many_keeps_the_order_of_attachment() -> None:
    cbs = [Named(str(n)) for n in range(6)]
    loop = Loop[Any, Any, Any](cbs)
    loop.remove(cbs[1], cbs[4])
    loop.add(cbs[1])
    assert [cb.name for cb in loop.cbs] == ["0", "2", "3", "5", "1"]
    assert all(a is not b for a, b in itertools.combinations(loop.cbs, 2))


def test_a_cell_that_a_field_makes_by_itself_is_refused() -> None:
    @dataclass(frozen=True)
    class C(AnyCallback):
        count: Cell[int] = field(default_factory=lambda: Cell(0))

    with pytest.raises(CallbackError, match=r"C\.count is a Cell that no fit resets"):
        learner(C())
