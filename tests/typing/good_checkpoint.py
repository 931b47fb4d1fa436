"""Checkpoints as they are meant to be written, loaded and gone on from."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch.nn.functional as F
from torch import nn, ones
from torch.optim import SGD
from typing_extensions import assert_type

from typedcb import DataBunch, Learner
from typedcb.callbacks import AvgStats, Checkpoint, accuracy
from typedcb.events import FitOutcome
from typedcb.loop import Position

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
    learn.save(folder / "weights")
    learn.load("weights", {"optimizer": "reset"})
    assert_type(learn.position, Position | None)
