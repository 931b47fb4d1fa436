"""A state that is ready to be written, whatever becomes of the learner meanwhile."""

from __future__ import annotations

from types import MappingProxyType
from typing import Mapping, Optional

import attrs
import torch
from torch import Tensor

from ..tree import Tree, encode, shard_of


@attrs.frozen
class Draft:
    """A state that is ready to be written: what changes in the learner from now on does not change it."""

    text: bytes
    """The tree as JSON."""

    tensors: dict[str, Tensor]
    """Its tensors, on the CPU."""

    sharded: Mapping[str, Tensor] = MappingProxyType({})
    """Its tensors of which each process has a shard, as they are."""


def draft(tree: Tree, *, copy: bool, into: Optional[Draft] = None) -> Draft:
    """Makes a state ready to be written.

    Args:
        tree: The state.
        copy: Whether tensors that are on the CPU are copied too, so that training may go on before they are written.
        into: An earlier one that nobody needs any more: tensors are copied into its memory where they fit.

    Raises:
        StateError: It holds what no checkpoint can hold.
    """
    text, tensors = encode(tree)
    seen: set[int] = set()
    ready: dict[str, Tensor] = {}
    sharded = {name: tensor for name, tensor in tensors.items() if shard_of(tensor) is not None}
    for name, tensor in tensors.items():
        if name in sharded:
            continue
        storage = tensor.untyped_storage()
        # a tensor that shares its memory with another one, or is a part of one, is written as itself
        shares = storage.data_ptr() in seen or storage.nbytes() != tensor.nbytes
        seen.add(storage.data_ptr())
        if copy or shares or tensor.device.type != "cpu":
            ready[name] = _copied(tensor, None if into is None else into.tensors.get(name))
        else:
            ready[name] = tensor.resolve_conj().resolve_neg().contiguous()
    return Draft(text, ready, sharded)


def _copied(tensor: Tensor, memory: Optional[Tensor]) -> Tensor:
    """A copy of a tensor on the CPU, in memory that is there already where it fits."""
    if memory is None or memory.shape != tensor.shape or memory.dtype != tensor.dtype:
        # memory that is new costs three times as much as memory that was written before
        memory = torch.empty(tensor.shape, dtype=tensor.dtype)
    return memory.copy_(tensor)
