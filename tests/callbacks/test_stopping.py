"""EarlyStopping: the decisions of the original, one epoch earlier by the meaning of patience."""

from __future__ import annotations

import math
from typing import Any

import pytest
from recorded import SCENARIOS, Dial, learner, number, reason, scenarios, watched

from typedcb import Completed
from typedcb.callbacks import AvgStats, EarlyStopping, SmoothLoss

DIFFERENCES = {
    "v1cb/early_stopping/mode=bogus": "a mode that does not exist was taken for auto; here it is refused",
    "v1cb/early_stopping/no_such_metric": "an unknown metric warned and never stopped; here a monitor is an object",
}
"""And in all scenarios: patience p stopped on bad epoch p + 1, and here on bad epoch p."""


def modes(action: dict[str, Any]) -> str:
    """The mode that the original took; `auto` went by the name of the metric."""
    auto = "min" if "loss" in action["monitor"] or "error" in action["monitor"] else "max"
    return str(action.get("mode", auto))


@pytest.mark.parametrize("name", scenarios("v1cb/early_stopping/", without=list(DIFFERENCES)))
def test_the_same_epochs_as_the_original_with_a_patience_of_one_more(name: str) -> None:
    recorded = SCENARIOS[name]
    action, dial = recorded["action"], Dial()
    stop = EarlyStopping(dial, modes(action), patience=action["patience"] + 1, min_delta=action.get("min_delta", 0.0))
    rows, outcome = watched(stop, dial, action["sequence"], lambda: (stop.best.value, stop.wait.value))
    assert len(rows) == len(recorded["rows"]), "it stops after the same epoch"
    for (best, wait), (_, recorded_best, recorded_wait, returned, _) in zip(rows, recorded["rows"], strict=True):
        assert wait == recorded_wait
        if math.isfinite(number(recorded_best)):  # the original kept an accuracy in float32
            assert best == pytest.approx(number(recorded_best), rel=1e-6)
        else:
            assert math.isnan(best)
        assert returned is None or reason(outcome).startswith("no improvement on")


def test_patience_is_the_number_of_bad_epochs() -> None:
    dial = Dial()
    stop = EarlyStopping(dial, "min", patience=2)
    rows, outcome = watched(stop, dial, [1.0, 1.0, 1.0, 0.5], lambda: stop.wait.value)
    assert rows == [0, 1, 2]
    assert reason(outcome) == "no improvement on 1 for 2 epochs (now 1)"


def test_the_same_decisions_in_a_real_fit() -> None:
    recorded = SCENARIOS["v1cb/fit/early_stopping patience=1,min_delta=10"]
    stats = AvgStats()
    learn = learner(stats, EarlyStopping(stats.valid_loss, "min", patience=2, min_delta=10))
    learn.fit(6)
    assert stats.valid_loss.value == pytest.approx(recorded["val_losses"][-1], rel=1e-5)


def test_a_second_fit_begins_anew() -> None:
    stats = AvgStats()
    stop = EarlyStopping(stats.valid_loss, "min", patience=2, min_delta=10)
    learn = learner(stats, stop)
    learn.fit(2)
    assert stop.wait.value == 1
    assert isinstance(learn.fit(2), Completed)
    assert stop.wait.value == 1, "the first epoch is never a bad one"


def test_two_side_by_side_keep_their_own_counts() -> None:
    stats, smooth = AvgStats(), SmoothLoss()
    slow, quick = (EarlyStopping(m, "min", patience=p, min_delta=10) for m, p in ((stats.valid_loss, 5), (smooth, 2)))
    learn = learner(stats, smooth, slow, quick)
    assert reason(learn.fit(9)).startswith("no improvement on")
    assert (slow.wait.value, quick.wait.value) == (2, 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "min", "patience": 0}, "patience is 0, and has to be at least 1 epoch"),
        ({"mode": "auto"}, """mode is 'auto', and has to be "min" or "max\""""),
        ({"mode": "max", "min_delta": -0.1}, "min_delta is -0.1, and has to be at least 0, whichever way is better"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"EarlyStopping.{message}"):
        EarlyStopping(Dial(), **settings)


def test_an_epoch_without_validation_does_not_count_though_an_old_value_is_there() -> None:
    dial = Dial()
    stop = EarlyStopping(dial, "min", patience=2)
    rows, outcome = watched(stop, dial, [1.0, None, None, 1.0, None], lambda: stop.wait.value)
    assert rows == [0, 0, 0, 1, 1]
    assert isinstance(outcome, Completed)


def test_a_training_figure_counts_without_any_validation() -> None:
    smooth = SmoothLoss()
    stop = EarlyStopping(smooth, "max", patience=2, min_delta=10)
    learn = learner(smooth, stop, valid=False)
    assert "for 2 epochs" in reason(learn.fit(9))
