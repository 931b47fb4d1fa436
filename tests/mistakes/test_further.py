"""The further mistakes, made with typedcb: those that are refused, and those that cannot happen."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from evidence import evidence_of
from further import FURTHER
from tiny import Weight, learner
from torch.optim.lr_scheduler import StepLR

from typedcb import AnyCallback, CallbackError, CancelEpoch, CancelTrain, Cell, Series, SkipValidate, cell, series
from typedcb.callbacks import AvgStats, EarlyStopping, GradientClip, TorchScheduler
from typedcb.needs import Parts


@pytest.mark.parametrize("mistake", FURTHER, ids=lambda mistake: mistake.id)
def test_each_further_mistake_has_its_evidence(mistake: Any) -> None:
    assert evidence_of(mistake, globals())


def test_each_further_mistake_has_a_name_of_its_own() -> None:
    assert len({mistake.id for mistake in FURTHER}) == len(FURTHER)


# ---------------------------------------------------------------------------------------------------------- refused


def test_fu_03_a_parameter_that_nobody_fills_is_refused() -> None:
    with pytest.raises(CallbackError, match=r"C\.begin_batch takes xb, and the loop hands it one event"):

        class C(AnyCallback):
            def begin_batch(self, event: Any, xb: Any = None) -> None: ...


def test_fu_05_an_init_that_makes_no_field_is_refused() -> None:
    with pytest.raises(CallbackError, match=r"C\.__init__ takes the place .* nothing makes count"):

        class C(AnyCallback):
            count: Cell[int] = cell(0)

            def __init__(self, every: int) -> None:
                raise AssertionError(every)


def test_fu_01_a_set_up_method_of_lightnings_is_refused() -> None:
    with pytest.raises(CallbackError, match=r"C\.setup is never called.*begin_fit"):

        class C(AnyCallback):
            def setup(self, trainer: Any, pl_module: Any, stage: str) -> None: ...


def test_fu_23_a_setting_that_is_none_cannot_be_set() -> None:
    clip: Any = GradientClip(Parts(Weight(), learner().opt), clip=0.1)
    with pytest.raises(FrozenInstanceError):
        clip.max_norm = 1.0


# ---------------------------------------------------------------------------------------------------- cannot happen


@dataclass(frozen=True)
class Counts(AnyCallback):
    """Counts epochs and fits, and cancels as it is told."""

    stop: bool = False
    epochs: Cell[int] = cell(0, reset="never")
    ends: Series[str] = series(reset="never")

    def after_epoch(self, event: Any) -> CancelTrain | None:
        self.epochs.value += 1
        return CancelTrain() if self.stop else None

    def after_fit(self, event: Any) -> None:
        self.ends.append(type(event.outcome).__name__)


def test_fu_31_two_of_one_class_have_a_state_each(tmp_path: Path) -> None:
    first, second = Counts(), Counts()
    first.epochs.value, second.epochs.value = 3, 5
    learner(first, second).save(tmp_path / "both.ckpt")
    again = Counts(), Counts()
    learner(*again).load(tmp_path / "both.ckpt")
    assert [callback.epochs.value for callback in again] == [3, 5]


def test_fu_32_fu_35_a_cancel_ends_the_fit_and_after_fit_comes() -> None:
    counts = Counts(stop=True)
    learner(counts).fit(5)
    assert (counts.epochs.value, counts.ends.value) == (1, ("Cancelled",))


test_fu_35_after_fit_comes_after_a_cancel = test_fu_32_fu_35_a_cancel_ends_the_fit_and_after_fit_comes


def test_fu_33_a_validation_is_no_epoch() -> None:
    counts = Counts()
    learn = learner(counts)
    learn.fit(2)
    learn.validate()
    assert (counts.epochs.value, counts.ends.value) == (2, ("Completed",))


def test_fu_34_an_epoch_without_a_validation_does_not_count() -> None:
    @dataclass(frozen=True)
    class EverySecond(AnyCallback):
        def begin_validate(self, event: Any) -> SkipValidate | None:
            return SkipValidate() if event.epoch % 2 else None

    stats, counts = AvgStats[Any, Any](), Counts()
    stopping = EarlyStopping(stats.valid_loss, mode="min", patience=2)
    learner(counts, stats, stopping, EverySecond(), lr=0.0).fit(20)
    assert counts.epochs.value == 5, "epochs 0, 2 and 4 were measured: the best, and two without an improvement"


def test_fu_36_the_schedule_steps_after_an_epoch_that_was_cut_short() -> None:
    @dataclass(frozen=True)
    class Cuts(AnyCallback):
        def begin_batch(self, event: Any) -> CancelEpoch | None:
            return CancelEpoch() if event.phase == "train" and event.index == 1 else None

    learn = learner(Cuts(), n_train=3)
    schedule = learn.add(TorchScheduler, partial(StepLR, step_size=1), every="epoch")
    learn.fit(2)
    assert schedule.steps.value == 2
