"""Checkpoints on the disk: a directory each, written whole or not at all, and verified before anything in it is used.

    step-00000042/
        tensors.safetensors     all tensors
        shard-*.safetensors     the shards of tensors that no process has whole, where there are such
        state.json              everything else, as `tree` writes it
        manifest.json           the format's version, who wrote it, and the size and sha256 of each file

A checkpoint is written under a temporary name beside its place, forced to the disk, and renamed: whoever is killed
meanwhile leaves what was there before, and a temporary directory that the next save removes. Nothing in it is code, and
nothing is ever unpickled.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
import stat
import sys
import warnings
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Generator, Mapping, Optional, Protocol, Union, cast

import attrs
import msgspec
import torch
from torch import Tensor
from typing_extensions import TypeAlias

from .errors import CheckpointError, CheckpointWarning, CheckpointWriteError, CorruptCheckpointError
from .extras import require
from .together import load_shards, shard_shapes, write_shards
from .tree import StoredTensor, Tree, decode, dtype_name, encode, map_tensors, shard_of

FORMAT: Final = 1
"""The version of the format that is written, and the newest that is read."""

MANIFEST: Final = "manifest.json"
STATE: Final = "state.json"
TENSORS: Final = "tensors.safetensors"

_MAX_MANIFEST: Final = 1 << 16
_MAX_STATE: Final = 1 << 30
_NAME: Final = re.compile(r"step-(\d{8,18})(?:-(\d{1,9}))?")
_SHARD: Final = re.compile(r"shard-\d{5,9}-model-\d{5}-of-\d{5}\.safetensors")
_TEMPORARY: Final = re.compile(r"\.tmp-(?P<host>[\w.-]*)-(?P<pid>\d+)-(?P<token>[0-9a-f]{16})-.*")
_TOKEN: Final = secrets.token_hex(8)  # a process of the same number may have died before this one, in a container say

AnyPath: TypeAlias = Union[str, "os.PathLike[str]"]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of a checkpoint."""

    size: int
    sha256: str


class _Contents(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a manifest says."""

    format: int
    versions: dict[str, str]
    files: dict[str, _File]


class _Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A manifest, and the sha256 of what it says."""

    sha256: str
    contents: _Contents


class _AnyManifest(msgspec.Struct, frozen=True):
    """As much of a manifest as every version of the format has."""

    contents: dict[str, Any]  # Any: of another version, perhaps


@attrs.frozen
class Draft:
    """A state that is ready to be written: what changes in the learner from now on does not change it."""

    text: bytes
    """The tree as JSON."""

    tensors: dict[str, Tensor]
    """Its tensors, on the CPU."""

    sharded: Mapping[str, Tensor] = MappingProxyType({})
    """Its tensors of which each process has a shard, as they are."""


def draft(tree: Tree, *, copy: bool, into: Optional[Draft] = None) -> Draft:
    """Makes a state ready to be written.

    Args:
        tree: The state.
        copy: Whether tensors that are on the CPU are copied too, so that training may go on before they are written.
        into: An earlier one that nobody needs any more: tensors are copied into its memory where they fit.

    Raises:
        StateError: It holds what no checkpoint can hold.
    """
    text, tensors = encode(tree)
    seen: set[int] = set()
    ready: dict[str, Tensor] = {}
    sharded = {name: tensor for name, tensor in tensors.items() if shard_of(tensor) is not None}
    for name, tensor in tensors.items():
        if name in sharded:
            continue
        storage = tensor.untyped_storage()
        # a tensor that shares its memory with another one, or is a part of one, is written as itself
        shares = storage.data_ptr() in seen or storage.nbytes() != tensor.nbytes
        seen.add(storage.data_ptr())
        if copy or shares or tensor.device.type != "cpu":
            ready[name] = _copied(tensor, None if into is None else into.tensors.get(name))
        else:
            ready[name] = tensor.resolve_conj().resolve_neg().contiguous()
    return Draft(text, ready, sharded)


def _copied(tensor: Tensor, memory: Optional[Tensor]) -> Tensor:
    """A copy of a tensor on the CPU, in memory that is there already where it fits."""
    if memory is None or memory.shape != tensor.shape or memory.dtype != tensor.dtype:
        # memory that is new costs three times as much as memory that was written before
        memory = torch.empty(tensor.shape, dtype=tensor.dtype)
    return memory.copy_(tensor)


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
    require("safetensors", extra="checkpoint")
    if target.exists() or target.is_symlink():
        raise CheckpointWriteError(
            f"{target} is there already, and no checkpoint is written over: choose another name."
        )
    temporary = _temporary(target)
    if content.sharded:
        finished: list[Written] = []  # on the main rank alone
        write_shards(
            target, temporary, content.sharded, lambda folder: finished.append(_finish(target, folder, content))
        )
        return finished[0] if finished else Written(target, {})
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target.parent)
        temporary.mkdir()
        return _commit(target, temporary, content)
    except Exception as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise _write_error(target, content, error) from error
    except BaseException:  # Ctrl-C: what is half done goes, and the interrupt goes on
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _finish(target: Path, folder: Path, content: Draft) -> Written:
    """Writes the rest of a checkpoint whose shards are there, and gives it its name."""
    try:
        _remove_leftovers(target.parent)
        return _commit(target, folder, content)
    except Exception as error:
        raise _write_error(target, content, error) from error


def _commit(target: Path, temporary: Path, content: Draft) -> Written:
    stats = _write_files(temporary, content)
    os.rename(temporary, target)
    _sync(target.parent)
    return Written(target, stats)


def probe(folder: Path) -> None:
    """Sees to it that checkpoints can be written into a folder; it is made where it is missing.

    Raises:
        CheckpointWriteError: They cannot.
    """
    require("safetensors", extra="checkpoint")
    test = folder / f".probe-{os.getpid()}-{_TOKEN}"
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
    import safetensors.torch  # noqa: PLC0415  # it is an extra

    safetensors.torch.save_file(content.tensors, str(folder / TENSORS))  # pyright: ignore[reportUnknownMemberType]
    (folder / STATE).write_bytes(content.text)
    shards = sorted(path.name for path in folder.iterdir() if _SHARD.fullmatch(path.name))
    files = {
        STATE: _File(len(content.text), hashlib.sha256(content.text).hexdigest()),
        TENSORS: _file_of_tensors(folder / TENSORS, content.tensors),
        **{name: _file_of(folder / name) for name in shards},  # other ranks have written them
    }
    (folder / MANIFEST).write_bytes(_manifest(files))
    for name in (*files, MANIFEST):
        _sync(folder / name)
    _sync(folder)
    return {name: _stat(folder / name) for name in (*files, MANIFEST)}


def _manifest(files: dict[str, _File]) -> bytes:
    versions = {"python": platform.python_version(), "torch": str(torch.__version__)}
    contents = _Contents(FORMAT, versions, files)
    return msgspec.json.encode(_Manifest(_digest(contents), contents))


def _digest(contents: _Contents) -> str:
    return hashlib.sha256(msgspec.json.encode(contents)).hexdigest()


def _file_of(path: Path) -> _File:
    with path.open("rb") as file:
        return _File(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def _file_of_tensors(path: Path, tensors: Mapping[str, Tensor]) -> _File:
    """What a file of tensors has to be: its header as it is, and behind it the tensors as they are in memory."""
    if sys.byteorder != "little":  # safetensors turns them around, then
        return _file_of(path)
    with _tensors_in(path) as file:
        names = file.offset_keys()
    in_header = path.stat().st_size - sum(tensor.nbytes for tensor in tensors.values())
    with path.open("rb") as opened:
        digest = hashlib.sha256(opened.read(in_header))
    for name in names:
        tensor = tensors[name]
        if tensor.nbytes:
            digest.update((ctypes.c_char * tensor.nbytes).from_address(tensor.data_ptr()))
    return _File(path.stat().st_size, digest.hexdigest())


def _sync(path: Path) -> None:
    """Forces a file or a directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_error(target: Path, content: Draft, error: Exception) -> CheckpointWriteError:
    needed = len(content.text) + sum(tensor.nbytes for tensor in content.tensors.values())
    with suppress(OSError):
        free = shutil.disk_usage(target.parent if target.parent.exists() else Path()).free
        room = f" It needs {needed / 1e6:.1f} MB, and {free / 1e6:.1f} MB are free there."
        return CheckpointWriteError(f"{target} could not be written: {error}.{room}")
    return CheckpointWriteError(f"{target} could not be written: {error}.")


def _host() -> str:
    return re.sub(r"[^\w.-]", "_", platform.node())


def _temporary(path: Path) -> Path:
    """A name beside a path that tells who is at work there."""
    return path.parent / f".tmp-{_host()}-{os.getpid()}-{_TOKEN}-{path.name}"


def _remove_leftovers(folder: Path) -> None:
    """Removes the temporary directories of writers that are dead."""
    for path in list(folder.iterdir()):
        found = _TEMPORARY.fullmatch(path.name)
        if found and not path.is_symlink() and _is_dead(found["host"], int(found["pid"]), found["token"]):
            shutil.rmtree(path, ignore_errors=True)


def _is_dead(host: str, pid: int, token: str) -> bool:
    if host != _host():
        return False  # on a file system that machines share nobody knows
    if pid == os.getpid():
        return token != _TOKEN
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


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
        with _corrupt(self.path / TENSORS), _tensors_in(self.path / TENSORS) as file:

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
    shapes = _shapes(path / TENSORS)
    if len(contents.files) > 2:
        shapes = {**shard_shapes(path), **shapes}
    with _corrupt(path / STATE):
        return Stored(path, decode(text, shapes), contents.versions)


def verify(path: Path) -> None:
    """Reads every file of a checkpoint, and compares it with what was written.

    Raises:
        CheckpointError: Something is wrong with it.
    """
    with _directory(path) as folder:
        contents = _read_manifest(path, folder)
        _read_file(path, folder, STATE, contents, keep=False)
        _verify_tensors(path, folder, contents)


def _verify_tensors(path: Path, folder: int, contents: _Contents) -> None:
    """Verifies the files of tensors, and refuses one that nobody names: who reads shards reads all that is there."""
    for name in dict.fromkeys((TENSORS, *(name for name in contents.files if name != STATE))):
        _read_file(path, folder, name, contents, keep=False)
    more = sorted(set(os.listdir(folder)) - {MANIFEST, *contents.files})
    if any(name.endswith(".safetensors") for name in more):
        raise CorruptCheckpointError(f"{path} has files that its manifest does not name: {', '.join(more)[:200]}.")


def steps(folder: Path) -> list[Path]:
    """The checkpoints in a folder, whatever state they are in, the oldest first."""
    found: list[tuple[int, int, Path]] = []
    if folder.is_dir():
        for path in folder.iterdir():
            if name := _NAME.fullmatch(path.name):
                found.append((int(name[1]), int(name[2] or 0), path))
    return [path for _, _, path in sorted(found)]


def next_name(folder: Path, step: int) -> Path:
    """Where the next checkpoint after so many steps goes."""
    plain = f"step-{step:08d}"
    taken = [path.name for path in steps(folder) if path.name == plain or path.name.startswith(f"{plain}-")]
    if not taken:
        return folder / plain
    _, _, last = taken[-1].removeprefix("step-").partition("-")
    return folder / f"{plain}-{int(last or 0) + 1}"


def latest(folder: AnyPath) -> Path:
    """The newest checkpoint in a folder that is sound. Broken ones that are newer are named in a warning.

    Args:
        folder: Where the checkpoints are.

    Raises:
        CheckpointError: There is no folder, or no sound checkpoint in it; each broken one is named.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is no folder, so that there is no checkpoint to go on from.")
    broken: list[str] = []
    for path in reversed(steps(folder)):
        try:
            verify(path)
        except CheckpointError as error:
            broken.append(str(error))
            continue
        if broken:
            text = f"{path.name} is gone on from, since newer checkpoints are broken:\n" + "\n".join(broken)
            warnings.warn(text, CheckpointWarning, stacklevel=2)
        return path
    why = "each is broken:\n" + "\n".join(broken) if broken else "it has none, named as step-00000042 is."
    raise CheckpointError(f"{folder} has no checkpoint to go on from: {why}")


def found(path: AnyPath) -> Path:
    """A checkpoint by its own path, or the newest sound one of the folder that it is in."""
    path = Path(path)
    if _NAME.fullmatch(path.name) or (path / MANIFEST).is_file():
        return path
    return latest(path)


def clean(folder: Path, keep: int, spared: Optional[str], written: Optional[Written] = None) -> None:
    """Removes all but the newest checkpoints of a folder, once the newest of them is known to be sound.

    It is when this process has just written it, with every file forced to the disk, and nothing about its files has
    changed since. Any other one is read whole, and compared with its checksums. Neither sees what a disk has lost that
    said it had stored it: for that there are the others that are kept, and `latest`, which goes back to them.

    Args:
        folder: Where they are.
        keep: How many to keep.
        spared: The name of one that stays in any case.
        written: What was written last.
    """
    those = steps(folder)
    old = [path for path in those[:-keep] if path.name != spared]
    if not old:
        return
    if written is None or written.path != those[-1] or not written.is_untouched():
        verify(those[-1])
    for path in old:
        # renamed first: whoever is killed in the middle leaves a temporary name, and no broken checkpoint
        gone = _temporary(path)
        try:
            os.rename(path, gone)
            shutil.rmtree(gone)
        except OSError as error:
            warnings.warn(f"{path} could not be removed: {error}", CheckpointWarning, stacklevel=2)


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


def _read_manifest(path: Path, folder: int) -> _Contents:
    place = path / MANIFEST
    with _opened(path, folder, MANIFEST) as descriptor:
        size = os.fstat(descriptor).st_size
        if size > _MAX_MANIFEST:
            raise CorruptCheckpointError(f"{place} has {size} bytes, and a manifest has {_MAX_MANIFEST} at most.")
        text = os.read(descriptor, _MAX_MANIFEST)
    try:
        version: object = msgspec.json.decode(text, type=_AnyManifest).contents.get("format")
        if version != FORMAT:
            raise CheckpointError(
                f"{place} is of format {str(version)[:40]!r}, and this typedcb reads format {FORMAT}: was it written "
                f"by a newer release? Install that one."
            )
        manifest = msgspec.json.decode(text, type=_Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptCheckpointError(f"{place} is no manifest: {error}.") from None
    if manifest.sha256 != _digest(manifest.contents) or msgspec.json.encode(manifest) != text:
        raise CorruptCheckpointError(f"{place} is not what was written: its checksum differs.")
    for name in manifest.contents.files:
        if name not in (STATE, TENSORS) and not _SHARD.fullmatch(name):
            raise CorruptCheckpointError(f"{place} names {name[:80]!r}, which is no file of a checkpoint.")
    return manifest.contents


def _read_file(path: Path, folder: int, name: str, contents: _Contents, *, keep: bool) -> bytes:
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
            digest = hashlib.sha256(text) if keep else hashlib.file_digest(file, "sha256")
    if digest.hexdigest() != expected.sha256:
        raise CorruptCheckpointError(f"{path / name} is not what was written: its checksum differs.")
    return text


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes in a file of tensors, by its header alone."""
    with _corrupt(path), _tensors_in(path) as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  # no dict


class _Header(Protocol):
    def get_shape(self) -> list[int]: ...


class _Tensors(Protocol):
    """What safetensors, which is without types here, gives to read from."""

    def keys(self) -> list[str]: ...
    def offset_keys(self) -> list[str]: ...
    def get_slice(self, name: str, /) -> _Header: ...
    def get_tensor(self, name: str, /) -> Tensor: ...


def _tensors_in(path: Path) -> AbstractContextManager[_Tensors]:
    import safetensors  # noqa: PLC0415  # it is an extra

    opened: object = safetensors.safe_open(path, framework="pt")
    return cast("AbstractContextManager[_Tensors]", opened)


@contextmanager
def _corrupt(place: Path) -> Generator[None, None, None]:
    """Says which file it is that cannot be read."""
    from safetensors import SafetensorError  # noqa: PLC0415  # safetensors is an extra

    try:
        yield
    except (CorruptCheckpointError, SafetensorError, OSError) as error:
        raise CorruptCheckpointError(f"{place}: {error}") from None
