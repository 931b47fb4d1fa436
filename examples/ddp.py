"""A small network on real digits, in as many processes as torchrun starts:

    torchrun --nproc-per-node 2 examples/ddp.py

The batches, the steps and the figures are those of one process, whatever the number.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils.data import DataLoader, TensorDataset

from typedcb import DataBunch, Learner
from typedcb.callbacks import AvgStats, EarlyStopping, Progress, accuracy
from typedcb.datasets import mnist5k
from typedcb.engines import TorchEngine

if TYPE_CHECKING:
    from typedcb.engine import Engine


def loaders() -> DataBunch[Tensor, Tensor]:
    """4,000 digits to train on and 1,000 to measure with; `batch_size` is that of all processes together."""
    images, digits = mnist5k()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))  # the same on all ranks
    both = [TensorDataset(images[rows], digits[rows]) for rows in (order[1000:], order[:1000])]
    train, valid = (DataLoader(one, batch_size=64, shuffle=True) for one in both)
    return DataBunch(train, valid)


def train(engine: Engine, n_epochs: int = 3) -> float:
    """Trains, and returns the share of the held-out digits that are right."""
    stats = AvgStats(accuracy)
    learn = Learner(
        nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10)),
        loaders(),
        F.cross_entropy,
        partial(SGD, lr=0.1, momentum=0.9),
        cbs=[stats, EarlyStopping(stats.valid_loss, mode="min"), Progress(stats)],  # Progress shows on rank 0 alone
        engine=engine,
    )
    learn.fit(n_epochs)
    return stats.valid_metrics.value[0]


if __name__ == "__main__":
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]  # torch leaves its argument untyped
    with TorchEngine() as started:
        right = train(started)
        if started.rank == 0:
            print(f"{right:.1%} of the held-out digits are right")
