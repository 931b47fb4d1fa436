"""The smallest things that train: a weight, a few batches, a learner over them."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD

from typedcb import DataBunch, Learner, Loop

Pair = tuple[Tensor, Tensor]


class Weight(nn.Module):
    """Multiplies by one weight, so that its gradient is the input times whatever the loss makes of it."""

    def __init__(self, initial: float = 1.0) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(initial))

    def forward(self, xb: Tensor) -> Tensor:
        return self.w * xb


def pairs(n: int) -> list[Pair]:
    """Batches of one row each: x counts up from 1, y is 1."""
    return [(torch.tensor([float(i + 1)]), torch.ones(1)) for i in range(n)]


def total(pred: Tensor, yb: Tensor) -> Tensor:
    """A loss whose gradient is easy to know."""
    return (pred * yb).sum()


def bunch(n_train: int = 2, n_valid: int = 2) -> DataBunch[Tensor, Tensor]:
    return DataBunch(pairs(n_train), pairs(n_valid) if n_valid else None)


def learner(*cbs: Any, n_train: int = 2, n_valid: int = 2, lr: float = 1.0, **kwargs: Any) -> Learner[Any, Any, Any]:
    """A learner of a Weight."""
    return Learner(Weight(), bunch(n_train, n_valid), total, partial(SGD, lr=lr), cbs=list(cbs), **kwargs)


def own_loop(loop: Loop[Any, Any, Any], n_epochs: int = 1, n_train: int = 2, n_valid: int = 2) -> Weight:
    """Somebody's own loop over a Weight; returns what it trained."""
    model = Weight()
    opt = SGD(model.parameters(), lr=1.0)
    with loop.fit(n_epochs) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(pairs(n_train)):
                out = batch.pred(model(batch.xb))
                out.loss(total(out.pred, batch.yb)).backward().step(opt)
            with torch.no_grad():
                for held_out in epoch.validate(pairs(n_valid)):
                    seen = held_out.pred(model(held_out.xb))
                    seen.loss(total(seen.pred, held_out.yb))
    return model
