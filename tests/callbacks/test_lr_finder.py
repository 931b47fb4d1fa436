"""LRFinder: the batches, learning rates and losses of both originals; that it leaves no trace; what it suggests."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recorded import SCENARIOS, SETUP, Net, flat, learner, number, reason, scenarios, train_losses
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Adam

from typedcb import AfterEpoch, AfterFit, AnyCallback, BatchEvent, DataBunch, Learner, LossEvent
from typedcb.callbacks import (
    BATCH_10,
    LR,
    SMOOTH_4,
    AvgStats,
    Diverged,
    LRFinder,
    ParamScheduler,
    SaveBest,
    SmoothLoss,
    TorchScheduler,
    linear,
)
from typedcb.callbacks.lr_finder import _valley
from typedcb.errors import BatchError, DependencyError

SHORT = "sched/lr_find/nb05b,max_iter=100 default,2 epochs"
KEPT = "sched/lr_find/nb05b,best_loss is kept between fits"
NAN = "sched/lr_find/nb05b,loss is NaN from batch 2"

DIFFERENCES = {
    "v1cb/lr_find/": "v1 never sets end_lr in a batch; here the last batch runs at end_lr, so n batches of v1 are the "
    "same as n here up to the last learning rate that v1 does set. v1 leaves the optimizer at start_lr or at the last "
    "learning rate, by whom one asks; here it is put back",
    "sched/lr_find/": "the course's max_iter trains max_iter + 1 batches and restores nothing; here n_batches are "
    "trained, and all is put back. The course validates in between; here validation is skipped",
    SHORT: "the course ends without a word when the fit is too short; here the first batch refuses it",
    KEPT: "the course keeps its best loss between fits, so that a second one can stop at once; here it is reset",
    NAN: "nan never stopped the course's finder; here a loss that is not finite does",
}


def search(
    learn: Net, n_epochs: int, start_lr: float, end_lr: float, n_batches: int, stop: Any
) -> tuple[LRFinder, str]:
    """One search, and why it ended."""
    smooth = SmoothLoss()
    finder = LRFinder(learn, smooth, start_lr, end_lr, n_batches, stop)
    return finder, reason(learn.fit(n_epochs, cbs=[finder, smooth]))


@pytest.mark.parametrize("name", scenarios("v1cb/lr_find/"))
def test_the_learning_rates_and_losses_of_v1(name: str) -> None:
    recorded = SCENARIOS[name]
    settings = recorded["action"]["lr_find"]
    n, start, end = settings["num_it"], settings.get("start_lr", 1e-7), settings.get("end_lr", 10.0)
    learn = learner(weights=recorded["weights_before"])
    last = start * (end / start) ** ((n - 1) / n)
    stop = SMOOTH_4 if settings.get("stop_div", True) else None
    finder, why = search(learn, math.ceil(n / 4), start, last, n, stop)
    assert list(finder.lrs) == pytest.approx(recorded["lrs"], rel=1e-12)
    losses = [number(loss) for loss in recorded["smooth_losses"]]
    assert list(finder.smooth_losses) == pytest.approx(losses, rel=1e-4, nan_ok=True)
    assert list(finder.losses) == pytest.approx(train_losses(recorded), rel=1e-4, nan_ok=True)
    assert len(finder.lrs) == recorded["stop_iteration"] + 1
    assert why.startswith("all " if len(finder.lrs) == n else "the loss diverged at a learning rate of")
    if stop is not None and math.isfinite(losses[-1]):
        assert finder.best.value == pytest.approx(recorded["best_smooth_loss"], rel=1e-5)
    assert flat(learn.model) == flat(torch_like(recorded["weights_before"]))


def torch_like(weights: Any) -> Any:
    """Recorded weights as a model would hold them: in float32."""
    return [torch.tensor(weight).tolist() for weight in weights]


@pytest.mark.parametrize("name", ["nb05b,max_iter=10", "nb05b,max_iter=40,max_lr=1e4"])
def test_the_learning_rates_and_losses_of_the_course(name: str) -> None:
    recorded = SCENARIOS[f"sched/lr_find/{name}"]
    settings = recorded["action"]["LR_Find"]
    learn = learner()
    finder, _ = search(learn, 20, 1e-6, settings.get("max_lr", 10.0), settings["max_iter"] + 1, BATCH_10)
    assert list(finder.lrs) == pytest.approx(recorded["lr_per_batch"], rel=1e-12)
    assert list(finder.losses) == pytest.approx(train_losses(recorded), rel=1e-4)
    assert len(finder.lrs) == recorded["training_batches"]
    assert flat(learn.model) == flat(torch_like(SETUP["weights"]))


def test_the_other_recording_of_the_course() -> None:
    folder = Path(__file__).parents[1] / "golden"
    recorded = json.loads((folder / "course_05.json").read_text())["lr_find"]
    setup = json.loads((folder / "setup.json").read_text())
    shapes = ((8, 5), (8,), (3, 8), (3,))
    weights = [torch.tensor(w).view(s).tolist() for w, s in zip(setup["initial_weights"], shapes, strict=True)]
    finder, _ = search(learner(weights=weights), 30, 1e-4, 10.0, 101, BATCH_10)
    assert list(finder.lrs) == pytest.approx(recorded["lrs"], rel=1e-12)
    assert list(finder.losses) == pytest.approx(recorded["losses"], rel=1e-3)


def test_a_fit_that_is_too_short_is_refused_before_it_trains() -> None:
    assert SCENARIOS[SHORT]["training_batches"] == 8
    learn = learner()
    with pytest.raises(BatchError, match=r"n_batches is 100, and this fit has 2 epochs of 4 batches: call fit\(25\)"):
        search(learn, 2, 1e-6, 10.0, 100, BATCH_10)
    assert flat(learn.model) == flat(torch_like(SETUP["weights"]))


def test_a_loss_that_is_nan_ends_the_search() -> None:
    calls = 0

    def loss_func(pred: Tensor, yb: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return F.cross_entropy(pred, yb) * (math.nan if calls > 2 else 1.0)

    assert SCENARIOS[NAN]["training_batches"] == 11
    for stop in (SMOOTH_4, BATCH_10):
        calls = 0
        finder, why = search(learner(loss_func=loss_func), 20, 1e-6, 10.0, 11, stop)
        assert (len(finder.lrs), why[:17]) == (3, "the loss diverged")


def test_without_a_rule_it_goes_on_whatever_the_loss() -> None:
    finder, why = search(learner(loss_func=lambda pred, yb: pred.sum() * math.nan), 20, 1e-6, 10.0, 11, None)
    assert (len(finder.lrs), why) == (11, "all 11 learning rates have been tried")


def opt_state(learn: Net) -> Any:
    return copy.deepcopy(learn.opt.state_dict())


def same(a: Any, b: Any) -> bool:
    """Whether two nested states are equal, tensors by their bits."""
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


@dataclass(frozen=True)
class FailAt(AnyCallback):
    """Fails in one batch, after its gradients are there."""

    index: int

    def after_backward(self, event: LossEvent) -> None:
        if event.index == self.index:
            raise RuntimeError("the test's")


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("opt_func", [partial(SGD, lr=0.1, momentum=0.9), partial(Adam, lr=0.01)])
def test_model_optimizer_and_learning_rates_are_put_back(opt_func: Any, fails: bool) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    batches = [(torch.randn(6, 5), torch.arange(6) % 3) for _ in range(4)]
    learn = Learner(
        net, DataBunch(batches), F.cross_entropy, opt_func, splitter=lambda m: [m[0].parameters(), m[1:].parameters()]
    )
    learn.fit(1)
    learn.opt.param_groups[1]["lr"] = 0.005
    before, model_before = opt_state(learn), copy.deepcopy(learn.model.state_dict())
    smooth = SmoothLoss()
    finder = LRFinder(learn, smooth, n_batches=8)
    cbs = [smooth, finder, *([FailAt(1)] if fails else [])]
    if fails:
        with pytest.raises(RuntimeError):
            learn.fit(2, cbs=cbs)
    else:
        learn.fit(2, cbs=cbs)
    assert same(before, opt_state(learn))
    assert same(dict(model_before), dict(learn.model.state_dict()))
    assert all(parameter.grad is None for parameter in learn.model.parameters())
    assert finder.before.value is None


def test_it_is_as_if_there_had_been_no_search() -> None:
    searched, plain = (learner(opt_func=partial(SGD, lr=0.1, momentum=0.9)) for _ in range(2))
    for learn in (searched, plain):
        learn.fit(1)
    search(searched, 10, 1e-7, 10.0, 20, SMOOTH_4)
    for learn in (searched, plain):
        learn.fit(1)
    assert flat(searched.model) == flat(plain.model)


@dataclass(frozen=True)
class CountValidations(AnyCallback):
    """Refuses any validation batch."""

    phases = ("valid",)

    def begin_batch(self, event: BatchEvent) -> None:
        raise AssertionError("validated")


def test_validation_is_skipped() -> None:
    learn = learner(CountValidations())
    search(learn, 3, 1e-7, 10.0, 12, SMOOTH_4)


def test_schedulers_and_best_weights_may_stay_attached() -> None:
    smooth = SmoothLoss()
    learn = learner(smooth)
    learn.add(SaveBest, smooth, "min")
    learn.add(TorchScheduler, partial(torch.optim.lr_scheduler.StepLR, step_size=1), every="batch")
    finder = learn.add(LRFinder, smooth, 1e-4, 1.0, n_batches=9)
    learn.add(ParamScheduler, LR, linear(5.0, 7.0))
    learn.fit(3)
    assert list(finder.lrs) == pytest.approx([1e-4 * 1e4 ** (i / 8) for i in range(9)])
    assert flat(learn.model) == flat(torch_like(SETUP["weights"]))
    assert learn.opt.param_groups[0]["lr"] == 0.1


def test_a_second_search_begins_anew() -> None:
    assert KEPT in SCENARIOS
    smooth = SmoothLoss()
    learn = learner(smooth)
    finder = learn.add(LRFinder, smooth, 1e-6, 10.0, n_batches=11, stop=BATCH_10)
    learn.fit(9)
    first = (finder.lrs.value, finder.losses.value, finder.smooth_losses.value)
    learn.fit(9)
    assert (finder.lrs.value, finder.losses.value, finder.smooth_losses.value) == first


def test_two_side_by_side_each_keep_their_own_and_both_put_back() -> None:
    smooth = SmoothLoss()
    learn = learner(smooth)
    rough = learn.add(LRFinder, smooth, 1e-6, 1e-3, n_batches=5)
    fine = learn.add(LRFinder, smooth, 1e-4, 1e-2, n_batches=9)
    learn.fit(9)
    assert (len(rough.lrs), len(fine.lrs)) == (5, 4), "the first to be done ends the fit, and the round"
    assert flat(learn.model) == flat(torch_like(SETUP["weights"]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start_lr": 0.0}, "start_lr=0.0 to end_lr=10.0, and needs 0 < start_lr < end_lr"),
        ({"start_lr": 1.0, "end_lr": 0.1}, "needs 0 < start_lr < end_lr"),
        ({"n_batches": 1}, "n_batches is 1, and has to be at least 2: one at each end"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LRFinder(learner(), SmoothLoss(), **settings)


def test_a_rule_that_stops_at_the_best_loss_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Diverged.factor is 1.0, and has to be above 1"):
        Diverged(1.0)


def test_without_its_smoothed_loss_it_is_refused() -> None:
    with pytest.raises(DependencyError, match=r"LRFinder.loss is a SmoothLoss that is not attached"):
        learner().add(LRFinder, SmoothLoss())


def test_losses_below_zero_do_not_stop_at_once() -> None:
    rule = Diverged(4.0)
    assert not rule.stops(-1.0, math.nan)
    assert not rule.stops(-0.9, -1.0)
    assert rule.stops(2.1, -1.0)
    assert rule.stops(4.1, 1.0)
    assert not rule.stops(4.0, 1.0)
    assert rule.stops(math.inf, math.inf)


def filled(losses: list[float]) -> LRFinder:
    """A finder that has seen these smoothed losses, a factor of 10 in learning rate between batches."""
    finder = LRFinder(learner(), SmoothLoss())
    finder.lrs.value = tuple(10.0 ** (i - 20) for i in range(len(losses)))
    finder.smooth_losses.value = finder.losses.value = tuple(losses)
    return finder


def test_the_steepest_is_numpys_least_gradient_after_the_first_tenth() -> None:
    losses = torch.rand(19, generator=torch.Generator().manual_seed(0)).tolist()
    finder = filled(losses)
    inner = np.gradient(losses[1:])[1:-1]
    assert finder.suggestion("steepest") == finder.lrs[2 + int(inner.argmin())]


def test_the_steepest_of_a_long_search_looks_a_tenth_to_each_side() -> None:
    losses = np.random.default_rng(0).random(100)
    finder = filled(losses.tolist())
    seen = losses[10:]
    assert finder.suggestion("steepest") == finder.lrs[10 + 9 + int((seen[18:] - seen[:-18]).argmin())]


def test_the_steepest_of_a_logistic_curve_is_its_middle() -> None:
    curve = [1 / (1 + math.exp(0.8 * (i - 25))) for i in range(50)]
    assert filled(curve).suggestion("steepest") == pytest.approx(10.0 ** (25 - 20))


def longest_falling(losses: list[float]) -> int:
    """The length of the longest falling series, by the plain quadratic recursion."""
    best = [1] * len(losses)
    for i, loss in enumerate(losses):
        best[i] = 1 + max((best[j] for j in range(i) if losses[j] > loss), default=0)
    return max(best, default=0)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=30))
def test_the_valley_is_a_longest_falling_series(losses: list[float]) -> None:
    place, longest = _valley(losses), longest_falling(losses)
    assert (place is None) == (longest == 1)
    if place is not None:
        spans = [(i, j) for i in range(len(losses)) for j in range(i + 1, len(losses)) if (i + j) // 2 == place]
        assert any(
            longest_falling([x for x in losses[i : j + 1] if losses[i] >= x >= losses[j]]) == longest for i, j in spans
        )


def test_the_valley_is_the_middle_of_the_fall() -> None:
    curve = [2.0] * 10 + [2.0 - 0.1 * i for i in range(1, 16)] + [0.6 + i for i in range(10)]
    assert filled(curve).suggestion("valley") == pytest.approx(10.0 ** ((9 + 24) // 2 - 20), rel=1e-6)


def test_the_loss_that_ended_the_search_is_not_read() -> None:
    assert filled([3.0, 2.0, 1.0, math.inf]).suggestion("steepest") == filled([3.0, 2.0, 1.0]).suggestion("steepest")


@pytest.mark.parametrize("how", ["steepest", "valley"])
def test_where_nothing_fell_nothing_is_suggested(how: Any) -> None:
    with pytest.raises(ValueError, match="the loss fell at no learning rate that was tried"):
        filled([1.0, 2.0, 3.0, 4.0]).suggestion(how)
    with pytest.raises(ValueError, match="LRFinder has 0 batches to read, and needs a few more"):
        filled([]).suggestion(how)


def test_a_suggestion_trains_where_the_ends_do_not() -> None:
    torch.manual_seed(0)
    true = torch.randn(10, 1)
    xs = [torch.randn(16, 10) for _ in range(50)]
    batches = [(x, x @ true) for x in xs]

    def trained(lr: float) -> float:
        torch.manual_seed(1)
        stats = AvgStats()
        Learner(nn.Linear(10, 1), DataBunch(batches), F.mse_loss, partial(SGD, lr=lr), cbs=[stats]).fit(1)
        return stats.train_loss.value

    torch.manual_seed(1)
    learn = Learner(nn.Linear(10, 1), DataBunch(batches), F.mse_loss, partial(SGD, lr=0.1))
    finder, _ = search(learn, 2, 1e-5, 10.0, 100, SMOOTH_4)
    for how in ("steepest", "valley"):
        assert trained(finder.suggestion(how)) < 0.7 * trained(1e-5)


def test_the_picture_has_the_curve_and_the_suggestion(tmp_path: Any) -> None:
    finder, _ = search(learner(), 10, 1e-7, 1000.0, 40, SMOOTH_4)
    figure = finder.plot("steepest")
    (axes,) = figure.axes
    raw, smooth, mark = axes.lines
    assert list(raw.get_xdata()) == list(finder.lrs)
    assert list(smooth.get_ydata()) == list(finder.smooth_losses)
    assert mark.get_xdata()[0] == finder.suggestion("steepest")
    figure.savefig(tmp_path / "lr.png")
    assert (tmp_path / "lr.png").stat().st_size > 1000


@dataclass(frozen=True)
class FailsToBegin(AnyCallback):
    """Fails before the finder has begun."""

    def begin_fit(self, event: object) -> None:
        raise RuntimeError("the test's")

    def after_epoch(self, event: AfterEpoch) -> None: ...

    def after_fit(self, event: AfterFit) -> None: ...


def test_a_fit_that_did_not_begin_is_left_alone() -> None:
    smooth = SmoothLoss()
    learn = learner(FailsToBegin(), smooth)
    learn.add(LRFinder, smooth)
    with pytest.raises(RuntimeError, match="the test's"):
        learn.fit(30)
    assert flat(learn.model) == flat(torch_like(SETUP["weights"]))
