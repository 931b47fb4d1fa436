"""What is skorch's own: its mixin, clones, partial fits, and figures in its history."""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from driving import driver
from driving_skorch import net_of
from five import TASK
from recording import At, Recorder, answering, raising
from torch import nn
from torch.optim import LBFGS

from typedcb import (
    CallbackError,
    CancelBatch,
    CancelEpoch,
    Cancelled,
    CancelTrain,
    Completed,
    Failed,
    LoopError,
    SkipValidate,
)
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


# ---------------------------------------------------------------------------------------- beside skorch's own callbacks


def classifier(*callbacks: Any, mixin: bool = True, **options: Any) -> Any:
    """A net with skorch's scores, losses and accuracy, of its own data."""
    from skorch import NeuralNetClassifier  # noqa: PLC0415

    kind: Any = type("Net", (typed().__bases__[0], NeuralNetClassifier), {}) if mixin else NeuralNetClassifier
    torch.manual_seed(3)
    settings: dict[str, Any] = {
        "criterion": nn.CrossEntropyLoss, "max_epochs": 3, "lr": 0.1, "batch_size": 8, "verbose": 0,
        "callbacks": list(callbacks),
    }  # fmt: skip
    return kind(nn.Linear(4, 3), **{**settings, **options})


SAMPLES = torch.randn(60, 4, generator=torch.Generator().manual_seed(5)).numpy()
CLASSES = torch.arange(60).remainder(3).numpy()


@pytest.mark.parametrize(
    ("hook", "answer", "place"),
    [
        ("begin_epoch", CancelEpoch(), {"epoch": 1}),
        ("begin_validate", SkipValidate(), {"epoch": 1}),
        ("begin_batch", CancelBatch(), {"epoch": 1, "phase": "valid"}),
        ("begin_batch", CancelEpoch(), {"epoch": 1, "phase": "valid"}),
    ],
)
def test_a_classifier_scores_no_epoch_in_which_nothing_was_validated(hook: str, answer: object, place: Any) -> None:
    hosting = host(At(hook, answering(answer), **place))
    net = classifier(hosting).fit(SAMPLES, CLASSES)
    assert ["valid_acc" in row for row in net.history] == [True, False, True]
    assert isinstance(hosting.outcome, Completed)


def test_a_classifier_scores_what_was_validated_where_some_of_it_was_cancelled() -> None:
    net = classifier(host(At("begin_batch", answering(CancelBatch()), phase="valid", index=0))).fit(SAMPLES, CLASSES)
    assert all("valid_acc" in row and "valid_loss" in row for row in net.history)


@pytest.mark.parametrize("first", [True, False])
def test_a_fit_that_skorchs_early_stopping_stops_is_cancelled_after_its_whole_epoch(first: bool) -> None:
    hosting = host(told := Recorder(), stats := AvgStats())
    from skorch.callbacks import EarlyStopping as Theirs  # noqa: PLC0415

    stops = Theirs(patience=1, threshold=10.0)
    net = classifier(*([stops, hosting] if first else [hosting, stops])).fit(SAMPLES, CLASSES)
    assert len(net.history) == 2
    assert [event.epoch for event in told.of("after_epoch")] == [0, 1]
    assert told.hooks[-3:] == ["after_epoch", "after_cancel_train", "after_fit"]
    assert isinstance(hosting.outcome, Cancelled)
    assert "skorch's callbacks stopped it" in hosting.outcome.cancel.reason
    assert stats.valid_loss.value == pytest.approx(net.history[-1]["valid_loss"])


def test_what_goes_wrong_at_the_end_of_an_epoch_that_skorch_stops_is_raised() -> None:
    hosting = host(At("after_epoch", raising(ValueError("oops")), epoch=1))
    from skorch.callbacks import EarlyStopping as Theirs  # noqa: PLC0415

    with pytest.raises(ValueError, match="oops"):
        classifier(Theirs(patience=1, threshold=10.0), hosting).fit(SAMPLES, CLASSES)
    assert isinstance(hosting.outcome, Failed)


def test_ctrl_c_in_one_of_skorchs_callbacks_is_ctrl_c() -> None:
    import signal  # noqa: PLC0415

    from skorch.callbacks import Callback  # noqa: PLC0415

    hosting = host(SmoothLoss())
    interrupts = type("Interrupts", (Callback,), {"on_batch_end": lambda self, net, **_: signal.raise_signal(2)})()
    classifier(interrupts, hosting).fit(SAMPLES, CLASSES)
    assert isinstance(hosting.outcome, Failed)
    assert isinstance(hosting.outcome.error, KeyboardInterrupt)


def test_gradients_that_were_left_before_a_fit_are_dropped_as_skorch_drops_them() -> None:
    weights: list[Any] = []
    for callbacks in ([], [host(SmoothLoss())]):
        net = classifier(*callbacks, mixin=bool(callbacks)).initialize()
        net.module_(torch.ones(2, 4)).sum().backward()
        net.partial_fit(SAMPLES, CLASSES)
        weights.append([weight.tolist() for weight in net.module_.parameters()])
    assert weights[0] == weights[1]


@pytest.mark.parametrize("first", [True, False])
def test_a_net_that_is_pickled_as_an_epoch_ends_has_ended_it(
    first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosting = host(stats := AvgStats())
    from skorch.callbacks import Checkpoint  # noqa: PLC0415

    saves = Checkpoint(
        monitor=None, dirname=tmp_path, f_pickle="{last_epoch[epoch]}.pkl", f_params=None, f_optimizer=None,
        f_criterion=None, f_history=None,
    )  # fmt: skip
    net = classifier(*([saves, hosting] if first else [hosting, saves]))
    monkeypatch.setitem(globals(), "Net", type(net))  # where a pickle looks for it
    net.fit(SAMPLES, CLASSES)
    again = pickle.loads((tmp_path / "2.pkl").read_bytes())
    [theirs] = [callback for callback in again.callbacks if type(callback) is type(hosting)]
    again.max_epochs = 1
    again.partial_fit(SAMPLES, CLASSES)
    assert theirs._last.start_epoch == 2
    assert theirs.get(AvgStats).row == stats.row


def test_a_fit_of_a_net_that_is_made_anew_begins_anew() -> None:
    hosting = host(told := Recorder(), SmoothLoss())
    net_of(TASK, first := host(SmoothLoss())).fit(X, X)
    net = net_of(TASK, hosting)
    hosting.load_state_dict(first.state_dict())
    net.fit(X, X)
    assert [event.start_epoch for event in told.of("begin_fit")] == [0]


def test_callbacks_that_are_set_as_a_parameter_take_the_place_of_those_that_were_there() -> None:
    net = net_of(TASK, ("typed", host(before := Recorder())))
    net.set_params(callbacks__typed__callbacks=(now := Recorder(),))
    net.fit(X, X)
    assert before.hooks == []
    assert now.hooks[-1] == "after_fit"


def test_a_typed_callback_that_is_not_hosted_is_refused_with_the_way_out() -> None:
    with pytest.raises(CallbackError, match=r"SmoothLoss is a typed callback.*callbacks=\[host\(SmoothLoss"):
        net_of(TASK, SmoothLoss()).initialize()
