"""GradientAccumulation equals training on the batches put together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Optimizer
from typing_extensions import override

from typedcb import AnyCallback, BatchError, BatchEvent, CancelBatch, DataBunch, Learner
from typedcb.callbacks import GradientAccumulation, GradientClip

Pair = tuple[Tensor, Tensor]


def batches(*sizes: int) -> list[Pair]:
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(size, 5, generator=generator), torch.arange(size) % 3) for size in sizes]


def joined(pairs: list[Pair], n: int) -> list[Pair]:
    groups = [pairs[i : i + n] for i in range(0, len(pairs), n)]
    return [(torch.cat([x for x, _ in group]), torch.cat([y for _, y in group])) for group in groups]


def learner(data: list[Pair], reduction: str = "mean") -> Learner[Tensor, Tensor, Tensor, nn.Sequential]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    loss = partial(F.cross_entropy, reduction=reduction)
    return Learner(model, DataBunch(data), loss, partial(SGD, lr=0.1, momentum=0.9))


def weights(learn: Learner[Tensor, Tensor, Tensor, nn.Sequential]) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in learn.model.parameters()])


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_it_equals_training_on_the_batches_of_a_group_put_together(n: int, reduction: str) -> None:
    data = batches(6, 2, 5, 6, 3)  # uneven, and with a last group that is not full
    whole, parts = learner(joined(data, n), reduction), learner(data, reduction)
    parts.add(GradientAccumulation, n=n, reduction="sum" if reduction == "sum" else "mean")

    whole.fit(2)
    parts.fit(2)

    torch.testing.assert_close(weights(parts), weights(whole))


@pytest.mark.parametrize("by", ["norm", "value"])
def test_clipping_sees_the_gradient_of_the_whole_group(by: Literal["norm", "value"]) -> None:
    data = batches(6, 6, 6, 6)
    whole, parts = learner(joined(data, 2)), learner(data)
    parts.add(GradientClip, clip=0.05, by=by)  # attached first, and runs after all the same
    parts.add(GradientAccumulation, n=2)
    whole.add(GradientClip, clip=0.05, by=by)

    whole.fit(2)
    parts.fit(2)

    torch.testing.assert_close(weights(parts), weights(whole))


def test_the_optimizer_steps_once_a_group_and_once_for_the_rest() -> None:
    learn = learner(batches(4, 4, 4, 4, 4))
    learn.add(GradientAccumulation, n=2)
    steps = count_steps(learn.opt)

    learn.fit(2)

    assert len(steps) == 6


@dataclass(frozen=True)
class CancelSecond(AnyCallback):
    """Cancels the batch of index 1 when its gradients are there, before they are taken into account."""

    order = -60  # type: ignore[misc]  # a ClassVar of the base

    @override
    def after_backward(self, event: BatchEvent) -> CancelBatch | None:
        return CancelBatch("not this one") if event.index == 1 else None


def test_a_batch_that_is_cancelled_adds_nothing_to_its_group() -> None:
    data = batches(4, 4, 4)
    cancelled, without = learner(data), learner([data[0], data[2]])
    cancelled.add(GradientAccumulation, n=2)
    without.add(GradientAccumulation, n=2)

    cancelled.fit(1, cbs=[CancelSecond()])
    without.fit(1)

    torch.testing.assert_close(weights(cancelled), weights(without))


def test_what_an_epoch_that_was_cut_short_left_is_not_taken_into_the_next_fit() -> None:
    data = batches(4, 4, 4)
    learn = learner(data)
    accumulation = learn.add(GradientAccumulation, n=2)

    def broken(pred: Tensor, yb: Tensor) -> Tensor:
        raise RuntimeError("enough")

    failing = Learner(learn.model, DataBunch(data), broken, partial(SGD, lr=0.1))
    with pytest.raises(RuntimeError, match="enough"):
        failing.fit(1)
    learn.fit(1)

    assert accumulation.samples.value == 0
    assert accumulation.held.value == ()


def test_a_loader_that_does_not_know_its_length_is_refused() -> None:
    class Stream:
        def __iter__(self) -> Iterator[Pair]:
            return iter(batches(4, 4))

    learn = Learner(nn.Linear(5, 3), DataBunch(Stream()), F.cross_entropy, partial(SGD, lr=0.1))
    learn.add(GradientAccumulation, n=2)

    with pytest.raises(BatchError, match="give it a __len__"):
        learn.fit(1)


def test_less_than_one_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 batch"):
        learner(batches(4)).add(GradientAccumulation, n=0)


def count_steps(opt: Optimizer) -> list[None]:
    steps: list[None] = []
    opt.register_step_post_hook(lambda *_: steps.append(None))
    return steps
