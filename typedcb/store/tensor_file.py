"""The file of tensors, as safetensors reads it."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Generator, Protocol, cast

from torch import Tensor

from ..errors import CorruptCheckpointError


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors in a file, by its header alone."""
    with corrupt(path), tensors_in(path) as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  # no dict


class _Header(Protocol):
    def get_shape(self) -> list[int]: ...


class _Tensors(Protocol):
    """What safetensors, which is without types here, gives to read from."""

    def keys(self) -> list[str]: ...
    def offset_keys(self) -> list[str]: ...
    def get_slice(self, name: str, /) -> _Header: ...
    def get_tensor(self, name: str, /) -> Tensor: ...


def tensors_in(path: Path) -> AbstractContextManager[_Tensors]:
    """Opens a file of tensors; only its header is read at once."""
    import safetensors  # noqa: PLC0415  # it is an extra

    opened: object = safetensors.safe_open(path, framework="pt")
    return cast("AbstractContextManager[_Tensors]", opened)


@contextmanager
def corrupt(place: Path) -> Generator[None, None, None]:
    """Says which file it is that cannot be read."""
    from safetensors import SafetensorError  # noqa: PLC0415  # safetensors is an extra

    try:
        yield
    except (CorruptCheckpointError, SafetensorError, OSError) as error:
        raise CorruptCheckpointError(f"{place}: {error}") from None
