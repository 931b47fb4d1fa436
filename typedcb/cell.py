"""State that a callback keeps: a callback is frozen, and its cells are the one place that changes.

    @dataclass(frozen=True)
    class CountSteps(AnyCallback):
        count: Cell[int] = cell(0, reset="epoch")

        def after_step(self, event: BatchEvent) -> None:
            self.count.value += 1

The loop resets a cell to its initial value when an epoch or a fit begins, or never. Values are immutable: numbers,
strings, tuples, frozen classes. Of a tensor, which `+=` changes in place, each cell and each reset has a copy. A
`Series` is the cell of a history that grows: its value is a tuple, and appending to it costs the same however long it
is.
"""

from __future__ import annotations

import dataclasses
import sys
from abc import ABC, abstractmethod
from types import FrameType
from typing import (
    TYPE_CHECKING,
    Callable,
    Final,
    Generic,
    Iterator,
    Literal,
    Optional,
    Protocol,
    TypeVar,
    cast,
    get_args,
    overload,
)

from typing_extensions import TypeAlias, TypeIs, override

if TYPE_CHECKING:
    from torch import Tensor

    from .events import Phase

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
S = TypeVar("S")
C = TypeVar("C", bound="State")

Reset: TypeAlias = Literal["epoch", "fit", "never"]
"""When the loop gives a cell its initial value again."""

_RESETS: Final = get_args(Reset)


class Readable(Protocol[T_co]):
    """Anything with a `value` to read: a cell, a view of one, or a callback with a `value` of its own."""

    @property
    def value(self) -> T_co:
        """What it holds now."""
        ...


class State(ABC):
    """What a cell and a series have in common: a name, and when the loop resets it."""

    __slots__ = ("__weakref__", "declared_as", "name", "phase", "reset", "saved")

    reset: Reset
    """When the loop gives it its initial value again: `"epoch"`, `"fit"` or `"never"`."""

    saved: bool
    """Whether the value is part of the callback's state: not so for an open file, a progress bar and the like."""

    name: str
    """What it is called: the class of the callback that has it, and the field, such as `SmoothLoss.mean`."""

    declared_as: str
    """The class whose body declares it, which may be a base of that callback's, and the field."""

    phase: Optional[Phase]
    """The data whose passes give it its value; None where it is not of one of them alone."""

    def __init__(self, reset: Reset, saved: bool, name: str, phase: Optional[Phase] = None) -> None:
        if reset not in _RESETS:
            raise ValueError(f'reset is {reset!r}, and has to be "epoch", "fit" or "never".')
        self.reset = reset
        self.saved = saved
        self.name = self.declared_as = name
        self.phase = phase
        self.restart()

    @abstractmethod
    def restart(self) -> None:
        """Gives it its initial value again."""


class Cell(State, Generic[T]):
    """One value that changes, of a callback that does not."""

    __slots__ = ("initial", "value")

    value: T
    """What the cell holds now."""

    initial: T
    """What the cell holds at first, and after each reset."""

    def __init__(
        self, initial: T, *, reset: Reset = "fit", saved: bool = True, name: str = "", phase: Optional[Phase] = None
    ) -> None:
        """Holds the initial value.

        Args:
            initial: What the cell holds at first, and after each reset. Immutable.
            reset: When the loop gives it the initial value again.
            saved: Whether the value is part of the callback's state.
            name: The class and field that it was declared as; `cell` fills it in.
            phase: The data whose passes give it its value.
        """
        self.initial = initial
        super().__init__(reset, saved, name, phase)

    @override
    def restart(self) -> None:
        """Gives the cell its initial value again."""
        self.value = _fresh(self.initial)

    def map(self, read: Callable[[T], S]) -> View[S]:
        """A readable of `read(value)`, which knows whose cell it reads.

        Args:
            read: Called with the cell's value whenever the view is read.
        """
        return View(lambda: read(self.value), self)

    def __bool__(self) -> bool:
        """Refuses to be taken for its value: a cell itself would always be true.

        Raises:
            TypeError: Always.
        """
        name = self.name or "a cell"
        raise TypeError(f"{name} is no truth value itself: ask for its .value, which is {self.value!r}.")

    @override
    def __repr__(self) -> str:
        return f"Cell({self.value!r})"


class Series(State, Generic[T]):
    """A history that grows; appending costs the same however long it is.

    Args:
        reset: When the loop empties it.
        saved: Whether the items are part of the callback's state.
        name: The class and field that it was declared as; `series` fills it in.
    """

    __slots__ = ("_items",)

    _items: list[T]

    def __init__(self, *, reset: Reset = "fit", saved: bool = True, name: str = "") -> None:
        super().__init__(reset, saved, name)

    @override
    def restart(self) -> None:
        """Empties it."""
        self._items = []

    @property
    def value(self) -> tuple[T, ...]:
        """All items so far."""
        return tuple(self._items)

    @value.setter
    def value(self, items: tuple[T, ...]) -> None:
        self._items = list(items)

    def append(self, item: T) -> None:
        """Adds an item at the end."""
        self._items.append(item)

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        return tuple(self._items[index]) if isinstance(index, slice) else self._items[index]

    @override
    def __repr__(self) -> str:
        return f"Series({len(self)} items)"


def _fresh(initial: T) -> T:
    """The initial value for this time: a tensor is copied, lest what is added to it come back with the next reset."""
    value: object = initial  # of another name: to narrow T itself makes an intersection of it
    return cast("T", value.detach().clone()) if _is_tensor(value) else initial


def _is_tensor(value: object) -> TypeIs[Tensor]:
    torch: object = sys.modules.get("torch")  # where there is a tensor, torch has been loaded
    kind: object = getattr(torch, "Tensor", None)
    return isinstance(kind, type) and isinstance(value, kind)


class View(Generic[T_co]):
    """A readable that is computed from a cell, and knows from which.

    Args:
        read: Computes the value whenever it is asked for.
        source: The cell or series that it reads; its callback runs before any callback that has this view as a field.
    """

    __slots__ = ("_read", "source")

    source: State
    """The cell or series that it reads."""

    def __init__(self, read: Callable[[], T_co], source: State) -> None:
        self._read = read
        self.source = source

    @property
    def value(self) -> T_co:
        """What it holds now."""
        return self._read()

    @override
    def __repr__(self) -> str:
        return f"View({self.value!r})"


class StateFactory(Generic[C]):
    """Makes a field's cell for each instance; it is told the field's name when the class is made."""

    __slots__ = ("_make", "name")

    name: str
    """The class and field that it makes cells of, such as `SmoothLoss.mean`."""

    def __init__(self, make: Callable[[str], C]) -> None:
        self._make = make
        self.name = ""

    def __call__(self) -> C:
        """Makes one, for the callback in whose constructor it is called."""
        made = self._make(self.name)
        owner, _, field = self.name.rpartition(".")
        cls = type(_first_argument(sys._getframe(1)))
        if any(base.__name__ == owner for base in cls.__mro__):
            made.name = f"{cls.__name__}.{field}"
        return made


def _first_argument(frame: FrameType) -> object:
    """What a function under way calls `self`: a dataclass does not tell a default factory whom it makes a value for."""
    names = frame.f_code.co_varnames
    return frame.f_locals.get(names[0]) if names else None


def cell(initial: T, *, reset: Reset = "fit", saved: bool = True, phase: Optional[Phase] = None) -> Cell[T]:
    """Declares a field that is a cell of its own in each instance.

    Args:
        initial: What the cell holds at first, and after each reset. Immutable.
        reset: When the loop gives it the initial value again: at the beginning of each epoch, of each fit, or never.
        saved: Whether the value is part of the callback's state.
        phase: The data whose passes give it its value: a learner without validation data refuses what reads a cell of
            `"valid"`, which would hold its initial value for ever.
    """
    factory = StateFactory(lambda name: Cell(initial, reset=reset, saved=saved, name=name, phase=phase))
    made: Cell[T] = dataclasses.field(default_factory=factory, compare=False)
    return made


# The item type of a series comes from the field's annotation alone: there is no initial item to read it from. Checkers
# infer it from there; pyright would have it said that T stands in the answer alone.
def series(*, reset: Reset = "fit", saved: bool = True) -> Series[T]:  # pyright: ignore[reportInvalidTypeVarUse]
    """Declares a field that is a series of its own in each instance, empty at first.

    Args:
        reset: When the loop empties it: at the beginning of each epoch, of each fit, or never.
        saved: Whether the items are part of the callback's state.
    """
    factory = StateFactory[Series[T]](lambda name: Series(reset=reset, saved=saved, name=name))
    made: Series[T] = dataclasses.field(default_factory=factory, compare=False)
    return made
