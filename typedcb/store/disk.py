"""What is written lies on the disk before anybody relies on it; what could not be written leaves nothing behind."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Callable

from ..errors import CheckpointWriteError
from .names import remove_leftovers, temporary_name


def sync(path: Path) -> None:
    """Forces a file or a directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_error(target: Path, needed: int, error: Exception) -> CheckpointWriteError:
    """Says what could not be written, why, and how much room there is.

    Args:
        target: What was to be written.
        needed: How many bytes it has.
        error: What went wrong.
    """
    with suppress(OSError):
        free = shutil.disk_usage(target.parent if target.parent.exists() else Path()).free
        room = f" It needs {needed / 1e6:.1f} MB, and {free / 1e6:.1f} MB are free there."
        return CheckpointWriteError(f"{target} could not be written: {error}.{room}")
    return CheckpointWriteError(f"{target} could not be written: {error}.")


def write_file(target: Path, fill: Callable[[Path], object], needed: int) -> None:
    """Writes a file: whole, or not at all. One that is there already is replaced.

    Args:
        target: The file; its folder has to be there.
        fill: Called with a path beside it, for the file to be written to.
        needed: How many bytes it has, more or less.

    Raises:
        CheckpointWriteError: It could not be written; what was there before is as it was.
    """
    temporary = temporary_name(target)
    try:
        remove_leftovers(target.parent)
        fill(temporary)
        sync(temporary)
        temporary.replace(target)
        sync(target.parent)
    except Exception as error:
        temporary.unlink(missing_ok=True)
        raise write_error(target, needed, error) from error
    except BaseException:  # Ctrl-C: what is half done goes, and the interrupt goes on
        temporary.unlink(missing_ok=True)
        raise
