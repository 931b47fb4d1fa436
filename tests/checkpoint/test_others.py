"""The other callbacks that keep state, and other loaders: taken up in the middle of an epoch, too."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import Noisy, differing, everything, run
from torch import Tensor
from torch.nn import functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, StepLR

from typedcb import AnyCallback, CancelTrain
from typedcb.callbacks import (
    AvgStats,
    Checkpoint,
    Freeze,
    MixedPrecision,
    MixUp,
    ReduceLROnPlateau,
    SaveBest,
    SmoothGradNorm,
    TerminateOnNaN,
    TorchScheduler,
    Unfreeze,
)
from typedcb.callbacks import OneCycle as Cycle
from typedcb.errors import MismatchError
from typedcb.store import steps

EVERY_BATCH: dict[str, Any] = {"every_seconds": 1e-9, "keep_last": 1000}


def by_batch(learn: Any) -> None:
    learn.add(TorchScheduler, partial(OneCycleLR, max_lr=0.1, total_steps=100), "batch")


def by_epoch(learn: Any) -> None:
    learn.add(TorchScheduler, partial(StepLR, step_size=1), "epoch")


def cosine_by_batch(learn: Any) -> None:
    learn.add(TorchScheduler, partial(CosineAnnealingLR, T_max=7), "batch")


def one_cycle(learn: Any) -> None:
    learn.add(Cycle, 0.1)


def freezing(learn: Any) -> None:
    learn.add(Freeze, 0)
    learn.add(Unfreeze, 1)
    first = next(learn.model.parameters())
    first.requires_grad_(False)


def mixing(learn: Any) -> None:
    learn._attach((MixUp(partial(F.cross_entropy, reduction="none")),))


def watching(learn: Any) -> None:
    stats = learn.get(AvgStats)
    learn._attach((SaveBest(learn, stats.valid_loss, "min"), ReduceLROnPlateau(learn, stats.train_loss, "min")))
    learn.add(SmoothGradNorm)
    learn._attach((TerminateOnNaN(),))


@dataclass(frozen=True)
class Cancels(AnyCallback):
    """Ends a fit before it has begun."""

    def begin_fit(self, event: Any) -> CancelTrain:
        return CancelTrain("enough")


ALL = (by_batch, by_epoch, cosine_by_batch, one_cycle, freezing, mixing, watching)


@pytest.mark.parametrize("setup", ALL, ids=lambda setup: setup.__name__)
def test_it_goes_on_bit_for_bit(tmp_path: Path, setup: Any) -> None:
    def made(folder: Path | None = None) -> Any:
        learn = run()
        setup(learn)
        if folder is not None:
            learn.add(Checkpoint, folder, **EVERY_BATCH)
        return learn

    alone = made()
    alone.fit(2)
    made(tmp_path).fit(2)
    for path in steps(tmp_path)[1::4]:
        again = made()
        again.fit(2, resume=path)
        assert differing(everything(again), everything(alone)) == [], path.name


class Still(Noisy):
    """The same samples without random numbers: those of workers are in no state of a loader."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.linspace(-1, 1, 6) * index, index % 3


@pytest.mark.filterwarnings("ignore:'set_vital':UserWarning", "ignore:::torchdata")
@pytest.mark.parametrize(("workers", "data_set"), [(0, Noisy()), (2, Still())], ids=["0", "2"])
def test_a_loader_that_saves_itself_is_restored_by_itself(tmp_path: Path, workers: int, data_set: Noisy) -> None:
    stateful: Any = pytest.importorskip("torchdata.stateful_dataloader")
    settings: dict[str, Any] = {"loader": stateful.StatefulDataLoader, "workers": workers, "data_set": data_set}
    exact: dict[str, Any] = {"exact": not workers}
    alone = run(**settings)
    alone.fit(2)
    run(tmp_path, **EVERY_BATCH, **exact, **settings).fit(2)
    for path in steps(tmp_path)[1 :: 9 if workers else 3]:
        again = run(**settings)
        again.fit(2, resume=path)
        assert differing(everything(again), everything(alone)) == [], path.name


def test_a_fit_that_is_cancelled_before_it_is_taken_up_changes_and_saves_nothing(tmp_path: Path) -> None:
    run(tmp_path / "a", **EVERY_BATCH).fit(2)
    cancelled = run(tmp_path / "b", at_end=True)
    weight = cancelled.model[0].weight.clone()
    cancelled.fit(2, cbs=[Cancels()], resume=tmp_path / "a")
    assert torch.equal(cancelled.model[0].weight, weight)
    assert steps(tmp_path / "b") == []


def test_the_scale_of_half_precision_goes_on(tmp_path: Path) -> None:
    def made() -> Any:
        learn = run()
        learn.remove(learn.get(MixedPrecision))
        learn.add(MixedPrecision, torch.float16, 2.0**40)
        return learn

    alone = made()
    alone.fit(2)
    saving = made()
    saving.add(Checkpoint, tmp_path, **EVERY_BATCH)
    saving.fit(2)
    scaler = alone.get(MixedPrecision).scaler.value
    assert scaler is not None
    assert scaler.get_scale() < 2.0**40, "some batches have overflowed"
    for path in steps(tmp_path)[1::5]:
        again = made()
        again.fit(2, resume=path)
        assert differing(everything(again), everything(alone)) == [], path.name
    assert_no_scaler_is_put_in_its_place(tmp_path)


def assert_no_scaler_is_put_in_its_place(folder: Path) -> None:
    learn = run()
    before = learn.model[0].weight.clone()
    with pytest.raises(MismatchError, match="holds None, and something with a state of its own was saved"):
        learn.fit(2, resume=folder)
    assert torch.equal(learn.model[0].weight, before), "also when it is found after begin_fit"


def test_other_settings_are_no_other_state(tmp_path: Path) -> None:
    run(tmp_path).fit(1)
    learn = run()
    learn.fit(3, resume=tmp_path)
    assert learn.opt.param_groups[0]["lr"] != 0.001, "the schedule is that of three epochs now"
