"""Writes a file past the operating system's cache, where the file system takes that.

A checkpoint is not read again in its run. By the cache its bytes would be copied once more, which takes the processor's
time from training, and push out of the memory what training reads.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Optional

from typing_extensions import Self

if sys.platform != "win32":
    import fcntl

_DIRECT: Final[int] = getattr(os, "O_DIRECT", 0)  # Linux has it, macOS has not
_BINARY: Final[int] = getattr(os, "O_BINARY", 0)  # Windows has it, and would end lines its own way without


class DirectFile:
    """A new file that whole blocks of memory are written into, one after the other."""

    def __init__(self, path: Path) -> None:
        """Makes the file.

        Args:
            path: Where it is to be; nothing is there yet.

        Raises:
            OSError: It cannot be made.
        """
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
        self._direct = self._switch(on=bool(_DIRECT))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        os.close(self._descriptor)

    def write(self, blocks: memoryview) -> None:
        """Writes whole blocks.

        Raises:
            OSError: The disk does not take them.
        """
        while len(blocks):
            try:
                blocks = blocks[os.write(self._descriptor, blocks) :]
            except OSError as error:
                if not self._direct or error.errno != errno.EINVAL:
                    raise
                self._direct = self._switch(on=False)  # larger blocks, or a part of one after the disk was nearly full

    def end(self, size: int) -> None:
        """Cuts the file off, and forces it to the disk.

        Args:
            size: How many bytes it is to have.
        """
        os.ftruncate(self._descriptor, size)
        os.fsync(self._descriptor)

    def _switch(self, *, on: bool) -> bool:
        """Goes past the cache or no longer does; whether it does."""
        if sys.platform == "win32":
            return False
        flags = fcntl.fcntl(self._descriptor, fcntl.F_GETFL) & ~_DIRECT
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_SETFL, flags | (_DIRECT if on else 0))
        except OSError:
            return False  # a file system that cannot
        return on
