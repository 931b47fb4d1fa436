"""Gradient accumulation: a small language model learns, character by character, how Python is written about.

The text is the reference that `help()` shows, which every Python carries. The batches are small, as where memory is
short, and `GradientAccumulation` takes a step for several of them: the same step that one large batch would give. What
stands behind it, clipping and the schedule, sees those steps alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pydoc_data.topics import topics

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW
from typing_extensions import override

from typedcb import AfterEpoch, AnyCallback, Loop, Series, series
from typedcb.callbacks import LR, AvgStats, GradientAccumulation, GradientClip, ParamScheduler, one_cycle
from typedcb.needs import Parts

ALPHABET = "\n" + "".join(map(chr, range(32, 127)))
"""What the model reads and writes: a line's end and the printable characters of ASCII."""

Batch = tuple[Tensor, Tensor]
"""The characters of a batch, and the character after each; both of shape (samples, characters)."""


def reference(n_characters: int) -> Tensor:
    """The beginning of Python's reference, as indices into ALPHABET; what is not in it is left out."""
    text = "\n".join(topics[name] for name in sorted(topics))
    place = {character: index for index, character in enumerate(ALPHABET)}
    return torch.tensor([place[character] for character in text if character in place][:n_characters])


def batches(text: Tensor, samples: int, length: int = 64) -> list[Batch]:
    """The text in batches, the last of them smaller: each sample is a stretch of the text, and comes once."""
    n = (len(text) - 1) // length
    inputs, targets = text[: n * length].reshape(n, length), text[1 : n * length + 1].reshape(n, length)
    order = torch.randperm(n)
    return [(inputs[some], targets[some]) for some in torch.split(order, samples)]


class CharModel(nn.Module):
    """A recurrent network: from (samples, characters) to scores of shape (samples, characters, alphabet)."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.embed = nn.Embedding(len(ALPHABET), 32)
        self.recur = nn.GRU(32, width, batch_first=True)
        self.score = nn.Linear(width, len(ALPHABET))

    @override
    def forward(self, characters: Tensor) -> Tensor:
        """The scores of each next character."""
        embedded: Tensor = self.embed(characters)
        states: Tensor = self.recur(embedded)[0]
        scores: Tensor = self.score(states)
        return scores


def loss_of(pred: Tensor, yb: Tensor) -> Tensor:
    """The mean cross-entropy of the characters, in nats."""
    return F.cross_entropy(pred.flatten(0, 1), yb.flatten())


@dataclass(frozen=True)
class Perplexity(AnyCallback):
    """Notes, after each epoch, among how many characters the model hesitates: the exponential of its mean loss."""

    stats: AvgStats
    """Whose validation loss it is."""

    seen: Series[float] = series()
    """The perplexity after each epoch."""

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        """Notes it."""
        self.seen.append(math.exp(self.stats.valid_loss.value))
        print(f"epoch {event.epoch}: perplexity {self.seen[-1]:.2f}")


def train(n_epochs: int = 6, *, samples: int = 8, accumulate: int = 4, n_characters: int = 120_000) -> Perplexity:
    """Trains, and returns the perplexity on the last tenth of the text, epoch by epoch.

    Args:
        n_epochs: How many epochs.
        samples: How many samples a batch has.
        accumulate: For how many batches a step is taken.
        n_characters: How much of the reference is read.
    """
    text = reference(n_characters)
    held_out = len(text) // 10
    train_dl, valid_dl = batches(text[:-held_out], samples), batches(text[-held_out:], 4 * samples)
    model = CharModel()
    opt = AdamW(model.parameters(), lr=0.01)

    parts = Parts(model, opt)
    stats = AvgStats()
    perplexity = Perplexity(stats)
    loop = Loop[Tensor, Tensor, Tensor](
        [
            stats,
            perplexity,
            GradientAccumulation(parts, n=accumulate),
            GradientClip(parts, clip=1.0),
            ParamScheduler(parts, LR, one_cycle(0.01)),
        ]
    )
    with loop.fit(n_epochs) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(train_dl):
                out = batch.pred(model(batch.xb))
                out.loss(loss_of(out.pred, out.yb)).backward().step(opt)  # a step for every fourth batch
            with torch.no_grad():
                for unseen in epoch.validate(valid_dl):
                    seen = unseen.pred(model(unseen.xb))
                    seen.loss(loss_of(seen.pred, seen.yb))
    return perplexity


if __name__ == "__main__":
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]  # torch leaves it without types
    train()
