"""The file of tensors, which safetensors writes and reads: what is in it, and its checksum."""

from __future__ import annotations

import ctypes
import hashlib
import sys
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Generator, Mapping, Protocol, cast

from torch import Tensor

from ..errors import CorruptCheckpointError
from .manifest import File


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors in a file, by its header alone."""
    with corrupt(path), tensors_in(path) as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  # no dict


class _Header(Protocol):
    def get_shape(self) -> list[int]: ...


class _Tensors(Protocol):
    """What safetensors, which is without types here, gives to read from."""

    def keys(self) -> list[str]: ...
    def offset_keys(self) -> list[str]: ...
    def get_slice(self, name: str, /) -> _Header: ...
    def get_tensor(self, name: str, /) -> Tensor: ...


def tensors_in(path: Path) -> AbstractContextManager[_Tensors]:
    """Opens a file of tensors; only its header is read at once."""
    import safetensors  # noqa: PLC0415  # it is an extra

    opened: object = safetensors.safe_open(path, framework="pt")
    return cast("AbstractContextManager[_Tensors]", opened)


@contextmanager
def corrupt(place: Path) -> Generator[None, None, None]:
    """Says which file it is that cannot be read."""
    from safetensors import SafetensorError  # noqa: PLC0415  # safetensors is an extra

    try:
        yield
    except (CorruptCheckpointError, SafetensorError, OSError) as error:
        raise CorruptCheckpointError(f"{place}: {error}") from None


def file_of(path: Path) -> File:
    """The size and the checksum of a file, by reading it."""
    with path.open("rb") as file:
        return File(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def checksum_of(path: Path, tensors: Mapping[str, Tensor]) -> File:
    """What a file of tensors has to be: its header as it is, and behind it the tensors as they are in memory."""
    if sys.byteorder != "little":  # safetensors turns them around, then
        return file_of(path)
    with tensors_in(path) as file:
        names = file.offset_keys()
    in_header = path.stat().st_size - sum(tensor.nbytes for tensor in tensors.values())
    with path.open("rb") as opened:
        digest = hashlib.sha256(opened.read(in_header))
    for name in names:
        tensor = tensors[name]
        if tensor.nbytes:
            digest.update((ctypes.c_char * tensor.nbytes).from_address(tensor.data_ptr()))
    return File(path.stat().st_size, digest.hexdigest())
