"""Training a part of a model: parameter groups that stay as they are, and a learning rate for each.

The groups are those of the optimizer, as the learner's `splitter` made them, from the layers near the input to those
near the output.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.optim import Optimizer
from typing_extensions import override

from ..callback import AnyCallback
from ..events import BeginEpoch, BeginFit
from ..needs import HasOpt
from .hyper import LR, Hyper


def freeze_to(opt: Optimizer, first: int) -> None:
    """Freezes the parameter groups before one, and unfreezes it and those after it.

    A frozen parameter takes no gradient (`requires_grad` is False), and the gradient that it has is dropped, so that no
    optimizer moves it.

    Args:
        opt: The optimizer whose groups they are.
        first: The first group that trains, from 0; a negative one counts from the end.

    Raises:
        ValueError: There is no such group.
    """
    groups = len(opt.param_groups)
    if not -groups <= first < groups:
        raise ValueError(
            f"freeze_to({first}): there are {groups} parameter groups; a learner's splitter makes more of them."
        )
    for place, group in enumerate(opt.param_groups):
        trains = place >= first % groups
        parameters: list[nn.Parameter] = group["params"]
        for parameter in parameters:
            parameter.requires_grad_(trains)
            if not trains:
                parameter.grad = None


def discriminative(opt: Optimizer, first: float, last: float, *, param: Hyper = LR) -> None:
    """Spreads a hyperparameter over the parameter groups, by a constant factor from one to the next.

    Layers near the input hold what is general and change little; Howard and Ruder 2018,
    https://arxiv.org/abs/1801.06146, section 3.2.

    Args:
        opt: The optimizer whose groups they are.
        first: The value of the first group, above 0.
        last: The value of the last group, above 0; a single group has this one.
        param: Which hyperparameter.

    Raises:
        ValueError: A value is not above 0, or the optimizer has no such hyperparameter.
    """
    if first <= 0 or last <= 0:
        raise ValueError(f"discriminative({first}, {last}): both values have to be above 0.")
    param.check(opt)
    steps = len(opt.param_groups) - 1
    for place, group in enumerate(opt.param_groups):
        param.write(group, last * (first / last) ** ((steps - place) / steps) if steps else last)


@dataclass(frozen=True)
class Freeze(AnyCallback):
    """Freezes the first parameter groups when a fit begins. They stay frozen after it; `Unfreeze` brings them back."""

    learn: HasOpt
    """Whose optimizer's groups they are; `learn.add` and `cb_funcs` fill it in."""

    first: int = -1
    """The first group that trains; by default the last group alone does."""

    @override
    def begin_fit(self, event: BeginFit) -> None:
        """Freezes the groups."""
        freeze_to(self.learn.opt, self.first)


@dataclass(frozen=True)
class Unfreeze(AnyCallback):
    """Unfreezes parameter groups when an epoch begins, as in gradual unfreezing."""

    learn: HasOpt
    """Whose optimizer's groups they are; `learn.add` and `cb_funcs` fill it in."""

    epoch: int
    """The epoch that begins with them, from 0."""

    first: int = 0
    """The first group that trains from then on; by default all do."""

    @override
    def begin_epoch(self, event: BeginEpoch) -> None:
        """Unfreezes the groups, when it is their epoch."""
        if event.epoch == self.epoch:
            freeze_to(self.learn.opt, self.first)
