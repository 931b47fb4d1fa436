"""Frozen groups stay bit for bit, and rates spread over groups as stated."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

from typedcb import DataBunch, Learner
from typedcb.callbacks import WEIGHT_DECAY, Freeze, Unfreeze, discriminative, freeze_to

Pair = tuple[Tensor, Tensor]
BATCHES: list[Pair] = [(torch.ones(6, 5), torch.arange(6) % 3) for _ in range(3)]


def learner(groups: int = 3) -> Learner[Tensor, Tensor, Tensor, nn.Sequential]:
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(5, 5) for _ in range(groups - 1)), nn.Linear(5, 3))
    opt = partial(SGD, lr=0.1, momentum=0.9, weight_decay=0.1)
    return Learner(
        model, DataBunch(BATCHES), F.cross_entropy, opt, splitter=lambda net: [layer.parameters() for layer in net]
    )


def moved(learn: Learner[Tensor, Tensor, Tensor, nn.Sequential], before: list[Tensor]) -> list[bool]:
    return [not torch.equal(old, layer.weight) for old, layer in zip(before, learn.model, strict=True)]


def weights(learn: Learner[Tensor, Tensor, Tensor, nn.Sequential]) -> list[Tensor]:
    return [layer.weight.detach().clone() for layer in learn.model]


def test_frozen_groups_do_not_move_not_even_by_weight_decay_or_momentum() -> None:
    learn = learner()
    learn.fit(1)  # gives all of them momentum
    before = weights(learn)

    learn.fit(1, cb_funcs=[Freeze])

    assert moved(learn, before) == [False, False, True]


def test_groups_unfreeze_when_their_epoch_begins() -> None:
    learn = learner()
    before = weights(learn)
    learn.fit(1, cb_funcs=[Freeze, partial(Unfreeze, epoch=1, first=-2)])
    assert moved(learn, before) == [False, False, True]

    learn.fit(2, cb_funcs=[Freeze, partial(Unfreeze, epoch=1, first=-2)])

    assert moved(learn, before) == [False, True, True]


def test_a_group_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="there are 3 parameter groups"):
        freeze_to(learner().opt, 3)


def test_rates_grow_by_a_constant_factor_from_group_to_group() -> None:
    learn = learner()

    discriminative(learn.opt, 1e-4, 1e-2)

    assert [group["lr"] for group in learn.opt.param_groups] == pytest.approx([1e-4, 1e-3, 1e-2])


def test_a_single_group_has_the_last_value() -> None:
    learn = learner(groups=1)

    discriminative(learn.opt, 1e-4, 1e-2, param=WEIGHT_DECAY)

    assert learn.opt.param_groups[0]["weight_decay"] == 1e-2


@pytest.mark.parametrize(("first", "last"), [(0.0, 1.0), (1.0, -1.0)])
def test_rates_that_no_factor_joins_are_refused(first: float, last: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        discriminative(learner().opt, first, last)
