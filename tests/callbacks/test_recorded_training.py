"""The originals that train differently (clipping, accumulation, mixup, smoothing, half precision), and their means.

Numbers agree up to the last bits, which differ from one processor to another. DIFFERENCES says where typedcb decides
otherwise on purpose, and a test holds what it does instead.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from recorded import SETUP, Pair, batches, flat, learner, train_losses
from torch import Tensor
from torch.distributions import Beta
from torch.nn import functional as F
from typing_extensions import override

from typedcb import (
    AfterBackward,
    BatchEvent,
    Callback,
    CancelBatch,
    CancelEpoch,
    Cancelled,
    CancelTrain,
    DataBunch,
    Learner,
    LearnerCallback,
    Series,
    series,
)
from typedcb.callbacks import (
    LR,
    AvgStats,
    GradientAccumulation,
    GradientClip,
    LabelSmoothing,
    MixedPrecision,
    MixUp,
    ParamScheduler,
    Recorder,
    accuracy,
    combine,
    cosine,
)

GOLDEN = Path(__file__).parents[1] / "golden"
RECORDED: dict[str, Any] = json.loads((GOLDEN / "training.json").read_text())
SCENARIOS: dict[str, Any] = RECORDED["scenarios"]

DIFFERENCES = {
    "clip/0.0": "0 switched clipping off; here it is refused, and clipping is switched off by leaving it out",
    "extras/mixup/4-D input (6,5,1,1)": "each row was weighed by the batch's mean weight; here by its own",
    "v1cb/accumulate/n_step=3": "the last group was divided by its own samples plus the validation's; here by its own",
    "extras/fp16/static 512": "callbacks saw a scaled loss, and the model stayed in half precision; here neither",
    "sched/avg_stats/avg_stats of nothing": "the mean of nothing was an AttributeError; here it is nan",
    "extras/mixup/2-D input (6,5)": "mixing worked on images alone; here on inputs of any shape",
    "extras/mixup/CancelTrain@begin_fit by _order=-1": "the undo of what had not begun failed; here nothing is undone",
    "extras/fp16/dynamic,4 epochs": "a first scale of 2**24 wasted 8 batches, where this is torch's GradScaler",
    "extras/fp16/dynamic,scale_wait=2": "the scale doubled past its largest, where this is torch's GradScaler",
    "v1cb/accumulate/n_step=2": "a step on nothing at the end of the epoch was an error; here there is none",
    "v1cb/accumulate/n_step=2,zero_fill,skip_validate": "that step made every weight nan; here there is no such step",
    "v1cb/accumulate/n_step=3,drop_last": "a last group could be dropped; here it is stepped on",
    "sched/param_scheduler/nb09b.Learner,torch SGD": "it could not drive torch's optimizers; here it does",
    "sched/n_epochs/float sum over one epoch from epoch 1": "the position was a sum with an error that grew; here none",
}


def close(values: Any) -> Any:
    return pytest.approx(flat(values), rel=2e-5, abs=2e-6)


@dataclass(frozen=True)
class Norms(LearnerCallback):
    """Keeps the gradients' norm before or after clipping."""

    seen: Series[float] = series()

    @override
    def after_backward(self, event: AfterBackward) -> None:
        grads = [p.grad.double() for p in self.learn.model.parameters() if p.grad is not None]
        self.seen.append(float(torch.stack([grad.norm() for grad in grads]).norm()))


@pytest.mark.parametrize("name", ["clip/0.1", "clip/0.5"])
def test_clipping_takes_the_recorded_norms_to_the_recorded_norms(name: str) -> None:
    scenario = SCENARIOS[name]
    learn = learner()
    before = learn.add(Norms)
    learn.add(GradientClip, scenario["action"]["GradientClipping"])
    after = learn.add(Norms)

    learn.fit(2)

    assert before.seen.value == pytest.approx([row[0] for row in scenario["rows"]], rel=1e-4)
    assert after.seen.value == pytest.approx([row[1] for row in scenario["rows"]], rel=1e-4)
    assert flat(learn.model) == close(scenario["weights"])


def test_a_norm_of_0_is_refused() -> None:
    assert "clip/0.0" in DIFFERENCES
    with pytest.raises(ValueError, match="has to be above 0"):
        learner().add(GradientClip, 0.0)


def test_accumulation_is_that_of_v1_on_groups_that_come_out_even() -> None:
    scenario = SCENARIOS["v1cb/accumulate/n_step=2,zero_fill"]
    learn = learner()
    learn.add(GradientAccumulation, n=2)

    learn.fit(2)

    assert flat(learn.model) == close(scenario["weights"])


def test_the_last_group_is_divided_by_its_own_samples() -> None:
    assert "v1cb/accumulate/n_step=3" in DIFFERENCES
    ours, by_hand = learner(), learner()
    ours.add(GradientAccumulation, n=3)
    ours.fit(1)

    for group in (batches()[:3], batches()[3:]):
        F.cross_entropy(by_hand.model(torch.cat([x for x, _ in group])), torch.cat([y for _, y in group])).backward()
        by_hand.opt.step()
        by_hand.opt.zero_grad()

    assert flat(ours.model) == close(by_hand.model)


def test_mixup_with_the_recorded_draws_trains_to_the_recorded_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = SCENARIOS["v1cb/mixup(v1)/alpha=0.4,1 epoch"]
    draws, orders = iter(scenario["raw_beta"]), iter(scenario["perm"])
    monkeypatch.setattr(Beta, "sample", lambda self, shape: torch.tensor(next(draws)))
    monkeypatch.setattr(torch, "randperm", lambda size, device: torch.tensor(next(orders)))
    learn = learner()
    recorder = learn.add(Recorder)
    learn.remove(recorder)

    learn.fit(1, cbs=[MixUp(_unreduced, alpha=0.4), recorder])

    assert recorder.losses.value == close(scenario["train_losses"])
    assert flat(learn.model) == close(scenario["weights"])


def test_the_courses_mixup_weighed_all_rows_alike_and_ours_each_by_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "extras/mixup/4-D input (6,5,1,1)" in DIFFERENCES
    _, theirs, weights, order, *_, own = SCENARIOS["extras/mixup/4-D input (6,5,1,1)"]["rows"][0]
    monkeypatch.setattr(Beta, "sample", lambda self, shape: torch.tensor(weights))
    monkeypatch.setattr(torch, "randperm", lambda size, device: torch.tensor(order))
    learn = learner(valid=False)
    stats = AvgStats()
    one = Learner(learn.model, DataBunch(batches()[:1]), F.cross_entropy, torch.optim.SGD)

    one.fit(1, cbs=[MixUp(_unreduced), stats])

    assert stats.train_loss.value == pytest.approx(own, rel=1e-5)
    assert stats.train_loss.value != pytest.approx(theirs, rel=1e-5)


def test_label_smoothing_trains_as_the_courses_loss_did() -> None:
    scenario = SCENARIOS["extras/label_smoothing/fit,eps=0.1"]
    learn = learner()
    recorder = Recorder(learn)

    learn.fit(2, cbs=[LabelSmoothing(0.1), recorder])

    assert recorder.losses.value == close(train_losses(scenario))
    assert flat(learn.model) == close(scenario["weights"])


def test_half_precision_trains_nearly_as_the_courses_did_and_shows_the_unscaled_loss() -> None:
    assert "extras/fp16/static 512" in DIFFERENCES
    scenario = SCENARIOS["extras/fp16/static 512"]
    learn = learner()
    learn.add(MixedPrecision, torch.float16, init_scale=512.0)
    recorder = learn.add(Recorder)

    learn.fit(2)

    assert recorder.losses.value == pytest.approx([row[3] for row in scenario["rows"]], rel=2e-3)
    assert recorder.losses[0] != pytest.approx(scenario["rows"][0][4], rel=0.5)
    assert all(parameter.dtype is torch.float32 for parameter in learn.model.parameters())


@dataclass(frozen=True)
class CancelAt(Callback):
    """Cancels once, in training, in one of two hooks."""

    order = 5  # type: ignore[misc]  # a ClassVar of the base
    hook: str
    index: int
    answer: CancelBatch | CancelEpoch

    def _answer(self, hook: str, event: BatchEvent) -> CancelBatch | CancelEpoch | None:
        return self.answer if (hook, "train", self.index) == (self.hook, event.phase, event.index) else None

    @override
    def begin_batch(self, event: BatchEvent) -> CancelBatch | CancelEpoch | None:
        return self._answer("begin_batch", event)

    @override
    def after_pred(self, event: BatchEvent) -> CancelBatch | CancelEpoch | None:
        return self._answer("after_pred", event)

    @override
    def after_loss(self, event: BatchEvent) -> CancelBatch | CancelEpoch | None:
        return self._answer("after_loss", event)


@dataclass(frozen=True)
class StopsAtOnce(Callback):
    """Cancels the fit before anybody else has begun."""

    order = -1  # type: ignore[misc]  # a ClassVar of the base

    @override
    def begin_fit(self, event: object) -> CancelTrain:
        return CancelTrain("not today")


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name.startswith("sched/avg_stats/nb")])
def test_means_count_the_batches_that_the_originals_counted(name: str) -> None:
    scenario = SCENARIOS[name]
    action = scenario["action"]
    stats = AvgStats(accuracy)
    rows: list[list[float]] = []

    @dataclass(frozen=True)
    class Rows(Callback):
        """Keeps the figures of each epoch."""

        order = 9  # type: ignore[misc]  # a ClassVar of the base

        @override
        def after_epoch(self, event: object) -> None:
            for loss, metrics, sums in (
                (stats.train_loss, stats.train_metrics, stats.train_sums),
                (stats.valid_loss, stats.valid_metrics, stats.valid_sums),
            ):
                rows.append([loss.value, *(metrics.value or (math.nan,)), sums.value.samples])

    cbs: list[Callback] = []
    if "hook" in action:
        kind = CancelEpoch() if action["raise"].startswith("CancelEpoch") else CancelBatch()
        cbs.append(CancelAt(action["hook"], int(action["at"][2:]), kind))
    data = DataBunch(twenty_rows(), batches("x_valid", "y_valid"))
    Learner(learner().model, data, F.cross_entropy, _sgd).fit(scenario["epochs"], cbs=[stats, Rows(), *cbs])

    nothing = [math.nan, math.nan, 0]
    recorded = [row or nothing for epoch in scenario["averages_train_valid_per_epoch"] for row in epoch]
    for ours, theirs in zip(rows, recorded, strict=True):
        assert ours == pytest.approx(theirs, rel=2e-5, nan_ok=True)


def test_the_mean_of_nothing_is_nan() -> None:
    assert "sched/avg_stats/avg_stats of nothing" in DIFFERENCES
    stats = AvgStats(accuracy)

    assert math.isnan(stats.row[0])


@pytest.mark.parametrize("name", ["sched/param_scheduler/nb04.Runner", "sched/param_scheduler/nb09b.Learner"])
def test_schedules_set_the_recorded_rates_and_train_to_the_recorded_weights(name: str) -> None:
    scenario = SCENARIOS[name]
    learn = learner()
    learn.add(ParamScheduler, LR, combine((0.3, cosine(0.3, 0.6)), (0.7, cosine(0.6, 0.2))))
    recorder = learn.add(Recorder)

    learn.fit(2)

    assert [lr for (lr,) in recorder.params] == pytest.approx(scenario["lr_per_batch"], rel=1e-6)
    assert recorder.losses.value == close(train_losses(scenario))
    assert flat(learn.model) == close(scenario["weights"])


def test_mixup_works_on_rows_of_numbers() -> None:
    assert "extras/mixup/2-D input (6,5)" in DIFFERENCES
    learn = learner()

    learn.fit(1, cbs=[MixUp(_unreduced)])

    assert all(bool(parameter.isfinite().all()) for parameter in learn.model.parameters())


def test_mixup_has_nothing_to_undo_after_a_fit_that_was_cancelled_before_it_began() -> None:
    assert "extras/mixup/CancelTrain@begin_fit by _order=-1" in DIFFERENCES

    outcome = learner().fit(1, cbs=[StopsAtOnce(), MixUp(_unreduced)])

    assert isinstance(outcome, Cancelled)


def test_half_precision_wastes_no_batch_at_its_first_scale() -> None:
    assert "extras/fp16/dynamic,4 epochs" in DIFFERENCES
    assert "extras/fp16/dynamic,scale_wait=2" in DIFFERENCES
    learn = learner()
    mixed = learn.add(MixedPrecision, torch.float16)
    steps: list[None] = []
    learn.opt.register_step_post_hook(lambda *_: steps.append(None))

    learn.fit(2)

    assert len(steps) == 8
    assert mixed.scaler.value is not None
    assert mixed.scaler.value.get_scale() == 2.0**16


@pytest.mark.parametrize("validates", [True, False])
def test_accumulation_takes_no_step_on_nothing_and_none_is_dropped(validates: bool) -> None:
    for name in ("n_step=2", "n_step=2,zero_fill,skip_validate", "n_step=3,drop_last"):
        assert f"v1cb/accumulate/{name}" in DIFFERENCES
    for n in (2, 3):
        learn = learner(valid=validates)
        learn.add(GradientAccumulation, n=n)
        steps: list[None] = []
        learn.opt.register_step_post_hook(lambda *_, steps=steps: steps.append(None))

        learn.fit(2)

        assert len(steps) == 4
        assert all(bool(parameter.isfinite().all()) for parameter in learn.model.parameters())


def test_the_position_in_a_fit_has_no_error_that_grows() -> None:
    scenario = SCENARIOS["sched/n_epochs/float sum over one epoch from epoch 1"]
    for n_batches, *_ in scenario["rows"]:
        positions: list[float] = []
        learn = Learner(learner().model, DataBunch(batches()[:1] * n_batches), F.cross_entropy, _sgd)

        def keep(position: float, positions: list[float] = positions) -> float:
            positions.append(position)
            return 0.1

        learn.add(ParamScheduler, LR, keep)
        learn.fit(2)

        assert positions == [(epoch + index / n_batches) / 2 for epoch in range(2) for index in range(n_batches)]


def test_every_recording_is_run_or_differs_on_purpose() -> None:
    elsewhere = {
        *json.loads((GOLDEN / "callbacks.json").read_text())["scenarios"],
        *(scenario["name"] for scenario in json.loads((GOLDEN / "nb04.json").read_text())["scenarios"]),
    }
    equal = {
        "sched/param_scheduler/nb04.Runner",
        "sched/param_scheduler/nb09b.Learner",
        "clip/0.1",
        "clip/0.5",
        "v1cb/accumulate/n_step=2,zero_fill",
        "v1cb/mixup(v1)/alpha=0.4,1 epoch",
        "extras/label_smoothing/values",
        "extras/label_smoothing/fit,eps=0.1",
        *(name for name in SCENARIOS if name.startswith("sched/avg_stats/nb")),
    }
    assert equal | set(DIFFERENCES) | elsewhere == set(RECORDED["all_names"])
    assert not equal & set(DIFFERENCES)


def test_the_recorded_smoothed_losses_are_those_of_torch() -> None:
    scenario = SCENARIOS["extras/label_smoothing/values"]
    logits, targets = torch.tensor(scenario["logits"]), batches()[0][1]

    for smoothing, reduction, value, _ in scenario["rows"]:
        ours = F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction=reduction)
        assert flat(ours.tolist()) == close(value)


def twenty_rows() -> list[Pair]:
    """The first 20 rows in batches of 6, 6, 6 and 2."""
    xs, ys = SETUP["x_train"][:20], SETUP["y_train"][:20]
    return [(torch.tensor(xs[i : i + 6]), torch.tensor(ys[i : i + 6])) for i in range(0, 20, 6)]


def _unreduced(pred: Tensor, yb: Tensor) -> Tensor:
    return F.cross_entropy(pred, yb, reduction="none")


def _sgd(parameters: Any) -> torch.optim.SGD:
    return torch.optim.SGD(parameters, lr=0.1)
