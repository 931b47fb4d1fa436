"""A field, or a class attribute, that changes in place."""

from __future__ import annotations

import collections
import typing
from collections import defaultdict, deque
from collections.abc import MutableMapping, Set
from dataclasses import InitVar, dataclass, field
from typing import Annotated, Any, ClassVar, Dict, Final, List, Mapping, Optional, Sequence, Union

import attrs

from typedcb import AnyCallback, Cell, Readable, Series, cell, series


@dataclass
class Record:
    losses: float = 0.0


@dataclass(frozen=True)
class Limits:
    low: float = 0.0


Names = List[str]


@dataclass(frozen=True)
class Bad(AnyCallback):
    losses: list[float]  # typedcb-mutable-field
    by_name: Dict[str, float]  # typedcb-mutable-field
    quoted: "list[int]"  # typedcb-mutable-field
    maybe: Optional[List[int]]  # typedcb-mutable-field
    either: int | dict[str, int]  # typedcb-mutable-field
    union: Union[int, set[int]]  # typedcb-mutable-field
    queue: deque[int]  # typedcb-mutable-field
    qualified: typing.List[int]  # typedcb-mutable-field
    ordered: collections.OrderedDict[str, int]  # typedcb-mutable-field
    mapping: MutableMapping[str, int]  # typedcb-mutable-field
    alias: Names  # typedcb-mutable-field
    bare: list  # typedcb-mutable-field
    shared: ClassVar[list[int]] = []  # typedcb-mutable-field
    unannotated = {"a": 1}  # typedcb-mutable-field
    constant: Final = [1, 2]  # typedcb-mutable-field
    made: Any = field(default_factory=list)  # typedcb-mutable-field
    lazily: Any = field(default_factory=lambda: defaultdict(int))  # typedcb-mutable-field
    record: Record = field(default_factory=Record)  # typedcb-mutable-field
    in_cell: Cell[list[float]] = cell([])  # typedcb-mutable-field
    in_cell_by_default: Cell[Any] = cell({})  # typedcb-mutable-field


@attrs.frozen
class BadAttrs(AnyCallback):
    losses: list[float]  # typedcb-mutable-field
    made: Any = attrs.field(factory=dict)  # typedcb-mutable-field


class Free:
    """A class of somebody's."""

    losses: list[float]


@dataclass(frozen=True)
class Good(AnyCallback):
    names: tuple[str, ...]
    weights: Mapping[str, float]
    steps: Sequence[int]
    either: frozenset[int]
    view: Set[int]
    monitor: Readable[list[float]]
    free: Free
    record: Record
    limits: Limits = field(default_factory=Limits)
    free_one: Free = field(default_factory=Free)
    count: Cell[int] = cell(0)
    items: Cell[tuple[float, ...]] = cell(())
    history: Series[float] = series()
    order: ClassVar[int] = 3
    table: Mapping[str, float] = field(default_factory=dict)
    meant: Annotated[list[float], "the caller's own"] = field(default_factory=list)
    excused: list[float] = field(default_factory=list)  # typedcb: ignore[typedcb-mutable-field]
    table_of_all: ClassVar[Mapping[str, float]] = {"a": 1.0}
    names_of_all: Final[Sequence[str]] = ["a"]
    for_init: InitVar[Optional[list[float]]] = None

    def local(self) -> None:
        losses: list[float] = []
        print(losses)
