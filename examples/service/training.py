"""What the service trains: a small network on handwritten digits, in a loop of its own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW

from typedcb import AnyCallback, FitOutcome, Loop
from typedcb.callbacks import AvgStats, SmoothLoss
from typedcb.datasets import mnist5k


def fit_digits(n_epochs: int, stats: AvgStats, smooth: SmoothLoss, callbacks: tuple[AnyCallback, ...]) -> FitOutcome:
    """Trains for so many epochs.

    Args:
        n_epochs: How many.
        stats: Takes the means of each epoch.
        smooth: Takes the smoothed loss.
        callbacks: More callbacks; those of the service are among them.

    Returns:
        How it ended.
    """
    images, labels = mnist5k()
    images = F.avg_pool2d(images, 4).flatten(1)
    order = torch.randperm(len(images))
    pairs = [(images[some], labels[some]) for some in torch.split(order, 50)]
    train, valid = pairs[:80], pairs[80:]
    model = nn.Sequential(nn.Linear(7 * 7, 64), nn.ReLU(), nn.Linear(64, 10))
    opt = AdamW(model.parameters(), lr=0.005)

    loop = Loop[Tensor, Tensor, Tensor]([stats, smooth, *callbacks])
    with loop.fit(n_epochs) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(train):
                out = batch.pred(model(batch.xb))
                out.loss(F.cross_entropy(out.pred, out.yb)).backward().step(opt)
            with torch.no_grad():
                for held_out in epoch.validate(valid):
                    seen = held_out.pred(model(held_out.xb))
                    seen.loss(F.cross_entropy(seen.pred, seen.yb))
    return fit.outcome
