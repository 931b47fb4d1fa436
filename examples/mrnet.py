"""Changing the batch: an MRI study is a stack of slices, and the network takes the stack as its batch.

The loader gives a batch of one study, of shape (1, slices, channels, height, width). `OneStudy` takes the leading
dimension away, so that the model sees the slices as a batch of images; the model makes one score of all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from typing_extensions import override

from typedcb import BeginBatch, Callback, DataBunch, Learner
from typedcb.callbacks import AvgStats, GradientClip, Progress


@dataclass(frozen=True)
class OneStudy(Callback):
    """Takes the leading dimension, which is 1, away from the inputs."""

    @override
    def begin_batch(self, event: BeginBatch) -> BeginBatch:
        """Replaces the batch."""
        return event.with_batch(event.xb.squeeze(0), event.yb)


class SliceNet(nn.Module):
    """Scores a study by its most conspicuous slice."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.score = nn.Linear(8, 1)

    @override
    def forward(self, slices: Tensor) -> Tensor:
        """From (slices, channels, height, width) to one logit of shape (1, 1)."""
        seen: Tensor = self.features(slices)
        logits: Tensor = self.score(seen.flatten(1).max(0, keepdim=True).values)
        return logits


def studies(number: int) -> DataLoader[tuple[Tensor, ...]]:
    """Made-up studies: in those of class 1 a bright spot is in one of the slices."""
    images = torch.randn(number, 6, 1, 16, 16)
    labels = torch.arange(number) % 2
    images[labels == 1, 2, :, 4:8, 4:8] += 4
    return DataLoader(TensorDataset(images, labels.float().reshape(-1, 1)), batch_size=1, shuffle=True)


def right(pred: Tensor, yb: Tensor) -> Tensor:
    """The share of studies whose logit has the right sign."""
    return ((pred > 0).float() == yb).float().mean()


def train(epochs: int = 5) -> float:
    """Trains, and returns the share of held-out studies that are right."""
    stats = AvgStats(right)
    learn = Learner(
        SliceNet(1),
        DataBunch(studies(60), studies(30)),
        nn.BCEWithLogitsLoss(),
        partial(torch.optim.Adam, lr=0.01),
        cbs=[OneStudy(), stats, Progress(stats)],
        cb_funcs=[partial(GradientClip, clip=1.0)],
    )
    learn.fit(epochs)
    return stats.valid(right).value


if __name__ == "__main__":
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]  # torch leaves it without types
    print(f"{train():.0%} of the held-out studies are right")
