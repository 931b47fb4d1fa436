"""ParamScheduler: the learning rates, losses and weights of the original."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from recorded import SCENARIOS, batches, flat, learner, model, train_losses
from torch import Tensor
from torch.nn import functional as F
from torch.optim import SGD

from typedcb import AnyCallback, BatchEvent, CancelBatch, DataBunch, Learner, Loop, Phase, Series, series
from typedcb.callbacks import LR, MOMENTUM, WEIGHT_DECAY, Hyper, ParamScheduler, Recorder, combine, cosine, linear
from typedcb.errors import BatchError
from typedcb.needs import HasOpt

PREFIX = "sched/param_scheduler/nb05b.Runner"
COSINES = combine((0.3, cosine(0.3, 0.6)), (0.7, cosine(0.6, 0.2)))
LINES = combine((0.3, linear(0.3, 0.6)), (0.7, linear(0.6, 0.2)))
TWO_GROUPS = {"splitter": lambda net: [net[0].parameters(), net[2].parameters()]}
FLOAT32 = 1e-6
"""The originals compute the position within a phase in float32."""

RUNS: dict[str, tuple[Hyper, Any, dict[str, Any]]] = {
    "": (LR, COSINES, {}),
    ",3 epochs": (LR, COSINES, {}),
    ",lin": (LR, LINES, {}),
    ",two groups,one schedule": (LR, cosine(0.3, 0.1), TWO_GROUPS),
    ",two groups,two schedules": (LR, (cosine(0.3, 0.1), linear(0.1, 0.2)), TWO_GROUPS),
    ",momentum": (MOMENTUM, cosine(0.95, 0.85), {}),
}


@pytest.mark.parametrize("name", RUNS)
def test_the_learning_rates_losses_and_weights_of_the_original(name: str) -> None:
    recorded = SCENARIOS[PREFIX + name]
    param, schedule, settings = RUNS[name]
    learn = learner(**settings)
    learn.add(ParamScheduler, param, schedule)
    recorder = learn.add(Recorder)
    learn.fit(recorded["epochs"])
    lrs = [lr if isinstance(lr, list) else [lr] for lr in recorded["lr_per_batch"]]
    assert flat(list(map(list, recorder.params))) == pytest.approx(flat(lrs), rel=FLOAT32)
    assert list(recorder.losses) == pytest.approx(train_losses(recorded), rel=1e-5)
    assert flat(learn.model) == pytest.approx(flat(recorded["weights"]), rel=1e-4, abs=1e-6)


def test_the_recording_of_the_course() -> None:
    folder = Path(__file__).parents[1] / "golden"
    recorded = json.loads((folder / "course_05.json").read_text())["param_scheduler"]
    learn = learner(weights=initial_weights(json.loads((folder / "setup.json").read_text())))
    learn.add(ParamScheduler, LR, COSINES)
    recorder = learn.add(Recorder)
    learn.fit(2)
    assert [lr for (lr,) in recorder.params] == pytest.approx(recorded["lr"], rel=FLOAT32)
    assert list(recorder.losses) == pytest.approx(recorded["losses"], rel=1e-5)
    assert flat(learn.model) == pytest.approx(flat(recorded["weights"]), rel=1e-4, abs=1e-6)


def initial_weights(setup: dict[str, Any]) -> list[Any]:
    """That recording's own weights, which stand flattened."""
    shapes = ((8, 5), (8,), (3, 8), (3,))
    return [torch.tensor(w).view(s).tolist() for w, s in zip(setup["initial_weights"], shapes, strict=True)]


@dataclass(frozen=True)
class CancelSecond(AnyCallback):
    """Cancels the second training batch after its prediction."""

    phases: ClassVar[tuple[Phase, ...]] = ("train",)

    def after_pred(self, event: BatchEvent) -> CancelBatch | None:
        return CancelBatch() if (event.epoch, event.index) == (0, 1) else None


@dataclass(frozen=True)
class Lrs(AnyCallback):
    """Keeps the learning rate of all training batches, cancelled ones too."""

    phases: ClassVar[tuple[Phase, ...]] = ("train",)

    learn: HasOpt
    lrs: Series[float] = series()

    def after_pred(self, event: BatchEvent) -> None:
        self.lrs.append(self.learn.opt.param_groups[0]["lr"])


def test_a_cancelled_batch_moves_the_schedule_on() -> None:
    recorded = SCENARIOS[f"{PREFIX},CancelBatch@after_pred:0t1"]
    learn = learner()
    learn.add(ParamScheduler, LR, COSINES)
    lrs = learn.add(Lrs)
    learn.add(lambda learn: CancelSecond())
    learn.fit(2)
    assert list(lrs.lrs) == pytest.approx(recorded["lr_per_batch"], rel=FLOAT32)
    assert flat(learn.model) == pytest.approx(flat(recorded["weights"]), rel=1e-4, abs=1e-6)


def test_a_fit_taken_up_in_the_middle_goes_on_in_the_middle() -> None:
    learn = learner()
    scheduler, seen = ParamScheduler(learn, LR, linear(0.0, 1.0)), []
    with Loop[Tensor, Tensor, Tensor]([scheduler]).fit(2, start_epoch=1) as fit:
        for epoch in fit.epochs():
            for _ in epoch.train(batches()):
                seen.append(learn.opt.param_groups[0]["lr"])
    assert seen == [0.5, 0.625, 0.75, 0.875]


def test_v1s_phases_are_a_combined_schedule_that_begins_each_phase_with_its_start() -> None:
    recorded = SCENARIOS["v1cb/general_scheduler/3+5"]
    learn = learner(opt_func=partial(SGD, lr=0.1, momentum=0.9))
    learn.add(ParamScheduler, LR, combine((3 / 8, linear(0.1, 0.4)), (5 / 8, cosine(0.2, 0.05))))
    recorder = learn.add(Recorder)
    learn.fit(2)
    theirs = [0.2 if i == 3 else lr for i, lr in enumerate(recorded["lr_per_batch"])]
    assert recorded["lr_per_batch"][3] == 0.4, "the end of the phase before"
    assert [lr for (lr,) in recorder.params] == pytest.approx(theirs, rel=1e-12)


def test_a_second_fit_has_its_own_length() -> None:
    learn = learner(valid=False)
    learn.add(ParamScheduler, LR, linear(0.0, 1.0))
    recorder = learn.add(Recorder)
    learn.fit(2)
    learn.fit(1)
    assert [lr for (lr,) in recorder.params] == [0.0, 0.25, 0.5, 0.75]


def test_two_side_by_side_schedule_their_own_hyperparameters() -> None:
    learn = learner(opt_func=partial(SGD, lr=0.1, momentum=0.9, weight_decay=0.1))
    learn.add(ParamScheduler, MOMENTUM, linear(0.8, 0.4))
    learn.add(ParamScheduler, WEIGHT_DECAY, linear(0.4, 0.8))
    learn.fit(1)
    group = learn.opt.param_groups[0]
    assert (group["lr"], group["momentum"], group["weight_decay"]) == pytest.approx((0.1, 0.5, 0.7))


def test_a_wrong_number_of_schedules_and_an_unknown_name_are_refused_at_once() -> None:
    for name in (",one group,two schedules", ",unknown name"):
        assert f"{PREFIX}{name}" in SCENARIOS  # the original: an assertion in the first batch, and silence
    learn = learner()
    with pytest.raises(
        ValueError, match="schedule has 2 schedules, and the optimizer 1 parameter groups: give one for"
    ):
        learn.add(ParamScheduler, LR, (linear(0.0, 1.0), linear(0.0, 1.0)))
    with pytest.raises(ValueError, match="SGD has no learning_rate to schedule; it has lr, "):
        learn.add(ParamScheduler, Hyper("learning_rate"), linear(0.0, 1.0))


def test_a_loader_without_a_length_is_refused_with_the_fix() -> None:
    class Stream:
        def __iter__(self) -> Any:
            return iter(batches())

    learn = Learner(model(), DataBunch(Stream()), F.cross_entropy, partial(SGD, lr=0.1))
    learn.add(ParamScheduler, LR, linear(0.0, 1.0))
    with pytest.raises(BatchError, match="does not say how many batches it gives: give it a __len__"):
        learn.fit(1)
