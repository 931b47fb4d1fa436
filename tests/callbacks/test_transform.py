"""Batch transforms, MixUp and label smoothing, against the formulas."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

from typedcb import DataBunch, Learner, Loop
from typedcb.callbacks import AvgStats, BatchTransform, LabelSmoothing, MixUp, Recorder, ToDevice

Pair = tuple[Tensor, Tensor]
UNREDUCED = partial(F.cross_entropy, reduction="none")


def batches(number: int = 1) -> list[Pair]:
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(6, 5, generator=generator), torch.arange(6) % 3) for _ in range(number)]


def learner(data: list[Pair], lr: float = 0.0) -> Learner[Tensor, Tensor, Tensor, nn.Linear]:
    torch.manual_seed(0)
    return Learner(nn.Linear(5, 3), DataBunch(data, data), F.cross_entropy, partial(SGD, lr=lr))


def test_label_smoothing_trains_on_the_smoothed_loss_and_validates_on_the_plain_one() -> None:
    learn = learner(batches())
    stats, recorder = AvgStats(), learn.add(Recorder)
    xb, yb = batches()[0]
    with torch.no_grad():
        log_p = learn.model(xb).log_softmax(1)
    plain = -log_p.gather(1, yb[:, None]).mean()

    learn.fit(1, cbs=[LabelSmoothing(0.3), stats])

    assert recorder.losses[0] in (pytest.approx(float(plain)), pytest.approx(float(0.7 * plain - 0.3 * log_p.mean())))
    assert stats.train_loss.value == pytest.approx(float(0.7 * plain - 0.3 * log_p.mean()), rel=1e-5)
    assert stats.valid_loss.value == pytest.approx(float(plain), rel=1e-5)


def test_mixup_mixes_each_sample_and_its_loss_by_a_weight_of_its_own() -> None:
    learn = learner(batches())
    mixup, stats = MixUp(UNREDUCED), AvgStats()
    xb, yb = batches()[0]

    learn.fit(1, cbs=[mixup, stats])

    weights, partners = mixup.weights.value, mixup.partners.value
    mixed = weights[:, None] * xb + (1 - weights[:, None]) * xb[partners]
    with torch.no_grad():
        log_p = learn.model(mixed).log_softmax(1)
    losses = -weights * log_p[range(6), yb] - (1 - weights) * log_p[range(6), yb[partners]]
    assert stats.train_loss.value == pytest.approx(float(losses.mean()), rel=1e-5)
    assert bool((weights >= 0.5).all())
    assert len(weights.unique()) == 6


def test_mixup_leaves_validation_alone() -> None:
    learn = learner(batches())
    stats = AvgStats()
    with torch.no_grad():
        plain = float(F.cross_entropy(learn.model(batches()[0][0]), batches()[0][1]))

    learn.fit(1, cbs=[MixUp(UNREDUCED), stats])

    assert stats.valid_loss.value == pytest.approx(plain, rel=1e-5)


def test_a_reduced_loss_for_mixup_is_refused() -> None:
    with pytest.raises(ValueError, match="one loss for each of the 6 samples"):
        learner(batches()).fit(1, cbs=[MixUp(F.cross_entropy)])


@pytest.mark.parametrize(("train_only", "valid_x"), [(True, 1.0), (False, 2.0)])
def test_a_transform_replaces_batches_in_training_and_by_choice_in_validation(train_only: bool, valid_x: float) -> None:
    seen: list[tuple[bool, float]] = []

    class Spy(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            seen.append((self.training, float(input.mean())))
            return super().forward(input)

    data: list[Pair] = [(torch.ones(6, 5), torch.arange(6) % 3)]

    def double(xb: Tensor, yb: Tensor) -> Pair:
        return xb * 2, yb

    learn = Learner(Spy(5, 3), DataBunch(data, data), F.cross_entropy, partial(SGD, lr=0.0))
    learn.fit(1, cbs=[BatchTransform(double, train_only=train_only)])

    assert seen == [(True, 2.0), (False, valid_x)]


def test_to_device_brings_nested_batches_to_the_device_in_a_loop_of_ones_own() -> None:
    data = [({"a": torch.ones(2)}, [torch.ones(2), "name"])]
    loop = Loop[dict[str, Tensor], list[object], Tensor]([ToDevice("meta")])
    devices: list[str] = []

    with loop.fit(1) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(data):
                first = batch.yb[0]
                assert isinstance(first, Tensor)
                devices += [batch.xb["a"].device.type, first.device.type]
                assert batch.yb[1] == "name"

    assert devices == ["meta", "meta"]


@pytest.mark.parametrize("smoothing", [-0.1, 1.1])
def test_smoothing_outside_of_0_to_1_is_refused(smoothing: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        LabelSmoothing(smoothing)
