"""Which callbacks a loop has, and in what order they run.

What a callback depends on are its fields: a callback, another callback's cell or series, or a view of one. All of these
run before it. `order` breaks the ties, then the order of attachment.
"""

from __future__ import annotations

import dataclasses
import heapq
import inspect
import weakref
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Callable, Final, Generic, Iterable, Sequence, TypeVar, Union

from .articles import an_instance
from .callback import Callback, SomeCallback, check_frozen, field_values, is_callback
from .cell import State, View
from .dispatch import Plan, Watching, plan_of, watchings_of
from .errors import CallbackError, DependencyError
from .events import P, X, Y
from .rules import shared_state_problem
from .several import as_tuple

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from .engine import Engine

T = TypeVar("T")
C = TypeVar("C", bound=SomeCallback)


def own_states(callback: SomeCallback) -> dict[str, State]:
    """The cells and series that a callback declares itself, by field name."""
    classes = {owner.__name__ for owner in type(callback).__mro__}
    return {
        name: value
        for name, value in field_values(callback).items()
        if isinstance(value, State) and value.declared_as in {f"{owner}.{name}" for owner in classes}
    }


def running_order(callbacks: Sequence[SomeCallback]) -> tuple[int, ...]:
    """The order in which callbacks run, as indices into `callbacks`: dependencies first, then by `order`.

    Args:
        callbacks: In the order of attachment.

    Raises:
        DependencyError: A dependency is missing, or callbacks depend on each other in a circle.
    """
    needs = _dependencies(callbacks)
    ready = [(callback.order, index) for index, callback in enumerate(callbacks) if not needs[index]]
    heapq.heapify(ready)
    done: list[int] = []
    while ready:
        _, index = heapq.heappop(ready)
        done.append(index)
        for other, its_needs in needs.items():
            if index in its_needs:
                its_needs.discard(index)
                if not its_needs:
                    heapq.heappush(ready, (callbacks[other].order, other))
    if len(done) < len(callbacks):
        raise DependencyError(_describe_cycle(callbacks, needs))
    return tuple(done)


def _dependencies(callbacks: Sequence[SomeCallback]) -> dict[int, set[int]]:
    """For each callback, by index, the indices of those that it depends on."""
    index_of = {id(callback): index for index, callback in enumerate(callbacks)}
    owner_of: dict[int, int] = {}
    for index, callback in enumerate(callbacks):
        for name, state in own_states(callback).items():
            if id(state) in owner_of:
                other = type(callbacks[owner_of[id(state)]]).__name__
                raise CallbackError(
                    f"{type(callback).__name__}.{name} is the cell of another {other} too: each needs one of its own. "
                    f"To read another callback's cell, give it to a field that is no cell() itself."
                )
            owner_of[id(state)] = index
    needs: dict[int, set[int]] = {}
    for index, callback in enumerate(callbacks):
        needs[index] = set()
        for name, value in field_values(callback).items():
            for part in as_tuple(value):
                needed = _owner(f"{type(callback).__name__}.{name}", part, index_of, owner_of)
                if needed is not None and needed != index:
                    needs[index].add(needed)
    return needs


def needed_by(callback: SomeCallback, callbacks: Sequence[SomeCallback]) -> list[tuple[str, SomeCallback]]:
    """What a callback depends on: each of its fields with one of `callbacks`, or with a cell of one, and that one.

    Args:
        callback: One of `callbacks`.
        callbacks: All that are attached together.

    Raises:
        DependencyError: Something is missing among them.
    """
    index_of = {id(other): index for index, other in enumerate(callbacks)}
    states = enumerate(list(own_states(other).values()) for other in callbacks)
    owner_of = {id(state): index for index, those in states for state in those}
    found: list[tuple[str, SomeCallback]] = []
    for name, value in field_values(callback).items():
        for part in as_tuple(value):
            index = _owner(f"{type(callback).__name__}.{name}", part, index_of, owner_of)
            if index is not None and callbacks[index] is not callback:
                found.append((name, callbacks[index]))
    return found


def _owner(field: str, value: object, index_of: dict[int, int], owner_of: dict[int, int]) -> int | None:
    """The index of the callback that a field's value belongs to; None where it belongs to none."""
    if isinstance(value, View):
        value = value.source
    if is_callback(value):
        if id(value) not in index_of:
            raise DependencyError(
                f"{field} is {an_instance(value)} that is not attached: pass that very instance in cbs too, "
                f"or add it before."
            )
        return index_of[id(value)]
    if isinstance(value, State) and value.name:
        if id(value) not in owner_of:
            owner = value.name.partition(".")[0]
            raise DependencyError(
                f"{field} reads {value.name}, whose {owner} is not attached: pass that {owner} in cbs too, "
                f"or add it before."
            )
        return owner_of[id(value)]
    return None


def _describe_cycle(callbacks: Sequence[SomeCallback], needs: dict[int, set[int]]) -> str:
    """The circle in words, by following what is still needed until a callback comes up again."""
    left = {index: its_needs for index, its_needs in needs.items() if its_needs}
    path = [min(left)]
    while (following := min(index for index in left[path[-1]] if index in left)) not in path:
        path.append(following)
    circle = [*path[path.index(following) :], following]
    names = " → ".join(type(callbacks[index]).__name__ for index in circle)
    return f"callbacks depend on each other in a circle: {names}. One of them has to do without the other."


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
        states = [state for callback in running for state in own_states(callback).values()]
        watchings = watchings_of(running)
        self._plan: Plan[X, Y, P] = plan_of(running, own, states, watchings)
        self._running = own
        for group in self._groups:
            group.arrange(running, watchings)
        self._attachment = attachment
