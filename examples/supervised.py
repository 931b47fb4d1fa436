"""A loop of one's own, plain: a small network learns to read handwritten digits.

The loop is yours from the first line to the last, and callbacks do what one would else write into it: the means of an
epoch, the learning rate of one cycle, clipping, keeping the best weights, and stopping when nothing gets better.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW
from torch.utils.data import DataLoader, TensorDataset

from typedcb import Loop
from typedcb.callbacks import AvgStats, EarlyStopping, GradientClip, OneCycle, Progress, SaveBest, accuracy
from typedcb.datasets import mnist5k
from typedcb.needs import Parts


def digits(held_out: int = 1000) -> tuple[DataLoader[tuple[Tensor, ...]], DataLoader[tuple[Tensor, ...]]]:
    """Training and validation batches: images of 14 x 14 pixels, and the digits on them."""
    images, labels = mnist5k()
    images = F.avg_pool2d(images, 2)
    order = torch.randperm(len(images))
    train, valid = order[held_out:], order[:held_out]
    return (
        DataLoader(TensorDataset(images[train], labels[train]), batch_size=64, shuffle=True),
        DataLoader(TensorDataset(images[valid], labels[valid]), batch_size=256),
    )


def network() -> nn.Sequential:
    """Two convolutions and a linear layer: from (samples, 1, 14, 14) to (samples, 10)."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 3 * 3, 10)),
    )


def train(n_epochs: int = 5) -> float:
    """Trains, and returns the share of held-out digits that are right with the best weights."""
    train_dl, valid_dl = digits()
    model = network()
    opt = AdamW(model.parameters(), lr=0.001)

    parts = Parts(model, opt)  # what some callbacks work on
    stats = AvgStats(accuracy)
    best = SaveBest(parts, stats.valid(accuracy), mode="max")  # the weights of the best epoch are back after the fit
    loop = Loop[Tensor, Tensor, Tensor](
        [
            stats,
            Progress(stats),
            GradientClip(parts, clip=1.0),
            OneCycle(parts, highest=0.01),
            best,
            EarlyStopping(stats.valid_loss, mode="min", patience=3),
        ]
    )
    with loop.fit(n_epochs) as fit:
        for epoch in fit.epochs():
            model.train()
            for batch in epoch.train(train_dl):
                out = batch.pred(model(batch.xb))
                loss = out.loss(F.cross_entropy(out.pred, out.yb))
                loss.backward().step(opt)
            model.eval()
            with torch.no_grad():
                for held_out in epoch.validate(valid_dl):
                    seen = held_out.pred(model(held_out.xb))
                    seen.loss(F.cross_entropy(seen.pred, seen.yb))
    return best.best.value


if __name__ == "__main__":
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]  # torch leaves it without types
    print(f"{train():.1%} of the held-out digits are right")
