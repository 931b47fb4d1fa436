"""SmoothLoss and SmoothGradNorm: bias-corrected means, against a plain sum and the recorded originals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from recorded import SCENARIOS, learner, number, train_losses
from torch import nn
from torch.optim import SGD

from typedcb import AnyCallback, Loop, Series, series
from typedcb.callbacks import GradientClip, LRFinder, Recorder, SmoothGradNorm, SmoothLoss
from typedcb.needs import HasModel, Parts


def weighted(items: list[float], beta: float) -> float:
    """The same mean written out: item i of n weighs beta**(n - 1 - i), and the weights add up to 1."""
    weights = [beta ** (len(items) - 1 - i) for i in range(len(items))]
    return sum(w * x for w, x in zip(weights, items, strict=True)) / sum(weights)


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.98])
def test_the_loss_is_the_weighted_mean_of_the_training_losses(beta: float) -> None:
    learn = learner(smooth := SmoothLoss(beta))
    recorder = learn.add(Recorder)
    learn.fit(2)
    assert smooth.count.value == 8, "validation is left out"
    assert smooth.value == pytest.approx(weighted(list(recorder.losses), beta), rel=1e-6)


def test_the_smoothed_losses_are_those_of_v1() -> None:
    recorded = SCENARIOS["v1cb/lr_find/num_it=12(whole epochs)"]
    smooth = SmoothLoss(0.98)
    learn = learner(smooth)
    finder = learn.add(LRFinder, smooth, 1e-7, 10 ** (-7 + 8 * 11 / 12), n_batches=12)
    learn.fit(3)
    assert list(finder.losses) == pytest.approx(train_losses(recorded), rel=1e-6)
    assert list(finder.smooth_losses) == pytest.approx(list(map(number, recorded["smooth_losses"])), rel=1e-6)


@dataclass(frozen=True)
class Norms(AnyCallback):
    """Keeps the norm of each batch's gradients, in float64 over one long vector."""

    learn: HasModel
    norms: Series[float] = series()

    def after_backward(self, event: object) -> None:
        grads = [parameter.grad for parameter in self.learn.model.parameters()]
        self.norms.append(float(torch.cat([grad.flatten().double() for grad in grads if grad is not None]).norm()))


@pytest.mark.parametrize("beta", [0.0, 0.9])
def test_the_norm_is_the_weighted_mean_of_the_gradients_norms(beta: float) -> None:
    learn = learner()
    smooth = learn.add(SmoothGradNorm, beta)
    norms = learn.add(Norms)
    learn.fit(2)
    assert len(norms.norms) == smooth.count.value == 8
    assert smooth.value == pytest.approx(weighted(list(norms.norms), beta), rel=1e-6)


def test_the_norm_before_and_after_clipping() -> None:
    learn = learner()
    before = learn.add(SmoothGradNorm, 0.0)
    learn.add(GradientClip, clip=0.1)
    after = learn.add(SmoothGradNorm, 0.0)
    learn.fit(1)
    assert after.value == pytest.approx(0.1, rel=1e-4)
    assert before.value > 0.1


def test_frozen_parameters_have_no_norm() -> None:
    learn = learner()
    smooth = learn.add(SmoothGradNorm)
    for parameter in list(learn.model.parameters())[:-1]:
        parameter.requires_grad_(False)
    learn.fit(1)
    assert math.isfinite(smooth.value)


@pytest.mark.parametrize("kind", ["loss", "norm"])
def test_it_begins_anew_with_each_fit_and_is_nan_before(kind: str) -> None:
    learn = learner(opt_func=partial(SGD, lr=0.0))
    smooth: Any = learn.add(SmoothGradNorm) if kind == "norm" else learn.add(lambda learn: SmoothLoss())
    assert math.isnan(smooth.value)
    learn.fit(1)
    first = smooth.value
    learn.fit(1)
    assert (smooth.value, smooth.count.value) == (first, 4)


def test_two_side_by_side_keep_their_own_means() -> None:
    learn = learner(last := SmoothLoss(0.0), mean := SmoothLoss(0.9))
    recorder = learn.add(Recorder)
    learn.fit(1)
    assert last.value == pytest.approx(recorder.losses[-1])
    assert mean.value == pytest.approx(weighted(list(recorder.losses), 0.9), rel=1e-6)


def test_the_mean_keeps_no_graph() -> None:
    learn = learner(smooth := SmoothLoss())
    norm = learn.add(SmoothGradNorm)
    learn.fit(1)
    for mean in (smooth.mean.value, norm.mean.value):
        assert isinstance(mean, torch.Tensor)
        assert not mean.requires_grad


@pytest.mark.parametrize("beta", [1.0, -0.1, math.nan])
def test_a_beta_that_cannot_weigh_is_refused(beta: float) -> None:
    with pytest.raises(ValueError, match=r"SmoothLoss.beta is .*, and has to be at least 0 and below 1"):
        SmoothLoss(beta)
    with pytest.raises(ValueError, match=r"SmoothGradNorm.beta is .*, and has to be at least 0 and below 1"):
        SmoothGradNorm(learner(), beta)


def test_a_model_without_gradients_has_norm_zero() -> None:
    net = nn.Linear(1, 1)
    opt = SGD(net.parameters(), lr=0.1)
    smooth = SmoothGradNorm(Parts(nn.Identity(), opt))
    with Loop[torch.Tensor, torch.Tensor, torch.Tensor]([smooth]).fit(1) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train([(torch.ones(1, 1), torch.ones(1, 1))]):
                out = batch.pred(net(batch.xb))
                out.loss(out.pred.sum()).backward().step(opt)
    assert smooth.value == 0.0
