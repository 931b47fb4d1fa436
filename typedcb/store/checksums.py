"""The checksums of a checkpoint's files.

A file's is its BLAKE3 (https://github.com/BLAKE3-team/BLAKE3-specs), which takes a fifth of the processor's time that
sha256 takes. Format 1 has sha256, and is still read.
"""

from __future__ import annotations

import hashlib
from io import BufferedReader
from typing import Protocol, Union

from typing_extensions import TypeAlias

from ..extras import require
from .manifest import File

_Bytes: TypeAlias = Union[bytes, bytearray, memoryview]

_BLOCK = 1 << 20


class Checksum(Protocol):
    """A checksum that is being computed."""

    def update(self, data: _Bytes, /) -> object:
        """Takes more bytes in."""
        ...

    def hexdigest(self) -> str:
        """What has come of it, in hexadecimal digits."""
        ...


def checksum() -> Checksum:
    """Begins a checksum of the format that is written.

    Raises:
        ModuleNotFoundError: blake3 is not installed; the message says which extra brings it.
    """
    require("blake3", extra="checkpoint")
    from blake3 import blake3  # noqa: PLC0415  # it is an extra

    return blake3()


def checksum_like(expected: File) -> Checksum:
    """Begins a checksum to compare with one that a manifest has."""
    return checksum() if "blake3" in expected.checksums else hashlib.sha256()


def take_in(file: BufferedReader, into: Checksum) -> None:
    """Has a checksum take in the rest of a file."""
    block = bytearray(_BLOCK)
    view = memoryview(block)
    while n := file.readinto(block):
        into.update(view[:n])
