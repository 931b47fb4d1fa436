"""A lock on the folder that a fit writes into: the operating system's, so that it ends with its process."""

from __future__ import annotations

import os
import platform
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import msgspec

from .errors import CheckpointWarning, CheckpointWriteError
from .extras import require

if TYPE_CHECKING:
    from filelock import BaseFileLock

_LOCK: Final = ".lock"
_WRITER: Final = ".writer.json"
_MAX_WRITER: Final = 1 << 12


class _Writer(msgspec.Struct, frozen=True):
    """Who holds a folder; it is only read to be named."""

    host: str
    pid: int
    since: str


@attrs.frozen
class FolderLock:
    """A folder that is held; `hold` makes it."""

    folder: Path
    """The folder."""

    lock: BaseFileLock
    """The lock, which is the operating system's."""

    def release(self) -> None:
        """Lets others have the folder."""
        if self.lock.is_locked:
            with suppress(OSError):
                (self.folder / _WRITER).unlink()
            self.lock.release()


def hold(folder: Path) -> FolderLock:
    """Takes a folder for oneself until it is released or the process ends, in whatever way.

    Args:
        folder: An existing folder.

    Raises:
        CheckpointWriteError: Somebody else holds it; it says who.
    """
    require("filelock", extra="checkpoint")
    from filelock import FileLock, Timeout  # noqa: PLC0415  # it is an extra

    lock = FileLock(folder / _LOCK, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise CheckpointWriteError(
            f"{_holder(folder)} writes checkpoints into {folder}, and two fits would remove each other's: choose "
            f"another folder, or wait until that fit has ended."
        ) from None
    except OSError as error:  # a file system that knows no locks
        warnings.warn(
            f"{folder} cannot be locked: {error}. See to it that one fit alone writes there.",
            CheckpointWarning,
            stacklevel=2,
        )
        return FolderLock(folder, lock)
    with suppress(OSError):
        (folder / _WRITER).write_bytes(
            msgspec.json.encode(_Writer(platform.node(), os.getpid(), time.strftime("%Y-%m-%d %H:%M:%S")))
        )
    return FolderLock(folder, lock)


def _holder(folder: Path) -> str:
    """Who holds a folder, in words."""
    try:
        with (folder / _WRITER).open("rb") as file:
            writer = msgspec.json.decode(file.read(_MAX_WRITER), type=_Writer)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return "another process"
    if (writer.host, writer.pid) == (platform.node(), os.getpid()):
        return f"another fit of this process, since {writer.since},"
    return f"process {writer.pid} on {writer.host}, since {writer.since},"
