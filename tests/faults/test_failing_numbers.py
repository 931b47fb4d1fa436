"""Section D: losses, gradients and metrics that are no numbers, or that lead nowhere."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from recording import At, Recorder, answering
from tiny import Weight, bunch, learner, pairs, total
from torch import Tensor
from torch.optim import SGD

from typedcb import BatchError, CancelEpoch, Completed, DataBunch, Failed, Learner, NonFiniteError
from typedcb.callbacks import AvgStats, Checkpoint, EarlyStopping, LRFinder, SmoothLoss
from typedcb.store import latest, read


def spoiled(from_batch: int, factor: float = math.nan) -> Any:
    """A loss that is no number from a training batch on."""
    calls = 0

    def loss_func(pred: Tensor, yb: Tensor) -> Tensor:
        nonlocal calls
        calls += pred.requires_grad
        return total(pred, yb) * (factor if calls > from_batch else 1.0)

    return loss_func


def fit(loss_func: Any, *cbs: Any, n_epochs: int = 3, cb_funcs: Any = ()) -> Learner[Any, Any, Any, Any]:
    learn: Any = Learner(Weight(), bunch(2, 2), loss_func, partial(SGD, lr=0.1), cbs=list(cbs), cb_funcs=cb_funcs)
    learn.fit(n_epochs)
    return learn


# ------------------------------------------------------------------------------------------------- D1: a loss of nan


@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_weights_that_are_spoiled_end_the_fit_with_the_epoch_s_training(factor: float) -> None:
    recorder = Recorder()
    with pytest.raises(NonFiniteError, match=r"of epoch 1 is (nan|-?inf).*\(w\).*CheckFinite.*TerminateOnNaN"):
        fit(spoiled(2, factor), recorder)
    assert recorder.hooks[-2:] == ["after_batch", "after_fit"], "neither validation nor after_epoch follow"
    assert isinstance(recorder.events[-1].outcome, Failed)
    assert recorder.hooks.count("after_epoch") == 1


def test_the_last_good_checkpoint_is_kept(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError):
        fit(spoiled(4), cb_funcs=[partial(Checkpoint, folder=tmp_path, keep_last=1)], n_epochs=9)
    saved = read(latest(tmp_path))
    assert saved.tree["fit"]["epoch"] == 2
    assert math.isfinite(Weight().w.item())
    learn = learner(n_train=2, n_valid=2)
    learn.load(tmp_path)
    assert learn.model.w.isfinite()


def test_a_bad_loss_alone_is_no_reason_where_the_weights_are_sound() -> None:
    def infinite_at_last(pred: Tensor, yb: Tensor) -> Tensor:
        return total(pred, yb) + math.inf  # its gradient is that of the loss without it

    learn = fit(infinite_at_last)
    assert learn.model.w.isfinite()


def test_a_search_of_the_learning_rate_may_spoil_the_weights_that_it_puts_back() -> None:
    smooth = SmoothLoss()
    finder = partial(LRFinder, loss=smooth, n_batches=6, stop=None)
    learn = fit(spoiled(1), smooth, cb_funcs=[finder])
    assert learn.model.w.item() == 1.0


def test_the_loss_is_looked_at_once_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    original = Tensor.__float__

    def counted(self: Tensor) -> float:
        nonlocal looks
        looks += 1
        return original(self)

    learn = learner(n_train=10, n_valid=0, lr=0.001)
    monkeypatch.setattr(Tensor, "__float__", counted)
    learn.fit(3)
    monkeypatch.undo()
    assert looks == 3


def test_a_pass_without_any_loss_is_not_looked_at() -> None:
    assert isinstance(learner(At("begin_batch", answering(CancelEpoch()), phase="train")).fit(1), Completed)


# ------------------------------------------------------------------------------------ D3, D4: a loss that leads nowhere


def test_a_frozen_model_is_refused_with_what_may_be_the_reason() -> None:
    learn = learner()
    learn.model.w.requires_grad_(False)
    with pytest.raises(BatchError, match=r"the loss has no graph.*is every parameter frozen") as refused:
        learn.fit(1)
    assert refused.value.__notes__ == ["typedcb: in epoch 0, batch 0, train"]


def test_a_loss_of_what_has_been_detached_is_refused() -> None:
    with pytest.raises(BatchError, match="or is the prediction detached"):
        fit(lambda pred, yb: total(pred.detach(), yb))


# ------------------------------------------------------------------------------------------------------ D5: a metric


def test_an_error_of_a_metric_carries_its_name() -> None:
    def precision(pred: Tensor, yb: Tensor) -> Tensor:
        raise ZeroDivisionError("no positives")

    with pytest.raises(ZeroDivisionError, match="no positives") as failed:
        fit(total, AvgStats[Any, Any]((lambda pred, yb: pred.mean(), precision)))
    assert failed.value.__notes__ == [
        "the metric is precision",
        "typedcb: in AvgStats.after_loss, epoch 0, batch 0, train",
    ]


def test_a_metric_of_nan_is_no_better_than_any_other() -> None:
    values = iter([3.0, math.nan, math.nan, math.nan])
    current = math.nan

    def odd(pred: Tensor, yb: Tensor) -> float:
        return current

    def advance(event: Any) -> None:
        nonlocal current
        current = next(values)

    stats = AvgStats[Any, Any](odd)
    stopping = EarlyStopping(stats.valid(odd), mode="max", patience=2)
    outcome: Any = Learner(
        Weight(),
        DataBunch(pairs(1), pairs(1)),
        total,
        partial(SGD, lr=0.001),
        cbs=[stats, stopping, At("begin_epoch", advance)],
    ).fit(4)
    assert stopping.best.value == 3.0
    assert outcome.cancel.reason == "no improvement on 3 for 2 epochs (now nan)"


def test_a_sound_fit_says_nothing() -> None:
    assert torch.isfinite(fit(total).model.w)
