"""A small run with everything in it that draws random numbers or keeps state."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from recording import EveryHook, Seen
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from typedcb import AnyCallback, DataBunch, Learner, Series, series
from typedcb.callbacks import (
    EMA,
    LR,
    AvgStats,
    Checkpoint,
    EarlyStopping,
    GradientAccumulation,
    MixedPrecision,
    ParamScheduler,
    Recorder,
    SmoothLoss,
    accuracy,
    cosine,
)
from typedcb.dependencies import own_states
from typedcb.randomness import random_states, saves_itself
from typedcb.store import draft
from typedcb.tree import Tree


class Noisy(Dataset[tuple[Tensor, int]]):
    """Samples that are augmented by the random numbers of torch, of Python and of numpy."""

    def __init__(self, n: int = 14) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        noise = torch.randn(6) * 0.1 + random.random() * 0.01 + np.random.rand() * 0.01
        return torch.linspace(-1, 1, 6) * (index % 3 - 1) + noise.float(), index % 3


@dataclass(frozen=True)
class Events(EveryHook):
    """Writes down all events, and is saved with them."""

    order: ClassVar[int] = -99  # behind MixedPrecision, which unscales the gradients

    told: Series[str] = series()

    def decide(self, hook: str, event: Any) -> None:
        self.told.append("|".join(map(str, Seen.of(hook, event))))


@dataclass(frozen=True)
class Draws(AnyCallback):
    """Draws from torch's generator after each batch, as a callback that mixes or augments does."""

    drawn: Series[float] = series()

    def after_batch(self, event: Any) -> None:
        self.drawn.append(float(torch.rand(())))


def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))


def run(
    folder: Path | None = None,
    *,
    opt: Any = partial(torch.optim.SGD, lr=0.1, momentum=0.9),
    workers: int = 0,
    own_generator: bool = False,
    cbs: tuple[Any, ...] = (),
    loader: Any = DataLoader,
    data_set: Noisy | None = None,
    **checkpoint: Any,
) -> Learner[Any, Any, Any, Any]:
    """A learner, its random states those of a fresh start."""
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    generator = torch.Generator().manual_seed(5) if own_generator else None
    more: dict[str, Any] = {"generator": generator} if own_generator else {}
    samples = data_set or Noisy()
    data = DataBunch[Tensor, Tensor](
        loader(samples, batch_size=3, shuffle=True, num_workers=workers, **more),
        loader(samples, batch_size=5, num_workers=workers),
    )
    learn: Any = Learner(model(), data, F.cross_entropy, opt)
    stats, smooth = AvgStats(accuracy), SmoothLoss()
    learn._attach((Events(), stats, smooth, SmoothLoss(beta=0.5), EarlyStopping(stats.valid_loss, "min", 50), Draws()))
    learn.add(GradientAccumulation, 2)
    learn.add(MixedPrecision)
    learn.add(EMA, 0.9)
    learn.add(Recorder)
    learn.add(ParamScheduler, LR, cosine(0.1, 0.001))
    learn._attach(cbs)
    if folder is not None:
        learn.add(Checkpoint, folder, **checkpoint)
    return learn


def everything(learn: Learner[Any, Any, Any, Any]) -> dict[str, Any]:
    """All that training has made, by name, as what can be compared."""
    found: dict[str, Any] = {"model": flat(learn.model.state_dict()), "opt": flat(learn.opt.state_dict())}
    counts: dict[str, int] = {}
    for callback in learn.cbs:
        name = type(callback).__name__
        if name == "Checkpoint":
            continue
        counts[name] = counts.get(name, 0) + 1
        for field, state in own_states(callback).items():
            value: Any = getattr(state, "value", None)
            if state.saved:
                own = saves_itself(value)
                found[f"{name}{counts[name]}.{field}"] = flat(own.state_dict() if own else value)
    found["random"] = flat(random_states())
    return found


def flat(value: Tree) -> Any:
    """A value with the bits of its tensors in place of them."""
    if isinstance(value, Tensor):
        return str(value.dtype), tuple(value.shape), value.detach().contiguous().view(-1).view(torch.uint8).tolist()
    if isinstance(value, dict):
        return {key: flat(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [flat(item) for item in value]
    return repr(value)


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return [name for name in {**one, **other} if one.get(name) != other.get(name)]


__all__ = ["Draws", "Events", "Noisy", "differing", "draft", "everything", "flat", "model", "run"]
