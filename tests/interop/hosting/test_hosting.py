"""What all adapters have in common, without any trainer: factories, parts, batches, and cells in a trainer's file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Optional

import pytest
import torch
from tiny import Weight
from torch import Tensor, nn
from torch.optim import SGD

from typedcb import (
    AnyCallback,
    BatchError,
    CallbackError,
    Cell,
    Completed,
    CorruptCheckpointError,
    LoopError,
    MismatchError,
    SkipStep,
    cell,
)
from typedcb.callbacks import EMA, AvgStats, GradientClip, SmoothLoss
from typedcb.hosted import ALL_ANSWERS, Host
from typedcb.interop.hosting import PAIRS, Hosting, HostParts
from typedcb.needs import HasModelAndOpt

ALL = Host("a trainer", ALL_ANSWERS)
NO_SKIP = Host(
    "a poor trainer", {**ALL_ANSWERS, "after_backward": frozenset()}, {"after_backward": "Use the rich one."}
)


@dataclass(frozen=True)
class Skips(AnyCallback):
    every: int = 1

    def after_backward(self, event: object, /) -> Optional[SkipStep]:
        return None


@dataclass(frozen=True)
class Counts(AnyCallback):
    n: Cell[int] = cell(0)
    total: Cell[Tensor] = cell(torch.zeros(2))


class Manual(Hosting[Any, Any, Any]):
    """A trainer that is told what to do."""

    def __init__(self, *callbacks: Any, host: Host = ALL, **options: Any) -> None:
        super().__init__(host, callbacks, **options)
        self.model = Weight()

    def begin(self, n_epochs: int = 2, start_epoch: int = 0) -> Any:
        return self._begin(self.model, SGD(self.model.parameters(), lr=1.0), n_epochs, start_epoch)

    def end_epoch(self, epoch: int) -> None:
        self._end_epoch(epoch)

    def end(self) -> None:
        self._end()


def test_a_factory_is_refused_as_soon_as_its_class_can_be_seen() -> None:
    def later(parts: HasModelAndOpt) -> Skips:
        return Skips()

    for hostable in (Skips(), Skips, partial(Skips, every=2), partial(partial(Skips), every=2), later):
        with pytest.raises(CallbackError, match=r"Skips\.after_backward may answer SkipStep.* a poor trainer cannot"):
            Manual(hostable, host=NO_SKIP)


def test_a_factory_that_does_not_say_what_it_makes_is_refused_before_anything_runs() -> None:
    hosting = Manual(lambda parts: Skips(), host=NO_SKIP)
    with pytest.raises(CallbackError, match=r"Skips\.after_backward may answer SkipStep"):
        hosting.begin()


def test_what_is_neither_callback_nor_factory_is_refused() -> None:
    with pytest.raises(CallbackError, match="3 is neither a callback nor a factory"):
        Manual(3)


def test_factories_get_the_real_model_and_optimizer_once() -> None:
    hosting = Manual(partial(GradientClip, clip=0.1))
    with pytest.raises(LoopError, match="no fit has begun: pass an instance"):
        _ = hosting.cbs
    hosting.begin()
    hosting.end()
    clip = hosting.get(GradientClip)
    assert clip.learn.model is hosting.model
    hosting.model = Weight()
    hosting.begin()
    assert hosting.get(GradientClip) is clip
    assert clip.learn.model is hosting.model, "the parts are those of the fit under way"


def test_parts_that_do_not_exist_yet_say_so() -> None:
    parts = HostParts("a trainer")
    with pytest.raises(LoopError, match="a trainer has made no model yet"):
        _ = parts.model
    with pytest.raises(LoopError, match="a trainer has made no optimizer yet"):
        _ = parts.opt


def test_one_fit_at_a_time() -> None:
    hosting = Manual()
    hosting.begin()
    with pytest.raises(LoopError, match="one fit at a time"):
        hosting.begin()


def test_get_names_what_is_there() -> None:
    hosting = Manual(Counts(), Skips())
    with pytest.raises(LookupError, match="0 callbacks of class AvgStats are hosted; there are: Counts, Skips"):
        hosting.get(AvgStats)
    assert repr(hosting) == "Manual(Counts, Skips)"


def test_a_batch_that_is_no_pair_is_refused() -> None:
    with pytest.raises(BatchError, match="a dict of x, y, and no pair"):
        PAIRS.split({"x": 1, "y": 2})
    with pytest.raises(BatchError, match="a tuple of 3, and no pair"):
        PAIRS.split((1, 2, 3))
    assert PAIRS.split([1, 2]) == (1, 2)


# -------------------------------------------------------------------------------------------- cells in a trainer's file


def through_a_file(state: Any, tmp_path: Any) -> Any:
    torch.save({"host": state}, tmp_path / "host.pt")
    return torch.load(tmp_path / "host.pt", weights_only=True)["host"]


def test_cells_come_back_after_begin_fit_has_reset_them(tmp_path: Any) -> None:
    first = Manual(Counts(), SmoothLoss())
    fit = first.begin()
    first.get(Counts).n.value = 3
    first.get(Counts).total.value = torch.tensor([1.0, 2.0])
    fit.begin_epoch(0)
    first.end_epoch(0)
    state = through_a_file(first.state_dict(), tmp_path)

    second = Manual(Counts(), SmoothLoss())
    second.load_state_dict(state)
    assert second.state_dict() == state, "what was loaded is kept until a fit begins"
    assert second.get(Counts).n.value == 0
    again = second.begin(start_epoch=1)
    assert second.get(Counts).n.value == 3
    assert second.get(Counts).total.value.tolist() == [1.0, 2.0]
    again.begin_epoch(1)
    second.end_epoch(1)
    second.end()
    assert isinstance(second.outcome, Completed)

    second.begin()
    assert second.get(Counts).n.value == 0, "the fit after it begins afresh"


def test_an_epoch_that_had_ended_before_it_was_saved_ends_once() -> None:
    first = Manual(Counts())
    first.begin().begin_epoch(0)
    first.end_epoch(0)
    second = Manual(ends := _Ends(), on_mismatch={"Counts": "reset", "_Ends": "reset"})
    second.load_state_dict(first.state_dict())
    second.begin(start_epoch=0)
    second.end_epoch(0)
    assert ends.ended.value == 0
    second.end_epoch(1)
    assert ends.ended.value == 1


@dataclass(frozen=True)
class _Ends(AnyCallback):
    ended: Cell[int] = cell(0)

    def after_epoch(self, event: object, /) -> None:
        self.ended.value += 1


def test_callbacks_that_changed_are_told_apart_by_name() -> None:
    first = Manual(Counts())
    first.begin()
    second = Manual(SmoothLoss())
    second.load_state_dict(first.state_dict())
    with pytest.raises(MismatchError) as refused:
        second.begin()
    assert refused.value.differences == (
        ("Counts", "Counts was attached when it was saved, and is not now"),
        ("SmoothLoss", "SmoothLoss is attached now, and was not when it was saved"),
    )
    assert "on_mismatch={'Counts': 'reset'}" in str(refused.value)


def test_a_cell_of_another_type_is_refused() -> None:
    first = Manual(Counts())
    first.begin()
    state: Any = first.state_dict()
    second = Manual(Counts())
    second.load_state_dict({**state, "typedcb": state["typedcb"].replace('["value",0]', '["value","zero"]')})
    with pytest.raises(MismatchError, match=r"Counts\.n was saved as int, and is declared as int: it is a str"):
        second.begin()


@pytest.mark.parametrize("state", [{"typedcb": 3}, {"typedcb": "{}", "tensors": {}}, {"typedcb": "3", "tensors": {}}])
def test_a_state_that_is_none_is_refused(state: Any) -> None:
    hosting = Manual(Counts())
    hosting.load_state_dict(state)
    with pytest.raises(CorruptCheckpointError):
        hosting.begin()


def test_an_object_that_a_fit_makes_gets_its_state(tmp_path: Any) -> None:
    first = Manual(partial(EMA, decay=0.5))
    first.begin()
    averaged: Any = first.get(EMA).averaged.value
    nn.init.constant_(averaged.module.w, 7.0)
    second = Manual(partial(EMA, decay=0.5))
    second.load_state_dict(through_a_file(first.state_dict(), tmp_path))
    second.begin()
    restored: Any = second.get(EMA).averaged.value
    assert restored.module.w.item() == 7.0
    assert restored is not averaged
