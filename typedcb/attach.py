"""Which callbacks a loop has: what may be attached to it, and when."""

from __future__ import annotations

import dataclasses
import inspect
import weakref
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Callable, Final, Generic, Iterable, Sequence, TypeVar, Union

from .callback import Callback, SomeCallback, check_frozen, is_callback
from .cell import State
from .dependencies import own_states, running_order
from .dispatch import Plan, Watching, check_places, plan_of, watchings_of
from .errors import CallbackError, DependencyError
from .events import P, X, Y
from .rules import shared_state_problem

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from .engine import Engine

T = TypeVar("T")
C = TypeVar("C", bound=SomeCallback)


def check_instance(callback: object) -> None:
    """Refuses what is no callback instance, and says where it belongs.

    Args:
        callback: What somebody passed among `cbs`.

    Raises:
        CallbackError: It names what was passed and the fix.
    """
    if is_callback(callback):
        check_frozen(type(callback))
        _check_declared(callback)
        return
    if inspect.isclass(callback) and issubclass(callback, Callback):
        raise CallbackError(
            f"{callback.__name__} in cbs is a class, and cbs are instances: write {callback.__name__}(...), "
            f"or pass it in cb_funcs, which are called with the learner."
        )
    if callable(callback):
        raise CallbackError(
            f"{callback!r} in cbs is a factory, and cbs are instances: pass it in cb_funcs, "
            f"which are called with the learner."
        )
    raise CallbackError(f"{callback!r} in cbs is no callback: a callback is an instance of a subclass of Callback.")


def _check_declared(callback: SomeCallback) -> None:
    """Refuses a cell that a field makes by itself: without `cell` nobody knows whose it is, and no fit resets it."""
    for field in dataclasses.fields(callback):
        value: object = getattr(callback, field.name, None)
        if field.default_factory is not dataclasses.MISSING and isinstance(value, State) and not value.name:
            raise CallbackError(f"{type(callback).__name__}.{field.name} {shared_state_problem(type(value).__name__)}")


def made_by(maker: T, words: str, cb_funcs: Iterable[Callable[[T], C]]) -> list[C]:
    """What the factories in `cb_funcs` make, each called with the one that their callbacks are for.

    Args:
        maker: What they are called with.
        words: The same in words for error messages, such as `the learner`.
        cb_funcs: The factories.

    Raises:
        CallbackError: One is an instance, or made no callback.
    """
    made: list[C] = []
    for factory in cb_funcs:
        if is_callback(factory):
            raise CallbackError(
                f"{type(factory).__name__} in cb_funcs is an instance, and cb_funcs are called with {words}: "
                f"pass it in cbs."
            )
        made.append(checked_made(factory, factory(maker), words))
    return made


def checked_made(factory: Callable[..., object], made: C, words: str) -> C:
    """What a factory made, when it is a callback.

    Args:
        factory: The factory.
        made: What it made.
        words: What it was called with, such as `the learner`.

    Raises:
        CallbackError: It is none.
    """
    if not is_callback(made):
        raise CallbackError(
            f"the factory {getattr(factory, '__name__', factory)!s} made {made!r}, which is no callback: a factory is "
            f"called with {words}, and returns a callback instance."
        )
    return made


_attached_to: Final[weakref.WeakValueDictionary[int, object]] = weakref.WeakValueDictionary()
"""What each callback is attached to, by the callback's id; the values hold their callbacks, so that no id is stale."""


class Group(ABC):
    """Callbacks that hear turns of their own in a loop's batches, and everything else with the loop's callbacks.

    `typedcb.objective` has the one there is; it stands here without its payload.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """What errors call it."""

    @property
    @abstractmethod
    def model(self) -> nn.Module:
        """The model that is trained."""

    @property
    @abstractmethod
    def opt(self) -> Optimizer:
        """The optimizer that steps it."""

    @property
    @abstractmethod
    def cbs(self) -> tuple[SomeCallback, ...]:
        """Its callbacks."""

    @property
    @abstractmethod
    def steps(self) -> int:
        """How many steps it has taken in the fit."""

    @abstractmethod
    def arrange(self, order: Sequence[SomeCallback], watchings: Sequence[Watching]) -> None:
        """Takes the order in which its callbacks run, among those of others, and what stands around their hooks."""

    @abstractmethod
    def engage(self, engine: Engine) -> None:
        """Takes the processes that a fit or a validation which begins runs in."""

    @abstractmethod
    def restart(self, steps: int) -> None:
        """Begins a fit, in which it has taken so many steps."""

    @abstractmethod
    def end_turn(self) -> None:
        """Ends the turn that is under way, if one is."""

    @abstractmethod
    def fail_turn(self, error: BaseException) -> list[BaseException]:
        """Ends the turn that is under way, if one is, by an error: what went wrong in that."""


class Attached(Generic[X, Y, P]):
    """The callbacks of one loop, in the order in which they run, and the plan of whom to call.

    Args:
        owner: What the callbacks are attached to, in words for error messages, such as `this learner`.
        groups: Those that have turns of their own, with their callbacks.

    Raises:
        CallbackError: A group or one of its callbacks is attached elsewhere, or twice.
        DependencyError: What a callback depends on is missing, or there is a circle.
    """

    def __init__(self, owner: str, groups: Sequence[Group] = (), callbacks: Iterable[Callback[X, Y, P]] = ()) -> None:
        self._owner = owner
        self._groups = tuple(groups)
        self._attachment: tuple[Callback[X, Y, P], ...] = ()
        seen: set[int] = set()
        for group in self._groups:
            self._check_free(group, seen)
            seen.add(id(group))
        for callback in self._grouped:
            check_instance(callback)
            self._check_free(callback, seen)
            seen.add(id(callback))
        self.add(callbacks)
        for identity in seen:
            _attached_to[identity] = self

    @property
    def callbacks(self) -> tuple[Callback[X, Y, P], ...]:
        """The callbacks in the order in which they run."""
        return self._running

    @property
    def everybody(self) -> tuple[SomeCallback, ...]:
        """The callbacks, and those of the groups."""
        return (*self._running, *self._grouped)

    @property
    def plan(self) -> Plan[X, Y, P]:
        """Whom to call at each event."""
        return self._plan

    def add(self, callbacks: Iterable[Callback[X, Y, P]]) -> None:
        """Attaches callbacks, all of them or none.

        Args:
            callbacks: Instances that are attached nowhere.

        Raises:
            CallbackError: One is no callback instance, not frozen, or attached already.
            DependencyError: What one depends on is missing, or there is a circle.
        """
        new = tuple(callbacks)
        seen = {id(callback) for callback in self._grouped}
        for callback in new:
            check_instance(callback)
            self._check_free(callback, seen)
            seen.add(id(callback))
        self._rebuild((*self._attachment, *new))
        for callback in new:
            _attached_to[id(callback)] = self

    def remove(self, callbacks: Iterable[Callback[X, Y, P]]) -> None:
        """Detaches callbacks, all of them or none.

        Args:
            callbacks: Instances that are attached here.

        Raises:
            CallbackError: One is not attached here.
            DependencyError: Another callback depends on one of them.
        """
        old = tuple(callbacks)
        for callback in old:
            if not any(callback is attached for attached in self._attachment):
                raise CallbackError(f"{type(callback).__name__} is not attached to {self._owner}.")
        gone = {id(callback) for callback in old}
        left = tuple(callback for callback in self._attachment if id(callback) not in gone)
        try:
            self._rebuild(left)
        except DependencyError as error:
            names = ", ".join(type(callback).__name__ for callback in old)
            raise DependencyError(f"{names} cannot be removed alone, since others depend on it: {error}") from None
        for identity in gone:
            del _attached_to[identity]

    @property
    def groups(self) -> tuple[Group, ...]:
        """Those that have turns of their own."""
        return self._groups

    @property
    def _grouped(self) -> list[SomeCallback]:
        return [callback for group in self._groups for callback in group.cbs]

    def _check_free(self, callback: Union[SomeCallback, Group], seen: set[int]) -> None:
        name = type(callback).__name__
        holder = _attached_to.get(id(callback))
        if id(callback) in seen or holder is self:
            raise CallbackError(
                f"this {name} is attached to {self._owner} twice: each of its hooks would run twice. "
                f"For a second one make another instance."
            )
        if holder is not None:
            raise CallbackError(
                f"this {name} is attached to another loop or learner, and its cells hold that one's state: make "
                f"another instance, or remove it there first."
            )

    def _rebuild(self, attachment: tuple[Callback[X, Y, P], ...]) -> None:
        everybody: list[SomeCallback] = [*attachment, *self._grouped]
        order = running_order(everybody)
        running = [everybody[index] for index in order]
        own = tuple(attachment[index] for index in order if index < len(attachment))
        check_places(own)
        for group in self._groups:
            check_places([callback for callback in running if any(callback is one for one in group.cbs)])
        states = [state for callback in running for state in own_states(callback).values()]
        watchings = watchings_of(running)
        self._plan: Plan[X, Y, P] = plan_of(running, own, states, watchings)
        self._running = own
        for group in self._groups:
            group.arrange(running, watchings)
        self._attachment = attachment
