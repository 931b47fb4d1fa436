"""State as a tree of plain values, and the tree as JSON: nothing in it is ever code.

    None, True, 1, "text"       as JSON has them
    1.5, nan, inf               numbers, exact to the last bit; {"float": "nan"} for what JSON has no number for
    [...]                       a list
    {"tuple": [...]}            a tuple
    {"dict": [[key, value]]}    a dict, in its order; keys are str, int, float, bool, None or tuples of these
    {"tensor": [name, type, device]}    a tensor of that name in the file beside it, such as ["w", "float32", "cpu"]
    {"tensor": [name, type, device, 0]} one that is in shards along its dimension 0

A tensor that stands in several places, such as tied weights, is stored once.
"""

from __future__ import annotations

import json
import math
from typing import Any, Callable, Final, Mapping, Optional, Protocol, Sequence, TypeVar, cast

import attrs
import msgspec
import torch
from torch import Tensor
from typing_extensions import TypeAlias, TypeIs

from .articles import an_instance
from .errors import CorruptCheckpointError, StateError
from .in_shards import whole

T = TypeVar("T")

Json: TypeAlias = Any  # Any: what json reads and writes; `decode` looks at every part of it

Tree: TypeAlias = Any
"""None, bool, int, float, str, Tensor or StoredTensor, and lists, tuples and dicts of these."""  # Any: recursive

MAX_DEPTH: Final = 64
"""How deep a tree may nest."""

MAX_NAME: Final = 256
"""How long a tensor's name may be."""


@attrs.frozen
class StoredTensor:
    """A tensor in a file: what is known of it before it is read."""

    name: str
    """Its name in the file."""

    shape: tuple[int, ...]
    """Its shape, by the file's header."""

    dtype: str
    """Its type, such as `float32`."""

    device: str
    """The kind of device that it was on, such as `cuda`."""

    shard: Optional[int] = None
    """The dimension along which it is in shards; None where it is whole."""


def encode(tree: Tree) -> tuple[bytes, dict[str, Tensor]]:
    """A tree as JSON, and its tensors by name.

    Raises:
        StateError: It holds what no checkpoint can hold; the message says where.
    """
    encoder = _Encoder()
    nodes = encoder.node(tree, ())
    try:
        text = msgspec.json.encode(nodes)  # ten times as quick as json
    except UnicodeEncodeError:  # half of a surrogate pair, which json writes as an escape
        text = json.dumps(nodes, allow_nan=False, separators=(",", ":")).encode()
    return text, encoder.tensors


_PLAIN: Final = frozenset((bool, int, str, type(None)))
"""What JSON has as it is."""


class _Encoder:
    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._names: dict[tuple[object, ...], str] = {}

    def node(self, value: Tree, path: tuple[str, ...]) -> Json:
        if len(path) > MAX_DEPTH:
            raise StateError(f"{_shown(path)} nests deeper than {MAX_DEPTH} levels: does it hold itself?")
        if value is None or isinstance(value, (bool, str)):
            return str(value) if isinstance(value, str) else value
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"float": repr(float(value))}
        if isinstance(value, Tensor):
            return self._node_of(value, path)
        if is_list(value):
            return self._items(value, path)
        if is_tuple(value):
            return {"tuple": self._items(value, path)}
        if is_dict(value):
            return {"dict": [[self._key(key, path), self.node(item, (*path, str(key)))] for key, item in value.items()]}
        raise StateError(
            f"{_shown(path)} is {an_instance(value)}, which no checkpoint can hold: it may hold numbers, strings, "
            f"None and tensors, tuples, lists and dicts of these, frozen classes where a cell's annotation names them, "
            f"and whatever has state_dict and load_state_dict. Declare a cell with saved=False to leave it out."
        )

    def _items(self, items: Sequence[Tree], path: tuple[str, ...]) -> list[Json]:
        kinds = set(map(type, items))
        if kinds <= _PLAIN or (kinds == {float} and all(map(math.isfinite, items))):
            return list(items)  # the state of a generator, or a long history
        return [self.node(item, (*path, str(place))) for place, item in enumerate(items)]

    def _key(self, key: object, path: tuple[str, ...]) -> Json:
        if key is None or isinstance(key, (bool, int, float, str, tuple)):
            return self.node(key, path)
        raise StateError(f"{_shown(path)} has {an_instance(key)} as a key, and keys are strings and numbers.")

    def _node_of(self, tensor: Tensor, path: tuple[str, ...]) -> Json:
        tensor = tensor.detach()
        shard = shard_of(tensor)
        if shard is None:
            tensor = whole(tensor)
        facts = [self._tensor(tensor, path, shard is not None), dtype_name(tensor), tensor.device.type]
        return {"tensor": facts if shard is None else [*facts, shard]}

    def _tensor(self, tensor: Tensor, path: tuple[str, ...], sharded: bool) -> str:
        if tensor.layout is not torch.strided or tensor.is_quantized:
            raise StateError(f"{_shown(path)} is a sparse or quantized tensor, which no checkpoint can hold.")
        place: tuple[object, ...] = (id(tensor),)  # whose memory is the same is another question on each rank
        if not sharded and tensor.data_ptr():  # XLA's tensors do not tell where they are
            place = (tensor.device, tensor.dtype, tensor.shape, tensor.stride(), tensor.data_ptr())
        known = self._names.get(place) if tensor.numel() else None
        if known is not None:
            return known
        plain = "/".join(path)[: MAX_NAME - 8] or "tensor"
        name, copies = plain, 1
        while name in self.tensors or name == "__metadata__":
            copies += 1
            name = f"{plain}~{copies}"
        self.tensors[name] = tensor
        self._names[place] = name
        return name


def decode(text: bytes, shapes: Mapping[str, tuple[int, ...]]) -> Tree:
    """The tree that JSON holds, with what is known of its tensors in their places.

    Args:
        text: What `encode` made.
        shapes: The shapes of the tensors in the file beside it, by name.

    Raises:
        CorruptCheckpointError: It is no such tree, or names a tensor that is not there.
    """
    try:
        return _Decoder(shapes).node(json.loads(text, parse_constant=_refuse_constant), 0)
    except (ValueError, RecursionError) as error:  # json nests as deep as the interpreter lets it
        raise CorruptCheckpointError(f"it is no tree of values: {error}") from None


class _Decoder:
    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._shapes = shapes

    def node(self, value: Json, depth: int) -> Tree:
        if depth > MAX_DEPTH + 2:
            raise ValueError(f"it nests deeper than {MAX_DEPTH} levels")
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if is_list(value):
            return [self.node(item, depth + 1) for item in value]
        if not is_dict(value) or len(value) != 1:
            raise ValueError("a value has more than one kind")
        [(kind, held)] = value.items()
        if kind == "float" and held in ("nan", "inf", "-inf"):
            return float(held)
        if kind == "tensor" and is_list(held):
            return self._tensor(held)
        if kind == "tuple" and is_list(held):
            return tuple(self.node(item, depth + 1) for item in held)
        if kind == "dict" and is_list(held):
            return dict(self._item(item, depth) for item in held)
        raise ValueError(f"{str(kind)[:40]!r} is no kind of value")

    def _tensor(self, held: list[Json]) -> StoredTensor:
        if len(held) not in (3, 4) or not all(isinstance(word, str) for word in held[:3]):
            raise ValueError("a tensor is no name, type and device")
        name, dtype, device, *shard = held
        if name not in self._shapes:
            raise ValueError(f"the tensor {name[:MAX_NAME]!r} is not in the file of tensors")
        if shard and not (isinstance(shard[0], int) and 0 <= shard[0] < len(self._shapes[name])):
            raise ValueError(
                f"the tensor {name[:MAX_NAME]!r} has no dimension {str(shard[0])[:20]} to be in shards along"
            )
        return StoredTensor(name, self._shapes[name], dtype, device, *shard)

    def _item(self, pair: Json, depth: int) -> tuple[Tree, Tree]:
        if not is_list(pair) or len(pair) != 2:
            raise ValueError("an item of a dict is no pair")
        key = self.node(pair[0], depth + 1)
        if not _is_key(key):
            raise ValueError("a dict has a key that is no string or number")
        return key, self.node(pair[1], depth + 1)


class _Placement(Protocol):
    dim: int

    def is_shard(self) -> bool: ...


class _Sharded(Protocol):
    """What is used of torch's DTensor, which takes a while to import."""

    @property
    def placements(self) -> tuple[_Placement, ...]: ...


def shard_of(tensor: Tensor) -> Optional[int]:
    """The dimension along which processes have shards of a tensor; None where each has all of it."""
    placements = cast("_Sharded", tensor).placements if hasattr(tensor, "placements") else ()
    shards = [placement.dim for placement in placements if placement.is_shard()]
    if len(placements) > 1:
        raise StateError("a tensor is sharded over a mesh of several dimensions, which no checkpoint can hold.")
    return shards[0] if shards else None


def dtype_name(tensor: Tensor) -> str:
    """The name of a tensor's type, such as `float32`."""
    return str(tensor.dtype).removeprefix("torch.")


def map_tensors(tree: Tree, kind: type[T], make: Callable[[T], object]) -> Tree:
    """The same tree with something else in place of each tensor.

    Args:
        tree: The tree.
        kind: What is replaced: `Tensor` or `StoredTensor`.
        make: Called with each of them.
    """
    if isinstance(tree, kind):
        return make(tree)
    if is_list(tree):
        return [map_tensors(item, kind, make) for item in tree]
    if is_tuple(tree):
        return tuple(map_tensors(item, kind, make) for item in tree)
    if is_dict(tree):
        return {key: map_tensors(item, kind, make) for key, item in tree.items()}
    return tree


def _shown(path: tuple[str, ...]) -> str:
    return ".".join(path[-MAX_DEPTH // 4 :]) or "the state"


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _is_key(value: object) -> bool:
    if is_tuple(value):
        return all(_is_key(item) for item in value)
    return value is None or isinstance(value, (bool, int, float, str))


def is_list(value: object) -> TypeIs[list[Tree]]:
    """Whether a value is a list, of whatever it may hold."""
    return isinstance(value, list)


def is_tuple(value: object) -> TypeIs[tuple[Tree, ...]]:
    """Whether a value is a tuple, of whatever it may hold."""
    return isinstance(value, tuple)


def is_dict(value: object) -> TypeIs[dict[Any, Tree]]:  # Any: its keys may be anything too
    """Whether a value is a dict, of whatever it may hold."""
    return isinstance(value, dict)
