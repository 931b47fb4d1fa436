"""Checkpoints as they are meant to be written, loaded and gone on from."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn, ones
from torch.optim import SGD, Optimizer
from typing_extensions import assert_type

from typedcb import DataBunch, Learner, LoopParts, Objective, ObjectiveParts
from typedcb.callbacks import EMA, AvgStats, Checkpoint, GradientClip, accuracy
from typedcb.events import FitOutcome
from typedcb.loop import Loop
from typedcb.needs import HasModelAndOpt
from typedcb.position import Position, Resumption

learn = Learner(nn.Linear(2, 2), DataBunch([(ones(4, 2), ones(4).long())]), F.cross_entropy, partial(SGD, lr=0.1))
stats = AvgStats(accuracy)


def use(folder: Path) -> None:
    """Uses what there is."""
    checkpoint = learn.add(Checkpoint, folder, every_steps=100, keep_best=(stats.valid(accuracy), "max"), at_end=True)
    assert_type(checkpoint, Checkpoint)
    assert_type(checkpoint.last.value, Path | None)
    learn.remove(checkpoint)
    save = partial(Checkpoint, folder=folder, every_seconds=60.0, asynchronous=True, on_error="warn")
    assert_type(learn.fit(2, cb_funcs=[save], resume=folder, on_mismatch={"EarlyStopping": "reset"}), FitOutcome)
    learn.fit(2, cbs=[stats], resume="run")
    learn.add(Checkpoint, folder, exact=False)
    learn.save(folder / "weights")
    learn.load("weights", {"optimizer": "reset"})
    assert_type(learn.position, Position | None)


model = nn.Linear(2, 2)
loop = Loop[Tensor, Tensor, Tensor]()
parts = LoopParts(loop, model, SGD(model.parameters(), lr=0.1), learn.data)
assert_type(parts, LoopParts[Tensor, Tensor, Tensor, nn.Linear])
with_loss = LoopParts(loop, model, parts.opt, learn.data, nn.CrossEntropyLoss())


def use_parts(folder: Path) -> None:
    """Uses a loop of one's own."""
    loop.add(GradientClip(parts, 1.0), EMA(parts), Checkpoint(parts, folder, every_steps=10))
    assert_type(parts.resumption(folder, {"loss": "reset"}), Resumption)
    with loop.fit(3, resume=parts.resumption("run")) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(parts.data.train_dl):
                assert_type(batch.xb, Tensor)
    parts.save(folder / "weights")
    parts.load("weights")
    assert_type(parts.position, Position | None)
    assert_type(parts.model.in_features, int)
    needed: HasModelAndOpt = parts
    assert_type(needed.opt, Optimizer)


critic = Objective[Tensor, Tensor, Tensor, nn.Linear](model, parts.opt, name="critic")
gan = Loop[Tensor, Tensor, Tensor](objectives=[critic])
objective_parts = ObjectiveParts(gan, learn.data)
assert_type(objective_parts, ObjectiveParts[Tensor, Tensor, Tensor])


def use_objective_parts(folder: Path) -> None:
    """Uses a loop of objectives."""
    gan.add(Checkpoint(objective_parts, folder, every_steps=10))
    with gan.fit(3, resume=objective_parts.resumption(folder, {"optimizer": "reset"})):
        assert_type(objective_parts.position, Position | None)
    objective_parts.save(folder / "weights")
    objective_parts.load("weights")
    assert_type(objective_parts.resumption(folder).position.objective_steps, tuple[int, ...])
