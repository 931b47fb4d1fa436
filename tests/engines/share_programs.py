"""What the tests of a rank's own share run in several processes; each prints what it has found as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset, TensorDataset

from typedcb import DataBunch, EngineError, Learner, Loop
from typedcb.callbacks import AvgStats, GradientAccumulation
from typedcb.engines import TorchEngine
from typedcb.ranks import here

SAMPLES = torch.randn(24, 3, generator=torch.Generator().manual_seed(1))
TARGETS = SAMPLES.sum(1, keepdim=True)
PER_RANK = 4


class Sharded(IterableDataset[tuple[Tensor, Tensor]]):
    """Samples of which each rank reads its own part, by the number that it is; the ranks may have different ones."""

    def __init__(self, rank: int, world_size: int, uneven: bool) -> None:
        self.range = range(rank, 24 - 8 * (uneven and rank), world_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return ((SAMPLES[index], TARGETS[index]) for index in self.range)


def loader(kind: str, engine: TorchEngine) -> Any:
    """A rank's own loader of one kind, with batches that all ranks together have as `whole` has."""
    data = TensorDataset(SAMPLES, TARGETS)
    if kind == "sampler":
        own = DistributedSampler(data, engine.world_size, engine.rank, shuffle=False)
        return DataLoader(data, PER_RANK, sampler=own)
    if kind == "whole":
        return DataLoader(data, PER_RANK * engine.world_size)
    return DataLoader(Sharded(engine.rank, engine.world_size, kind == "uneven"), PER_RANK)


def trained(engine: TorchEngine, train_dl: Any, valid_dl: Any) -> dict[str, Any]:
    """A loop of one's own over some loaders."""
    torch.manual_seed(0)
    net = nn.Linear(3, 1)
    engine.prepare(net, None)
    opt, stats = SGD(net.parameters(), lr=0.1), AvgStats()
    with Loop[Any, Any, Any]([stats], engine=engine).fit(2) as fit:
        for epoch in fit.epochs():
            steps, forward = engine.steps(opt), engine.forward(net)
            for batch in epoch.train(train_dl):
                out = batch.pred(forward(batch.xb))
                out.loss(F.mse_loss(out.pred, out.yb)).backward().step(steps)
            with torch.no_grad():
                for held_out in epoch.validate(valid_dl):
                    seen = held_out.pred(net(held_out.xb))
                    seen.loss(F.mse_loss(seen.pred, seen.yb))
    return {"weights": [*net.weight.flatten().tolist(), *net.bias.tolist()], "row": stats.row}


def learned(engine: TorchEngine, train_dl: Any) -> list[float]:
    """A learner over a loader, whose gradients go through the sum of two batches."""
    torch.manual_seed(0)
    data: DataBunch[Tensor, Tensor] = DataBunch(train_dl)
    learn: Any = Learner(nn.Linear(3, 1), data, F.mse_loss, partial(SGD, lr=0.1), engine=engine)
    learn.add(GradientAccumulation, n=2)
    learn.fit(2)
    return [*learn.model.weight.flatten().tolist(), *learn.model.bias.tolist()]


def shares() -> dict[str, Any]:
    """What is trained on shares of one's own, and on those of the engine."""
    with TorchEngine(timeout=60) as engine:
        split = engine.split("train_dl", loader("whole", engine))
        found: dict[str, Any] = {"split": trained(engine, split, split), "learned split": learned(engine, split)}
        for kind in ("sampler", "iterable"):
            own = engine.presplit("train_dl", loader(kind, engine))
            found[kind] = trained(engine, own, own)
        found["learned own"] = learned(engine, engine.presplit("train_dl", loader("sampler", engine)))
        # batches of the engine that weigh differently stand before one's own, which weigh the same
        uneven = engine.split("valid_dl", [(SAMPLES[:7], TARGETS[:7])])
        found["behind uneven ones"] = trained(engine, engine.presplit("train_dl", loader("sampler", engine)), uneven)
        found["rank"] = here().rank
    return found


def refused(how: str) -> dict[str, Any]:
    """What is said of a loader that every rank would have the whole of, or of shares of which one rank has more."""
    engine = TorchEngine(timeout=60)
    split, raw = engine.split("train_dl", loader("whole", engine)), loader("whole", engine)
    try:
        trained(engine, engine.presplit("train_dl", loader("uneven", engine)) if how == "uneven" else raw, split)
    except EngineError as error:
        return {"error": str(error), "notes": error.__notes__}
    return {}


if __name__ == "__main__":
    torch.manual_seed(0)
    print(json.dumps(shares() if sys.argv[1] == "shares" else refused(sys.argv[2])))  # noqa: T201  # what the tests read
