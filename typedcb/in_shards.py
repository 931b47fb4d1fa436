"""Tensors that are in shards over several ranks: torch's DTensor, which takes a while to import, and is not needed."""

from __future__ import annotations

from typing import Protocol, cast

from torch import Tensor


class _InShards(Protocol):
    """What is used of it."""

    def full_tensor(self) -> Tensor: ...

    def to_local(self) -> Tensor: ...


def is_sharded(tensor: Tensor) -> bool:
    """Whether a tensor is one that may be spread over ranks."""
    return hasattr(tensor, "full_tensor")


def whole(tensor: Tensor) -> Tensor:
    """A tensor with all of its shards, on each rank. Collective where it is in shards.

    Args:
        tensor: The tensor, which is given back where it is whole.
    """
    return cast("_InShards", tensor).full_tensor() if is_sharded(tensor) else tensor


def own_shard(tensor: Tensor) -> Tensor:
    """This rank's shard of a tensor.

    Args:
        tensor: The tensor, which is in shards.
    """
    return cast("_InShards", tensor).to_local()
