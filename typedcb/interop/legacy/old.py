"""What the adapters of all old systems share: how an old hook is called, and how one is warned about."""

from __future__ import annotations

import inspect
import warnings
from dataclasses import dataclass, field
from functools import partial
from types import FunctionType
from typing import Annotated, Any, Final, Iterable, Sequence, Union

from typing_extensions import TypeAlias, TypeIs

from ...callback import AnyLearnerCallback, is_callback
from ...cell import Cell, cell
from ...errors import CallbackError
from ...naming import name_problem
from ...outcomes import Cancel
from .standin import StandIn

Old: TypeAlias = Any
# Any: an old callback's class shares no base with others that could be named, and its hooks have no types.

OneOrMore: TypeAlias = Union[Old, Sequence[Old]]  # Any: as above
"""One old callback, or a list of them."""


class LegacyWarning(UserWarning):
    """An old callback relied on a defect of the system that it was written for; the message says what to write."""


@dataclass(frozen=True)
class LegacyCallbacks(AnyLearnerCallback):
    """Old callbacks that run in a typed learner: the base of the adapters."""

    callbacks: tuple[Old, ...]
    """The old callbacks, in the order in which they run."""

    run: StandIn
    """What the old callbacks read through."""

    broken: Cell[bool] = cell(False, saved=False)
    """Whether one of them has raised an error, which is on its way out of the fit."""

    said: Annotated[set[str], "no state of a fit: it only grows"] = field(
        default_factory=set[str], init=False, repr=False, compare=False
    )
    """What has been warned about: each thing is said once."""

    @property
    def kept_elsewhere(self) -> tuple[str, ...]:
        """The old callbacks with attributes, which no checkpoint holds: what of them is state cannot be told."""
        return tuple(name_of(old) for old in self.callbacks if getattr(old, "__dict__", None))

    def _call(self, function: Old, *args: object, **kwargs: object) -> Old:
        """Calls something of an old callback, and remembers it when it fails."""
        try:
            return function(*args, **kwargs)
        except Cancel:  # an old callback that answers as a typed one already
            raise
        except BaseException:
            self.broken.value = True
            raise

    def _call_all(self, functions: Iterable[Old]) -> list[BaseException]:
        """Calls them all, whatever the others do, and returns their errors."""
        errors: list[BaseException] = []
        for function in functions:
            try:
                function()
            except BaseException as error:  # noqa: BLE001  # raised by `_raise`, when all have been called
                errors.append(error)
        return errors

    def _raise(self, errors: Sequence[BaseException]) -> None:
        """Raises what `_call_all` returned: one error as itself, several together."""
        if len(errors) > 1:
            raise BaseExceptionGroup("several old callbacks failed at the end of the fit", errors)
        if errors:
            raise errors[0]

    def _warn(self, old: Old, hook: str, lesson: str, *, once: str = "") -> None:
        """Warns at the old hook's own line, once for each hook.

        Args:
            old: The old callback.
            hook: The hook's name in its own system.
            lesson: What the hook did, what comes of it, and what to write instead.
            once: What is said once in all hooks together; the lesson in each of them by default.
        """
        text = f"{name_of(old)}.{hook} {lesson}"
        key = f"{name_of(old)} {once}" if once else text
        if key in self.said:
            return
        self.said.add(key)
        file, line = _line_of(class_of(old), hook)
        warnings.warn_explicit(text, LegacyWarning, file, line)


def each(callbacks: OneOrMore) -> tuple[Old, ...]:
    """One old callback, or several, as a tuple.

    Raises:
        CallbackError: A typed callback is among them.
    """
    found: tuple[Old, ...] = tuple(callbacks) if _is_several(callbacks) else (callbacks,)
    for old in found:
        if is_callback(old):
            raise CallbackError(f"{name_of(old)} is a typed callback already, and needs no adapter: pass it in cbs.")
    return found


def _is_several(callbacks: object) -> TypeIs[Sequence[object]]:
    return isinstance(callbacks, (list, tuple))


def instances(callbacks: OneOrMore) -> tuple[Old, ...]:
    """Old callbacks that are no factories, in the order in which their `_order` puts them.

    Raises:
        CallbackError: A class or a typed callback is among them.
    """
    found = each(callbacks)
    for old in found:
        if inspect.isclass(old):
            raise CallbackError(f"{old.__name__} is a class, and an instance is needed: write {old.__name__}(...).")
    return found


def made(callbacks: OneOrMore, learn: object) -> tuple[Old, ...]:
    """Old callbacks; a class, a function or a partial among them is called with what stands for the learner."""
    return tuple(old(learn) if _is_factory(old) else old for old in each(callbacks))


def _is_factory(old: object) -> bool:
    return isinstance(old, (type, partial, FunctionType))


def in_order(callbacks: Iterable[Old]) -> tuple[Old, ...]:
    """In ascending `_order`; ties as they were given."""
    return tuple(sorted(callbacks, key=_order))


def _order(old: object) -> int:
    order: object = inspect.getattr_static(old, "_order", 0)  # not by its __getattr__, which may have no runner yet
    return order if isinstance(order, int) else 0


def class_of(old: object) -> type[object]:
    """The class of an old callback."""
    return type(old)


def name_of(old: object) -> str:
    """The name of an old callback's class."""
    return type(old).__name__


_WRITE_HOOK: Final = "it was never called, and the old system did not say so either"


def warn_of_misspelt(adapter: LegacyCallbacks, known: Iterable[str]) -> None:
    """Warns of methods that read as hooks and are none.

    Args:
        adapter: Whose old callbacks are looked at.
        known: What their system calls.
    """
    names = frozenset(known)
    for old in adapter.callbacks:
        for name, _ in inspect.getmembers_static(class_of(old), inspect.isfunction):
            problem = None if name in names else name_problem(name)
            if problem:
                adapter._warn(old, name, f"{problem} As it is {_WRITE_HOOK}.")


def _line_of(cls: type, hook: str) -> tuple[str, int]:
    """Where a hook of an old class is written; the class's module where that is not known."""
    function = inspect.getattr_static(cls, hook, None)
    if isinstance(function, FunctionType):
        return function.__code__.co_filename, function.__code__.co_firstlineno
    return cls.__module__, 1
