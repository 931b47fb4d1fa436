"""EMA against the mean written out, after real steps only, and with the trained weights back in any case."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD
from typing_extensions import override

from typedcb import (
    AfterStep,
    BatchEvent,
    BeginEpoch,
    BeginValidate,
    Callback,
    CancelTrain,
    Cell,
    DataBunch,
    Learner,
    LearnerCallback,
    SkipStep,
    SkipValidate,
    cell,
)
from typedcb.callbacks import EMA

Pair = tuple[Tensor, Tensor]


def learner(**kwargs: object) -> Learner[Tensor, Tensor, Tensor, nn.Linear]:
    torch.manual_seed(0)
    data: list[Pair] = [(torch.randn(6, 5), torch.arange(6) % 3) for _ in range(4)]
    return Learner(nn.Linear(5, 3), DataBunch(data, data), F.cross_entropy, partial(SGD, lr=0.5))


@dataclass(frozen=True)
class ByHand(LearnerCallback):
    """The same mean, written out."""

    decay: float
    mean: Cell[Tensor | None] = cell(None)

    @override
    def after_step(self, event: AfterStep) -> None:
        weight = next(self.learn.model.parameters()).detach()
        old = self.mean.value
        self.mean.value = weight.clone() if old is None else self.decay * old + (1 - self.decay) * weight


@dataclass(frozen=True)
class SkipOdd(Callback):
    """Steps on even batches alone."""

    @override
    def after_backward(self, event: BatchEvent) -> SkipStep | None:
        return SkipStep() if event.index % 2 else None


@pytest.mark.parametrize("skip", [False, True])
def test_the_average_is_the_mean_of_the_weights_after_each_real_step(skip: bool) -> None:
    learn = learner()
    ema, by_hand = learn.add(EMA, decay=0.8), learn.add(ByHand, decay=0.8)

    learn.fit(2, cbs=[SkipOdd()] if skip else [])

    averaged = nn.Linear(5, 3)
    ema.copy_to(averaged)
    assert by_hand.mean.value is not None
    torch.testing.assert_close(averaged.weight.detach(), by_hand.mean.value)


@dataclass(frozen=True)
class ValidWeights(LearnerCallback):
    """The weights that the last validation ran on."""

    seen: Cell[Tensor] = cell(torch.empty(0))
    stop: bool = False

    @override
    def after_loss(self, event: BatchEvent) -> CancelTrain | None:
        if event.phase != "valid":
            return None
        self.seen.value = next(self.learn.model.parameters()).detach().clone()
        return CancelTrain("enough") if self.stop else None


@pytest.mark.parametrize("stop", [False, True])
def test_validation_runs_on_the_average_and_training_goes_on_with_its_own(stop: bool) -> None:
    learn, plain = learner(), learner()
    ema = learn.add(EMA, decay=0.8)
    watch = learn.add(ValidWeights, stop=stop)
    averaged = nn.Linear(5, 3)

    learn.fit(1)
    plain.fit(1)
    ema.copy_to(averaged)

    assert torch.equal(watch.seen.value, averaged.weight)
    assert torch.equal(learn.model.weight, plain.model.weight)


def test_each_fit_begins_a_new_average() -> None:
    learn = learner()
    ema = learn.add(EMA, decay=0.8)
    learn.fit(1)
    first = ema.averaged.value

    learn.fit(1)

    assert ema.averaged.value is not first
    assert ema.averaged.value is not None
    assert int(ema.averaged.value.n_averaged) == 4


def test_an_average_that_has_not_begun_is_no_average() -> None:
    with pytest.raises(RuntimeError, match="it begins with a fit"):
        learner().add(EMA).copy_to(nn.Linear(5, 3))


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_outside_of_0_to_1_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        learner().add(EMA, decay=decay)


@dataclass(frozen=True)
class SkipsValidation(LearnerCallback):
    """Validates nothing, and notes the weights with which each epoch begins."""

    order: ClassVar[int] = 1000
    ends: Cell[Tensor | None] = cell(None)
    begins: Cell[Tensor | None] = cell(None)

    @override
    def after_step(self, event: AfterStep) -> None:
        self.ends.value = next(self.learn.model.parameters()).detach().clone()

    @override
    def begin_epoch(self, event: BeginEpoch) -> None:
        self.begins.value = next(self.learn.model.parameters()).detach().clone()
        if event.epoch:
            assert self.ends.value is not None
            torch.testing.assert_close(self.begins.value, self.ends.value, rtol=0, atol=0)

    @override
    def begin_validate(self, event: BeginValidate) -> SkipValidate:
        return SkipValidate()


def test_training_goes_on_with_its_own_weights_after_a_validation_that_was_skipped() -> None:
    learn = learner()
    learn.add(EMA, decay=0.9)
    skips = learn.add(SkipsValidation)
    learn.fit(2)
    assert skips.begins.value is not None
