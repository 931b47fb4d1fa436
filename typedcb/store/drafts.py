"""A state that is ready to be written."""

from __future__ import annotations

from functools import lru_cache
from types import MappingProxyType
from typing import Mapping, Optional

import attrs
import torch
from torch import Tensor

from ..errors import StateError
from ..extras import require
from ..tree import Tree, dtype_name, encode, shard_of


@attrs.frozen
class Draft:
    """A state that is ready to be written; where it is a copy, whatever becomes of the learner from now on."""

    text: bytes
    """The tree as JSON."""

    tensors: Mapping[str, Tensor]
    """Its tensors, on the CPU, each in memory that is its alone."""

    sharded: Mapping[str, Tensor] = MappingProxyType({})
    """Its tensors of which each process has a shard, as they are."""

    @property
    def size(self) -> int:
        """How many bytes it has, but for what says where each tensor is."""
        return len(self.text) + sum(tensor.nbytes for tensor in self.tensors.values())


def draft(tree: Tree, *, copy: bool, into: Optional[Draft] = None) -> Draft:
    """Makes a state ready to be written.

    Args:
        tree: The state.
        copy: Whether tensors that are on the CPU are copied too, so that training may go on before they are written.
        into: An earlier one that nobody needs any more: tensors are copied into its memory where they fit.

    Raises:
        StateError: It holds what no checkpoint can hold.
    """
    require("safetensors", extra="checkpoint")
    text, tensors = encode(tree)
    for name, tensor in tensors.items():
        if not _is_known(tensor.dtype):
            raise StateError(f"{name} is a tensor of {dtype_name(tensor)}, which no checkpoint can hold.")
    sharded = {name: tensor for name, tensor in tensors.items() if shard_of(tensor) is not None}
    memory: Mapping[str, Tensor] = MappingProxyType({}) if into is None else into.tensors
    seen: set[int] = set()
    ready: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name in sharded:
            continue
        storage = tensor.untyped_storage()
        # a tensor that shares its memory with another one, or is a part of one, is written as itself
        shares = storage.data_ptr() in seen or storage.nbytes() != tensor.nbytes
        seen.add(storage.data_ptr())
        if copy or shares or tensor.device.type != "cpu":
            ready[name] = _copied(tensor, memory.get(name))
        else:
            ready[name] = tensor.resolve_conj().resolve_neg().contiguous()
    for device in {tensor.device for tensor in tensors.values() if tensor.is_cuda}:
        torch.cuda.synchronize(device)
    return Draft(text, ready, sharded)


@lru_cache
def _is_known(dtype: torch.dtype) -> bool:
    """Whether safetensors has a type."""
    import safetensors.torch  # noqa: PLC0415  # it is an extra

    try:
        safetensors.torch.save({"": torch.empty(0, dtype=dtype)})
    except KeyError:
        return False
    return True


def _copied(tensor: Tensor, memory: Optional[Tensor]) -> Tensor:
    """A copy on the CPU, in memory that is there already where it fits; from a GPU it may still be on its way."""
    if memory is None or memory.shape != tensor.shape or memory.dtype != tensor.dtype:
        # memory that is new costs three times as much as memory that was written before
        memory = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
    return memory.copy_(tensor, non_blocking=tensor.is_cuda)
