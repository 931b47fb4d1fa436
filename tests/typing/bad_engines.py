"""Mistakes with engines of several processes.

Every line marked `# error` must be reported by every type checker, and no other line.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch.nn.functional as F
from accelerate import Accelerator
from good_learner import data
from torch import nn
from torch.optim import SGD

from typedcb import AnyCallback, Learner
from typedcb.engine import Engine
from typedcb.engines import DDP, FSDP, AccelerateEngine, TorchEngine
from typedcb.ranks import Where, here

# An engine is an instance that has joined the processes.
Learner(nn.Linear(2, 2), data, F.cross_entropy, partial(SGD, lr=0.1), engine=TorchEngine)  # error
Learner(nn.Linear(2, 2), data, F.cross_entropy, partial(SGD, lr=0.1), engine="ddp")  # error

# A strategy is one of two classes, each with settings of its own.
TorchEngine("fsdp")  # error
TorchEngine(DDP)  # error
DDP(units=list)  # error
FSDP(find_unused_parameters=True)  # error
TorchEngine(processes="2")  # error

# AccelerateEngine takes an Accelerator that has been made, and is told how many processes there are to be.
AccelerateEngine(Accelerator)  # error
AccelerateEngine(Accelerator())  # error
AccelerateEngine("deepspeed", processes=2)  # error


def own_loop(engine: Engine, model: nn.Linear) -> None:
    engine.steps(model)  # error
    engine.steps(SGD)  # error
    engine.forward(SGD(model.parameters(), lr=0.1))  # error
    engine.split(data.train_dl)  # error
    engine.presplit(data.train_dl)  # error


class Misplaced(AnyCallback):
    ranks: ClassVar[Where] = "rank0"  # error


here().total(1.0)  # error
here().gather((0.5,))  # error
here().world_size = 2  # error
