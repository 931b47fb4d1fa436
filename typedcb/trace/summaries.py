"""A value in short: a tensor as its shape, its statistics and a hash of its contents, anything else as what it is.

The hash is SHA-1, cut to 8 bytes: with the processor's own instructions it goes through 2 GB a second, twice as fast as
BLAKE2b, and unlike a CRC it takes no two tensors of a run for one. It guards against chance, not against people.
"""

from __future__ import annotations

import ctypes
import dataclasses
import hashlib
import math
import reprlib
from pathlib import Path
from typing import Any, Callable, Final, Iterable, Mapping, Optional, Sequence

import attrs
import msgspec
import torch
from torch import Tensor, nn

from ..cell import Series
from ..tree import dtype_name, is_dict, is_list, is_tuple
from .records import ErrorValue, ItemsValue, NamedValues, TensorValue, TextValue, Value

MAX_ITEMS: Final = 16
"""How many items of a tuple, list or dict are kept."""

MAX_TEXT: Final = 80
"""How many characters of a string or a repr are kept."""

MAX_MESSAGE: Final = 500
"""How many characters of an error's message are kept."""

_MAX_DEPTH: Final = 4
_SMALLEST: Final = -(1 << 63)
_LARGEST: Final = (1 << 64) - 1


def digest(*parts: bytes) -> bytes:
    """The hash of bytes, one after another: 8 bytes."""
    return hashlib.sha1(b"".join(parts), usedforsecurity=False).digest()[:8]


def tensor_digest(tensor: Tensor) -> bytes:
    """The hash of a tensor's contents: 8 bytes.

    Args:
        tensor: What `plain` gives: it is hashed where it is, without a copy.
    """
    size = tensor.nbytes
    if not size:
        return digest()
    memory = (ctypes.c_char * size).from_address(tensor.data_ptr())
    return hashlib.sha1(memory, usedforsecurity=False).digest()[:8]


def has_contents(tensor: Tensor) -> bool:
    """Whether a tensor has contents that can be gone through row by row.

    One that wraps others, as the shard of a parameter does, has no memory of its own.
    """
    if hasattr(tensor, "__tensor_flatten__"):
        return False
    return tensor.layout is torch.strided and not tensor.is_quantized and tensor.device.type != "meta"


def plain(tensor: Tensor) -> Tensor:
    """A tensor with the same contents, row by row in the CPU's memory.

    A tensor of another device is fetched, which waits for all that was asked of the device before.
    """
    if tensor.device.type == "cpu" and tensor.is_contiguous() and not tensor.is_conj() and not tensor.is_neg():
        return tensor  # the common case, with fewer calls
    return tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()


def _nothing_known() -> dict[tuple[object, ...], tuple[Tensor, TensorValue]]:
    return {}


@attrs.frozen
class Summarizer:
    """Makes values short."""

    hashes: bool = True
    """Whether tensors are hashed."""

    stats: bool = True
    """Whether the mean and the standard deviation of tensors are computed."""

    sync: bool = False
    """Whether tensors of other devices than the CPU are fetched for that."""

    names: Mapping[int, str] = {}
    """What stands in place of some objects, by id: the names of callbacks and cells."""

    _known: dict[tuple[object, ...], tuple[Tensor, TensorValue]] = attrs.field(factory=_nothing_known, init=False)
    """Tensors of this batch that need no second look; they are held, so that nothing else takes their memory."""

    def forget(self) -> None:
        """Lets go of the tensors of a batch."""
        self._known.clear()

    def __call__(self, value: object, depth: int = 0) -> Value:
        """A value in short.

        Args:
            value: Whatever it is.
            depth: How many tuples and dicts it stands in.
        """
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, float):
            return float(value)  # numpy's is one too
        if type(value) is int:
            return value if _SMALLEST <= value <= _LARGEST else _text(value)
        if isinstance(value, str):
            return _short(str(value))
        if isinstance(value, Tensor):
            return self.tensor(value)
        if id(value) in self.names:
            return TextValue(type(value).__name__, self.names[id(value)])
        return self._nested(value, depth) or _text(value)

    def tensor(self, tensor: Tensor) -> TensorValue:
        """A tensor in short."""
        shape, dtype, device = tuple(tensor.shape), dtype_name(tensor), str(tensor.device)
        if not (self.hashes or self.stats) or (device != "cpu" and not self.sync):
            return TensorValue(shape, dtype, device)
        outside = TensorValue(shape, dtype, device)
        if not has_contents(tensor):
            return outside
        # an inference tensor counts no versions, XLA's do not tell where they are: these are looked at each time
        version = -1 if tensor.is_inference() or not tensor.data_ptr() else tensor._version
        key = (tensor.data_ptr(), version, shape, dtype, device, tensor.stride())
        if version < 0 or key not in self._known:
            self._known[key] = (tensor.detach(), self._looked_at(plain(tensor), outside))
        return self._known[key][1]

    def history(self, series: Series[Any]) -> ItemsValue:  # Any: of whatever items
        """A series in short: how long it is, and its last item."""
        return ItemsValue(type(series).__name__, len(series), tuple(self(item, 1) for item in series[-1:]))

    def _looked_at(self, own: Tensor, outside: TensorValue) -> TensorValue:
        hashed = tensor_digest(own) if self.hashes else None
        mean, std = _statistics(own) if self.stats else (None, None)
        return TensorValue(outside.shape, outside.dtype, outside.device, hashed, mean, std)

    def _nested(self, value: object, depth: int) -> Optional[Value]:
        """A value that has others in it; None where it has none, or none that are looked at."""
        kind = type(value).__name__
        if depth >= _MAX_DEPTH:
            return None
        if is_tuple(value) or is_list(value):
            return ItemsValue(kind, len(value), tuple(self(item, depth + 1) for item in value[:MAX_ITEMS]))
        entries = _entries(value)
        if entries is None:
            return None
        first = list(entries.items())[:MAX_ITEMS]
        return NamedValues(kind, len(entries), {_key(key): self(item, depth + 1) for key, item in first})


def _statistics(tensor: Tensor) -> tuple[Optional[float], Optional[float]]:
    """The mean and the standard deviation; torch's own `std_mean` takes ten times as long."""
    size = tensor.numel()
    if not size or tensor.is_complex():
        return None, None
    if size == 1:
        return float(tensor.item()), 0.0
    numbers = tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.double()
    with torch.no_grad():
        mean = float(numbers.mean())
        variance = norm(numbers) ** 2 / size - mean**2  # one pass less than the distances from the mean
        if not variance > _CANCELLED * mean**2:  # little is left of the two; or there is a nan
            variance = norm(numbers - mean) ** 2 / size
    return mean, math.sqrt(variance)


_CANCELLED: Final = 0.01


def norm(tensor: Tensor) -> float:
    """The Euclidean norm of a tensor of real or complex numbers."""
    return float(torch.linalg.vector_norm(tensor))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]  # torch leaves it without types


def norms(tensors: Sequence[Tensor]) -> list[float]:
    """The Euclidean norms of tensors, in one call: ten times as quick as one by one, where they are small."""
    numbers = [one.detach() if one.is_floating_point() or one.is_complex() else one.double() for one in tensors]
    # torch's own get_total_norm is made of this call, and gives no norm but the total
    return [float(each) for each in torch._foreach_norm(numbers)]  # pyright: ignore[reportPrivateImportUsage]


def _entries(value: object) -> Optional[Mapping[object, object]]:
    """What a dict or a frozen class holds; None for anything else."""
    if is_dict(value):
        return value
    if isinstance(value, type) or type(value).__module__.partition(".")[0] == "torch":
        return None
    names: Iterable[str]
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
    elif attrs.has(cls := type(value)):
        names = [field.name for field in attrs.fields(cls)]
    elif isinstance(value, msgspec.Struct):
        names = value.__struct_fields__
    else:
        return None
    return {name: getattr(value, name, None) for name in names}


def _key(key: object) -> str:
    return key if isinstance(key, str) else _short(repr(key))


class _Repr(reprlib.Repr):
    """A repr that is never long."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = MAX_TEXT


_safe: Callable[[object], str] = _Repr().repr


def _text(value: object) -> TextValue:
    """Any other value: its class, and its name or its repr where that says the same in every process."""
    name: object = getattr(value, "__qualname__", None)
    if isinstance(name, str):
        return TextValue(type(value).__name__, f"{getattr(value, '__module__', '')}.{name}")
    if isinstance(value, nn.Module):
        return TextValue(type(value).__name__, "")
    func: object = getattr(value, "func", None)  # a partial function
    if func is not None and hasattr(value, "keywords"):
        return TextValue(type(value).__name__, _text(func).text)
    text = "" if type(value).__repr__ is object.__repr__ else _repr(value)
    return TextValue(type(value).__name__, "" if " at 0x" in text else _short(text))


def _repr(value: object) -> str:
    try:
        return _safe(value)
    except Exception as error:  # noqa: BLE001  # somebody's own repr
        return f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"


def _short(text: str, most: int = MAX_TEXT) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def error_value(error: BaseException) -> ErrorValue:
    """An exception in short: its class, its message, and the line that raised it."""
    place = ""
    frame = error.__traceback__
    while frame is not None:
        code = frame.tb_frame.f_code
        place = f"{Path(code.co_filename).name}:{frame.tb_lineno} in {code.co_name}"
        frame = frame.tb_next
    try:
        message = str(error)
    except Exception:  # noqa: BLE001  # somebody's own exception
        message = ""
    return ErrorValue(type(error).__name__, _short(message, MAX_MESSAGE), place)
