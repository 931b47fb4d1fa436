"""Reads a checkpoint, after every file of it has been compared with what was written."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Generator, Optional

import attrs
import torch
from torch import Tensor

from ..errors import CheckpointError, CorruptCheckpointError
from ..extras import require
from ..together import load_shards, shard_shapes
from ..tree import StoredTensor, Tree, decode, dtype_name, map_tensors
from .checksums import checksum_like, take_in
from .manifest import MANIFEST, MAX_MANIFEST, STATE, TENSORS, Contents, decoded
from .tensor_file import corrupt, shapes, tensors_in

_MAX_STATE: Final = 1 << 30


@attrs.frozen
class Stored:
    """A checkpoint whose files are what was written. Its tensors are read when they are asked for."""

    path: Path
    """Where it is."""

    tree: Tree
    """The state, with a StoredTensor in place of each tensor."""

    versions: dict[str, str]
    """The versions of what wrote it, by name."""

    def load(self, tree: Tree, device: Optional[torch.device] = None) -> Tree:
        """The same tree, or a part of it, with its tensors.

        Args:
            tree: `tree`, or a part of it.
            device: Where tensors go that were not on the CPU; they stay there by default.

        Raises:
            CorruptCheckpointError: A tensor is not of the type that the state says.
        """
        tensors = load_shards(self.path, in_shards) if (in_shards := _in_shards(tree)) else dict[str, Tensor]()
        with corrupt(self.path / TENSORS), tensors_in(self.path / TENSORS) as file:

            def tensor_of(stored: StoredTensor) -> Tensor:
                if stored.name not in tensors:
                    tensors[stored.name] = file.get_tensor(stored.name).clone()  # of its own, and not the file's memory
                tensor = tensors[stored.name]
                if tuple(tensor.shape) != stored.shape or dtype_name(tensor) != stored.dtype:
                    raise CorruptCheckpointError(f"the tensor {stored.name!r} is not what the state says it is")
                return tensor if device is None or stored.device == "cpu" else tensor.to(device)

            return map_tensors(tree, StoredTensor, tensor_of)


def _in_shards(tree: Tree) -> dict[str, StoredTensor]:
    """The tensors of a tree that are in shards, by name."""
    found: dict[str, StoredTensor] = {}

    def note(stored: StoredTensor) -> None:
        if stored.shard is not None:
            found[stored.name] = stored

    map_tensors(tree, StoredTensor, note)
    return found


def read(path: Path) -> Stored:
    """Opens a checkpoint, after every file in it has been verified.

    Args:
        path: Its directory.

    Raises:
        CorruptCheckpointError: A file is missing, or not what was written; it says which, and in what way.
        CheckpointError: There is no checkpoint.
    """
    require("safetensors", extra="checkpoint")
    with _directory(path) as folder:
        contents = _read_manifest(path, folder)
        text = _read_file(path, folder, STATE, contents, keep=True)
        _verify_tensors(path, folder, contents)
    known = shapes(path / TENSORS)
    if len(contents.files) > 2:
        known = {**shard_shapes(path), **known}
    with corrupt(path / STATE):
        return Stored(path, decode(text, known), contents.versions)


def verify(path: Path) -> None:
    """Reads every file of a checkpoint, and compares it with what was written.

    Raises:
        CheckpointError: Something is wrong with it.
    """
    with _directory(path) as folder:
        contents = _read_manifest(path, folder)
        _read_file(path, folder, STATE, contents, keep=False)
        _verify_tensors(path, folder, contents)


def _verify_tensors(path: Path, folder: int, contents: Contents) -> None:
    """Verifies the files of tensors, and refuses one that nobody names: who reads shards reads all that is there."""
    for name in dict.fromkeys((TENSORS, *(name for name in contents.files if name != STATE))):
        _read_file(path, folder, name, contents, keep=False)
    more = sorted(set(os.listdir(folder)) - {MANIFEST, *contents.files})
    if any(name.endswith(".safetensors") for name in more):
        raise CorruptCheckpointError(f"{path} has files that its manifest does not name: {', '.join(more)[:200]}.")


@contextmanager
def _directory(path: Path) -> Generator[int, None, None]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist.") from None
    except OSError as error:
        why = "is a symbolic link, which is not followed" if path.is_symlink() else f"cannot be read: {error.strerror}"
        raise CorruptCheckpointError(f"{path} {why}.") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _opened(path: Path, folder: int, name: str) -> Generator[int, None, None]:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except FileNotFoundError:
        raise CorruptCheckpointError(f"{path / name} is missing.") from None
    except OSError as error:
        link = error.errno in (errno.ELOOP, errno.EMLINK)
        why = "is a symbolic link, which is not followed" if link else f"cannot be read: {error.strerror}"
        raise CorruptCheckpointError(f"{path / name} {why}.") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise CorruptCheckpointError(f"{path / name} is no file.")
        yield descriptor
    finally:
        os.close(descriptor)


def _read_manifest(path: Path, folder: int) -> Contents:
    place = path / MANIFEST
    with _opened(path, folder, MANIFEST) as descriptor:
        size = os.fstat(descriptor).st_size
        if size > MAX_MANIFEST:
            raise CorruptCheckpointError(f"{place} has {size} bytes, and a manifest has {MAX_MANIFEST} at most.")
        text = os.read(descriptor, MAX_MANIFEST)
    return decoded(text, place)


def _read_file(path: Path, folder: int, name: str, contents: Contents, *, keep: bool) -> bytes:
    """Verifies a file; its bytes, where they are to be kept."""
    expected = contents.files.get(name)
    if expected is None:
        raise CorruptCheckpointError(f"{path / MANIFEST} does not name {name}.")
    with _opened(path, folder, name) as descriptor:
        size = os.fstat(descriptor).st_size
        if size != expected.size:
            raise CorruptCheckpointError(f"{path / name} has {size} bytes, and {expected.size} were written.")
        if keep and size > _MAX_STATE:
            raise CorruptCheckpointError(f"{path / name} has {size} bytes, and {_MAX_STATE} are the most it may have.")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            text = file.read(size + 1) if keep else b""
            digest = checksum_like(expected)
            digest.update(text)
            take_in(file, digest)
    if digest.hexdigest() not in expected.checksums.values():
        raise CorruptCheckpointError(f"{path / name} is not what was written: its checksum differs.")
    return text
