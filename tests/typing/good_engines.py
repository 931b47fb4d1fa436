"""Engines of several processes: what is right, and what a checker knows of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Iterable, Optional

import torch.nn.functional as F
from accelerate import Accelerator
from good_learner import data
from torch import Tensor, nn
from torch.optim import SGD
from typing_extensions import assert_type, override

from typedcb import AfterEpoch, AnyCallback, CancelTrain, DataBunch, Learner, Loop, Objective
from typedcb.engine import ONE_DEVICE, Engine
from typedcb.engines import DDP, FSDP, AccelerateEngine, TorchEngine
from typedcb.optimizer import Steps
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


class Recording:
    """What steps need not be an optimizer of torch."""

    def step(self) -> None: ...

    def zero_grad(self) -> None: ...


def own_loop(engine: Engine, model: nn.Linear) -> None:
    engine.prepare(model, None)
    opt = SGD(model.parameters(), lr=0.1)
    steps, forward = engine.steps(opt), engine.forward(model)
    assert_type(steps, Steps)
    assert_type(engine.steps(Recording()), Steps)
    loop = Loop[Tensor, Tensor, Tensor](objectives=[Objective[Tensor, Tensor, Tensor](model, opt)], engine=engine)
    with loop.fit(1) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(engine.split("train_dl", data.train_dl)):
                assert_type(batch.xb, Tensor)
                out = batch.pred(forward(batch.xb))
                out.loss(F.cross_entropy(out.pred, out.yb)).backward().step(steps)


def own_shares(engine: Engine) -> None:
    assert_type(engine.presplit("train_dl", data.train_dl), Iterable[tuple[Tensor, Tensor]])
    assert_type(DataBunch(engine.presplit("train_dl", data.train_dl)), DataBunch[Tensor, Tensor])


def with_accelerate(accelerator: Accelerator) -> None:
    with AccelerateEngine(accelerator, processes=2) as engine:  # DeepSpeed too, as accelerate is set up
        over_processes(engine)
        assert_type(engine.steps(SGD([nn.Parameter()], lr=0.1)), Steps)


def started() -> None:
    with TorchEngine(FSDP(units=blocks), processes=4, timeout=60) as engine:
        over_processes(engine)
    over_processes(TorchEngine(DDP(find_unused_parameters=True), device="cpu"))
    over_processes(ONE_DEVICE)


assert_type(here().total((1.0, 2)), tuple[float, ...])
assert_type(here().whole(3), int)
