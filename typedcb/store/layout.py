"""How tensors lie in a file of safetensors, by its specification: https://github.com/huggingface/safetensors#format.

The library reads such files here, and does not write them: it goes through the operating system's cache, by which a
checkpoint of 110 MB in each epoch of 2 seconds made a fit a quarter slower, where writing past it costs a twentieth.
"""

from __future__ import annotations

from typing import Final, Mapping

import attrs
import msgspec
from torch import Tensor

from ..errors import StateError
from ..tree import dtype_name
from .memory import in_blocks

_TYPES: Final[Mapping[str, str]] = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "complex64": "C64",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e8m0fnu": "F8_E8M0",
}
"""What the format calls torch's types."""

_LINE: Final = 64


@attrs.frozen
class Layout:
    """Where everything lies in a file of tensors."""

    header: bytes
    """What stands before the tensors, whole blocks of it."""

    places: Mapping[str, int]
    """Where each tensor begins, in bytes from the file's beginning; they follow each other in this order."""

    size: int
    """The size of the file in bytes."""


def laid_out(tensors: Mapping[str, Tensor]) -> Layout:
    """Lays tensors out, so that each begins at a multiple of its type's width.

    Those of whole cache lines come first: no small one moves them off the lines, which made copying a third slower.

    Args:
        tensors: The tensors by name.

    Raises:
        StateError: One is of a type, or has a name, that the format does not have.
    """

    def rank(name: str) -> tuple[bool, int, str]:
        tensor = tensors[name]
        return tensor.nbytes % _LINE > 0, -tensor.element_size(), name

    order = sorted(tensors, key=rank)
    entries: dict[str, dict[str, object]] = {}
    begins: list[int] = []
    at = 0
    for name in order:
        tensor = tensors[name]
        kind = _TYPES.get(dtype_name(tensor))
        if kind is None:
            raise StateError(f"{name} is a tensor of {dtype_name(tensor)}, which no checkpoint can hold.")
        begins.append(at)
        entries[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [at, at + tensor.nbytes]}
        at += tensor.nbytes
    try:
        text = msgspec.json.encode(entries)
    except UnicodeEncodeError as error:
        raise StateError(f"the name of a tensor cannot be written: {error}") from None
    length = in_blocks(8 + len(text))
    header = (length - 8).to_bytes(8, "little") + text.ljust(length - 8)  # by blanks, as the format has it
    return Layout(header, {name: length + begin for name, begin in zip(order, begins, strict=True)}, length + at)
