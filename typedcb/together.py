"""Checkpoints of several processes: what each keeps for itself, one directory, and shards that each writes its own of.

The main rank writes what all ranks have. Of a sharded parameter each rank writes its shard, by
`torch.distributed.checkpoint` in the form of safetensors: a checkpoint of that package usually has a pickled file,
`.metadata`, which runs whatever code is in it; none is written here, and none is ever read. Shards are read by whatever
number of processes there is.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# torch.distributed.checkpoint is half without types

from __future__ import annotations

import base64
import json
import os
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Mapping, Optional, cast

import torch
from torch import Tensor

from .errors import CheckpointError, CheckpointWriteError, CorruptCheckpointError
from .extras import require
from .in_shards import own_shard
from .ranks import Ranks, here
from .tree import StoredTensor, Tree, decode, encode, map_tensors

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def packed(tree: Tree) -> str:
    """A tree with its tensors as text, for another rank; small ones, such as the states of generators."""
    require("safetensors", extra="checkpoint")
    import safetensors.torch  # noqa: PLC0415  # it is an extra

    text, tensors = encode(tree)
    own = {name: tensor.cpu().contiguous().clone() for name, tensor in tensors.items()}
    return json.dumps([text.decode(), base64.b64encode(safetensors.torch.save(own)).decode()])


def unpacked(text: str) -> Tree:
    """The tree that another rank has packed."""
    from safetensors.torch import load as read_tensors  # noqa: PLC0415  # it is an extra

    tree, data = cast("list[str]", json.loads(text))
    tensors: dict[str, Tensor] = read_tensors(base64.b64decode(data))
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    return map_tensors(decode(tree.encode(), shapes), StoredTensor, lambda stored: tensors[stored.name])


def of_all_ranks(tree: Tree) -> list[Tree]:
    """The trees of all ranks, by rank. Collective."""
    return [unpacked(text) for text in here().exchange(packed(tree))]


def on_main(do: Callable[[], object]) -> None:
    """Does something on the main rank; where it fails, it fails on all. Collective.

    Args:
        do: What to do.

    Raises:
        CheckpointError: The main rank could not do it.
    """
    ranks, error = here(), None
    if ranks.rank == 0:
        try:
            do()
        except CheckpointError as caught:
            error = caught
    if ranks.world_size == 1:
        if error is not None:
            raise error
        return
    _agree_on(ranks, error)


def _agree_on(ranks: Ranks, error: Optional[CheckpointError]) -> None:
    """Raises on all ranks what has failed on one."""
    said = ranks.exchange("" if error is None else str(error) or "failed")
    if error is not None:
        raise error
    for rank, text in enumerate(said):
        if text:
            raise CheckpointWriteError(f"rank {rank}: {text}")


def write_shards(target: Path, temporary: Path, sharded: Mapping[str, Tensor], finish: Callable[[Path], None]) -> None:
    """Writes a checkpoint with shards in it: whole, or not at all. Collective.

    Args:
        target: The directory that it becomes.
        temporary: Where the main rank would write it meanwhile.
        sharded: The sharded tensors, by name.
        finish: Called on the main rank when all shards are there: writes the rest, and gives it its name.

    Raises:
        CheckpointWriteError: A rank could not write; nothing of it is left.
    """
    ranks = here()
    folder = target.parent / ranks.exchange(temporary.name)[0]

    def begin() -> None:
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise CheckpointWriteError(f"{target} could not be written: {error}.") from error

    try:
        on_main(begin)
        _agree_on(ranks, _saved(target, folder, sharded))
        on_main(lambda: finish(folder))
    except BaseException:
        if ranks.rank == 0:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _saved(target: Path, folder: Path, sharded: Mapping[str, Tensor]) -> Optional[CheckpointWriteError]:
    """Writes this rank's shards: what went wrong in that."""
    from torch.distributed.checkpoint.api import CheckpointException  # noqa: PLC0415  # it takes a while to import
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter  # noqa: PLC0415  # as said
    from torch.distributed.checkpoint.state_dict_saver import save  # noqa: PLC0415  # as said

    try:
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is not there: all ranks have to see the same folder")
        writer = HuggingFaceStorageWriter(os.fspath(folder), save_distributed=True)
        save(_apart(sharded), storage_writer=writer)
    except (OSError, CheckpointException) as error:
        return CheckpointWriteError(f"{target} could not be written: {error}.")
    return None


def _apart(sharded: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, with a copy in place of what shares its memory with another, as tied weights do.

    The format has no two names for one tensor. By the shards of one rank it cannot be told for all which are the same,
    for they may be empty here and not there: all of them keep their names, and each is written.
    """
    apart: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in sharded.items():
        place = own_shard(tensor).untyped_storage().data_ptr()
        apart[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return apart


def shard_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The whole shapes of the tensors that are in shards, by the headers of their files alone.

    Args:
        path: A checkpoint whose files have been verified.

    Raises:
        CorruptCheckpointError: The headers are no shards'.
    """
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader  # noqa: PLC0415  # it takes a while
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata  # noqa: PLC0415  # as said

    try:
        known = HuggingFaceStorageReader(os.fspath(path)).read_metadata().state_dict_metadata
    except Exception as error:
        raise CorruptCheckpointError(f"the shards in {path} cannot be read: {error!r}") from error
    return {name: tuple(one.size) for name, one in known.items() if isinstance(one, TensorStorageMetadata)}


def load_shards(path: Path, stored: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
    """Tensors out of shards: of each this rank's shard, or the whole where nothing is sharded here.

    Args:
        path: A checkpoint whose files have been verified.
        stored: What to read, by name.

    Raises:
        CorruptCheckpointError: The files do not hold what the state says.
    """
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader  # noqa: PLC0415  # it takes a while
    from torch.distributed.checkpoint.state_dict_loader import load  # noqa: PLC0415  # as said

    mesh = here().mesh
    tensors = {name: _empty(one, mesh) for name, one in stored.items()}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
            # no_dist: each rank reads what it needs by itself, and nothing is pickled on the way
            load(tensors, storage_reader=HuggingFaceStorageReader(os.fspath(path)), no_dist=True)
    except Exception as error:
        raise CorruptCheckpointError(f"the shards in {path} cannot be read: {error!r}") from error
    return tensors


def _empty(stored: StoredTensor, mesh: Optional[DeviceMesh]) -> Tensor:
    dtype: object = getattr(torch, stored.dtype, None)
    if not isinstance(dtype, torch.dtype):
        raise CorruptCheckpointError(f"{stored.name!r} is of the type {stored.dtype!r}, which torch does not have")
    if mesh is None or stored.shard is None:
        return torch.empty(stored.shape, dtype=dtype)
    from torch.distributed.tensor import Shard, zeros  # noqa: PLC0415  # it takes a while to import

    return zeros(*stored.shape, dtype=dtype, device_mesh=mesh, placements=[Shard(stored.shard)])
