"""Where a learner computes: its batches are brought to the device of its model."""

from __future__ import annotations

from typing import Generic, Iterable, Iterator, Sized, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree  # torch has no public way to map over the tensors of a nested batch

from .articles import an_instance
from .data import release
from .events import X, Y

V = TypeVar("V")


def device_of(model: nn.Module) -> torch.device:
    """The device of a model's parameters; the CPU for a model without any."""
    first = next(model.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def to_device(value: V, device: torch.device) -> V:
    """The same value with every tensor in it on a device.

    Args:
        value: A tensor, or whatever nests tensors in tuples, lists, dicts and the like.
        device: Where to.
    """

    def move(tensor: Tensor) -> Tensor:
        return tensor.to(device, non_blocking=True)

    return cast(V, pytree.tree_map_only(Tensor, move, value))


def placed(dl: Iterable[tuple[X, Y]], device: torch.device) -> Iterable[tuple[X, Y]]:
    """A loader's batches on a device; the loader itself where that is the CPU, since batches are made there."""
    return dl if device.type == "cpu" else _Placed(dl, device)


class _Placed(Generic[X, Y]):
    def __init__(self, dl: Iterable[tuple[X, Y]], device: torch.device) -> None:
        self._dl = dl
        self._device = device

    def __iter__(self) -> Iterator[tuple[X, Y]]:
        source = iter(self._dl)
        try:
            for pair in source:
                yield to_device(pair, self._device)
        finally:
            release(source)

    def __len__(self) -> int:
        if isinstance(self._dl, Sized):
            return len(self._dl)
        raise TypeError(f"{an_instance(self._dl)} has no length")
