"""Writes a checkpoint: whole, or not at all."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Mapping

import attrs
from typing_extensions import TypeAlias

from ..errors import CheckpointWriteError
from ..extras import require
from ..together import write_shards
from .checksums import checksum, take_in
from .direct import DirectFile
from .disk import sync, write_error
from .drafts import Draft
from .manifest import MANIFEST, SHARD, STATE, TENSORS, File, encoded
from .names import TOKEN, remove_leftovers, temporary_name

_Stat: TypeAlias = tuple[int, int, int]
"""A file's size in bytes, the time of its last change in nanoseconds, and its inode."""


@attrs.frozen
class Written:
    """What `write` knows of the checkpoint that it has just written."""

    path: Path
    """Where it is."""

    stats: Mapping[str, _Stat]
    """Each file of it, once it had been forced to the disk."""

    def is_untouched(self) -> bool:
        """Whether all files of it are there as they were left: nobody has written into one, cut or replaced it."""
        try:
            return {name: _stat(self.path / name) for name in os.listdir(self.path)} == self.stats
        except OSError:
            return False


def _stat(path: Path) -> _Stat:
    found = path.lstat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def write(target: Path, content: Draft) -> Written:
    """Writes a checkpoint: whole, or not at all.

    The checksums in its manifest are of what was to be written, taken in memory: a file that has come out otherwise, on
    the way or on the disk, is refused when it is read. They are not compared here: what has just been written would be
    read from the operating system's memory, and not from the disk. Where the disk takes a file, `fsync` says so.

    Args:
        target: The directory that it becomes; its parent is made where it is missing.
        content: What to write.

    Returns:
        What `clean` takes it by.

    Raises:
        CheckpointWriteError: It could not be written, or there is something at `target`; nothing of it is left.
    """
    require("blake3", extra="checkpoint")
    if target.exists() or target.is_symlink():
        raise CheckpointWriteError(
            f"{target} is there already, and no checkpoint is written over: choose another name."
        )
    temporary = temporary_name(target)
    if content.sharded:
        finished: list[Written] = []  # on the main rank alone
        write_shards(
            target, temporary, content.sharded, lambda folder: finished.append(_finish(target, folder, content))
        )
        return finished[0] if finished else Written(target, {})
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target.parent)
        temporary.mkdir()
        return _commit(target, temporary, content)
    except Exception as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise write_error(target, len(content.text) + content.layout.size, error) from error
    except BaseException:  # Ctrl-C: what is half done goes, and the interrupt goes on
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _finish(target: Path, folder: Path, content: Draft) -> Written:
    """Writes the rest of a checkpoint whose shards are there, and gives it its name."""
    try:
        remove_leftovers(target.parent)
        return _commit(target, folder, content)
    except Exception as error:
        raise write_error(target, len(content.text) + content.layout.size, error) from error


def _commit(target: Path, temporary: Path, content: Draft) -> Written:
    stats = _write_files(temporary, content)
    os.rename(temporary, target)
    sync(target.parent)
    return Written(target, stats)


def probe(folder: Path) -> None:
    """Sees to it that checkpoints can be written into a folder; it is made where it is missing.

    Raises:
        CheckpointWriteError: They cannot.
    """
    require("blake3", extra="checkpoint")
    test = folder / f".probe-{os.getpid()}-{TOKEN}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        test.write_bytes(b"typedcb")
        test.unlink()
    except OSError as error:
        with suppress(OSError):
            test.unlink()
        raise CheckpointWriteError(
            f"checkpoints cannot be written into {folder}: {error.strerror or error}. Choose a folder that is yours."
        ) from error


def _write_files(folder: Path, content: Draft) -> dict[str, _Stat]:
    (folder / STATE).write_bytes(content.text)
    text = checksum()
    text.update(content.text)
    shards = sorted(path.name for path in folder.iterdir() if SHARD.fullmatch(path.name))
    files = {
        STATE: File(len(content.text), blake3=text.hexdigest()),
        TENSORS: _write_tensors(folder / TENSORS, content),
        **{name: _file_of(folder / name) for name in shards},  # other ranks have written them
    }
    (folder / MANIFEST).write_bytes(encoded(files))
    for name in (STATE, *shards, MANIFEST):
        sync(folder / name)
    sync(folder)
    return {name: _stat(folder / name) for name in (*files, MANIFEST)}


def _write_tensors(path: Path, content: Draft) -> File:
    """Writes the file of tensors, and forces it to the disk. Its checksum is of what was in memory."""
    digest, left = checksum(), content.layout.size
    with DirectFile(path) as file:
        for chunk in content.chunks():
            digest.update(chunk[:left])
            file.write(chunk)
            left -= len(chunk)
        file.end(content.layout.size)
    return File(content.layout.size, blake3=digest.hexdigest())


def _file_of(path: Path) -> File:
    """A file that others have written."""
    digest = checksum()
    with path.open("rb") as file:
        take_in(file, digest)
    return File(path.stat().st_size, blake3=digest.hexdigest())
