"""Engines of several processes: what is right, and what a checker knows of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Optional

import torch.nn.functional as F
from good_learner import data
from torch import Tensor, nn
from torch.optim import SGD
from typing_extensions import assert_type, override

from typedcb import AfterEpoch, AnyCallback, CancelTrain, Learner, Loop
from typedcb.engine import ONE_DEVICE, Engine
from typedcb.engines import DDP, FSDP, TorchEngine
from typedcb.ranks import Where, here


@dataclass(frozen=True)
class OnMain(AnyCallback):
    ranks: ClassVar[Where] = "main"

    @override
    def after_epoch(self, event: AfterEpoch) -> Optional[CancelTrain]:
        return CancelTrain("enough") if event.epoch == 2 else None


def blocks(model: nn.Module) -> list[nn.Module]:
    return list(model.children())


def over_processes(engine: Engine) -> None:
    learn = Learner(nn.Linear(2, 2), data, F.cross_entropy, partial(SGD, lr=0.1), engine=engine)
    assert_type(learn, Learner[Tensor, Tensor, Tensor, nn.Linear])
    assert_type(learn.engine.world_size, int)
    Loop[Tensor, Tensor, Tensor](engine=engine)


def started() -> None:
    with TorchEngine(FSDP(units=blocks), processes=4, timeout=60) as engine:
        over_processes(engine)
    over_processes(TorchEngine(DDP(find_unused_parameters=True), device="cpu"))
    over_processes(ONE_DEVICE)


assert_type(here().total((1.0, 2)), tuple[float, ...])
