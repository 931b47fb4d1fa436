"""AvgStats: means that are right for uneven batches, against the recorded originals, sums by hand and torchmetrics."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD
from torchmetrics.classification import MulticlassAccuracy

from typedcb import AnyCallback, BeginValidate, DataBunch, Learner, SkipValidate
from typedcb.callbacks import AvgStats, EarlyStopping, accuracy

GOLDEN = Path(__file__).parents[1] / "golden"
SETUP = json.loads((GOLDEN / "setup.json").read_text())
Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class EveryOther(AnyCallback):
    """Validates the even epochs alone."""

    def begin_validate(self, event: BeginValidate) -> SkipValidate | None:
        return SkipValidate() if event.epoch % 2 else None


def batches(x: str, y: str, rows: int | None = None) -> list[Pair]:
    """The recorded problem's batches, each owning its storage."""
    xs, ys = SETUP[x][:rows], SETUP[y][:rows]
    return [(torch.tensor(xs[i : i + 6]), torch.tensor(ys[i : i + 6])) for i in range(0, len(xs), 6)]


def model() -> nn.Module:
    made = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    with torch.no_grad():
        for parameter, values in zip(made.parameters(), SETUP["initial_weights"], strict=True):
            parameter.copy_(torch.tensor(values).view_as(parameter))
    return made


def learner(stats: AvgStats[Tensor, Tensor], rows: int | None = 20) -> Learner[Tensor, Tensor, Tensor, nn.Module]:
    data = DataBunch(batches("x", "y", rows), batches("x_valid", "y_valid"))
    return Learner(model(), data, F.cross_entropy, partial(SGD, lr=0.1), cbs=[stats])


def test_uneven_batches_give_the_means_of_the_original_course() -> None:
    recorded = json.loads((GOLDEN / "course_05.json").read_text())["avg_stats_uneven"]["epochs"]
    stats = AvgStats(accuracy)
    rows: list[tuple[float, ...]] = []
    learn = learner(stats)
    for _ in recorded:
        learn.fit(1)
        rows.append((stats.train_loss.value, stats.train_metrics.value[0], *stats.row[1:]))

    for ours, theirs in zip(rows, recorded, strict=True):
        assert ours == pytest.approx((*theirs["train"], *theirs["valid"]), rel=1e-6)


def test_the_validation_mean_is_the_mean_over_samples_not_over_batches() -> None:
    stats = AvgStats(accuracy)
    learn = learner(stats)
    xs, ys = torch.tensor(SETUP["x"][:8]), torch.tensor(SETUP["y"][:8])

    learn.validate([(xs[:7], ys[:7]), (xs[7:], ys[7:])])

    with torch.no_grad():
        pred = learn.model.eval()(xs)
    assert stats.valid_loss.value == pytest.approx(float(F.cross_entropy(pred, ys)), rel=1e-6)
    assert stats.valid(accuracy).value == pytest.approx(float((pred.argmax(1) == ys).float().mean()))


def test_validate_returns_the_same_mean_loss() -> None:
    stats = AvgStats()
    learn = learner(AvgStats(accuracy))

    mean = learn.validate(cbs=[stats])

    assert mean == pytest.approx(stats.valid_loss.value, rel=1e-6)


def test_a_torchmetrics_metric_is_computed_over_the_whole_validation() -> None:
    metric = MulticlassAccuracy(num_classes=3, average="micro")
    stats = AvgStats((accuracy, metric))

    learner(stats).fit(2)

    assert stats.valid(metric).value == pytest.approx(stats.valid(accuracy).value)
    assert stats.header == ("train_loss", "valid_loss", "accuracy", "MulticlassAccuracy")
    assert math.isnan(stats.train_metrics.value[1])


def test_each_epoch_and_each_fit_begin_afresh() -> None:
    stats = AvgStats(accuracy)
    learn = learner(stats)
    learn.fit(2)
    assert stats.train_sums.value.samples == 20

    learn.fit(1)

    assert stats.train_sums.value.samples == 20
    assert stats.valid_sums.value.samples == 12


def test_two_instances_side_by_side_keep_their_own_figures() -> None:
    one, two = AvgStats(accuracy), AvgStats()
    learn = learner(one)

    learn.fit(1, cbs=[two])

    assert one.train_loss.value == two.train_loss.value
    assert one.train_metrics.value != two.train_metrics.value


def test_without_validation_the_training_mean_is_still_settled() -> None:
    stats = AvgStats(accuracy)
    learn = Learner(model(), DataBunch(batches("x", "y")), F.cross_entropy, partial(SGD, lr=0.1), cbs=[stats])

    learn.fit(1)

    assert not math.isnan(stats.train_loss.value)
    assert math.isnan(stats.valid_loss.value)
    assert math.isnan(stats.valid(accuracy).value)


def test_a_metric_that_it_does_not_have_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="cross_entropy is no metric of this AvgStats; its metrics are: accuracy"):
        AvgStats(accuracy).valid(F.cross_entropy)


def test_a_view_of_a_metric_makes_its_reader_run_after_the_stats() -> None:
    stats = AvgStats(accuracy)
    stopping = EarlyStopping(stats.valid(accuracy), mode="max")
    data = DataBunch(batches("x", "y"), batches("x_valid", "y_valid"))

    learn = Learner(model(), data, F.cross_entropy, partial(SGD, lr=0.1), cbs=[stopping, stats])

    assert learn.cbs == (stats, stopping)


def test_metrics_see_a_batch_without_its_graph() -> None:
    seen: list[bool] = []

    def spy(pred: Tensor, yb: Tensor) -> float:
        seen.append(torch.is_grad_enabled())
        return 0.0

    learner(AvgStats(spy)).fit(1)

    assert seen
    assert not any(seen)


def test_a_batch_of_dicts_is_weighed_by_its_targets() -> None:
    data = DataBunch[dict[str, Tensor], Tensor]([({"a": torch.ones(3, 2)}, torch.ones(3, 1))])

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 1)

        def forward(self, xb: dict[str, Tensor]) -> Tensor:
            out: Tensor = self.layer(xb["a"])
            return out

    stats = AvgStats()
    Learner(Net(), data, F.mse_loss, partial(SGD, lr=0.1), cbs=[stats]).fit(1)

    assert stats.train_sums.value.samples == 3


def test_skipped_validation_keeps_the_last_figures() -> None:
    stats = AvgStats(accuracy)
    learn = learner(stats)
    learn.fit(1)
    first = stats.valid_loss.value

    learn.fit(2, cbs=[EveryOther()])

    assert stats.valid_loss.value != first
    assert not math.isnan(stats.valid_loss.value)


@pytest.mark.parametrize("yb", [torch.tensor([[0], [1], [2]]), torch.eye(3)])
def test_accuracy_refuses_targets_that_are_not_one_to_a_prediction(yb: Tensor) -> None:
    with pytest.raises(ValueError, match=r"needs class indices of shape \(3,\)"):
        accuracy(torch.eye(3), yb)
    assert accuracy(torch.eye(3), torch.tensor([0, 1, 0])).item() == pytest.approx(2 / 3)
