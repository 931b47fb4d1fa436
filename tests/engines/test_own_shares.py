"""In a loop of one's own over several processes each rank goes over its share, or says that it has one already."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from launching import launch, said
from threads import Alike, Rank, on_ranks
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from typedcb import EngineError
from typedcb.engine import ONE_DEVICE
from typedcb.engines.split import Presplit, presplit, split
from typedcb.loaders import loader_facts, loader_problem, loader_state

PROGRAMS = "share_programs.py"


@pytest.fixture(scope="module")
def two() -> list[dict[str, Any]]:
    return said(launch(2, "shares", script=PROGRAMS))


@pytest.mark.parametrize("kind", ["sampler", "iterable"])
def test_shares_that_a_loader_makes_itself_train_as_those_of_the_engine(kind: str, two: list[dict[str, Any]]) -> None:
    for rank in two:
        assert rank[kind]["weights"] == pytest.approx(rank["split"]["weights"], rel=1e-4, abs=1e-6)
        assert rank[kind]["row"] == pytest.approx(rank["split"]["row"], rel=1e-4, abs=1e-6)


def test_a_learner_takes_ones_own_shares_too(two: list[dict[str, Any]]) -> None:
    for rank in two:
        assert rank["learned own"] == pytest.approx(rank["learned split"], rel=1e-4, abs=1e-6)


def test_ones_own_shares_weigh_the_same_behind_batches_that_do_not(two: list[dict[str, Any]]) -> None:
    for rank in two:
        assert rank["behind uneven ones"]["weights"] == pytest.approx(rank["split"]["weights"], rel=1e-4, abs=1e-6)


def test_a_loader_that_every_rank_would_have_the_whole_of_is_refused() -> None:
    for rank in said(launch(2, "refused", "raw", script=PROGRAMS)):
        assert rank["error"].startswith("the loader of this pass (train) is none of this engine's, so that each of the")
        assert any("epoch 0, train, before the first batch" in note for note in rank["notes"])


MORE = "train_dl has more batches on one rank than on another, .*rank 0: 3; rank 1: 2"


def test_ranks_that_have_more_batches_than_others_do_not_wait_for_each_other() -> None:
    for rank in said(launch(2, "refused", "uneven", seconds=60, script=PROGRAMS)):
        assert re.match(MORE, rank["error"])


def test_a_length_that_is_another_one_on_another_rank_is_refused_before_the_first_batch() -> None:
    drawn: list[int] = []

    def run(rank: Rank) -> None:
        pair = (torch.ones(2), torch.ones(2))
        dl = presplit("train_dl", [pair] * (3 - rank.rank), rank, lambda own, size: drawn.append(own))
        with pytest.raises(EngineError, match=MORE):
            next(iter(dl))

    on_ranks(2, run)
    assert drawn == []


def test_what_is_compared_of_ones_own_shares_is_their_length_alone() -> None:
    pair = (torch.ones(2), torch.ones(2))

    def run(rank: Rank, dl: Any) -> tuple[int, list[tuple[int, int]]]:
        notes: list[tuple[int, int]] = []
        assert len(list(presplit("dl", dl, rank, lambda own, size: notes.append((own, size))))) == 3
        return len(rank.rounds), notes

    for rounds, notes in on_ranks(2, lambda rank: run(rank, [pair] * 3)):
        assert (rounds, notes) == (1, [(1, 2)] * 3)
    for rounds, notes in on_ranks(2, lambda rank: run(rank, (pair for _ in range(3)))):
        assert (rounds, notes) == (5, [(1, 2)] * 3)  # where nobody knows the length, at each batch and at the end


def test_where_a_callback_looks_at_ones_own_shares_nothing_is_compared() -> None:
    rank = Alike(0, 2)
    rank.compares = False
    assert len(list(presplit("dl", iter([(torch.ones(1), torch.ones(1))]), rank, lambda own, size: None))) == 1
    assert rank.rounds == []


def loader() -> DataLoader[tuple[Tensor, ...]]:
    data = TensorDataset(torch.arange(12), torch.arange(12))
    return DataLoader(data, 2, sampler=DistributedSampler(data, num_replicas=2, rank=0, shuffle=True))


def test_a_loader_is_split_once_by_the_engine_or_by_itself() -> None:
    rank = Alike(0, 2)
    dl: Any = loader()
    once: Any = presplit("dl", dl, rank, lambda own, size: None)
    assert isinstance(once, Presplit)
    assert len(once) == 3
    assert presplit("dl", once, rank, lambda own, size: None) is once
    assert split("dl", once, rank, 0, lambda own, size: None) is once
    with pytest.raises(EngineError, match=r"dl is what engine\.split has made"):
        presplit("dl", split("dl", [(1, 2)], rank, 0, lambda own, size: None), rank, lambda own, size: None)
    with pytest.raises(EngineError, match=r'DistributedSampler, .* engine\.presplit\("dl", dl\) takes it as it is'):
        split("dl", dl, rank, 0, lambda own, size: None)


def test_the_epoch_of_a_sampler_of_ones_own_is_part_of_a_checkpoint() -> None:
    dl: Any = loader()
    once = presplit("dl", dl, Alike(0, 2), lambda own, size: None)
    state = loader_state(once)
    assert [kind for _, kind, _ in state["sources"]] == ["epoch"]
    assert loader_problem(once, state) is None
    assert loader_facts(once)["batches"] == 3


def test_in_one_process_there_is_nothing_to_split() -> None:
    dl = [(torch.ones(1), torch.ones(1))]
    assert ONE_DEVICE.presplit("dl", dl) is ONE_DEVICE.split("dl", dl) is dl
