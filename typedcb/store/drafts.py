"""A state that is ready to be written, its tensors as they are to lie in their file."""

from __future__ import annotations

import sys
from types import MappingProxyType
from typing import Final, Iterator, Mapping, Optional

import attrs
import torch
from torch import Tensor

from ..tree import Tree, encode, shard_of
from .layout import Layout, laid_out
from .memory import Memory, in_blocks, memory

_CHUNK: Final = 1 << 24
"""How many bytes are written at once."""


@attrs.frozen
class Draft:
    """A state that is ready to be written; where it is a copy, whatever becomes of the learner from now on."""

    text: bytes
    """The tree as JSON."""

    layout: Layout
    """Where its tensors lie in their file."""

    tensors: Mapping[str, Tensor]
    """Its tensors, on the CPU."""

    copied: Optional[Memory] = None
    """The whole file of tensors, which `tensors` are parts of; None where they are as they were."""

    sharded: Mapping[str, Tensor] = MappingProxyType({})
    """Its tensors of which each process has a shard, as they are."""

    def chunks(self) -> Iterator[memoryview]:
        """The file of tensors in whole blocks, each chunk good until the next one is asked for."""
        if self.copied is None:
            yield from _gathered(self.layout, self.tensors)
            return
        end = in_blocks(self.layout.size)
        for begin in range(0, end, _CHUNK):
            yield self.copied.view[begin : min(begin + _CHUNK, end)]


def draft(tree: Tree, *, copy: bool, into: Optional[Draft] = None) -> Draft:
    """Makes a state ready to be written.

    Args:
        tree: The state.
        copy: Whether tensors that are on the CPU are copied too, so that training may go on before they are written.
        into: An earlier one that nobody needs any more, whose memory is used again.

    Raises:
        StateError: It holds what no checkpoint can hold.
    """
    text, tensors = encode(tree)
    sharded = {name: tensor for name, tensor in tensors.items() if shard_of(tensor) is not None}
    whole = {name: tensor for name, tensor in tensors.items() if name not in sharded}
    layout = laid_out(whole)
    if copy:
        copied = _memory(layout, whole, None if into is None else into.copied)
        return Draft(text, layout, _copies(layout, whole, copied), copied, sharded)
    return Draft(text, layout, {name: tensor.cpu() for name, tensor in whole.items()}, None, sharded)


def _memory(layout: Layout, tensors: Mapping[str, Tensor], before: Optional[Memory]) -> Memory:
    """Memory for a file of tensors: that of the last one where it is large enough, since new memory costs more."""
    pinned = any(tensor.is_cuda for tensor in tensors.values())
    if before is not None and before.holds(layout.size, pinned=pinned):
        return before
    return memory(layout.size, pinned=pinned)


def _copies(layout: Layout, tensors: Mapping[str, Tensor], into: Memory) -> dict[str, Tensor]:
    """Copies tensors to where they lie in their file."""
    into.view[: len(layout.header)] = layout.header
    copies: dict[str, Tensor] = {}
    for name, place in layout.places.items():
        tensor = tensors[name]
        copies[name] = into.tensor[place : place + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        copies[name].copy_(tensor, non_blocking=into.pinned and tensor.is_cuda)
    for device in {tensor.device for tensor in tensors.values() if tensor.is_cuda}:
        torch.cuda.synchronize(device)
    if sys.byteorder == "big":
        for copied in copies.values():
            _bytes_of(copied).copy_(_little_endian(copied))
    return copies


def _gathered(layout: Layout, tensors: Mapping[str, Tensor]) -> Iterator[memoryview]:
    """The same file from tensors as they are, through a little memory."""
    through = memory(min(_CHUNK, layout.size))
    room, at = len(through.view), 0
    for piece in _pieces(layout, tensors):
        done = 0
        while done < len(piece):
            part = piece[done : done + room - at]
            through.tensor[at : at + len(part)].copy_(part)
            at, done = at + len(part), done + len(part)
            if at == room:
                yield through.view
                at = 0
    if at:
        yield through.view[: in_blocks(at)]


def _pieces(layout: Layout, tensors: Mapping[str, Tensor]) -> Iterator[Tensor]:
    """A file of tensors as bytes, piece by piece."""
    yield torch.frombuffer(bytearray(layout.header), dtype=torch.uint8)
    for name in layout.places:
        yield _little_endian(tensors[name].resolve_conj().resolve_neg().contiguous())


def _bytes_of(tensor: Tensor) -> Tensor:
    return tensor.view(-1).view(torch.uint8)


def _little_endian(tensor: Tensor) -> Tensor:
    """A tensor's bytes as they stand in a file, the least significant one of each number first."""
    flat = _bytes_of(tensor)
    width = tensor.element_size() // (2 if tensor.is_complex() else 1)
    return flat if sys.byteorder == "little" else flat.view(-1, width).flip(1).view(-1)
