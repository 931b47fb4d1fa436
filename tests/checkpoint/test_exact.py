"""Whatever callbacks, loader, optimizer and place are drawn: a fit that is interrupted goes on bit for bit.

`EXAMPLES=500 pytest tests/checkpoint/test_exact.py` draws more of them; `make stress` does.
"""

from __future__ import annotations

import io
import os
import random
import signal
import tempfile
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recording import At
from runs import Draws, Events, Noisy, differing, everything, model
from torch.nn import functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, StepLR
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler
from torchdata.stateful_dataloader import StatefulDataLoader

from typedcb import DataBunch, Learner
from typedcb.callbacks import (
    EMA,
    LR,
    ActivationStats,
    AvgStats,
    Checkpoint,
    EarlyStopping,
    Freeze,
    GradientAccumulation,
    GradientClip,
    LabelSmoothing,
    MixedPrecision,
    MixUp,
    OneCycle,
    ParamScheduler,
    Progress,
    Recorder,
    ReduceLROnPlateau,
    SaveBest,
    SmoothGradNorm,
    SmoothLoss,
    StopAfterNBatches,
    TerminateOnNaN,
    Timer,
    TorchScheduler,
    Unfreeze,
    accuracy,
    cosine,
)
from typedcb.callbacks.display import open_display
from typedcb.store import steps

open_display(("",), 1, io.StringIO()).close()  # rich and torchdata draw from random when first used

CLOCKS = {"Timer1.epochs", "Timer1.whole", "Timer1.waiting", "Timer1.computing", "Progress1.rows", "Progress1.seconds"}
"""What no two runs have in common."""

OPTIMIZERS: dict[str, Any] = {
    "SGD": partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True),
    "Adam": partial(torch.optim.Adam, lr=0.01),
    "AdamW amsgrad": partial(torch.optim.AdamW, lr=0.01, amsgrad=True),
    "RMSprop": partial(torch.optim.RMSprop, lr=0.01, momentum=0.5, centered=True),
    "Adagrad": partial(torch.optim.Adagrad, lr=0.05),
    "NAdam": partial(torch.optim.NAdam, lr=0.01),
    "Rprop": partial(torch.optim.Rprop, lr=0.01),
}

CALLBACKS: dict[str, Any] = {
    "Draws": lambda learn, stats: learn._attach((Draws(),)),
    "SmoothLoss": lambda learn, stats: learn._attach((SmoothLoss(),)),
    "two of SmoothLoss": lambda learn, stats: learn._attach((SmoothLoss(0.5), SmoothLoss(0.9))),
    "EarlyStopping": lambda learn, stats: learn._attach((EarlyStopping(stats.valid_loss, "min", 1),)),
    "SaveBest": lambda learn, stats: learn._attach((SaveBest(learn, stats.valid_loss, "min"),)),
    "TerminateOnNaN": lambda learn, stats: learn._attach((TerminateOnNaN(every=3),)),
    "StopAfterNBatches": lambda learn, stats: learn._attach((StopAfterNBatches(4),)),
    "Progress": lambda learn, stats: learn._attach((Progress(stats),)),
    "Timer": lambda learn, stats: learn._attach((Timer(),)),
    "LabelSmoothing": lambda learn, stats: learn._attach((LabelSmoothing(0.2),)),
    "MixUp": lambda learn, stats: learn._attach((MixUp(partial(F.cross_entropy, reduction="none")),)),
    "SmoothGradNorm": lambda learn, stats: learn.add(SmoothGradNorm),
    "Recorder": lambda learn, stats: learn.add(Recorder),
    "EMA": lambda learn, stats: learn.add(EMA, 0.9),
    "GradientClip": lambda learn, stats: learn.add(GradientClip, 0.5),
    "ActivationStats": lambda learn, stats: learn.add(ActivationStats),
    "Freeze and Unfreeze": lambda learn, stats: (learn.add(Freeze, 0), learn.add(Unfreeze, 1)),
}

SCHEDULES: dict[str, Any] = {
    "none": lambda learn, stats: None,
    "cosine": lambda learn, stats: learn.add(ParamScheduler, LR, cosine(0.1, 0.001)),
    "OneCycle": lambda learn, stats: learn.add(OneCycle, 0.1, None),
    "on a plateau": lambda learn, stats: learn._attach(
        (ReduceLROnPlateau(learn, stats.train_loss, "min", patience=1, min_delta=1.0),)
    ),
    "torch, by batch": lambda learn, stats: learn.add(TorchScheduler, partial(CosineAnnealingLR, T_max=7), "batch"),
    "torch's cycle": lambda learn, stats: learn.add(
        TorchScheduler, partial(OneCycleLR, max_lr=0.1, total_steps=99, cycle_momentum=False), "batch"
    ),
    "torch, by epoch": lambda learn, stats: learn.add(TorchScheduler, partial(StepLR, step_size=1), "epoch"),
}

PRECISIONS: dict[str, Any] = {"float32": (), "bfloat16": (torch.bfloat16,), "float16": (torch.float16, 2.0**40)}


@attrs.frozen
class Setup:
    """What a run is made of."""

    callbacks: frozenset[str]
    schedule: str
    optimizer: str
    loader: str
    workers: int
    drop_last: bool
    own_generator: bool
    accumulate: int
    precision: str
    asynchronous: bool
    epoch: int
    phase: str | None
    index: int
    """The batch after which the run is interrupted; without a phase, the end of the epoch."""


def loader(setup: Setup) -> Any:
    """The training loader."""
    samples = Noisy()
    generator = torch.Generator().manual_seed(5) if setup.own_generator else None
    workers: dict[str, Any] = {"num_workers": setup.workers, "generator": generator}
    if setup.loader == "batch_sampler":
        sampler = RandomSampler(samples, generator=generator)
        return DataLoader(samples, batch_sampler=BatchSampler(sampler, 3, setup.drop_last), **workers)
    if setup.loader == "sampler":
        sampler = RandomSampler(samples, replacement=True, num_samples=14)
        return DataLoader(samples, 3, sampler=sampler, drop_last=setup.drop_last, **workers)
    if setup.loader == "in order":
        return DataLoader(samples, 3, sampler=SequentialSampler(samples), drop_last=setup.drop_last, **workers)
    if setup.loader == "saves itself":
        return StatefulDataLoader(samples, 3, shuffle=True, drop_last=setup.drop_last, generator=generator)
    return DataLoader(samples, 3, shuffle=True, drop_last=setup.drop_last, **workers)


def made(setup: Setup) -> Learner[Any, Any, Any, Any]:
    """A fresh run."""
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    data: DataBunch[Any, Any] = DataBunch(loader(setup), DataLoader(Noisy(), 5))
    learn: Any = Learner(model(), data, F.cross_entropy, OPTIMIZERS[setup.optimizer])
    stats = AvgStats(accuracy)
    learn._attach((Events(), stats))
    if setup.accumulate > 1:
        learn.add(GradientAccumulation, setup.accumulate)
    if PRECISIONS[setup.precision]:
        learn.add(MixedPrecision, *PRECISIONS[setup.precision])
    for name in sorted(setup.callbacks):
        CALLBACKS[name](learn, stats)
    SCHEDULES[setup.schedule](learn, stats)
    return learn


def without_clocks(learn: Learner[Any, Any, Any, Any]) -> dict[str, Any]:
    return {name: value for name, value in everything(learn).items() if name not in CLOCKS}


def interrupted(setup: Setup, folder: Path) -> bool:
    """Interrupts a run by Ctrl-C, which leaves a last checkpoint; whether it came to that place."""

    def interrupt(event: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    hook = "after_epoch" if setup.phase is None else "after_batch"
    index = None if setup.phase is None else setup.index
    learn: Any = made(setup)
    learn._attach((At(hook, interrupt, epoch=setup.epoch, phase=setup.phase, index=index),))
    learn.add(Checkpoint, folder, every_epochs=None, at_end=True, asynchronous=setup.asynchronous)
    try:
        learn.fit(2)
    except KeyboardInterrupt:
        return True
    return False


def assert_exact(setup: Setup) -> bool:
    """Compares a run that is interrupted with one that is left alone; says whether it came to the place."""
    alone = made(setup)
    alone.fit(2)
    with tempfile.TemporaryDirectory() as name:
        if not interrupted(setup, Path(name)):
            return False
        [path] = steps(Path(name))
        again = made(setup)
        torch.rand(7)  # the process has drawn other numbers by now
        again.fit(2, resume=path)
    assert differing(without_clocks(again), without_clocks(alone)) == []
    return True


PLACES = [(epoch, phase, index) for epoch in (0, 1) for phase, n in (("train", 5), ("valid", 3)) for index in range(n)]


def setup_of(place: tuple[int, str | None, int], **kwargs: Any) -> Setup:
    return Setup(epoch=place[0], phase=place[1], index=place[2], **kwargs)


SETUPS = st.builds(
    setup_of,
    place=st.sampled_from([*PLACES, (0, None, 0), (1, None, 0)]),
    callbacks=st.frozensets(st.sampled_from(sorted(CALLBACKS)), max_size=7),
    schedule=st.sampled_from(sorted(SCHEDULES)),
    optimizer=st.sampled_from(sorted(OPTIMIZERS)),
    loader=st.sampled_from(["shuffled", "batch_sampler", "sampler", "in order", "saves itself"]),
    workers=st.sampled_from([0] * 11 + [2]),
    drop_last=st.booleans(),
    own_generator=st.booleans(),
    accumulate=st.integers(1, 3),
    precision=st.sampled_from(sorted(PRECISIONS)),
    asynchronous=st.booleans(),
)

EXAMPLES = int(os.environ.get("EXAMPLES", "25"))


@pytest.mark.filterwarnings("ignore:'set_vital':UserWarning", "ignore:::torchdata")
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), derandomize="EXAMPLES" not in os.environ)
@given(SETUPS)
def test_an_interrupted_fit_goes_on_bit_for_bit(setup: Setup) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler")  # every step is skipped by chance
        assert_exact(setup)


EVERYTHING = Setup(
    callbacks=frozenset(CALLBACKS) - {"StopAfterNBatches", "EarlyStopping"},
    schedule="torch, by batch",
    optimizer="AdamW amsgrad",
    loader="batch_sampler",
    workers=0,
    drop_last=False,
    own_generator=True,
    accumulate=2,
    precision="float16",
    asynchronous=True,
    epoch=1,
    phase="train",
    index=2,
)


@pytest.mark.parametrize("phase", ["train", "valid", None])
def test_all_of_them_together_go_on_bit_for_bit(phase: str | None) -> None:
    assert assert_exact(attrs.evolve(EVERYTHING, phase=phase))
