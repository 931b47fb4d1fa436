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
    DataBunch,
    Learner,
    LearnerCallback,
    Series,
    series,
)
from typedcb.callbacks import (
    AvgStats,
    GradientAccumulation,
    GradientClip,
    LabelSmoothing,
    MixedPrecision,
    MixUp,
    Recorder,
    accuracy,
)

SCENARIOS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "training.json").read_text())[
    "scenarios"
]

DIFFERENCES = {
    "clip/0.0": "0 switched clipping off; here it is refused, and clipping is switched off by leaving it out",
    "extras/mixup/4-D input (6,5,1,1)": "each row was weighed by the batch's mean weight; here by its own",
    "v1cb/accumulate/n_step=3": "the last group was divided by its own samples plus the validation's; here by its own",
    "extras/fp16/static 512": "callbacks saw a scaled loss, and the model stayed in half precision; here neither",
    "sched/avg_stats/avg_stats of nothing": "the mean of nothing was an AttributeError; here it is nan",
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


def test_every_recording_is_run_or_differs_on_purpose() -> None:
    equal = {
        "clip/0.1",
        "clip/0.5",
        "v1cb/accumulate/n_step=2,zero_fill",
        "v1cb/mixup(v1)/alpha=0.4,1 epoch",
        "extras/label_smoothing/values",
        "extras/label_smoothing/fit,eps=0.1",
        *(name for name in SCENARIOS if name.startswith("sched/avg_stats/nb")),
    }
    assert equal | set(DIFFERENCES) == set(SCENARIOS)
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
