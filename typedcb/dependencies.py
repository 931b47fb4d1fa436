"""What callbacks depend on, and in what order they run.

What a callback depends on are its fields: a callback, another callback's cell or series, or a view of one. All of these
run before it. `order` breaks the ties, then the order of attachment.
"""

from __future__ import annotations

import heapq
from typing import Sequence

from .articles import an_instance
from .callback import SomeCallback, field_values, is_callback
from .cell import State, View
from .errors import CallbackError, DependencyError
from .several import as_tuple


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
