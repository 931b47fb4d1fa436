"""What a trace holds: a header for each run, a record for each event, and an end. `docs/trace-format.md` is the format.

The records are msgspec Structs that are written as arrays, each with a tag before its fields: what comes later is added
at a struct's end, so that an older file is read by a newer release.
"""

from __future__ import annotations

from typing import Final, Literal, Optional, Union

import msgspec
from typing_extensions import TypeAlias

from ..events import Phase

FORMAT: Final = 1
"""The version of the format that is written, and the newest that is read."""


class TensorValue(msgspec.Struct, frozen=True, array_like=True, tag="t", omit_defaults=True):
    """What a trace keeps of a tensor."""

    shape: tuple[int, ...]
    """Its shape."""

    dtype: str
    """Its type, such as `float32`."""

    device: str = "cpu"
    """Where it is."""

    hash: Optional[bytes] = None
    """The first 8 bytes of the SHA-1 of its contents, row by row; None where it was not computed."""

    mean: Optional[float] = None
    """The mean of its elements; None where it was not computed, or has none. Of a single element: the element."""

    std: Optional[float] = None
    """Their standard deviation: the root of the mean square distance from the mean."""


class WeightValue(msgspec.Struct, frozen=True, array_like=True, tag="w"):
    """What a trace keeps of a weight or a gradient, or of all of them together."""

    hash: bytes
    """The first 8 bytes of the SHA-1 of its contents; of all together: of their hashes."""

    norm: float
    """Its Euclidean norm."""


class TextValue(msgspec.Struct, frozen=True, array_like=True, tag="o"):
    """A value of any other class, in short."""

    kind: str
    """Its class."""

    text: str
    """Its repr, cut after 80 characters; empty where the class has none of its own."""


class ItemsValue(msgspec.Struct, frozen=True, array_like=True, tag="s"):
    """A tuple, a list or a history."""

    kind: str
    """Its class: `tuple`, `list` or `Series`, say."""

    length: int
    """How many items it has."""

    items: tuple[Value, ...]
    """The first 16 of them; of a Series the last one."""


class NamedValues(msgspec.Struct, frozen=True, array_like=True, tag="d"):
    """A dict, or a frozen class with its fields."""

    kind: str
    """Its class."""

    length: int
    """How many entries it has."""

    entries: dict[str, Value]
    """The first 16 of them; keys that are no strings stand as their repr."""


Value: TypeAlias = Union[bool, int, float, str, TensorValue, WeightValue, TextValue, ItemsValue, NamedValues, None]
"""What a trace keeps of a value: numbers and short strings are kept as they are."""


class ErrorValue(msgspec.Struct, frozen=True, array_like=True, tag="x"):
    """What a trace keeps of an exception."""

    kind: str
    """Its class."""

    message: str
    """Its message, cut after 500 characters."""

    place: str = ""
    """The file and the line that raised it, and the function: `model.py:17 in forward`."""


class CallbackInfo(msgspec.Struct, frozen=True, array_like=True, tag="c"):
    """A callback of a run; its place among the header's callbacks is the order in which they run."""

    name: str
    """Its class, with `#2` and so on behind it where there are several."""

    module: str
    """The module of its class."""

    order: int
    """Its `order`."""

    phases: tuple[Phase, ...]
    """The data whose batches it is told of."""

    hooks: tuple[str, ...]
    """The hooks that it has."""

    settings: dict[str, Value]
    """Its fields that are no cells of its own; another callback or its cell stands as its name."""

    cells: dict[str, str]
    """When each of its cells is reset, by field."""

    unsaved: tuple[str, ...] = ()
    """Those of its cells that are no part of its state: an open file, a clock."""


class Header(msgspec.Struct, frozen=True, array_like=True, tag="H"):
    """The beginning of a run. A trace has one for each fit, and for each validation outside of a fit."""

    format: int
    """The version of the format."""

    kind: Literal["fit", "validation"]
    """Whether it is a fit, or a validation or a prediction outside of one."""

    started: float
    """When the run began, in seconds since 1970."""

    versions: dict[str, str]
    """The versions of `typedcb`, `torch` and `python`, and of whatever else matters."""

    host: dict[str, Value]
    """The machine: `name`, `machine`, `system`, `threads` of torch, and the process's number `pid`."""

    seeds: dict[str, Value]
    """What the random numbers came from: `torch` is its initial seed, the others are hashes of states."""

    callbacks: tuple[CallbackInfo, ...]
    """The callbacks in the order in which they run; the trace itself is not among them."""

    model: dict[str, Value]
    """The model's `class`, and its `weights`: names with shapes and types."""

    optimizer: dict[str, Value]
    """The optimizer's `class`, and its hyperparameters at the beginning."""

    options: dict[str, Value]
    """The settings of the Trace."""


class Call(msgspec.Struct, frozen=True, array_like=True, tag="C"):
    """One callback's turn at an event."""

    callback: int
    """Which one: its index in the header's callbacks."""

    at: float
    """When its hook was called, in seconds since the event came."""

    seconds: float
    """How long its hook took."""

    answer: Optional[str] = None
    """The class of what it answered: an event, a Skip or a Cancel; None where it answered None."""

    reason: str = ""
    """The reason of a Cancel."""

    fields: dict[str, Value] = {}
    """The event's fields that it replaced, as it left them."""

    changed: dict[str, Value] = {}
    """What changed in its turn, by kind and name: `cells:SmoothLoss.mean`, `hypers:lr`, `weights:0.weight`."""

    error: Optional[ErrorValue] = None
    """What it raised, other than a Cancel that is legal there."""


class Event(msgspec.Struct, frozen=True, array_like=True, tag="E"):
    """An event, and everybody's turn at it."""

    number: int
    """Its number in the run, from 0; events that are not recorded count too."""

    hook: str
    """The hook's name, such as `after_loss`."""

    at: float
    """When it came, in seconds since the run began."""

    seconds: float
    """How long it took from then on, with what recording it took."""

    epoch: Optional[int] = None
    """The epoch's number, from 0; None where the event has none."""

    phase: Optional[Phase] = None
    """`"train"` or `"valid"`; None outside of a batch."""

    index: Optional[int] = None
    """The batch's number in its pass over the data, from 0; None outside of a batch."""

    step: Optional[int] = None
    """How many training batches have been stepped on before this batch; None outside of a batch."""

    fields: dict[str, Value] = {}
    """The event's other fields, as the first callback was given them."""

    before: dict[str, Value] = {}
    """What changed since the event before, and in no callback's turn: the weights by the optimizer, say, or a cell
    that the loop has reset."""

    calls: tuple[Call, ...] = ()
    """Every callback's turn, in order."""


class End(msgspec.Struct, frozen=True, array_like=True, tag="Z"):
    """The end of a run. A run that was killed has none."""

    outcome: str
    """`Completed`, `Cancelled` or `Failed`; `Validated` outside of a fit."""

    seconds: float
    """How long the run took."""

    reason: str = ""
    """The reason of a cancelled fit."""

    error: Optional[ErrorValue] = None
    """The error of a failed fit."""


Record: TypeAlias = Union[Header, Event, End]
"""What a trace is a sequence of."""
