"""Cells are where a callback changes: each instance has its own, and the loop resets them before any hook runs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar

import attrs
import pytest
import torch
from recording import At, answering, raising
from tiny import learner, own_loop

from typedcb import (
    AnyCallback,
    CallbackError,
    CancelEpoch,
    Cell,
    DependencyError,
    Loop,
    Readable,
    Series,
    View,
    cell,
    series,
)
from typedcb.callbacks import EarlyStopping
from typedcb.dependencies import own_states

KINDS = ("epoch", "fit", "never")


@dataclass(frozen=True)
class Counts(AnyCallback):
    """Counts the training batches three times over."""

    phases: ClassVar[Any] = ("train",)
    per_epoch: Cell[int] = cell(0, reset="epoch")
    per_fit: Cell[int] = cell(0, reset="fit")
    ever: Cell[int] = cell(0, reset="never")
    seen: Annotated[list[tuple[str, int, int, int]], "of all fits"] = field(default_factory=list)

    def begin_fit(self, event: object) -> None:
        self.note("begin_fit")

    def begin_epoch(self, event: object) -> None:
        self.note("begin_epoch")

    def after_batch(self, event: object) -> None:
        for each in (self.per_epoch, self.per_fit, self.ever):
            each.value += 1

    def after_fit(self, event: object) -> None:
        self.note("after_fit")

    def note(self, where: str) -> None:
        self.seen.append((where, self.per_epoch.value, self.per_fit.value, self.ever.value))


def test_a_cell_is_reset_before_the_hooks_of_its_epoch_or_fit_and_not_after() -> None:
    counts = Counts()
    learn = learner(counts, n_train=2)
    learn.fit(2)
    assert counts.seen == [
        ("begin_fit", 0, 0, 0),
        ("begin_epoch", 0, 0, 0),
        ("begin_epoch", 0, 2, 2),
        ("after_fit", 2, 4, 4),
    ]
    assert (counts.per_epoch.value, counts.per_fit.value) == (2, 4), "what a fit measured stays readable after it"
    counts.seen.clear()
    learn.fit(1)
    assert counts.seen == [("begin_fit", 0, 0, 4), ("begin_epoch", 0, 0, 4), ("after_fit", 2, 2, 6)]


def test_the_cells_of_all_callbacks_are_reset_before_the_first_hook_of_any() -> None:
    counts = Counts()
    heard: list[int] = []

    @dataclass(frozen=True)
    class Early(AnyCallback):
        order: ClassVar[int] = -100
        other: Counts

        def begin_epoch(self, event: object) -> None:
            heard.append(counts.per_epoch.value)

    learner(Early(counts), counts).fit(2)
    assert heard == [0, 0]


def test_an_epoch_that_is_left_out_resets_its_cells_all_the_same() -> None:
    counts = Counts()
    learner(counts, At("begin_epoch", answering(CancelEpoch()), epoch=1)).fit(2)
    assert (counts.per_epoch.value, counts.per_fit.value) == (0, 2)


def test_a_fit_that_failed_leaves_its_cells_for_reading_and_the_next_one_resets_them() -> None:
    counts = Counts()
    learn = learner(counts)
    with pytest.raises(ZeroDivisionError):
        learn.fit(1, cbs=[At("after_loss", raising(ZeroDivisionError), index=1)])
    assert counts.per_fit.value == 2, "after_batch also comes for the batch that failed"
    learn.fit(1)
    assert counts.per_fit.value == 2


def test_a_validation_alone_resets_nothing() -> None:
    counts = Counts()
    learn = learner(counts)
    learn.fit(1)
    learn.validate()
    assert (counts.per_epoch.value, counts.per_fit.value) == (2, 2)


def test_a_loop_of_ones_own_resets_cells_too() -> None:
    counts = Counts()
    own_loop(Loop([counts]), n_epochs=2)
    assert (counts.per_epoch.value, counts.per_fit.value, counts.ever.value) == (2, 4, 4)


def test_two_instances_of_a_class_have_cells_of_their_own() -> None:
    one, other = Counts(), Counts()
    learner(one).fit(1)
    assert (one.ever.value, other.ever.value) == (2, 0)
    assert one.ever is not other.ever


def test_a_cell_knows_where_it_was_declared() -> None:
    assert [each.name for each in own_states(Counts()).values()] == [
        "Counts.per_epoch",
        "Counts.per_fit",
        "Counts.ever",
    ]


@dataclass(frozen=True)
class CountsMore(Counts):
    """Declares no cell itself."""


@dataclass(frozen=True)
class Reads(AnyCallback):
    """Reads another's cell."""

    of: Readable[float]


def test_a_cell_is_called_after_the_class_of_the_callback_that_has_it() -> None:
    stopping = EarlyStopping(Cell(0.0), mode="min")
    assert stopping.best.name == "EarlyStopping.best"
    assert replace(stopping, patience=5).best.name == "EarlyStopping.best"
    assert CountsMore().ever.name == "CountsMore.ever"
    assert Counts().ever.name == "Counts.ever", "the class that declares it has cells of its own name"
    with pytest.raises(TypeError, match=r"^EarlyStopping\.best is no truth value itself"):
        bool(stopping.best)
    missing = r"reads EarlyStopping\.best, whose EarlyStopping is not attached: pass that EarlyStopping in cbs too"
    with pytest.raises(DependencyError, match=missing):
        learner(Reads(stopping.best))


def test_a_callback_made_by_the_default_of_a_field_names_its_own_cells() -> None:
    @dataclass(frozen=True)
    class Outer(Counts):
        inner: CountsMore = field(default_factory=CountsMore)

    outer = Outer()
    assert (outer.inner.ever.name, outer.ever.name) == ("CountsMore.ever", "Outer.ever")


def test_a_cell_of_a_subclass_in_a_cell_field_of_its_base_is_refused_as_shared() -> None:
    derived = CountsMore()
    with pytest.raises(CallbackError, match=r"Counts\.ever is the cell of another CountsMore too"):
        learner(derived, Counts(ever=derived.ever))


@attrs.frozen
class ByAttrs(AnyCallback):
    """An attrs class with state."""

    start: int
    count: Cell[int] = cell(3, reset="never", saved=False)
    history: Series[int] = series(reset="epoch")

    def begin_epoch(self, event: Any) -> None:
        self.count.value += self.start
        self.history.append(event.epoch)


@attrs.frozen
class MoreByAttrs(ByAttrs):
    """Inherits its cells."""


def test_the_cells_of_an_attrs_class_are_cells() -> None:
    one, other = ByAttrs(10), ByAttrs(20)
    assert (type(one.count), one.count.reset, one.count.saved) == (Cell, "never", False)
    assert list(own_states(one)) == ["count", "history"]
    assert MoreByAttrs(10).count.name == "MoreByAttrs.count"
    learner(one, other).fit(2)
    assert (one.count.value, other.count.value) == (23, 43)
    assert one.history.value == other.history.value == (1,)


def test_a_subclass_inherits_cells_and_adds_to_them() -> None:
    @dataclass(frozen=True)
    class More(Counts):
        more: Cell[int] = cell(1, reset="epoch")

        def begin_epoch(self, event: object) -> None:
            self.more.value += 1

    more = More()
    learner(more, n_train=1).fit(2)
    assert list(own_states(more)) == ["per_epoch", "per_fit", "ever", "more"]
    assert (more.ever.value, more.more.value) == (2, 2)


def test_a_cell_that_stands_by_itself_can_be_used_by_itself() -> None:
    alone = Cell(1.5, reset="never")
    alone.value = 2.5
    assert repr(alone) == "Cell(2.5)"
    alone.restart()
    assert (alone.value, alone.initial) == (1.5, 1.5)


def test_a_cell_of_none_is_told_from_no_cell() -> None:
    @dataclass(frozen=True)
    class Best(AnyCallback):
        best: Cell[float | None] = cell(None)

    assert Best().best.value is None


# -------------------------------------------------------------------------------------------------------- series


@dataclass(frozen=True)
class Keeps(AnyCallback):
    """Keeps the losses of an epoch."""

    losses: Series[float] = series(reset="epoch")

    def after_loss(self, event: Any) -> None:
        self.losses.append(event.loss.item())


def test_a_series_is_a_history_that_is_emptied_as_a_cell_is_reset() -> None:
    keeps = Keeps()
    learner(keeps, n_train=2, n_valid=1).fit(2)
    assert len(keeps.losses) == 3


def test_a_series_reads_like_a_tuple() -> None:
    history: Series[int] = Series(reset="never")
    for item in (1, 2, 3):
        history.append(item)
    assert history.value == tuple(history) == (1, 2, 3)
    assert (history[0], history[-1], history[1:]) == (1, 3, (2, 3))
    assert len(history) == 3
    assert repr(history) == "Series(3 items)"
    with pytest.raises(IndexError):
        _ = history[3]


def test_a_series_can_be_set_as_a_whole_and_keeps_no_hold_of_what_it_was_set_to() -> None:
    history: Series[int] = Series()
    history.value = (1, 2)
    before = history.value
    history.append(3)
    assert (before, history.value) == ((1, 2), (1, 2, 3))
    history.restart()
    assert history.value == ()


def test_two_instances_have_series_of_their_own() -> None:
    one, other = Keeps(), Keeps()
    one.losses.append(1.0)
    assert len(other.losses) == 0


# --------------------------------------------------------------------------------------------------------- views


def test_a_view_reads_its_cell_whenever_it_is_asked() -> None:
    source = Cell(2)
    view = source.map(lambda value: value * 10)
    source.value = 3
    assert (view.value, repr(view)) == (30, "View(30)")
    assert view.source is source


def test_a_view_of_a_series() -> None:
    history: Series[int] = Series()
    longest = View(lambda: max(history.value, default=0), history)
    assert longest.value == 0
    history.append(4)
    assert longest.value == 4


def test_a_view_can_only_be_read() -> None:
    with pytest.raises(AttributeError):
        Cell(1).map(str).value = "2"  # type: ignore[misc]


def read(source: Readable[int]) -> int:
    return source.value


def test_cells_views_and_callbacks_with_a_value_are_all_readable() -> None:
    @dataclass(frozen=True)
    class Fixed(AnyCallback):
        @property
        def value(self) -> int:
            return 7

    assert [read(Cell(5)), read(Cell(5).map(lambda n: n + 1)), read(Fixed())] == [5, 6, 7]


def test_a_tensor_that_is_added_to_in_place_is_new_after_a_reset() -> None:
    @dataclass(frozen=True)
    class Sum(AnyCallback):
        total: Cell[torch.Tensor] = cell(torch.zeros(2))

    one, other = Sum(), Sum()
    one.total.value += 1
    assert torch.equal(other.total.value, torch.zeros(2)), "each instance has its own"
    one.total.restart()
    assert torch.equal(one.total.value, torch.zeros(2))


def test_a_reset_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"reset is 'epochs', and has to be \"epoch\", \"fit\" or \"never\""):
        Cell(0, reset="epochs")  # type: ignore[arg-type]  # what it is about


def test_a_cell_is_not_taken_for_its_value() -> None:
    @dataclass(frozen=True)
    class Stops(AnyCallback):
        done: Cell[bool] = cell(False)

    with pytest.raises(TypeError, match=r"Stops\.done is no truth value itself: ask for its \.value, which is False"):
        bool(Stops().done)
