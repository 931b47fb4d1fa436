"""What is skorch's own: its mixin, clones, partial fits, and figures in its history."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from driving import driver
from driving_skorch import net_of
from five import TASK
from recording import At, Recorder, answering
from torch import nn
from torch.optim import LBFGS

from typedcb import CallbackError, CancelBatch, CancelEpoch, Cancelled, CancelTrain, Completed, LoopError
from typedcb.callbacks import AvgStats, EarlyStopping, SmoothLoss

X = torch.zeros(1)


@pytest.fixture(autouse=True)
def _installed() -> None:
    driver("skorch")


def host(*callbacks: Any, **options: Any) -> Any:
    driver("skorch")
    return importlib.import_module("typedcb.interop.skorch").host(*callbacks, **options)


def typed(**methods: Any) -> Any:
    base: Any = importlib.import_module("typedcb.interop.skorch").TypedNet
    return type("Mine", (base,), methods)


def test_a_net_without_the_mixin_is_refused_with_the_way_out() -> None:
    hosting = host(SmoothLoss())
    with pytest.raises(CallbackError, match=r"NeuralNet calls no typed callback by itself.*TypedNet first"):
        net_of(TASK, hosting, mixin=False).fit(X, X)


@pytest.mark.parametrize("name", ["train_step", "validation_step", "run_single_epoch", "train_step_single"])
def test_a_step_that_hides_ours_is_refused(name: str) -> None:
    hosting = host(SmoothLoss())
    net = net_of(TASK, hosting)
    net.__class__ = typed(**{name: lambda self, *args, **kwargs: None})
    with pytest.raises(CallbackError, match=rf"Mine\.{name} "):
        net.fit(X, X)


def test_without_typed_callbacks_the_mixin_is_skorchs_own_net() -> None:
    driver("skorch")
    nets = [net_of(TASK, mixin=mixin).fit(X, X) for mixin in (True, False)]
    ours, theirs = (list(net.module_.parameters()) for net in nets)
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_two_hosts_in_one_net_are_refused() -> None:
    with pytest.raises(CallbackError, match=r"several host\(\.\.\.\)"):
        net_of(TASK, host(SmoothLoss()), host(SmoothLoss())).fit(X, X)


def test_an_optimizer_that_runs_a_batch_several_times_is_refused() -> None:
    with pytest.raises(LoopError, match=r"LBFGS\.step wants closure"):
        net_of(TASK.count(opt=LBFGS), host(SmoothLoss())).fit(X, X)


def test_a_partial_fit_is_a_fit_of_its_own() -> None:
    hosting = host(told := Recorder())
    net = net_of(TASK, hosting)
    net.partial_fit(X, X)
    net.partial_fit(X, X)
    assert [(event.start_epoch, event.n_epochs) for event in told.of("begin_fit")] == [(0, 3), (0, 3)]
    told.told.restart()
    net.fit_loop(X, X, epochs=1)
    assert [event.n_epochs for event in told.of("begin_fit")] == [1]
    assert len(net.history) == 7


def test_a_clone_has_callbacks_of_its_own() -> None:
    from sklearn.base import clone  # noqa: PLC0415

    hosting = host(SmoothLoss())
    net = net_of(TASK, hosting).fit(X, X)
    [other] = clone(net).fit(X, X).callbacks
    assert type(other) is type(hosting)
    assert other.get(SmoothLoss) is not hosting.get(SmoothLoss)
    assert other.get(SmoothLoss).count.value == hosting.get(SmoothLoss).count.value == 15


def test_the_nets_own_callbacks_run_beside_them() -> None:
    hosting = host(told := Recorder(), AvgStats())
    from skorch.callbacks import EpochScoring, GradientNormClipping  # noqa: PLC0415

    net: Any = typed()(
        nn.Linear(4, 1), nn.MSELoss, max_epochs=2, verbose=0, batch_size=16,
        callbacks=[("typed", hosting), GradientNormClipping(0.1), EpochScoring("r2")],
    )  # fmt: skip
    net.initialize()
    with_r2 = net.set_params(callbacks__EpochScoring=None)
    with_r2.fit(torch.randn(40, 4), torch.randn(40, 1))
    assert [row["train_batch_count"] for row in net.history] == [2, 2]
    assert {len(event.yb) for event in told.of("begin_batch")} == {16, 8}
    stats = hosting.get(AvgStats)
    assert net.history[-1]["valid_loss"] == pytest.approx(stats.valid_loss.value)
    assert net.history[-1]["train_loss"] == pytest.approx(stats.train_loss.value)


def test_a_batch_that_is_cancelled_leaves_no_figures() -> None:
    cancels = At("begin_batch", answering(CancelBatch()), index=1, phase="train")
    net = net_of(TASK, host(cancels)).fit(X, X)
    assert [sum("train_loss" in batch for batch in epoch["batches"]) for epoch in net.history] == [4, 4, 4]
    assert [epoch["train_batch_count"] for epoch in net.history] == [5, 5, 5]


@pytest.mark.parametrize("defaults", [True, False])
def test_an_epoch_that_is_left_out_or_cut_short_does_no_harm_to_skorchs_callbacks(defaults: bool) -> None:
    hosting = host(
        At("begin_epoch", answering(CancelEpoch()), epoch=0),
        At("after_batch", answering(CancelEpoch()), epoch=1, index=0, phase="train"),
        At("after_epoch", answering(CancelTrain("enough")), epoch=2),
    )
    net: Any = typed()(nn.Linear(4, 1), nn.MSELoss, max_epochs=9, verbose=0, batch_size=8, callbacks=[hosting])
    if not defaults:
        net.__class__ = typed(get_default_callbacks=lambda self: [])
    net.fit(torch.randn(40, 4), torch.randn(40, 1))
    assert isinstance(hosting.outcome, Cancelled)
    assert [row.get("train_batch_count") for row in net.history] == [None, 1, 4]


@pytest.mark.parametrize("name", ["train_step", "validation_step", "run_single_epoch", "train_step_single"])
def test_a_step_that_the_mixin_would_hide_is_refused(name: str) -> None:
    from skorch import NeuralNet  # noqa: PLC0415

    net = net_of(TASK, host(SmoothLoss()))
    theirs = type("Theirs", (NeuralNet,), {name: lambda self, *args, **kwargs: None})
    net.__class__ = type("Net", (type(net), theirs), {})
    with pytest.raises(CallbackError, match=rf"Theirs\.{name} would not be called.*infer or get_loss"):
        net.fit(X, X)


def test_callbacks_of_a_clone_know_each_other() -> None:
    from sklearn.base import clone  # noqa: PLC0415

    stats = AvgStats()
    net = net_of(TASK, host(stats, EarlyStopping(stats.valid_loss, mode="min", patience=1, min_delta=10.0)))
    [other] = clone(net).fit(X, X).callbacks
    assert isinstance(other.outcome, Cancelled)
    assert other.get(AvgStats) is not stats


def test_a_search_over_a_grid_fits_with_callbacks_of_its_own() -> None:
    from sklearn.model_selection import GridSearchCV  # noqa: PLC0415

    x, y = torch.randn(40, 4).numpy(), torch.randn(40, 1).numpy()
    found: list[Any] = []
    for mixin in (True, False):
        from skorch import NeuralNetRegressor  # noqa: PLC0415

        base: Any = type("Net", (typed().__bases__[0], NeuralNetRegressor), {}) if mixin else NeuralNetRegressor
        hosting = host(told := Recorder(), AvgStats())
        torch.manual_seed(3)
        net = base(
            nn.Linear(4, 1), max_epochs=3, verbose=0, train_split=None, callbacks=[hosting] if mixin else [],
        )  # fmt: skip
        search = GridSearchCV(net, {"lr": [0.01, 0.1]}, cv=2, scoring="neg_mean_squared_error", refit=True)
        search.fit(x, y)
        assert told.hooks == [], "the net itself is not fitted"
        found.append((search.best_params_, search.cv_results_["mean_test_score"].tolist()))
        if mixin:
            [theirs] = search.best_estimator_.callbacks
            assert isinstance(theirs.outcome, Completed)
    assert found[0] == found[1]


@pytest.mark.parametrize("mixin", [True, False])
def test_a_warm_start_goes_on_with_the_weights(mixin: bool) -> None:
    told = Recorder()
    net = net_of(TASK, *([host(told)] if mixin else []), mixin=mixin, warm_start=True).fit(X, X).fit(X, X)
    straight = net_of(TASK.count(n_epochs=6), mixin=False).fit(X, X)
    ours, theirs = (list(one.module_.parameters()) for one in (net, straight))
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    assert [event.n_epochs for event in told.of("begin_fit")] == [3, 3] * mixin


def test_over_several_processes_what_one_would_decide_alone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    net_of(TASK, host(SmoothLoss())).fit(X, X)
    stats = AvgStats()
    with pytest.raises(CallbackError, match=r"EarlyStopping\.after_epoch may answer CancelTrain.*several processes"):
        net_of(TASK, host(stats, EarlyStopping(stats.valid_loss, mode="min", patience=1))).fit(X, X)
