"""SaveBest: the weights of the best epoch come back, as in v1, whatever ends the fit."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from recorded import SCENARIOS, Dial, Net, flat, learner
from torch import Tensor, nn

from typedcb import AfterEpoch, AnyCallback, BeginEpoch, LossEvent
from typedcb.callbacks import AvgStats, SaveBest
from typedcb.needs import HasModel


@dataclass(frozen=True)
class Spoil(AnyCallback):
    """Multiplies all weights by -3 when some epochs begin."""

    learn: HasModel
    epochs: tuple[int, ...] = (2, 3)

    def begin_epoch(self, event: BeginEpoch) -> None:
        with torch.no_grad():
            for parameter in self.learn.model.parameters() if event.epoch in self.epochs else ():
                parameter.mul_(-3)


@dataclass(frozen=True)
class FailAt(AnyCallback):
    """Fails in batch 1 of epoch 1."""

    error: type[BaseException]

    def after_loss(self, event: LossEvent) -> None:
        if (event.epoch, event.index, event.phase) == (1, 1, "train"):
            raise self.error("the test's")


def test_the_best_epochs_weights_come_back_as_in_v1() -> None:
    recorded = SCENARIOS["v1cb/fit/save_model best reloaded"]
    stats = AvgStats()
    learn = learner(stats)
    learn.add(Spoil)
    best = learn.add(SaveBest, stats.valid_loss, "min")
    learn.fit(4)
    assert best.epoch.value == 0
    assert best.best.value == pytest.approx(min(recorded["val_losses"]), rel=1e-5)
    assert flat(learn.model) == pytest.approx(flat(recorded["weights"]), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_they_come_back_after_an_error(error: type[BaseException]) -> None:
    recorded = SCENARIOS["v1cb/fit/save_model best reloaded after an error"]
    stats = AvgStats()
    learn = learner(stats, FailAt(error))
    learn.add(SaveBest, stats.valid_loss, "min")
    with pytest.raises(error, match="the test's"):
        learn.fit(3)
    assert flat(learn.model) == pytest.approx(flat(recorded["weights"]), rel=1e-5, abs=1e-7)


@dataclass(frozen=True)
class Turn(AnyCallback):
    """Turns a dial to the next value at the end of each epoch, and keeps the weights of that moment."""

    order = -1
    learn: HasModel
    dial: Dial
    values: tuple[float, ...]
    seen: tuple[list[Any], ...] = ([],)

    def after_epoch(self, event: AfterEpoch) -> None:
        self.dial.value = self.values[event.epoch]
        self.seen[0].append(copy.deepcopy(self.learn.model.state_dict()))


def turned(
    values: tuple[float, ...], mode: Any = "min", **settings: Any
) -> tuple[Net, SaveBest, list[dict[str, Tensor]]]:
    learn, dial = learner(), Dial()
    turn = learn.add(Turn, dial, values, ([],))
    best = learn.add(SaveBest, dial, mode, **settings)
    learn.fit(len(values))
    return learn, best, turn.seen[0]


@pytest.mark.parametrize(
    ("values", "mode", "expected"),
    [
        ((3.0, 1.0, 2.0), "min", 1),
        ((3.0, 1.0, 2.0), "max", 0),
        ((1.0, 1.0, 1.0), "min", 0),
        ((float("nan"), 2.0, float("nan")), "max", 1),
    ],
)
def test_the_epoch_that_is_best(values: tuple[float, ...], mode: str, expected: int) -> None:
    learn, best, seen = turned(values, mode)
    assert (best.epoch.value, best.best.value) == (expected, values[expected])
    assert all(torch.equal(value, seen[expected][name]) for name, value in learn.model.state_dict().items())


def test_an_improvement_has_to_be_larger_than_min_delta() -> None:
    assert turned((3.0, 2.95, 2.8), min_delta=0.1)[1].epoch.value == 2


def test_without_restore_the_model_stays_and_load_brings_them() -> None:
    learn, best, seen = turned((1.0, 2.0, 3.0), restore=False)
    assert torch.equal(learn.model.state_dict()["0.bias"], seen[-1]["0.bias"])
    best.load()
    assert torch.equal(learn.model.state_dict()["0.bias"], seen[0]["0.bias"])


def test_without_any_value_nothing_is_kept_and_the_model_stays() -> None:
    learn, best, seen = turned((float("nan"),) * 2)
    assert (best.epoch.value, best.weights.value) == (None, ())
    assert torch.equal(learn.model.state_dict()["0.bias"], seen[-1]["0.bias"])


def test_buffers_and_extra_state_come_back() -> None:
    class Counting(nn.BatchNorm1d):
        def __init__(self) -> None:
            super().__init__(3)
            self.log = [0]

        def get_extra_state(self) -> Any:
            return self.log

        def set_extra_state(self, state: Any) -> None:
            self.log = state

    learn = learner()
    learn.model.add_module("norm", norm := Counting())
    dial = Dial(1.0)
    learn.add(SaveBest, dial, "min")
    learn.fit(1)
    assert (int(norm.num_batches_tracked), norm.log) == (4, [0])
    best = learn.get(SaveBest)
    norm.log.append(1)
    norm.num_batches_tracked.fill_(9)
    best.load()
    assert (int(norm.num_batches_tracked), norm.log) == (4, [0])


@pytest.mark.parametrize("on_cpu", [True, False])
def test_the_copy_is_on_the_cpu_unless_asked_otherwise(on_cpu: bool) -> None:
    learn, dial = learner(), Dial(1.0)
    best = SaveBest(learn, dial, "min", restore=False, on_cpu=on_cpu)
    learn.model.to("meta")
    best.after_epoch(AfterEpoch(0, 1)) if not on_cpu else None
    assert {value.device.type for _, value in best.weights.value if isinstance(value, Tensor)} == (
        set() if on_cpu else {"meta"}
    )
    learn = learner()
    best = learn.add(SaveBest, dial, "min", on_cpu=on_cpu)
    learn.fit(1)
    assert {value.device.type for _, value in best.weights.value if isinstance(value, Tensor)} == {"cpu"}


def test_the_copy_does_not_train_on() -> None:
    learn, best, _ = turned((1.0, 2.0), restore=False)
    kept = dict(best.weights.value)
    assert not torch.equal(learn.model.state_dict()["0.bias"], kept["0.bias"])  # type: ignore[arg-type]
    assert not any(value.requires_grad for value in kept.values() if isinstance(value, Tensor))


def test_a_second_fit_begins_anew() -> None:
    learn, dial = learner(), Dial()
    turn = learn.add(Turn, dial, (1.0, 2.0), ([],))
    best = learn.add(SaveBest, dial, "min")
    learn.fit(1)
    object.__setattr__(turn, "values", (5.0, 6.0))
    learn.fit(2)
    assert (best.best.value, best.epoch.value) == (5.0, 0)
    assert torch.equal(learn.model.state_dict()["0.bias"], turn.seen[0][1]["0.bias"])


def test_two_side_by_side_keep_their_own() -> None:
    learn, dial = learner(), Dial()
    learn.add(Turn, dial, (1.0, 2.0), ([],))
    least, most = learn.add(SaveBest, dial, "min"), learn.add(SaveBest, dial, "max")
    learn.fit(2)
    assert (least.epoch.value, most.epoch.value) == (0, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"mode": "best"}, "SaveBest.mode is 'best'"), ({"mode": "min", "min_delta": -1}, "SaveBest.min_delta is -1")],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SaveBest(learner(), Dial(), **settings)
