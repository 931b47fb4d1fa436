"""GradientClip: torch's own clipping, at the right moment."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

from typedcb import DataBunch, Learner, Loop
from typedcb.callbacks import GradientClip
from typedcb.needs import Parts

Pair = tuple[Tensor, Tensor]


def batches() -> list[Pair]:
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(6, 5, generator=generator) * 10, torch.arange(6) % 3) for _ in range(4)]


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))


def by_hand(clip: float) -> list[Tensor]:
    """The weights of a loop that clips by itself."""
    net = model()
    opt = SGD(net.parameters(), lr=0.1)
    for xb, yb in batches():
        F.cross_entropy(net(xb), yb).backward()
        nn.utils.clip_grad_norm_(net.parameters(), clip)
        opt.step()
        opt.zero_grad()
    return [parameter.detach() for parameter in net.parameters()]


@pytest.mark.parametrize("clip", [0.1, 1.0, 1e6])
def test_a_clipped_fit_ends_with_the_weights_of_a_loop_that_clips_by_hand(clip: float) -> None:
    learn = Learner(model(), DataBunch(batches()), F.cross_entropy, partial(SGD, lr=0.1))
    learn.add(GradientClip, clip=clip)

    learn.fit(1)

    assert all(map(torch.equal, by_hand(clip), learn.model.parameters()))


def test_it_runs_in_a_loop_of_ones_own() -> None:
    net = model()
    opt = SGD(net.parameters(), lr=0.1)
    loop = Loop[Tensor, Tensor, Tensor]([GradientClip(Parts(net, opt), clip=0.1)])

    with loop.fit(1) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(batches()):
                out = batch.pred(net(batch.xb))
                out.loss(F.cross_entropy(out.pred, out.yb)).backward().step(opt)

    assert all(map(torch.equal, by_hand(0.1), net.parameters()))


@pytest.mark.parametrize("clip", [0.0, -1.0, float("nan")])
def test_a_norm_that_lets_nothing_through_is_refused(clip: float) -> None:
    net = model()
    with pytest.raises(ValueError, match="has to be above 0"):
        GradientClip(Parts(net, SGD(net.parameters(), lr=0.1)), clip=clip)
