"""The cells of callbacks in a file of their own, for trainers whose checkpoints have no place for them.

It is one file of safetensors: the tensors, and in its metadata the string. Nothing in it is code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Mapping, Optional, Protocol, cast

from torch import Tensor

from ..errors import CheckpointError
from ..extras import require
from ..store.disk import write_file
from ..store.tensor_file import corrupt, tensors_in

require("safetensors", extra="checkpoint")

import safetensors.torch  # noqa: E402

SUFFIX: Final = ".typedcb.safetensors"
"""How its name ends, beside a trainer's own file."""


class _WithMetadata(Protocol):
    """What safetensors, which is without types here, has for the strings in a file."""

    def metadata(self) -> Optional[dict[str, str]]: ...


def write_cells(state: Mapping[str, object], path: Path) -> None:
    """Writes what `Hosting.state_dict` gave, in one piece or not at all; nothing where it gave nothing.

    Args:
        state: What it gave.
        path: The file.

    Raises:
        CheckpointWriteError: It could not be written; an earlier one is as it was.
    """
    if not state:
        return
    tensors = cast("Mapping[str, Tensor]", state["tensors"])
    text = cast(str, state["typedcb"])
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    needed = len(text) + sum(tensor.nbytes for tensor in whole.values())
    write_file(
        path,
        lambda place: safetensors.torch.save_file(whole, place, {"typedcb": text}),  # pyright: ignore[reportUnknownMemberType]
        needed,
    )


def read_cells(path: Path) -> dict[str, object]:
    """What `write_cells` wrote.

    Args:
        path: The file.

    Raises:
        CheckpointError: There is no such file.
        CorruptCheckpointError: It cannot be read.
    """
    if not path.exists():
        raise CheckpointError(f"{path} does not exist.")
    with corrupt(path), tensors_in(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
        metadata = cast("_WithMetadata", file).metadata() or {}
    return {**metadata, "tensors": tensors}
