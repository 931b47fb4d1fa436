"""The cells of callbacks in a file of their own, for trainers whose checkpoints have no place for them.

It is one file of safetensors: the tensors, and in its metadata the string. Nothing in it is code.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Mapping, Optional, Protocol, cast

from torch import Tensor

from ..errors import CorruptCheckpointError
from ..extras import require

require("safetensors", extra="checkpoint")

import safetensors  # noqa: E402
import safetensors.torch  # noqa: E402

SUFFIX = ".typedcb.safetensors"
"""How its name ends, beside a trainer's own file."""


class _File(Protocol):
    """What safetensors, which is without types here, gives to read from."""

    def keys(self) -> list[str]: ...
    def get_tensor(self, name: str, /) -> Tensor: ...
    def metadata(self) -> Optional[dict[str, str]]: ...


def write_cells(state: Mapping[str, object], path: Path) -> None:
    """Writes what `Hosting.state_dict` gave, in one piece or not at all; nothing where it gave nothing.

    Args:
        state: What it gave.
        path: The file.
    """
    if not state:
        return
    tensors = cast("Mapping[str, Tensor]", state["tensors"])
    text = cast(str, state["typedcb"])
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    safetensors.torch.save_file(whole, temporary, {"typedcb": text})  # pyright: ignore[reportUnknownMemberType]
    temporary.replace(path)


def read_cells(path: Path) -> dict[str, object]:
    """What `write_cells` wrote.

    Args:
        path: The file.

    Raises:
        CorruptCheckpointError: It cannot be read.
    """
    try:
        opened: object = safetensors.safe_open(path, framework="pt")
        with cast("AbstractContextManager[_File]", opened) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
            metadata = file.metadata() or {}
    except (safetensors.SafetensorError, OSError) as error:
        raise CorruptCheckpointError(f"{path}: {error}") from None
    return {**metadata, "tensors": tensors}
