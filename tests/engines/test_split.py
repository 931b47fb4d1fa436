"""How the samples of each batch are shared, and what of it is compared, in one process."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from threads import Alike, Rank, on_ranks
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    Sampler,
    Subset,
    TensorDataset,
    random_split,
)

from typedcb import EngineError
from typedcb.engines.split import SharedLoader, Sliced, share, split
from typedcb.loaders import loader_facts, loader_problem, loader_state, set_loader_state

Batch = list[int]


def passes(rank: Rank, dl: Any, seed: int = 0, n: int = 1) -> list[tuple[Batch, int, int]]:
    """Of each batch of some passes this rank's samples, how many of them it counts, and how many the batch has."""
    notes: list[tuple[int, int]] = []
    loader = split("dl", dl, rank, seed, lambda own, size: notes.append((own, size)))
    batches = [xb.flatten().tolist() for _ in range(n) for xb, _ in loader]
    return [(batch, *note) for batch, note in zip(batches, notes, strict=True)]


def numbers(n: int) -> TensorDataset:
    """Samples that are their own indices."""
    return TensorDataset(torch.arange(n), torch.arange(n))


@given(size=st.integers(1, 200), world=st.integers(1, 8))
def test_shares_of_a_batch_are_all_of_it_once_in_order_and_differ_by_one_at_most(size: int, world: int) -> None:
    shares = [list(range(size))[share(size, rank, world)] for rank in range(world)]
    assert all(shares)  # a rank without any would have no forward pass, and the others would wait for it
    counted = [of_rank for rank, of_rank in enumerate(shares) if rank < size]
    assert [sample for of_rank in counted for sample in of_rank] == list(range(size))
    assert max(map(len, counted)) - min(map(len, counted)) <= 1
    assert all(len(of_rank) == 1 for of_rank in shares[size:])


SIZES = {"n": st.integers(1, 60), "batch": st.integers(1, 20), "world": st.integers(1, 8)}


@given(**SIZES, drop_last=st.booleans(), shuffle=st.booleans(), sliced=st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_sample_comes_once_in_the_batches_of_one_process(
    n: int, batch: int, world: int, drop_last: bool, shuffle: bool, sliced: bool
) -> None:
    def loader() -> Any:
        generator = torch.Generator().manual_seed(5) if shuffle else None
        dl = DataLoader(numbers(n), batch, shuffle=shuffle, drop_last=drop_last, generator=generator)
        return list(dl) if sliced else dl

    alone = [xb.tolist() for xb, _ in loader()]
    ranks = [passes(Alike(rank, world), loader()) for rank in range(world)]
    together = [[sample for batch, own, _ in of_all if own for sample in batch] for of_all in zip(*ranks, strict=True)]
    assert together == alone
    seen = Counter(sample for whole in together for sample in whole)
    assert set(seen.values()) <= {1}
    assert len(seen) == (n // batch * batch if drop_last else n)
    for of_all, whole in zip(zip(*ranks, strict=True), alone, strict=True):
        assert all(size == len(whole) for _, _, size in of_all)
        assert all(own in (0, len(samples)) for samples, own, _ in of_all)
        assert sum(own / size for _, own, size in of_all) == pytest.approx(1)  # what each weighs


def test_shuffling_without_a_generator_is_by_the_engines_seed_whatever_the_ranks_own() -> None:
    def pass_of(rank: Rank) -> Any:
        torch.manual_seed(rank.rank)
        return passes(rank, DataLoader(numbers(12), 4, shuffle=True), seed=7, n=2)

    first, second = on_ranks(2, pass_of)
    drawn = [sorted(a + b) for (a, _, _), (b, _, _) in zip(first, second, strict=True)]
    assert sorted(drawn[0] + drawn[1] + drawn[2]) == sorted(drawn[3] + drawn[4] + drawn[5]) == list(range(12))


class Shuffles(Sampler[int]):
    """An order by Python's own random numbers, from a seed or from none that others have."""

    def __init__(self, seed: object, keep: int = 0) -> None:
        self.random = random.Random(str(seed))
        self.keep = keep

    def __iter__(self) -> Iterator[int]:
        order = list(range(self.keep, 12))
        self.random.shuffle(order)
        return iter([*range(self.keep), *order])

    def __len__(self) -> int:
        return 12


class Whole(Sampler[Batch]):
    """A sampler of batches."""

    def __init__(self, order: Shuffles) -> None:
        self.order = order

    def __iter__(self) -> Iterator[Batch]:
        order = list(self.order)
        yield from (order[start : start + 4] for start in range(0, 12, 4))

    def __len__(self) -> int:
        return 3


class Stream(IterableDataset[tuple[int, int]]):
    """Samples in an order of its own."""

    def __init__(self, seed: object) -> None:
        self.order = Shuffles(seed)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((sample, sample) for sample in self.order)


class Doubled(Dataset[tuple[Tensor, Tensor]]):
    """A data set of its own, whose samples are counted as they are loaded."""

    def __init__(self) -> None:
        self.loaded = 0

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        self.loaded += 1
        return torch.tensor(index), torch.tensor(2 * index)

    def __len__(self) -> int:
        return 12


def halves(seed: int) -> Any:
    """A part of a data set, as random_split draws it."""
    return random_split(numbers(24), [12, 12], torch.Generator().manual_seed(seed))[0]


def tensors(seed: int) -> TensorDataset:
    made = torch.randn(12, 3, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(made, made)


DIFFERENT: dict[str, tuple[Callable[[int], Any], str]] = {
    "sampler": (lambda rank: DataLoader(numbers(12), 4, sampler=Shuffles(rank)), "its Shuffles has drawn other"),
    "batch sampler": (
        lambda rank: DataLoader(numbers(12), batch_sampler=Whole(Shuffles(rank))),
        "its Whole has drawn other samples on rank 1 than on rank 0, in the first batch",
    ),
    "late": (
        lambda rank: DataLoader(numbers(12), 4, sampler=Shuffles(rank, keep=4)),
        "its Shuffles has drawn other samples on rank 1 than on rank 0, in the pass that is over",
    ),
    "generator": (
        lambda rank: DataLoader(numbers(12), 4, shuffle=True, generator=torch.Generator().manual_seed(rank)),
        "its RandomSampler has drawn other",
    ),
    "batch size": (lambda rank: DataLoader(numbers(12), 4 + rank), "rank 0: 4; rank 1: 5"),
    "length": (lambda rank: DataLoader(numbers(12 + rank), 4), "its data set has other samples"),
    "subset": (lambda rank: DataLoader(halves(rank), 4), r"other samples, .*random_split takes one"),
    "tensors": (lambda rank: DataLoader(tensors(rank), 4), "its data set has other samples"),
    "list": (lambda rank: DataLoader([*zip(*tensors(rank).tensors, strict=True)], 4), "its data set has other samples"),
    "stream": (lambda rank: DataLoader(Stream(rank), 4), "its first batch has other targets on rank 1"),
    "batches": (lambda rank: [(torch.ones(4), torch.arange(4) + rank)], "its first batch has other targets on rank 1"),
    "sliced size": (lambda rank: [(torch.ones(4 + rank), torch.ones(4 + rank))], "rank 0: 4; rank 1: 5"),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_ranks_that_would_train_on_other_samples_are_refused(case: str) -> None:
    make, why = DIFFERENT[case]
    with pytest.raises(EngineError, match=f"dl is not the same on all ranks: .*{why}"):
        on_ranks(2, lambda rank: passes(rank, make(rank.rank)))
    same = on_ranks(2, lambda rank: passes(rank, make(0)))
    assert len(same[0]) == len(same[1]) > 0


def test_data_that_differs_by_rounding_alone_is_the_same() -> None:
    def pass_of(rank: Rank) -> Any:
        own = tensors(0).tensors[0] * (1 + rank.rank * 1e-6)
        return passes(rank, DataLoader(TensorDataset(own, own), 4))

    assert len(on_ranks(2, pass_of)[0]) == 3


def test_to_compare_loads_no_sample_of_a_data_set_that_may_draw_random_numbers() -> None:
    def loaded(rank: Rank) -> int:
        data = Doubled()
        passes(rank, DataLoader(data, 4))
        return data.loaded

    assert on_ranks(2, loaded) == [6, 6]


def test_a_pass_costs_two_small_collectives_and_none_where_a_rank_looks_at_its_data_alone() -> None:
    def rounds(rank: Rank) -> tuple[int, int]:
        passes(rank, DataLoader(numbers(12), 4))
        together = len(rank.rounds)
        rank.compares = False
        passes(rank, DataLoader(numbers(12), 4))
        return together, len(rank.rounds) - together

    assert on_ranks(3, rounds) == [(2, 0)] * 3


def test_indices_that_are_no_numbers_are_compared_too() -> None:
    class Named(Sampler[str]):
        def __init__(self, names: str) -> None:
            self.names = names

        def __iter__(self) -> Iterator[str]:
            return iter(self.names)

        def __len__(self) -> int:
            return len(self.names)

    data: Any = {name: (torch.tensor(ord(name)), torch.tensor(ord(name))) for name in "abcd"}

    def loader(names: str) -> Any:
        return DataLoader(data, 2, sampler=Named(names))

    assert [batch for batch, _, _ in on_ranks(2, lambda rank: passes(rank, loader("abcd")))[1]] == [[98], [100]]
    with pytest.raises(EngineError, match="its Named has drawn other samples"):
        on_ranks(2, lambda rank: passes(rank, loader("abcd" if rank.rank else "bacd")))


def test_a_part_of_a_data_set_whose_indices_are_no_numbers_is_compared_too() -> None:
    data: Any = {name: (torch.tensor(ord(name)), torch.tensor(ord(name))) for name in "abcd"}

    def loader(names: str) -> Any:
        return DataLoader(Subset(data, list(names)), 2)  # type: ignore[arg-type]  # torch says whole numbers

    assert [batch for batch, _, _ in on_ranks(2, lambda rank: passes(rank, loader("bd")))[1]] == [[100]]
    with pytest.raises(EngineError, match="its data set has other samples"):
        on_ranks(2, lambda rank: passes(rank, loader("cd" if rank.rank else "bd")))


def test_a_loader_that_is_split_already_is_refused_or_left_alone() -> None:
    rank = Alike(0, 2)
    data = numbers(12)
    with pytest.raises(EngineError, match="dl has a DistributedSampler"):
        passes(rank, DataLoader(data, 4, sampler=DistributedSampler(data, num_replicas=2, rank=0)))
    for dl, kind in ((DataLoader(data, 4), SharedLoader), ([(torch.ones(4), torch.ones(4))], Sliced)):
        once: Any = split("dl", dl, rank, 0, lambda own, size: None)
        assert isinstance(once, kind)
        assert split("dl", once, rank, 0, lambda own, size: None) is once


def of_a_checkpoint(dl: Any) -> tuple[Any, list[Any]]:
    """What a checkpoint says of a loader, and where the states are that it holds."""
    return loader_facts(dl), [source[:2] for source in loader_state(dl)["sources"]]


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_checkpoint_describes_the_loader_that_one_process_has(shuffle: bool) -> None:
    dl = DataLoader(numbers(12), 4, shuffle=shuffle, generator=torch.Generator().manual_seed(3))
    alone = of_a_checkpoint(dl)
    assert alone[0]["batch_size"] == 4
    assert of_a_checkpoint(split("dl", dl, Alike(1, 2), 0, lambda own, size: None)) == alone
    for made in ([(torch.ones(4), torch.ones(4))], WithState()):
        sliced = split("dl", made, Alike(0, 2), 0, lambda own, size: None)
        assert of_a_checkpoint(sliced) == of_a_checkpoint(made)


def test_an_order_that_the_engine_has_drawn_is_in_a_checkpoint() -> None:
    dl = DataLoader(numbers(12), 4, shuffle=True)
    shared = split("dl", dl, Alike(0, 2), 7, lambda own, size: None)
    facts, places = of_a_checkpoint(shared)
    assert facts == loader_facts(dl)
    assert places == [["sampler.generator", "torch"]]
    before = loader_state(shared)
    first = [xb.tolist() for xb, _ in shared]
    set_loader_state(shared, before, under_way=False)
    assert [xb.tolist() for xb, _ in shared] == first
    assert dl.generator is None
    assert loader_problem(dl, before) is not None  # one process draws from elsewhere


class WithState:
    """Batches that save where they are."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter([(torch.ones(4), torch.ones(4))])

    def state_dict(self) -> dict[str, int]:
        return {"at": 3}

    def load_state_dict(self, state: dict[str, int]) -> None:
        assert state == {"at": 3}


def test_a_part_of_a_batch_that_cannot_be_split_is_refused() -> None:
    with pytest.raises(EngineError, match=r"a batch of dl has a tensor of shape \[3\] in it"):
        passes(Alike(0, 2), [(torch.ones(3), torch.ones(4))])


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("workers", [0, 1])
def test_an_empty_batch_of_indices_is_refused_by_rank_and_batch(world: int, workers: int) -> None:
    dl = DataLoader(numbers(4), batch_sampler=[[0, 1], [], [2, 3]], num_workers=workers)
    words = rf"^batch 1 of dl has no samples, on rank {world - 1} of {world}: .* Leave such batches out"
    with pytest.raises(EngineError, match=words):
        passes(Alike(world - 1, world), dl)


def test_an_empty_batch_of_any_other_loader_is_refused_by_rank_and_batch() -> None:
    whole = (torch.arange(4), torch.arange(4))
    empty = (torch.empty(0), torch.empty(0))
    with pytest.raises(EngineError, match=r"^batch 2 of dl has no samples, on rank 1 of 2"):
        passes(Alike(1, 2), [whole, whole, empty])
