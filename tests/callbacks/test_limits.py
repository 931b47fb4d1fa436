"""TerminateOnNaN and StopAfterNBatches: they end a fit where they say, and not a batch later."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from recorded import SCENARIOS, Net, flat, learner, number, reason, train_losses
from torch import Tensor
from torch.nn import functional as F

from typedcb import AnyCallback, BatchEvent, CancelBatch, Completed, LossEvent, Phase, Series, series
from typedcb.callbacks import StopAfterNBatches, TerminateOnNaN

LATE = "v1 looked after the step that spoiled the weights, and let infinities pass; here it looks before the step"
DIFFERENCES = {
    "v1cb/terminate_on_nan/seq:1,inf,-inf,2": LATE,
    "v1cb/fit/terminate_on_nan,nan at 0t1": LATE,
    "v1cb/fit/stop_after_5_batches": "v1 compared in validation too, and stopped after 4; here it is 5",
    "v1cb/terminate_on_nan/attribute stop=True": "a switch that nothing sets, and that would break v1; not here",
}


def times(factors: list[float]) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss that is multiplied, call by call; by 1 beyond the list."""
    left = iter(factors)
    return lambda pred, yb: F.cross_entropy(pred, yb) * next(left, 1.0)


@dataclass(frozen=True)
class Steps(AnyCallback):
    """Keeps where the optimizer stepped."""

    phases: ClassVar[tuple[Phase, ...]] = ("train",)
    places: Series[tuple[int, int]] = series()

    def after_step(self, event: BatchEvent) -> None:
        self.places.append((event.epoch, event.index))


@pytest.mark.parametrize("name", ["seq:1,nan,2", "seq:1,inf,-inf,2"])
def test_the_first_loss_that_is_no_number_ends_the_fit(name: str) -> None:
    values = list(map(number, SCENARIOS[f"v1cb/terminate_on_nan/{name}"]["action"]["sequence"]))
    outcome = learner(TerminateOnNaN(), steps := Steps(), loss_func=times(values)).fit(1)
    assert reason(outcome) == f"the loss is {values[1]} (epoch 0, batch 1, train)"
    assert list(steps.places) == [(0, 0)], "the bad step is not taken"


def test_it_ends_a_batch_before_v1_spoils_the_weights() -> None:
    recorded = SCENARIOS["v1cb/fit/terminate_on_nan,nan at 0t1"]
    assert not all(map(math.isfinite, flat(recorded["weights"])))
    learn, one = learner(TerminateOnNaN(), loss_func=times([1.0, math.nan])), learner(StopAfterNBatches(1))
    learn.fit(2)
    one.fit(2)
    assert flat(learn.model) == flat(one.model)


def test_in_validation_it_ends_the_fit_as_in_v1() -> None:
    recorded = SCENARIOS["v1cb/fit/terminate_on_nan,nan in validation 0v0"]
    learn = learner(TerminateOnNaN(), loss_func=times([1.0] * 4 + [math.nan]))
    assert reason(learn.fit(2)) == "the loss is nan (epoch 0, batch 0, valid)"
    assert flat(learn.model) == pytest.approx(flat(recorded["weights"]), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_every_few_batches_misses_none_in_between(bad: float) -> None:
    stop, steps = TerminateOnNaN(every=3), Steps()
    learn = learner(stop, steps, valid=False, loss_func=times([1.0, bad, 0.0, 1.0]))
    assert reason(learn.fit(1)) == "a loss was nan or infinite in the last 3 batches up to epoch 0, batch 2, train"
    assert list(steps.places) == [(0, 0), (0, 1)], "the third batch is not stepped on"


def test_what_is_left_is_looked_at_in_the_last_batch() -> None:
    learn = learner(TerminateOnNaN(every=100), valid=False, loss_func=times([1.0, 1.0, 1.0, math.inf]))
    assert reason(learn.fit(2)) == "a loss was nan or infinite in the last 4 batches up to epoch 0, batch 3, train"


def test_every_few_batches_waits_for_the_device_as_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    original = Tensor.__bool__

    def counted(self: Tensor) -> bool:
        nonlocal looks
        looks += 1
        return original(self)

    learn = learner(TerminateOnNaN(every=3), valid=False)
    monkeypatch.setattr(Tensor, "__bool__", counted)
    learn.fit(2)
    monkeypatch.undo()
    assert looks == 4, "batches 2 and 3 of epoch 0, batches 2 and 3 of epoch 1"


@pytest.mark.parametrize("every", [1, 3])
def test_a_sound_fit_runs_through_and_keeps_no_graph(every: int) -> None:
    stop = TerminateOnNaN(every)
    learn = learner(stop)
    assert isinstance(learn.fit(2), Completed)
    assert not (isinstance(stop.bad.value, Tensor) and stop.bad.value.requires_grad)


def test_a_second_fit_begins_anew() -> None:
    stop = TerminateOnNaN(every=3)
    learn = learner(stop, StopAfterNBatches(1), loss_func=times([math.nan]))
    learn.fit(1)
    assert stop.unseen.value == 1
    with torch.no_grad():
        for parameter in learn.model.parameters():
            parameter.fill_(0.1)
    learn.remove(learn.get(StopAfterNBatches))
    assert isinstance(learn.fit(1), Completed)


@pytest.mark.parametrize("n", [1, 2, 4, 5, 8])
def test_exactly_as_many_training_batches(n: int) -> None:
    steps = Steps()
    learn = learner(stop := StopAfterNBatches(n), steps)
    assert reason(learn.fit(9)) == f"{n} training batches were asked for"
    assert (len(steps.places), stop.count.value) == (n, n)


def test_two_batches_train_as_in_v1_and_five_do_not_end_after_four() -> None:
    two, five = (SCENARIOS[f"v1cb/fit/stop_after_{n}_batches"] for n in (2, 5))
    learn = learner(StopAfterNBatches(2))
    learn.fit(2)
    assert flat(learn.model) == pytest.approx(flat(two["weights"]), rel=1e-5, abs=1e-7)
    assert len(train_losses(five)) == 4


@dataclass(frozen=True)
class CancelFirst(AnyCallback):
    """Cancels the first batch."""

    def after_loss(self, event: LossEvent) -> CancelBatch | None:
        return CancelBatch() if event.index == 0 else None


def test_a_batch_that_was_cancelled_counts() -> None:
    learn = learner(CancelFirst(), StopAfterNBatches(3), steps := Steps())
    learn.fit(1)
    assert list(steps.places) == [(0, 1), (0, 2)]


def counted_twice(learn: Net) -> list[int]:
    learn.fit(5)
    first = learn.get(StopAfterNBatches).count.value
    learn.fit(5)
    return [first, learn.get(StopAfterNBatches).count.value]


def test_the_count_begins_anew_with_each_fit() -> None:
    assert counted_twice(learner(StopAfterNBatches(3))) == [3, 3]


def test_the_smaller_of_two_side_by_side_ends_the_fit() -> None:
    small, large = StopAfterNBatches(2), StopAfterNBatches(4)
    learner(large, small).fit(2)
    assert (small.count.value, large.count.value) == (2, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StopAfterNBatches(0), "StopAfterNBatches.n_batches is 0, and has to be at least 1"),
        (lambda: TerminateOnNaN(every=0), "TerminateOnNaN.every is 0, and has to be at least 1 batch"),
    ],
)
def test_settings_that_cannot_work_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
