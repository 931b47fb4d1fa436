"""The cells of callbacks: what is taken of them, whether it fits those that are there, and how it is given to them.

Callbacks are known by their class and by their place among the instances of that class, in running order. What is kept
of them are their cells, and never their settings: a fit that is taken up with another patience has that patience.
"""

from __future__ import annotations

from typing import Callable, Iterable, Optional, Protocol, Sequence, cast

from torch import nn

from ..articles import an_instance
from ..callback import SomeCallback
from ..cell import Series, State
from ..dependencies import own_states
from ..identity import Key, keys_of
from ..randomness import saves_itself
from ..store import Stored
from ..trained import differing_tensors, tensors_of
from ..tree import Tree
from ..values import OwnState, declared, made, shown, taken
from .subject import HasState, objectives_of


def stateful(callbacks: Sequence[SomeCallback]) -> dict[Key, SomeCallback]:
    """The callbacks that have something to save."""
    keyed = zip(keys_of(callbacks), callbacks, strict=True)
    return {key: callback for key, callback in keyed if saved_states(callback)}


def everybody(learner: HasState) -> dict[tuple[str, Key], SomeCallback]:
    """The callbacks that have something to save, by the objective that they are of, "" for the loop's own, and key."""
    found = {("", key): callback for key, callback in stateful(learner.cbs).items()}
    for name, group in objectives_of(learner).items():
        found.update({(name, key): callback for key, callback in stateful(group.cbs).items()})
    return found


def saved_states(callback: SomeCallback) -> dict[str, State]:
    """The cells of a callback that are saved, by name."""
    return {name: state for name, state in own_states(callback).items() if state.saved}


def cells_taken(callback: SomeCallback) -> Tree:
    """What is saved of a callback: of each cell its declared type in words, and its value."""
    return {
        name: {"type": shown(declared(callback, name)), "value": taken(callback, name, state)}
        for name, state in saved_states(callback).items()
    }


def cells_given(learner: HasState, stored: Stored) -> tuple[list[tuple[str, State, object]], list[tuple[str, str]]]:
    """What each cell becomes, and what does not fit."""
    cells: list[tuple[str, State, object]] = []
    differences: list[tuple[str, str]] = []
    live = everybody(learner)
    saved = {
        (entry.get("of", ""), (entry["class"], entry["place"])): entry["cells"] for entry in stored.tree["callbacks"]
    }
    for one in [one for one in saved.keys() ^ live.keys() if one[1][0] == "Checkpoint"]:
        # who saves changes nothing in the training, and need not be there
        if one not in live:
            del saved[one]
        elif type(live[one]).__module__ == "typedcb.callbacks.checkpoint":
            del live[one]
    for of, key in saved:
        if (of, key) not in live:
            differences.append((key[0], f"{which(key, of)} was attached when it was saved, and is not now"))
    for (of, key), callback in live.items():
        if (of, key) not in saved:
            differences.append((key[0], f"{which(key, of)} is attached now, and was not when it was saved"))
            continue
        found, problems = cells_of_one(callback, saved[of, key], lambda tree: stored.load(tree, learner.device))
        differences += [(key[0], f"of {of}: {problem}" if of else problem) for problem in problems]
        cells += [] if problems else [(key[0], state, value) for state, value in found]
    return cells, differences


def cells_of_one(
    callback: SomeCallback, saved: Tree, load: Callable[[Tree], Tree]
) -> tuple[list[tuple[State, object]], list[str]]:
    """What each cell of a callback becomes, and what does not fit, in words.

    Args:
        callback: The callback.
        saved: What `cells_taken` made of it.
        load: From a value as it was saved to the same with its tensors.
    """
    live = saved_states(callback)
    name = type(callback).__name__
    problems = [f"{name}.{field} was saved, and is no cell now" for field in saved if field not in live]
    found: list[tuple[State, object]] = []
    for field, state in live.items():
        if field not in saved:
            problems.append(f"{name}.{field} is a cell now, and was not saved")
            continue
        kind = declared(callback, field)
        tree = load(saved[field]["value"])
        try:
            found.append((state, made(kind, tree, many=isinstance(state, Series))))
        except Exception as error:  # noqa: BLE001  # whatever the constructor of a frozen class raises
            problems.append(
                f"{name}.{field} was saved as {saved[field]['type']}, and is declared as {shown(kind)}: {error}"
            )
    return found, problems


def which(key: Key, of: str = "") -> str:
    """A callback in words, with the name of the objective that it is of."""
    return key[0] + (f" no. {key[1] + 1}" if key[1] else "") + (f" of {of}" if of else "")


class _Holds(Protocol):
    """What a cell and a series have in common beside `State`."""

    value: object


def give(state: State, value: object) -> None:
    """Gives a cell its value: what has a state of its own takes that, and stays the object that it is."""
    live: object = getattr(state, "value", None)
    own = saves_itself(live)
    if isinstance(value, OwnState) and own is not None:
        own.load_state_dict(value.state)
    else:
        cast("_Holds", state).value = value


def fitting(
    values: Iterable[tuple[str, State, object]],
) -> tuple[list[tuple[State, object]], list[tuple[str, str]]]:
    """The cells whose values are taken by what is in them now, and what does not fit of the others.

    Args:
        values: What each cell becomes, beside the name of its callback's class.
    """
    found: list[tuple[State, object]] = []
    differences: list[tuple[str, str]] = []
    for name, state, value in values:
        problem = _own_problem(getattr(state, "value", None), value)
        if problem is None:
            found.append((state, value))
        else:
            differences.append((name, f"{state.name} {problem}"))
    return found, differences


def _own_problem(live: object, value: object) -> Optional[str]:
    """Why an object that is there does not take a state; None where it does."""
    own = saves_itself(live)
    if not isinstance(value, OwnState):
        return None if own is None else f"is {an_instance(live)}, and nothing was saved of one"
    if own is None:
        return f"holds {str(live)[:40]}, and something with a state of its own was saved"
    old, new = tensors_of(value.state), tensors_of(own.state_dict())
    if isinstance(live, nn.Module) and old != new:
        return f"is {an_instance(live)} with other tensors: {differing_tensors(old, new)}"
    return None
