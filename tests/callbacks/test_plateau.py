"""ReduceLROnPlateau: the decisions of the original, above a floor, and those of torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from recorded import SCENARIOS, Dial, learner, number, scenarios, watched
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ReduceLROnPlateau as TorchReduceLROnPlateau

from typedcb.callbacks import LR, AvgStats, Recorder, ReduceLROnPlateau
from typedcb.needs import Parts

FLOOR = "the last reduction went below min_lr, and the count grew on there; here min_lr is a floor"
DIFFERENCES = {
    "v1cb/reduce_lr/patience=0": FLOOR,
    "v1cb/reduce_lr/patience=1": FLOOR,
    "v1cb/reduce_lr/below min_lr": FLOOR,
}
"""And in all scenarios: patience p reduced on bad epoch p + 1, and here on bad epoch p."""


def parts(lr: float, groups: int = 1) -> Parts[nn.Module]:
    net = nn.Sequential(*(nn.Linear(1, 1) for _ in range(groups)))
    return Parts(net, SGD([{"params": layer.parameters(), "lr": lr * 10**-i} for i, layer in enumerate(net)], lr=lr))


def lrs(learn: Parts[nn.Module]) -> list[float]:
    return [LR.read(group) for group in learn.opt.param_groups]


def run(values: list[Any], lr: float, mode: str = "min", **settings: Any) -> list[float]:
    """The learning rate after each epoch."""
    learn, dial = parts(lr), Dial()
    reduce = ReduceLROnPlateau(learn, dial, mode, **settings)
    return watched(reduce, dial, values, lambda: lrs(learn)[0])[0]


@pytest.mark.parametrize("name", scenarios("v1cb/reduce_lr/"))
def test_the_same_learning_rates_as_the_original_down_to_the_floor(name: str) -> None:
    recorded = SCENARIOS[name]
    action = recorded["action"]
    floor = action.get("min_lr", 0.001)
    mode = "min" if "loss" in action["monitor"] else "max"
    settings = {"factor": action["factor"], "min_lr": floor, "min_delta": action.get("min_delta", 0.0)}
    got = run(action["sequence"], action["lr"], mode, patience=action["patience"] + 1, **settings)
    theirs = [number(row[-1]) for row in recorded["rows"]]
    assert got == [max(lr, floor) for lr in theirs]
    assert (min(theirs) < floor) == (name in DIFFERENCES)


@pytest.mark.parametrize("seed", range(5))
def test_the_same_learning_rates_as_torch_which_counts_one_more(seed: int) -> None:
    values = torch.rand(40, generator=torch.Generator().manual_seed(seed)).tolist()
    opt = parts(0.1).opt
    theirs = TorchReduceLROnPlateau(
        opt, "min", factor=0.5, patience=2, threshold=0.01, threshold_mode="abs", min_lr=0.01, eps=0
    )
    expected = []
    for value in values:
        theirs.step(value)
        expected.append(opt.param_groups[0]["lr"])
    assert run(values, 0.1, factor=0.5, patience=3, min_delta=0.01, min_lr=0.01) == pytest.approx(expected)


def test_a_learning_rate_below_the_floor_is_not_raised() -> None:
    assert run([1.0, 1.0, 1.0], 0.004, patience=1, min_lr=0.1) == [0.004, 0.004, 0.004]


def test_each_group_is_reduced_by_the_same_factor() -> None:
    learn, dial = parts(0.1, groups=2), Dial()
    watched(ReduceLROnPlateau(learn, dial, "min", factor=0.5, patience=1, min_lr=0.008), dial, [1.0, 1.0], lambda: 0)
    assert lrs(learn) == [0.05, 0.008]


def test_a_cut_shows_in_the_next_epoch_of_a_real_fit() -> None:
    recorded = SCENARIOS["v1cb/fit/reduce_lr patience=0,min_delta=10"]
    stats = AvgStats()
    learn = learner(stats)
    learn.add(ReduceLROnPlateau, stats.valid_loss, "min", factor=0.5, patience=1, min_delta=10)
    recorder = learn.add(Recorder)
    learn.fit(4)
    assert [lr for (lr,) in recorder.params] == recorded["lr_per_batch"]
    assert stats.valid_loss.value == pytest.approx(recorded["val_losses"][-1], rel=1e-5)


def test_a_second_fit_counts_anew_and_keeps_the_learning_rate_that_was_reached() -> None:
    stats = AvgStats()
    learn = learner(stats)
    reduce = learn.add(ReduceLROnPlateau, stats.valid_loss, "min", factor=0.5, patience=2, min_delta=10)
    learn.fit(4)
    assert (reduce.wait.value, learn.opt.param_groups[0]["lr"]) == (1, 0.05)
    learn.fit(2)
    assert (reduce.wait.value, learn.opt.param_groups[0]["lr"]) == (1, 0.05), "the first epoch is never a bad one"


def test_two_side_by_side_keep_their_own_counts() -> None:
    stats = AvgStats()
    learn = learner(stats)
    add = [learn.add(ReduceLROnPlateau, stats.valid_loss, "min", 0.5, patience, min_delta=10) for patience in (2, 3)]
    learn.fit(3)
    assert [reduce.wait.value for reduce in add] == [0, 2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"factor": 1.0}, "factor is 1.0, and has to be above 0 and below 1: the learning rate is multiplied by it"),
        ({"factor": 0.0}, "factor is 0.0"),
        ({"patience": 0}, "patience is 0, and has to be at least 1 epoch"),
        ({"min_lr": -1.0}, "min_lr is -1.0, and has to be at least 0"),
        ({"mode": "auto"}, "mode is 'auto'"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"ReduceLROnPlateau.{message}"):
        ReduceLROnPlateau(parts(0.1), Dial(), **{"mode": "min", **settings})
