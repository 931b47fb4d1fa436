"""Two objectives in one batch: a generator of handwritten digits, and the critic that it learns from.

The generator makes images of noise; the critic learns to tell them from real ones, and the generator to be taken for
real (Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661, with the loss of its section 3 that does not saturate).
Each is an `Objective`, with its optimizer, its callbacks, and its own kind of prediction: the critic's is a pair of
scores, of real images and of made ones.

How good the made images are is measured without a further network: by the Fréchet distance between real and made ones
in their principal components, and by how many of the ten digits are among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam
from torch.utils.data import DataLoader, TensorDataset
from typing_extensions import override

from typedcb import AfterEpoch, AnyCallback, Loop, Objective, Series, series
from typedcb.callbacks import EMA, AvgStats, GradientClip, SmoothLoss
from typedcb.datasets import mnist5k
from typedcb.needs import Parts

N_NOISE = 32
N_PIXELS = 14 * 14


class Scores(NamedTuple):
    """What the critic makes of a batch: two forward passes, each of shape (samples, 1)."""

    real: Tensor
    made: Tensor


def critic_loss(scores: Scores) -> Tensor:
    """Low when real images score high and made ones low; 0.9 in place of 1 keeps the critic from being too sure."""
    real = F.binary_cross_entropy_with_logits(scores.real, torch.full_like(scores.real, 0.9))
    made = F.binary_cross_entropy_with_logits(scores.made, torch.zeros_like(scores.made))
    return real + made


def generator_loss(score: Tensor) -> Tensor:
    """Low when the critic takes the made images for real."""
    return F.binary_cross_entropy_with_logits(score, torch.ones_like(score))


def told_apart(scores: Scores, made: Tensor) -> Tensor:
    """The share of images, real and made, on which the critic is right."""
    return ((scores.real > 0).float().mean() + (scores.made < 0).float().mean()) / 2


@dataclass(frozen=True)
class Watch(AnyCallback):
    """Measures the made images after each epoch: a callback of the loop, which reads what both objectives measure."""

    critic: AvgStats[Tensor, Scores]
    """What the critic's epoch came to."""

    generator: SmoothLoss
    """How the generator's loss is."""

    quality: Quality
    """What measures."""

    made_by: EMA
    """The averaged weights of the generator, which make better images than the last ones."""

    distances: Series[float] = series()
    """The Fréchet distance after each epoch."""

    digits: Series[int] = series()
    """How many digits there were after each epoch."""

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        """Measures."""
        averaged = self.made_by.averaged.value
        if averaged is None:
            return
        with torch.no_grad():
            images: Tensor = averaged(torch.randn(1000, N_NOISE))
        self.distances.append(self.quality.distance(images))
        self.digits.append(self.quality.digits(images))
        told = self.critic.train_metrics.value[0]
        print(
            f"epoch {event.epoch:2}: the critic is right on {told:.0%}, the generator's loss is "
            f"{self.generator.value:.2f}; distance {self.distances[-1]:.1f}, {self.digits[-1]} of 10 digits"
        )


class Quality:
    """Compares images with real ones.

    Args:
        images: Real ones, of shape (samples, pixels).
        labels: The digits on them.
    """

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self._mean = images.mean(0)
        self._components = torch.pca_lowrank(images, q=32, niter=4)[2]
        features = self._features(images)
        self._features_mean, self._covariance = features.mean(0), features.T.cov()
        self._digit_means = torch.stack([features[labels == digit].mean(0) for digit in range(10)])

    def distance(self, images: Tensor) -> float:
        """The Fréchet distance between two normal distributions, fitted to real images and to these.

        Heusel et al. 2017 (https://arxiv.org/abs/1706.08500) take it over a network's features, this takes it over 32
        principal components. 0 is best.
        """
        features = self._features(images)
        apart = (features.mean(0) - self._features_mean).square().sum()
        covariance = features.T.cov()
        squares = eigenvalues(covariance @ self._covariance)
        return float(apart + covariance.trace() + self._covariance.trace() - 2 * squares.real.clamp(min=0).sqrt().sum())

    def digits(self, images: Tensor) -> int:
        """How many of the ten digits are among the images: the nearest mean of at least 2 in 100 of them."""
        nearest = torch.cdist(self._features(images), self._digit_means).argmin(1)
        return int((nearest.bincount(minlength=10) >= 0.02 * len(images)).sum())

    def _features(self, images: Tensor) -> Tensor:
        return (images - self._mean) @ self._components


def eigenvalues(matrix: Tensor) -> Tensor:
    """The eigenvalues of a square matrix, as complex numbers."""
    return torch.linalg.eigvals(matrix)  # type: ignore[no-any-return]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # torch leaves it without types


def networks() -> tuple[nn.Sequential, nn.Sequential]:
    """The critic, from pixels to a score, and the generator, from noise to pixels in [0, 1]."""
    critic = nn.Sequential(
        *(nn.Linear(N_PIXELS, 256), nn.LeakyReLU(0.2), nn.Dropout(0.3)),
        *(nn.Linear(256, 128), nn.LeakyReLU(0.2), nn.Dropout(0.3)),
        nn.Linear(128, 1),
    )
    generator = nn.Sequential(
        *(nn.Linear(N_NOISE, 128), nn.BatchNorm1d(128), nn.ReLU()),
        *(nn.Linear(128, 256), nn.BatchNorm1d(256), nn.ReLU()),
        *(nn.Linear(256, N_PIXELS), nn.Sigmoid()),
    )
    return critic, generator


def train(n_epochs: int = 30) -> Watch:
    """Trains, and returns what watched."""
    images, labels = mnist5k()
    images = F.avg_pool2d(images, 2).flatten(1)
    dl = DataLoader(TensorDataset(images, labels), batch_size=64, shuffle=True, drop_last=True)

    critic_net, generator_net = networks()
    critic_opt, generator_opt = (Adam(net.parameters(), 0.001, (0.5, 0.999)) for net in (critic_net, generator_net))
    stats, smooth = AvgStats(told_apart), SmoothLoss()
    averaged = EMA(Parts(generator_net, generator_opt), decay=0.99)
    clip = partial(GradientClip, clip=5.0)  # made once for each objective, for its own model
    critic = Objective[Tensor, Tensor, Scores](critic_net, critic_opt, [stats], [clip], name="the critic")
    generator = Objective[Tensor, Tensor, Tensor](
        generator_net, generator_opt, [smooth, averaged], [clip], name="the generator"
    )
    watch = Watch(stats, smooth, Quality(images, labels), averaged)
    loop = Loop[Tensor, Tensor]([watch], objectives=[critic, generator])

    with loop.fit(n_epochs) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(dl):
                with torch.no_grad():
                    made = generator_net(torch.randn(len(batch.xb), N_NOISE))
                turn = batch.turn(critic, batch.xb, made)
                scores = turn.pred(Scores(critic_net(turn.xb), critic_net(turn.yb)))
                scores.loss(critic_loss(scores.pred)).backward().step()

                other = batch.turn(generator, torch.randn(len(batch.xb), N_NOISE), batch.yb)
                out = other.pred(critic_net(generator_net(other.xb)))
                out.loss(generator_loss(out.pred)).backward().step()  # the critic gets no gradient of this
    return watch


if __name__ == "__main__":
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]  # torch leaves it without types
    train()
