r"""A trace on the disk: records in frames, each of which says how long it is and whether it is whole.

    magic       b"typedcb trace\\n"
    frame       kind (1 byte), number of its first record (4), length (4), CRC-32 of what follows (4), all little-endian
                kind 0: one record, as msgpack
                kind 1: an array of records, as msgpack, compressed by zlib

A record is written as soon as it is there, in a frame of its own, so that a killed run loses nothing that it was done
with. When enough of them have come together, one compressed frame takes their place. Whoever is killed in the middle of
that leaves rubbish behind a sound frame; the CRC and the records' numbers tell them apart.
"""

from __future__ import annotations

import errno
import os
import struct
import weakref
import zlib
from pathlib import Path
from typing import Final, Iterator, Optional

import msgspec

from ..errors import TraceError
from .records import Record

MAGIC: Final = b"typedcb trace\n"

_FRAME: Final = struct.Struct("<BIII")
_ONE: Final = 0
_MANY: Final = 1
_LARGEST: Final = 1 << 30  # a frame that unpacks to more is no trace's

_encode = msgspec.msgpack.Encoder().encode
_decode_one = msgspec.msgpack.Decoder(Record).decode
_decode_many = msgspec.msgpack.Decoder(list[Record]).decode


class Writer:
    """Writes records to a file, each as it comes.

    Args:
        path: The file. Its folder is made where it is missing.
        append: Whether the records of a trace that is there are gone on with; it is replaced otherwise.
        block: How many bytes of records are held, and then compressed together.

    Raises:
        TraceError: It cannot be written, or what is to be gone on with is no trace.
    """

    def __init__(self, path: Path, *, append: bool = False, block: int = 1 << 16) -> None:
        self.path = path
        self._block = block
        self._held: list[bytes] = []
        self._held_bytes = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        except OSError as error:
            raise TraceError(
                f"{path} cannot be written: {error.strerror or error}. Choose a file that is yours."
            ) from error
        self._close = weakref.finalize(self, os.close, self._file)
        try:
            self._start, self._number = self._end_of_old() if append else (0, 0)
            os.ftruncate(self._file, self._start)
            if not self._start:
                self._start = os.pwrite(self._file, MAGIC, 0)
        except BaseException:
            self._close()
            raise
        self._at = self._start

    @property
    def closed(self) -> bool:
        """Whether it writes no more."""
        return not self._close.alive

    def write(self, record: Record) -> None:
        """Writes a record.

        Raises:
            OSError: It could not be written; the records before it are as they were.
        """
        body = _encode(record)
        number = self._number + len(self._held)
        self._put(_framed(_ONE, number, body), self._at)
        self._held.append(body)
        self._held_bytes += len(body)
        if self._held_bytes >= self._block:
            self.pack()

    def pack(self) -> None:
        """Compresses the records that are held."""
        if len(self._held) > 1:
            bodies = msgspec.msgpack.encode([msgspec.Raw(body) for body in self._held])
            frame = _framed(_MANY, self._number, zlib.compress(bodies, 1))
            if len(frame) < self._at - self._start:
                self._replace(frame)
        self._number += len(self._held)
        self._held.clear()
        self._held_bytes = 0
        self._start = self._at

    def _replace(self, frame: bytes) -> None:
        """Writes a frame in place of those of the records that are held."""
        try:
            self._put(frame, self._start)
        except OSError:  # what was there is put back, where that can still be done
            single = (_framed(_ONE, self._number + place, body) for place, body in enumerate(self._held))
            os.pwrite(self._file, b"".join(single), self._start)
            raise
        os.ftruncate(self._file, self._at)

    def close(self) -> None:
        """Compresses what is held, and closes the file."""
        if not self.closed:
            try:
                self.pack()
            finally:
                self._close()

    def abandon(self) -> None:
        """Leaves the file as it is, after something could not be written."""
        self._close()

    def _put(self, frame: bytes, at: int) -> None:
        """Writes a frame somewhere, after which the next one comes."""
        written = os.pwrite(self._file, frame, at)
        if written < len(frame):  # the disk is full: the reader sees by the CRC that this is no frame
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        self._at = at + written

    def _end_of_old(self) -> tuple[int, int]:
        """Where the sound part of the file ends, and how many records it has."""
        content = self.path.read_bytes()
        if not content:
            return 0, 0
        frames = Frames(content, self.path)
        number = sum(1 for _ in frames)
        return frames.end, number


class Frames:
    """The records in the contents of a file, up to where it is sound.

    Args:
        content: The contents.
        path: Where they are from, for error messages.

    Raises:
        TraceError: It is no trace.
    """

    end: int
    """Where the sound part ends, as far as it has been read."""

    def __init__(self, content: bytes, path: Path) -> None:
        if not content.startswith(MAGIC):
            raise TraceError(f"{path} is no trace: it does not begin as one.")
        self._content = memoryview(content)
        self._path = path
        self.end = len(MAGIC)

    @property
    def cut(self) -> int:
        """How many bytes follow the sound part, once everything has been read."""
        return len(self._content) - self.end

    def __iter__(self) -> Iterator[Record]:
        number = 0
        while (frame := self._frame(number)) is not None:
            records, self.end = frame
            number += len(records)
            yield from records

    def _frame(self, number: int) -> Optional[tuple[list[Record], int]]:
        """The records of the next frame, and where it ends; None where no sound one follows."""
        body_at = self.end + _FRAME.size
        if body_at > len(self._content):
            return None
        kind, first, length, checksum = _FRAME.unpack_from(self._content, self.end)
        body = self._content[body_at : body_at + length]
        if (
            kind not in (_ONE, _MANY)
            or first != number & 0xFFFFFFFF
            or len(body) < length
            or zlib.crc32(body) != checksum
        ):
            return None
        try:
            return (_unpacked(body) if kind == _MANY else [_decode_one(body)]), body_at + length
        except (msgspec.MsgspecError, zlib.error, ValueError) as error:
            raise TraceError(f"{self._path} holds a record that this release does not know: {error}.") from error


def _unpacked(body: memoryview) -> list[Record]:
    unpacking = zlib.decompressobj()
    bodies = unpacking.decompress(body, _LARGEST)
    if unpacking.unconsumed_tail:
        raise ValueError(f"a frame unpacks to more than {_LARGEST} bytes")
    return _decode_many(bodies)


def _framed(kind: int, number: int, body: bytes) -> bytes:
    return _FRAME.pack(kind, number & 0xFFFFFFFF, len(body), zlib.crc32(body)) + body
