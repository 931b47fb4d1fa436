"""Loaders of all kinds are taken up exactly, and those that cannot be are refused when the fit begins."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from runs import differing, everything
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, RandomSampler, Sampler, Subset
from torch.utils.data.distributed import DistributedSampler

from typedcb import AnyCallback, DataBunch, Learner
from typedcb.callbacks import Checkpoint
from typedcb.errors import CheckpointError, MismatchError
from typedcb.loaders import loader_state, set_loader_state
from typedcb.store import steps

EVERY_BATCH: dict[str, Any] = {"every_seconds": 1e-9, "keep_last": 1000}


class Points(Dataset[tuple[Tensor, Tensor]]):
    """Twelve points, moved by whatever a transform says."""

    def __init__(self, transform: Any = None) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        x = torch.tensor([index / 6 - 1])
        return (x if self.transform is None else x + 0.1 * float(self.transform())), 3 * x


def learner(train_dl: Any, valid_dl: Any = None, *cbs: Any) -> Learner[Any, Any, Any, Any]:
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    return Learner(
        nn.Linear(1, 1), DataBunch(train_dl, valid_dl), F.mse_loss, partial(torch.optim.SGD, lr=0.1), cbs=list(cbs)
    )


def taken_up(folder: Path, make: Any, places: slice = slice(None), cbs: Any = tuple, **checkpoint: Any) -> None:
    """Leaves a fit of two epochs at many places, and compares what comes of it."""
    alone = learner(make(), make(), *cbs())
    alone.fit(2)
    saving = learner(make(), make(), *cbs())
    saving.add(Checkpoint, folder, **EVERY_BATCH, **checkpoint)
    saving.fit(2)
    assert differing(everything(saving), everything(alone)) == [], "saving changes nothing"
    for path in steps(folder)[places]:
        again = learner(make(), make(), *cbs())
        random.seed(9)
        again.fit(2, resume=path)
        assert differing(everything(again), everything(alone)) == [], path.name


# ------------------------------------------------------------------------------------- generators, wherever they are


class Holder:
    """A transform that holds its generator in a slot."""

    __slots__ = ("rng",)

    def __init__(self, rng: Any) -> None:
        self.rng = rng

    def __call__(self) -> float:
        return float(self.rng.random())


GENERATORS: dict[str, Any] = {
    "numpy's": lambda: np.random.default_rng(3).random,
    "numpy's MT19937": lambda: Holder(np.random.Generator(np.random.MT19937(3))),
    "numpy's Philox": lambda: Holder(np.random.Generator(np.random.Philox(3))),
    "numpy's RandomState": lambda: np.random.RandomState(3).random,
    "Python's": lambda: Holder(random.Random(3)),
    "torch's": lambda: partial(torch.rand, (), generator=torch.Generator().manual_seed(3)),
}


@pytest.mark.parametrize("which", GENERATORS)
def test_a_generator_of_the_data_sets_own_goes_on(tmp_path: Path, which: str) -> None:
    taken_up(
        tmp_path,
        lambda: DataLoader(Subset(Points(GENERATORS[which]()), range(11)), 3, shuffle=True),
        slice(1, None, 5),
        every_epochs=None,
    )


def test_another_generator_in_its_place_is_refused(tmp_path: Path) -> None:
    first = learner(DataLoader(Points(Holder(random.Random(3))), 3))
    first.add(Checkpoint, tmp_path)
    first.fit(1)
    other = learner(DataLoader(Points(Holder(np.random.default_rng(3))), 3))
    before = everything(other)
    with pytest.raises(
        MismatchError, match=r"it drew from dataset.transform.rng \(python\), and draws from .*\(numpy\)"
    ):
        other.fit(2, resume=tmp_path)
    assert differing(everything(other), before) == []
    other.fit(2, resume=tmp_path, on_mismatch={"data": "reset"})


def test_data_is_not_searched(tmp_path: Path) -> None:
    """What is large is no place for generators, and what refers to itself is looked at once."""
    points = Points()
    points.many = [object()] * 10_000  # type: ignore[attr-defined]
    points.itself = points  # type: ignore[attr-defined]
    points.model = nn.Linear(1, 1)  # type: ignore[attr-defined]
    assert loader_state(DataLoader(points, 3)) == {"sources": [], "workers": False}


# ------------------------------------------------------------------------------------------------ samplers and epochs


@dataclass(frozen=True)
class TellsEpoch(AnyCallback):
    """Tells a sampler the epoch, as one does with DistributedSampler."""

    sampler: Any

    def begin_epoch(self, event: Any) -> None:
        self.sampler.set_epoch(event.epoch)


def distributed() -> tuple[Any, Any]:
    points = Points()
    sampler = DistributedSampler(points, num_replicas=2, rank=0, seed=4)
    return DataLoader(points, 2, sampler=sampler), TellsEpoch(sampler)


def test_a_sampler_that_is_told_the_epoch_is_told_the_right_one(tmp_path: Path) -> None:
    def made() -> Any:
        dl, tells = distributed()
        return learner(dl, None, tells)

    alone = made()
    alone.fit(3)
    saving = made()
    saving.add(Checkpoint, tmp_path, **EVERY_BATCH)
    saving.fit(3)
    for path in steps(tmp_path):
        again = made()
        again.fit(3, resume=path)
        assert differing(everything(again), everything(alone)) == [], path.name


class Counting(Sampler[int]):
    """Begins each pass where the last one has ended, and saves that itself."""

    def __init__(self) -> None:
        self.at = 0

    def __len__(self) -> int:
        return 5

    def __iter__(self) -> Iterator[int]:
        for _ in range(5):
            self.at = (self.at * 5 + 3) % 12
            yield self.at

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.at = state["at"]


@pytest.mark.parametrize("batched", [False, True])
def test_a_sampler_that_saves_itself_goes_on(tmp_path: Path, batched: bool) -> None:
    def made() -> Any:
        points = Points()
        if batched:
            return DataLoader(points, batch_sampler=BatchSampler(Counting(), 2, drop_last=False))
        return DataLoader(points, 2, sampler=Counting())

    taken_up(tmp_path, made)


class Remembers(Points):
    """Draws from a state of its own, which it saves itself."""

    def __init__(self) -> None:
        super().__init__(self.next)
        self.state = 1.0

    def next(self) -> float:
        self.state = 3.7 * self.state * (1 - self.state) if self.state < 1 else 0.3
        return self.state

    def state_dict(self) -> dict[str, Any]:
        return {"state": self.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.state = state["state"]


def test_a_data_set_that_saves_itself_goes_on(tmp_path: Path) -> None:
    taken_up(tmp_path, lambda: DataLoader(Remembers(), 3, shuffle=True))


@pytest.mark.parametrize("replacement", [False, True])
def test_a_sampler_with_a_generator_of_its_own_goes_on(tmp_path: Path, replacement: bool) -> None:
    def made() -> Any:
        points = Points()
        generator = torch.Generator().manual_seed(8)
        sampler = RandomSampler(points, replacement=replacement, num_samples=14, generator=generator)
        return DataLoader(points, 3, sampler=sampler)

    taken_up(tmp_path, made, slice(1, None, 2))


# --------------------------------------------------------------------------------------- data sets that are iterables


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    """Ten points in an order that is drawn afresh."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        info = torch.utils.data.get_worker_info()
        share = range(10) if info is None else range(info.id, 10, info.num_workers)
        for index in random.sample(list(share), len(share)):
            x = torch.tensor([index / 5 - 1])
            yield x + 0.1 * torch.rand(1), 3 * x


@pytest.mark.parametrize("workers", [0, 2])
def test_an_iterable_data_set_that_begins_afresh_goes_on(tmp_path: Path, workers: int) -> None:
    places = slice(1, None, 6 if workers else 2)
    taken_up(tmp_path, lambda: DataLoader(Stream(), 3, num_workers=workers), places)


class OwnLoader:
    """Batches without a DataLoader, in an order that the process's generator draws."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for index in np.random.permutation(4):
            x = torch.full((2, 1), float(index) / 4)
            yield x, 3 * x


def test_a_loader_of_ones_own_that_begins_afresh_goes_on(tmp_path: Path) -> None:
    taken_up(tmp_path, OwnLoader)


class Endless(OwnLoader):
    """Goes on from pass to pass, and saves where it is."""

    def __init__(self) -> None:
        self.at, self.left = 0, 4

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        while self.left:
            self.at, self.left = self.at + 1, self.left - 1
            x = torch.full((2, 1), float(self.at % 7) / 7)
            yield x, 3 * x
        self.left = 4

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at, "left": self.left}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.at, self.left = state["at"], state["left"]


# ---------------------------------------------------------------------------------------------- what cannot be exact


def persistent(transform: Any = None) -> Any:
    return DataLoader(Points(transform), 3, shuffle=True, num_workers=2, persistent_workers=True)


def test_workers_that_live_on_are_refused_unless_that_is_accepted(tmp_path: Path) -> None:
    learn = learner(persistent(), persistent())
    learn.add(Checkpoint, tmp_path)
    before = everything(learn)
    with pytest.raises(CheckpointError) as refused:
        learn.fit(1)
    text = str(refused.value)
    assert "no checkpoint of this fit could be gone on from bit for bit" in text
    assert "train_dl live on from epoch to epoch" in text
    assert "valid_dl live on" in text
    assert "persistent_workers=False" in text
    assert "exact=False" in text
    assert differing(everything(learn), before) == []


def test_workers_that_live_on_and_draw_nothing_are_exact_all_the_same(tmp_path: Path) -> None:
    taken_up(tmp_path, persistent, slice(1, None, 7), exact=False)


def test_the_same_loaders_may_be_taken_up_again_in_their_process(tmp_path: Path) -> None:
    train = persistent()
    learn = learner(train)
    learn.add(Checkpoint, tmp_path, exact=False, **EVERY_BATCH)
    learn.fit(2)
    expected = learn.model.weight.clone()
    for path in (steps(tmp_path)[1], steps(tmp_path)[6]):
        learn.remove(*learn.cbs)
        learn.fit(2, resume=path)
        assert torch.equal(learn.model.weight, expected)


@pytest.mark.filterwarnings("ignore:'set_vital':UserWarning", "ignore:::torchdata")
def test_a_loader_that_saves_its_place_and_has_workers_is_refused(tmp_path: Path) -> None:
    stateful: Any = pytest.importorskip("torchdata.stateful_dataloader")
    learn = learner(stateful.StatefulDataLoader(Points(), 3, num_workers=2))
    learn.add(Checkpoint, tmp_path)
    with pytest.raises(CheckpointError, match=r"train_dl saves its own position.*num_workers=0 it is exact"):
        learn.fit(1)
    learn = learner(stateful.StatefulDataLoader(Points(), 3))
    learn.add(Checkpoint, tmp_path)
    learn.fit(1)


def test_another_number_of_living_workers_is_refused(tmp_path: Path) -> None:
    first = learner(persistent())
    first.add(Checkpoint, tmp_path, exact=False, **EVERY_BATCH)
    first.fit(1)
    other = learner(DataLoader(Points(), 3, shuffle=True, num_workers=2))
    with pytest.raises(MismatchError, match="persistent_workers of the train loader was True, and is False"):
        other.fit(1, resume=steps(tmp_path)[1])


def test_a_loader_that_goes_on_from_pass_to_pass_and_saves_itself_goes_on(tmp_path: Path) -> None:
    taken_up(tmp_path, Endless)


def test_a_state_is_given_to_the_sources_that_it_was_taken_of() -> None:
    dl = DataLoader(Points(Holder(random.Random(3))), 3, generator=torch.Generator().manual_seed(1))
    state = loader_state(dl)
    assert [(place, kind) for place, kind, _ in state["sources"]] == [
        ("generator", "torch"), ("dataset.transform.rng", "python"),
    ]  # fmt: skip
    first = [dl.dataset.transform(), torch.rand((), generator=dl.generator)]  # type: ignore[attr-defined]
    set_loader_state(dl, state, under_way=False)
    assert [dl.dataset.transform(), torch.rand((), generator=dl.generator)] == first  # type: ignore[attr-defined]
