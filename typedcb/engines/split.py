"""Each rank's share of each batch.

The batches are those of one process: the same samples in each, the same number of them, in the same order. A rank loads
and trains on its share of each, so that a batch size, a learning rate and a schedule mean what they mean in one
process, whatever the number of processes; and a checkpoint in the middle of an epoch can be gone on from with another.

Shares differ by one sample at most. Where a batch has fewer samples than there are ranks, one of another rank's stands
in, and is counted by nobody. That the ranks mean the same batches is compared in each pass (`alike`).
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# torch leaves much of DataLoader without types

from __future__ import annotations

import copy
from collections import deque
from typing import Any, Callable, Generic, Iterable, Iterator, Optional, Sequence, Sized, TypeVar, cast

import torch
from torch import Generator, Tensor
from torch.utils import _pytree as pytree  # torch has no public way to map over the tensors of a nested batch
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, IterableDataset, Sampler
from typing_extensions import TypeAlias, TypeIs, override

from ..articles import an_instance
from ..data import batch_size, length_of
from ..errors import EngineError
from ..events import X, Y
from ..loaders import StandsFor
from .alike import Comparison, Group, crc_of, figures_of_data, figures_of_targets
from .in_words import of_each

T = TypeVar("T")

Note: TypeAlias = Callable[[int, int], None]
"""Told of each batch before it is handed out: how many of its samples are this rank's, and how many it has."""

_AnyLoader: TypeAlias = DataLoader[Any]  # Any: whatever its batches are


def share(size: int, rank: int, world_size: int) -> slice:
    """Which samples of a batch are a rank's; never none.

    Args:
        size: How many samples the batch has.
        rank: The rank.
        world_size: How many ranks there are.
    """
    if rank >= size > 0:
        return slice(rank % size, rank % size + 1)  # one that is another rank's
    each, more = divmod(size, world_size)
    start = rank * each + min(rank, more)
    return slice(start, start + each + (rank < more))


def split(name: str, dl: Iterable[tuple[X, Y]], group: Group, seed: int, note: Note) -> Iterable[tuple[X, Y]]:
    """The same batches, each with this rank's share of its samples.

    Of a torch DataLoader over a map-style data set a rank loads its own samples alone. Of any other loader, which has
    to give the same batches on every rank, it loads all of a batch and keeps its share.

    Args:
        name: What the loader is called, for error messages.
        dl: The loader.
        group: The ranks.
        seed: What the order of the samples is drawn from, where the loader has no generator of its own: the same on all
            ranks.
        note: Told of each batch.

    Raises:
        EngineError: It is split already, by a DistributedSampler.
    """
    if isinstance(dl, (SharedLoader, Sliced, Presplit)):
        return cast("Iterable[tuple[X, Y]]", dl)
    if not _draws_by_index(dl):
        first = Comparison(name, "", group).contents

        def check(size: int, yb: object) -> None:
            first(size, figures_of_targets(yb, size))

        return Sliced(name, dl, group.rank, group.world_size, note, check)
    if isinstance(dl.sampler, DistributedSampler):
        raise EngineError(
            f"{name} has a DistributedSampler, and the engine gives each rank its share of every batch itself, without "
            f"repeating a sample: pass the loader that one process would have, batch_size being that of all ranks "
            f'together. engine.presplit("{name}", dl) takes it as it is, and has every rank weigh the same.'
        )
    return cast("Iterable[tuple[X, Y]]", SharedLoader(name, dl, group, seed, note))


def presplit(name: str, dl: Iterable[tuple[X, Y]], group: Group, note: Note) -> Iterable[tuple[X, Y]]:
    """The batches of a loader that gives each rank a share of its own already.

    Args:
        name: What the loader is called, for error messages.
        dl: The loader of this rank.
        group: The ranks.
        note: Told of each batch.

    Raises:
        EngineError: It is split by the engine.
    """
    if isinstance(dl, (SharedLoader, Sliced)):
        raise EngineError(f"{name} is what engine.split has made, which is this rank's share: pass it to the loop.")
    if isinstance(dl, Presplit):
        return cast("Iterable[tuple[X, Y]]", dl)

    def told(number: int) -> tuple[int, ...]:
        alone = group.world_size == 1 or not group.compares
        return (number,) if alone else tuple(each for (each,) in group.gather((number,)))

    return Presplit(name, dl, group.world_size, note, told)


def _draws_by_index(dl: object) -> TypeIs[_AnyLoader]:
    """Whether a loader is a plain DataLoader that draws batches of indices."""
    if type(dl) is not DataLoader:
        return False
    loader: _AnyLoader = dl
    return loader.batch_sampler is not None and not isinstance(loader.dataset, IterableDataset)


def _check_size(name: str, index: int, size: int, rank: int, world_size: int) -> None:
    """Refuses a batch without samples, of which no rank has a share and nothing has a mean.

    Raises:
        EngineError: It is one.
    """
    if not size:
        raise EngineError(
            f"batch {index} of {name} has no samples, on rank {rank} of {world_size}: there is nothing to share, and a "
            f"rank weighs by its share. Leave such batches out where they are made, in the sampler or in what filters "
            f"the samples, on all ranks alike."
        )


class _Shares(Sampler[list[int]]):
    """Of each batch of indices the share of a rank.

    Args:
        name: What the loader is called.
        batches: All batches; it draws from its own copy of their sampler.
        rank: The rank.
        world_size: How many ranks there are.
        seed: What the order is drawn from, where the sampler has no generator.
    """

    def __init__(self, name: str, batches: Iterable[Sequence[int]], rank: int, world_size: int, seed: int) -> None:
        self.batches = _seeded(batches, seed)
        self._name = name
        self._rank = rank
        self._world_size = world_size
        self.drawn: deque[tuple[int, int]] = deque()
        """Of the batches that were drawn, and not yet handed out: how many samples each has, and what stands for the
        indices of the pass up to it."""

    @override
    def __iter__(self) -> Iterator[list[int]]:
        drawn, crc = self.drawn, 0
        for index, indices in enumerate(self.batches):
            _check_size(self._name, index, len(indices), self._rank, self._world_size)
            crc = crc_of(indices, crc)
            drawn.append((len(indices), crc))
            yield list(indices[share(len(indices), self._rank, self._world_size)])

    def __len__(self) -> int:
        return len(cast(Sized, self.batches))


def _seeded(batches: T, seed: int) -> T:
    """The same sampler, with a generator that is the same on all ranks where it would draw from the process's own."""
    if not isinstance(batches, BatchSampler):
        return batches
    sampler: object = batches.sampler
    if getattr(sampler, "generator", seed) is not None:  # it has one, or draws no random numbers
        return batches
    own: Any = copy.copy(sampler)  # Any: whatever sampler has a generator
    own.generator = Generator().manual_seed(seed)
    own_batches = copy.copy(batches)
    own_batches.sampler = own
    return own_batches


class SharedLoader(DataLoader[T], StandsFor):
    """A DataLoader of the same batches, of each of which it loads a rank's share alone.

    Args:
        name: What the loader is called.
        dl: The loader.
        group: The ranks.
        seed: What the order is drawn from.
        note: Told of each batch.
    """

    def __init__(self, name: str, dl: DataLoader[T], group: Group, seed: int, note: Note) -> None:
        batches = cast("Iterable[Sequence[int]]", dl.batch_sampler)
        self._shares = _Shares(name, batches, group.rank, group.world_size, seed)
        workers: dict[str, Any] = {}  # Any: settings of workers, which a loader without any refuses
        if dl.num_workers:
            workers = {
                "prefetch_factor": dl.prefetch_factor,
                "persistent_workers": dl.persistent_workers,
                "multiprocessing_context": dl.multiprocessing_context,
                "timeout": dl.timeout,
                "worker_init_fn": dl.worker_init_fn,
            }
        super().__init__(
            dl.dataset,
            batch_sampler=self._shares,
            num_workers=dl.num_workers,
            collate_fn=dl.collate_fn,
            pin_memory=dl.pin_memory,
            generator=dl.generator,
            **workers,
        )
        self._whole = _drawing_from(self._shares.batches, dl)
        self._comparison = Comparison(name, _source_of(batches), group)
        self._known: Optional[tuple[float, ...]] = None
        self._group = group
        self._note = note

    @property
    @override
    def whole(self) -> DataLoader[T]:
        """The loader of all samples of the same batches."""
        return self._whole

    @override
    def __iter__(self) -> Any:  # Any: torch says its private iterator, and is given a generator
        return self._handed_out()

    def _handed_out(self) -> Iterator[T]:
        self._shares.drawn = drawn = deque[tuple[int, int]]()
        rank, world_size = self._group.rank, self._group.world_size
        crc, n_batches = 0, 0
        for batch in super().__iter__():
            size, crc = drawn.popleft()
            if not n_batches:
                self._comparison.indices(crc, size, self._figures())
            n_batches += 1
            of_rank = share(size, rank, world_size)
            self._note(of_rank.stop - of_rank.start if rank < size else 0, size)
            yield cast("T", batch)
        self._comparison.pass_over(crc, n_batches)

    def _figures(self) -> tuple[float, ...]:
        """What is known of the data set's samples; looked up once."""
        if self._known is None:
            self._known = figures_of_data(self.dataset) if self._group.world_size > 1 else ()
        return self._known


def _drawing_from(batches: object, dl: DataLoader[T]) -> DataLoader[T]:
    """A loader as it draws from its batches here, which may have been given a generator."""
    if batches is dl.batch_sampler:
        return dl
    drawing = copy.copy(dl)
    # torch refuses it of a loader that is made; nobody draws from this one, which says where the generators are
    vars(drawing).update(batch_sampler=batches, sampler=cast("BatchSampler", batches).sampler)
    return drawing


def _source_of(batches: object) -> str:
    """What says in which order the samples come, in words."""
    if type(batches) is BatchSampler:
        return type(batches.sampler).__name__
    return type(batches).__name__


class _Around(StandsFor, Generic[X, Y]):
    """A loader around another one, which gives as many batches.

    Args:
        dl: The other one.
    """

    # nothing in its subclasses leads to the engine: whoever looks for what a loader draws from goes through attributes

    def __init__(self, dl: Iterable[tuple[X, Y]]) -> None:
        self._dl = dl

    @property
    @override
    def whole(self) -> Iterable[tuple[X, Y]]:
        """The loader itself."""
        return self._dl

    def __len__(self) -> int:
        if isinstance(self._dl, Sized):
            return len(self._dl)
        raise TypeError(f"{an_instance(self._dl)} has no length")


class Sliced(_Around[X, Y]):
    """Batches that every rank loads, and of each of which it keeps its share.

    Args:
        name: What the loader is called.
        dl: The loader.
        rank: The rank.
        world_size: How many ranks there are.
        note: Told of each batch.
        check: Told of the first batch of each pass: its size and its targets.
    """

    def __init__(
        self,
        name: str,
        dl: Iterable[tuple[X, Y]],
        rank: int,
        world_size: int,
        note: Note,
        check: Callable[[int, object], None],
    ) -> None:
        super().__init__(dl)
        self._name = name
        self._rank = rank
        self._world_size = world_size
        self._note = note
        self._check = check

    def __iter__(self) -> Iterator[tuple[X, Y]]:
        rank, world_size = self._rank, self._world_size
        for index, pair in enumerate(self._dl):
            _, yb = pair
            size = batch_size(yb)
            _check_size(self._name, index, size, rank, world_size)
            if index == 0 and world_size > 1:
                self._check(size, yb)
            of_rank = share(size, rank, world_size)
            self._note(of_rank.stop - of_rank.start if rank < size else 0, size)
            yield pair if world_size == 1 else _sliced(self._name, pair, size, of_rank)


class Presplit(_Around[X, Y]):
    """Batches that are a rank's share as they come.

    Where the ranks do not have as many of them, the one that has none left would go on to what comes behind the pass,
    and the others wait for it in the middle of theirs.

    Args:
        name: What the loader is called.
        dl: The loader.
        world_size: How many ranks there are.
        note: Told of each batch.
        told: Tells all ranks a number, and gives that of each. Collective.
    """

    def __init__(
        self,
        name: str,
        dl: Iterable[tuple[X, Y]],
        world_size: int,
        note: Note,
        told: Callable[[int], tuple[int, ...]],
    ) -> None:
        super().__init__(dl)
        self._name = name
        self._world_size = world_size
        self._note = note
        self._told = told

    def __iter__(self) -> Iterator[tuple[X, Y]]:
        length = length_of(self._dl)
        lengths = self._told(-1 if length is None else length)
        known = -1 not in lengths
        if known:
            self._check(lengths)
        given = 0
        for given, pair in enumerate(self._dl, 1):
            if not known:
                self._check(self._told(given))
            self._note(1, self._world_size)  # every rank weighs the same, and so does every batch
            yield pair
        if not known:
            self._check(self._told(-given))

    def _check(self, numbers: Sequence[int]) -> None:
        """Refuses to go on where one rank has come further than another, or says that it will."""
        if len(set(numbers)) > 1:
            raise EngineError(
                f"{self._name} has more batches on one rank than on another, which would wait for each other at the "
                f"end of the pass ({of_each(map(abs, numbers))}). Give every rank as many, as DistributedSampler does, "
                f"or leave the splitting to engine.split."
            )


def _sliced(name: str, pair: tuple[X, Y], size: int, of_rank: slice) -> tuple[X, Y]:
    """A rank's samples of a batch."""

    def cut(leaf: object) -> object:
        if isinstance(leaf, Tensor) and leaf.dim() and len(leaf) == size:
            return leaf[of_rank]
        what = f"a tensor of shape {list(leaf.shape)}" if isinstance(leaf, Tensor) else an_instance(leaf)
        raise EngineError(
            f"a batch of {name} has {what} in it, which cannot be split among the ranks: each part of a batch is a "
            f"tensor whose first dimension is the batch's, {size} here. Of a DataLoader over a map-style data set each "
            f"rank loads its own samples, whatever a batch is made of."
        )

    with torch.no_grad():
        return cast("tuple[X, Y]", pytree.tree_map(cut, tuple(pair)))
