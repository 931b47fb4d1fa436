"""A disk that is really full: what was saved before is as it was, and the fit goes on where that is wanted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD

from typedcb import CheckpointWarning, CheckpointWriteError, Completed, DataBunch, Learner
from typedcb.callbacks import Checkpoint
from typedcb.store import latest, read, steps


def learner(size: int = 64) -> Learner[Any, Any, Any, Any]:
    x = torch.linspace(-1, 1, 2 * size).reshape(2, size)
    return Learner(nn.Linear(size, size), DataBunch([(x, x)] * 2), F.mse_loss, partial(SGD, lr=0.1, momentum=0.9))


def test_a_fit_on_a_disk_that_is_full_ends_with_its_older_checkpoints_whole(full_disk: Callable[..., Path]) -> None:
    folder = full_disk(left=100 * 1024) / "checkpoints"  # two checkpoints, and not three
    learn = learner()
    with pytest.raises(CheckpointWriteError, match=r"No space left") as failed:
        learn.fit(9, cb_funcs=[partial(Checkpoint, folder=folder, keep_last=9)])
    assert any("Checkpoint.after_epoch" in note for note in failed.value.__notes__)
    whole = [read(path) for path in steps(folder)]
    assert whole, "one had its place"
    assert [path for path in folder.iterdir() if path.name.startswith(".tmp")] == []
    again = learner()
    again.load(folder)
    assert all(bool(p.isfinite().all()) for p in again.model.parameters())


def test_a_fit_goes_on_without_a_checkpoint_where_that_is_wanted(full_disk: Callable[..., Path]) -> None:
    folder = full_disk(left=100 * 1024) / "checkpoints"
    learn, alone = learner(), learner()
    alone.model.load_state_dict(learn.model.state_dict())
    with pytest.warns(CheckpointWarning, match="goes on without a checkpoint"):
        outcome = learn.fit(6, cb_funcs=[partial(Checkpoint, folder=folder, keep_last=9, on_error="warn")])
    assert isinstance(outcome, Completed)
    alone.fit(6)
    assert torch.equal(learn.model.weight, alone.model.weight)
    read(latest(folder))
