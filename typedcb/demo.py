"""The demonstration: a small convolutional network learns handwritten digits, with typed callbacks all around it.

It is what `typedcb demo` runs, and an example to read: the data, the model, a learner, one fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from typing_extensions import override

from .callback import Callback
from .callbacks.anneal import one_cycle
from .callbacks.clip import GradientClip
from .callbacks.hyper import LR
from .callbacks.progress import Progress
from .callbacks.recorder import Recorder
from .callbacks.schedule import ParamScheduler
from .callbacks.smooth import SmoothLoss
from .callbacks.stats import AvgStats, accuracy
from .data import DataBunch
from .datasets import mnist5k
from .events import BeginBatch, Phase
from .learner import Learner
from .trace import Trace


@dataclass(frozen=True)
class Standardize(Callback):
    """Brings the images to mean 0 and standard deviation 1."""

    mean: float
    """The mean of the training images."""

    std: float
    """Their standard deviation."""

    @override
    def begin_batch(self, event: BeginBatch) -> BeginBatch:
        """Replaces the batch by a standardized one."""
        return event.with_batch((event.xb - self.mean) / self.std, event.yb)


def digits(held_out: int = 1000, batch_size: int = 64) -> tuple[DataBunch[Tensor, Tensor], float, float]:
    """The digits in batches, and the mean and standard deviation of the training images."""
    images, labels = mnist5k()
    order = torch.randperm(len(images))
    train, valid = order[held_out:], order[:held_out]
    train_dl = DataLoader(TensorDataset(images[train], labels[train]), batch_size, shuffle=True, drop_last=True)
    valid_dl = DataLoader(TensorDataset(images[valid], labels[valid]), 2 * batch_size)
    return DataBunch(train_dl, valid_dl), float(images[train].mean()), float(images[train].std())


@dataclass(frozen=True)
class RandomShift(Callback):
    """Moves each training batch by a few pixels, so that the network sees no image twice in the same place."""

    phases: ClassVar[tuple[Phase, ...]] = ("train",)

    pixels: int = 2
    """The most that a batch is moved by, in each direction."""

    @override
    def begin_batch(self, event: BeginBatch) -> BeginBatch:
        """Replaces the batch by a shifted one."""
        right, down = (int(torch.randint(-self.pixels, self.pixels + 1, ())) for _ in range(2))
        return event.with_batch(torch.roll(event.xb, (down, right), (2, 3)), event.yb)


def small_cnn() -> nn.Sequential:
    """Three convolutions with batch norm, and a linear layer on what they see: 28 x 28 pixels to 10 scores."""

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        return [conv, nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]

    return nn.Sequential(*block(1, 16), *block(16, 32), *block(32, 64), nn.Flatten(), nn.Linear(64 * 3 * 3, 10))


def run(folder: Path, *, epochs: int = 8, lr: float = 0.01, seed: int = 0) -> float:
    """Trains, and writes a picture and a trace of the fit.

    Args:
        folder: Where they go; it is made when it is missing.
        epochs: How many epochs to train.
        lr: The highest learning rate of the cycle.
        seed: What makes the run repeatable.

    Returns:
        The accuracy on the held-out digits, from 0 to 1.
    """
    torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]  # torch leaves it without types
    data, mean, std = digits()
    smooth, stats = SmoothLoss(beta=0.9), AvgStats(accuracy)
    learn = Learner(
        small_cnn(),
        data,
        nn.CrossEntropyLoss(),
        partial(torch.optim.AdamW, lr=lr),
        cbs=[RandomShift(), Standardize(mean, std), smooth, stats, Progress(stats, smooth)],
        cb_funcs=[
            partial(GradientClip, clip=1.0),
            partial(ParamScheduler, param=LR, schedule=one_cycle(lr)),
        ],
    )
    recorder = learn.add(Recorder)
    trace = learn.add(Trace, folder / "fit.trace")
    print("callbacks, in the order in which they run:", " → ".join(type(callback).__name__ for callback in learn.cbs))  # noqa: T201
    learn.fit(epochs)
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / "fit.png"
    recorder.plot().savefig(picture, dpi=120)  # pyright: ignore[reportUnknownMemberType]  # matplotlib leaves its keywords without types
    reached = stats.valid(accuracy).value
    print(f"{reached:.1%} of the held-out digits are right; loss and learning rate are drawn in {picture}")  # noqa: T201
    print(f"every event is in {trace.path}; to see what happened: typedcb trace show {trace.path}")  # noqa: T201
    print(f"as a page for the browser: typedcb trace show {trace.path} --html {folder / 'trace.html'}")  # noqa: T201
    return reached
