"""Whether the ranks fetch the same batches, of each of which they have a share.

A rank that draws other samples than the others trains on some of them twice and on others never, and nothing else says
so. What is compared costs two small collectives a pass: at its first batch what this batch is made of, and at its end
all that it was made of.
"""

from __future__ import annotations

import math
import struct
import zlib
from array import array
from typing import Callable, Final, Mapping, Optional, Protocol, Sequence, Sized, cast

import attrs
import msgspec
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils import _pytree as pytree  # torch has no public way to map over the tensors of a nested batch
from torch.utils.data import ConcatDataset, StackDataset, Subset, TensorDataset
from typing_extensions import TypeIs

from ..errors import EngineError
from .in_words import listed, of_each

_FEW: Final = 16
"""Of how many samples, spread evenly, the figures are compared."""

_TOLERANCE: Final = 1e-4
"""What figures may differ by: the same preprocessing on another processor rounds in another way."""


class Group(Protocol):
    """The ranks, as far as the splitting of batches asks for them."""

    @property
    def rank(self) -> int:
        """The number of this process."""
        ...

    @property
    def world_size(self) -> int:
        """How many processes there are."""
        ...

    @property
    def compares(self) -> bool:
        """Whether the ranks go over their data together now, and no callback looks at it."""
        ...

    def gather(self, values: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        """The numbers of every rank."""
        ...


class Talking(Group, Protocol):
    """Ranks that tell each other words as well."""

    def exchange(self, text: str) -> tuple[str, ...]:
        """The text of every rank."""
        ...


@attrs.frozen
class OfLoader:
    """The ranks, which compare how many batches a loader has whenever they compare what is in them."""

    ranks: Group
    """The ranks."""

    name: str
    """What the loader is called."""

    length: Callable[[], Optional[int]]
    """How many batches it has; None where it does not know."""

    @property
    def rank(self) -> int:
        """The number of this process."""
        return self.ranks.rank

    @property
    def world_size(self) -> int:
        """How many processes there are."""
        return self.ranks.world_size

    @property
    def compares(self) -> bool:
        """Whether the ranks go over their data together now, and no callback looks at it."""
        return self.ranks.compares

    def gather(self, values: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        """The numbers of every rank.

        Args:
            values: This rank's.

        Raises:
            EngineError: The loader has more batches on one rank than on another.
        """
        length = self.length()
        everybody = self.ranks.gather((-1 if length is None else length, *values))
        lengths = [numbers[0] for numbers in everybody]
        if len(set(lengths)) > 1:
            each = of_each("no length" if n < 0 else f"{n} batches" for n in lengths)
            raise EngineError(
                f"{self.name} is not the same on all ranks: it has not as many batches. {each}. A loader is to give "
                f"every rank all batches; the engine splits each of them."
            )
        return tuple(numbers[1:] for numbers in everybody)


def check_models(model: nn.Module, ranks: Talking) -> None:
    """Refuses models that differ in more than their weights, which nothing can make the same. Collective.

    Args:
        model: This rank's model.
        ranks: The ranks.

    Raises:
        EngineError: It names the first tensor that differs, and what each rank has.
    """
    if ranks.world_size == 1:
        return
    tensors = _tensors(model)
    if len(set(ranks.gather((zlib.crc32(msgspec.json.encode(tensors)),)))) == 1:
        return
    everybody = exchanged(tensors, ranks)
    differs = first_difference(everybody, "not there")
    if differs is not None:
        name, seen = differs
        raise EngineError(f"the models of the ranks differ, first in {name}. {of_each(seen)}. {_SAME_MODEL}")
    places = zip(*everybody, strict=True)  # the same tensors
    first = next(names for names in places if len(set(names)) > 1)
    raise EngineError(f"the models of the ranks have their tensors in another order. {of_each(first)}. {_SAME_MODEL}")


def exchanged(facts: Mapping[str, str], ranks: Talking) -> list[dict[str, str]]:
    """The facts of every rank, by rank. Collective.

    Args:
        facts: This rank's, by name.
        ranks: The ranks.
    """
    texts = ranks.exchange(msgspec.json.encode(facts).decode())
    return [msgspec.json.decode(text, type=dict[str, str]) for text in texts]


def first_difference(everybody: Sequence[Mapping[str, str]], missing: str) -> Optional[tuple[str, list[str]]]:
    """The first name under which ranks have different facts, and what each has; None where they have the same.

    Args:
        everybody: The facts of every rank.
        missing: What a rank has that lacks the name.
    """
    for name in dict.fromkeys(name for facts in everybody for name in facts):
        seen = [facts.get(name, missing) for facts in everybody]
        if len(set(seen)) > 1:
            return name, seen
    return None


_SAME_MODEL: Final = (
    "Make the same model on every rank: nothing in it may depend on the rank, or on data that only one of them has."
)


def _tensors(model: nn.Module) -> dict[str, str]:
    """What a model's parameters and buffers are, apart from their values, by name, in order."""
    found = {name: f"a parameter, {_kind(p)}, {_WHETHER[p.requires_grad]}" for name, p in model.named_parameters()}
    return found | {name: f"a buffer, {_kind(buffer)}" for name, buffer in model.named_buffers()}


_WHETHER: Final = {True: "trained", False: "frozen"}


def _kind(tensor: Tensor) -> str:
    shape = "of no shape yet" if is_lazy(tensor) else f"of shape {list(tensor.shape)}"
    return f"{shape}, {tensor.dtype}"


@attrs.frozen
class Comparison:
    """Compares the batches of one loader over the ranks."""

    name: str
    """What the loader is called."""

    source: str
    """What of it says in which order the samples come."""

    group: Group
    """The ranks."""

    def indices(self, crc: int, size: int, figures: Sequence[float]) -> None:
        """Compares the first batch of a pass. Collective.

        Args:
            crc: What stands for the indices of all its samples.
            size: How many there are.
            figures: What is known of the data set's samples.

        Raises:
            EngineError: The ranks draw other samples, or from other data.
        """
        everybody = self._gathered((size, crc), figures)
        if not everybody:
            return
        self._check_sizes([numbers[0] for numbers, _ in everybody])
        self._check_data([own for _, own in everybody], "data set has other samples, or the same in another order,")
        self._check_order([numbers[1] for numbers, _ in everybody], "in the first batch")

    def contents(self, size: int, figures: Sequence[float]) -> None:
        """Compares the first batch of a pass, of which all ranks have all samples. Collective.

        Args:
            size: How many samples it has.
            figures: What is known of its targets.

        Raises:
            EngineError: The ranks have other batches.
        """
        everybody = self._gathered((size,), figures)
        if everybody:
            self._check_sizes([numbers[0] for numbers, _ in everybody])
            self._check_data([own for _, own in everybody], "first batch has other targets")

    def pass_over(self, crc: int, batches: int) -> None:
        """Compares a whole pass. Collective.

        Args:
            crc: What stands for the indices of all its samples.
            batches: How many batches it had.

        Raises:
            EngineError: The ranks have drawn other samples.
        """
        everybody = self._gathered((batches, crc), ())
        if everybody:
            self._check_order([hash(numbers) for numbers, _ in everybody], "in the pass that is over")

    def _gathered(
        self, numbers: Sequence[int], figures: Sequence[float]
    ) -> list[tuple[tuple[int, ...], tuple[float, ...]]]:
        """The numbers and the figures of every rank; none where there is nothing to compare."""
        if self.group.world_size == 1 or not self.group.compares:
            return []
        bits = struct.unpack(f"{len(figures)}q", struct.pack(f"{len(figures)}d", *figures))
        n = len(numbers)
        return [
            (one[:n], struct.unpack(f"{len(figures)}d", struct.pack(f"{len(figures)}q", *one[n:])))
            for one in self.group.gather((*numbers, *bits))
        ]

    def _check_sizes(self, sizes: Sequence[int]) -> None:
        if len(set(sizes)) > 1:
            raise EngineError(
                f"{self.name} is not the same on all ranks: its first batch has another size. {of_each(sizes)}. A "
                f"loader is to give every rank all samples of a batch, batch_size being that of all ranks together; "
                f"the engine splits it."
            )

    def _check_data(self, figures: Sequence[Sequence[float]], what: str) -> None:
        others = [rank for rank, own in enumerate(figures) if not all(map(_close, own, figures[0]))]
        if others:
            raise EngineError(
                f"{self.name} is not the same on all ranks: its {what} on rank {listed(others)} than on rank 0. "
                f"Each rank is to have all samples in the same order, of which the engine gives it its share: make the "
                f"data, and shuffle it, by a generator with the same seed everywhere, as random_split takes one, and "
                f"leave the splitting among ranks to the engine."
            )

    def _check_order(self, orders: Sequence[int], when: str) -> None:
        others = [rank for rank, order in enumerate(orders) if order != orders[0]]
        if others:
            raise EngineError(
                f"{self.name} is not the same on all ranks: its {self.source} has drawn other samples on rank "
                f"{listed(others)} than on rank 0, {when}, so that some would be trained on twice and others never. "
                f"Have it draw from a generator with the same seed on all ranks; of shuffle=True without a generator "
                f"the engine sees to that itself. Whoever looks at a batch of it does so on all ranks, or at one of "
                f"another loader, since to draw one moves the generator on."
            )


def crc_of(indices: Sequence[object], before: int = 0) -> int:
    """A number that stands for indices, in their order, and for those that came before.

    Args:
        indices: Whole numbers, or whatever else a data set is indexed by.
        before: What stands for those that came before.
    """
    try:
        data = array("q", cast("Sequence[int]", indices)).tobytes()
    except (TypeError, OverflowError):
        data = repr(indices).encode()
    return zlib.crc32(data, before)


def figures_of_data(dataset: object) -> tuple[float, ...]:
    """What can be told of a data set's samples without loading one: the same where the samples are the same.

    Of torch's own data sets and of lists that is some samples' mean; of any other one how many samples it has, since to
    load a sample may draw random numbers.

    Args:
        dataset: A map-style data set.
    """
    length = float(len(dataset)) if isinstance(dataset, Sized) else 0.0
    return (length, *_spread(_reader(dataset), int(length)))


def figures_of_targets(yb: object, size: int) -> tuple[float, ...]:
    """What can be told of a batch's targets: the same where they are the same.

    Args:
        yb: The targets.
        size: How many samples the batch has.
    """
    leaves = [leaf for leaf in pytree.tree_leaves(yb) if isinstance(leaf, Tensor) and leaf.dim() and len(leaf) == size]

    def read(index: int) -> float:
        return sum(_mean(leaf[index]) for leaf in leaves)

    return _spread(read, size)


def _spread(read: Callable[[int], float], length: int) -> tuple[float, ...]:
    """The figures of some samples that are spread over all of them."""
    if not length:
        return (0.0,) * _FEW
    return tuple(read(place * (length - 1) // (_FEW - 1)) for place in range(_FEW))


def _reader(dataset: object) -> Callable[[int], float]:
    """How to tell a figure of a sample without any trace in the data set."""
    if _is_subset(dataset):
        inner = _reader(dataset.dataset)
        indices = dataset.indices
        return lambda index: _number(indices[index]) + inner(indices[index])
    if type(dataset) is TensorDataset:
        tensors = dataset.tensors
        return lambda index: sum(_mean(tensor[index]) for tensor in tensors)
    if _is_plain(dataset):
        return lambda index: sum(map(_mean, pytree.tree_leaves(dataset[index])))
    return lambda index: 0.0


def _number(index: object) -> float:
    """A figure of an index, which is a whole number in most data sets."""
    return float(index) if isinstance(index, (int, float)) else float(crc_of((index,)))


def _is_subset(dataset: object) -> TypeIs[Subset[object]]:
    return type(dataset) is Subset


def _is_plain(dataset: object) -> TypeIs[Sequence[object]]:
    """Whether a data set hands its samples out as they are, or has parts that are data sets of their own.

    A ConcatDataset and a StackDataset load a sample of a part; they are read where all parts are plain.
    """
    if isinstance(dataset, (list, tuple)):
        return True
    if type(dataset) is ConcatDataset or type(dataset) is StackDataset:
        parts: Sequence[object] = cast("ConcatDataset[object]", dataset).datasets
        return all(_is_plain(part) or type(part) is TensorDataset for part in parts)
    return False


def _mean(value: object) -> float:
    """A figure of a leaf of a sample."""
    if isinstance(value, (int, float)):
        return float(value)
    if not isinstance(value, Tensor) or value.layout is not torch.strided or value.is_meta or not value.numel():
        return 0.0
    with torch.no_grad():
        flat = value.detach().reshape(-1)
        flat = torch.view_as_real(flat).reshape(-1) if flat.is_complex() else flat
        return float(flat.double().mean())


def _close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE) or (math.isnan(one) and math.isnan(other))
