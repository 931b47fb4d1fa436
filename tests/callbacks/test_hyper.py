"""Hyperparameters: where optimizers keep them, and that reading gives what was written."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adadelta, Adagrad, Adam, AdamW, Optimizer, RMSprop

from typedcb.callbacks import LR, MOMENTUM, WEIGHT_DECAY, Hyper


def opt(kind: Any, **settings: Any) -> Optimizer:
    made: Optimizer = kind([nn.Parameter(torch.ones(2))], **settings)
    return made


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW, RMSprop])
@pytest.mark.parametrize("hyper", [LR, MOMENTUM, WEIGHT_DECAY])
def test_what_is_written_is_read(kind: Any, hyper: Hyper) -> None:
    made = opt(kind, lr=0.1)
    hyper.check(made)
    hyper.write(made.param_groups[0], 0.25)
    assert hyper.read(made.param_groups[0]) == 0.25


def test_momentum_is_the_first_beta_and_leaves_the_others() -> None:
    group = opt(AdamW, lr=0.1, betas=(0.9, 0.99)).param_groups[0]
    assert MOMENTUM.read(group) == 0.9
    MOMENTUM.write(group, 0.85)
    assert group["betas"] == (0.85, 0.99)
    assert "momentum" not in group


def test_another_key_is_a_hyper_of_ones_own() -> None:
    made = opt(Adadelta, rho=0.9)
    rho = Hyper("rho")
    rho.check(made)
    assert rho.read(made.param_groups[0]) == 0.9


def test_a_learning_rate_that_is_a_tensor_stays_that_tensor() -> None:
    lr = torch.tensor(0.1)
    group = opt(SGD, lr=lr).param_groups[0]
    LR.write(group, 0.25)
    assert group["lr"] is lr
    assert LR.read(group) == 0.25


def test_an_optimizer_without_it_is_refused_with_what_it_has() -> None:
    with pytest.raises(ValueError, match="Adagrad has no momentum to schedule; it has lr, lr_decay, eps"):
        MOMENTUM.check(opt(Adagrad))
    with pytest.raises(ValueError, match="SGD has no learning_rate to schedule; it has lr, momentum"):
        Hyper("learning_rate").check(opt(SGD, lr=0.1))


def test_hypers_of_one_key_are_equal() -> None:
    assert Hyper("lr") == LR != WEIGHT_DECAY
