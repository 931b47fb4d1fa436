"""Programs that write checkpoints until something stops them; each is run in a process of its own."""

# ruff: noqa: T201  # it is run as a program, and says what it does

from __future__ import annotations

import resource
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD

from typedcb import AnyCallback, DataBunch, Learner
from typedcb.callbacks import Checkpoint
from typedcb.errors import CheckpointWriteError
from typedcb.store import draft, write


def tree(step: int, size: int = 200_000) -> Any:
    """A state whose every number is its step."""
    return {"step": step, "w": torch.full((size,), float(step)), "b": torch.full((size // 2,), float(step))}


def forever(folder: Path) -> None:
    """Writes one checkpoint after the other, and says of each when it is safe."""
    from typedcb.store import clean, next_name  # noqa: PLC0415

    for step in range(1, 1_000_000):
        write(next_name(folder, step), draft(tree(step), copy=False))
        print(step, flush=True)
        clean(folder, 2, None)


def full(folder: Path) -> None:
    """Writes a checkpoint, and then one on a disk that is full before its end."""
    write(folder / "step-00000001", draft(tree(1), copy=False))
    for limit in (4096, 100_000, 700_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            write(folder / "step-00000002", draft(tree(2), copy=False))
        except CheckpointWriteError as error:
            print("refused", error, flush=True)


class Says(AnyCallback):
    """Says what is going on, for whoever waits to interrupt it."""

    def after_batch(self, event: Any) -> None:
        print("batch", flush=True)

    def after_fit(self, event: Any) -> None:
        print("after_fit", type(event.outcome).__name__, flush=True)


def fitting(folder: Path) -> None:
    """Trains until it is interrupted."""
    from dataclasses import dataclass  # noqa: PLC0415

    x = torch.linspace(-1, 1, 64).reshape(-1, 1)
    data = DataBunch([(x, x)] * 100_000)
    learn = Learner(nn.Linear(1, 1), data, F.mse_loss, partial(SGD, lr=0.1), cbs=[dataclass(frozen=True)(Says)()])
    learn.add(Checkpoint, folder, at_end=True)
    learn.fit(1)


def training(folder: Path) -> None:
    """Trains to the end, from wherever an earlier process has come to, and says what came of it."""
    import hashlib  # noqa: PLC0415
    import json  # noqa: PLC0415

    from runs import everything, run  # noqa: PLC0415

    from typedcb.store import steps  # noqa: PLC0415

    learn = run(folder, every_seconds=1e-9, every_epochs=None, keep_last=2)
    print("ready", flush=True)
    learn.fit(2, resume=folder if steps(folder) else None)
    print("result", hashlib.sha256(json.dumps(everything(learn)).encode()).hexdigest(), flush=True)


if __name__ == "__main__":
    {"forever": forever, "full": full, "fitting": fitting, "training": training}[sys.argv[1]](Path(sys.argv[2]))
