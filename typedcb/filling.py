"""What a callback's first field is given, where it is the one that a learner is filled in for.

`learn.add`, `cb_funcs` and whatever else calls a factory hand the learner over by position. So what a partial was given
by position before takes its place, and everything behind it is one too far; and who makes a callback by hand may forget
the learner altogether. A type checker sees both where it looks into the call, and at run time nothing would be said
until a hook asks the field for what it does not have.
"""

from __future__ import annotations

import inspect
import types
import typing
from typing import Callable, Final, Mapping, NamedTuple, Optional, Union, get_args, get_origin
from weakref import WeakKeyDictionary

from typing_extensions import get_protocol_members, is_protocol

from .articles import an_instance
from .cell import State, View
from .rules import annotations_of

_NOTHING: Final = object()

_LEARNER: Final = "learn"
"""What the field is called, by convention; of another name it is one where its type says what it has to have."""

_PARTS: Final = frozenset({"model", "opt"})
"""What `Parts` has of a learner."""

_NEVER_A_LEARNER: Final = (State, View, int, float, str, tuple, list, dict)
"""What is no learner, whatever a learner is taken for."""


def filling_problem(
    cls: type, args: tuple[object, ...], kwargs: Mapping[str, object], is_callback: Callable[[object], bool]
) -> Optional[str]:
    """What is wrong with what a callback's first field is given; None where nothing is.

    Args:
        cls: The callback's class.
        args: What its constructor is given by position.
        kwargs: What it is given by name.
        is_callback: Tells a callback.
    """
    first = _first_of(cls)
    value = _NOTHING if first is None else args[0] if args else kwargs.get(first.name, _NOTHING)
    if first is None or value is _NOTHING:
        return None
    field, others, annotation, wanted = first
    missing = _missing(value, wanted)
    never = field == _LEARNER and not wanted and (_is_plain(value) or is_callback(value))
    if not missing and not never:
        return None
    found = f"{field} is {_words(value)}" + (f", which has no {_listed(missing)}" if missing else "")
    if field != _LEARNER:
        return f"{found}: it is to be a {annotation if isinstance(annotation, str) else _spelt(annotation)}."
    of_a_loop = "Parts(model, opt)" if _PARTS.issuperset(missing) else "LoopParts(loop, model, opt, data)"
    belongs = f"{found}: the learner belongs there, or {of_a_loop} in a loop of your own."
    is_part = hasattr(value, "parameters") or hasattr(value, "param_groups")  # a model, or an optimizer, by itself
    meant = [] if is_part or not args else others[: _before_learner(args, wanted)]
    if not meant or any(other in kwargs for other in meant):
        return belongs
    named = ", ".join(f"{other}=..." for other in meant)
    name = cls.__name__
    return (
        f"{belongs} learn.add and cb_funcs fill it in as the first argument, so that whatever else a factory holds is "
        f"to be named: partial({name}, {named}). Made by hand it is {name}(learn, {named})."
    )


class _First(NamedTuple):
    """The first argument of a class's constructor."""

    name: str
    others: list[str]
    """What else it takes by position."""
    annotation: object
    wanted: list[type]
    """The protocols of which it has to be one."""


_FIRSTS: Final[WeakKeyDictionary[type, Optional[_First]]] = WeakKeyDictionary()
"""What was found out about classes: annotations are evaluated once, and not while a checkpoint is read."""


def _first_of(cls: type) -> Optional[_First]:
    """The first argument of a class's constructor; None where it has none, or says nothing of it."""
    if cls not in _FIRSTS:
        names = _positions(cls)
        annotation, owner = _annotation(cls, names[0]) if names else (None, cls)
        found = None
        if annotation is not None:
            found = _First(names[0], names[1:], annotation, _protocols(annotation, owner))
        _FIRSTS[cls] = found
    return _FIRSTS[cls]


def _before_learner(args: tuple[object, ...], wanted: list[type]) -> int:
    """How many arguments stand before the learner, where a factory has been called with one; all where not."""
    return next((place for place in range(1, len(args)) if wanted and not _missing(args[place], wanted)), len(args))


def _positions(cls: type) -> list[str]:
    """What the constructor of a class takes by position, in its order."""
    made: object = getattr(cls, "__init__", None)
    if not isinstance(made, types.FunctionType):
        return []
    return list(made.__code__.co_varnames[1 : made.__code__.co_argcount])


def _annotation(cls: type, field: str) -> tuple[Optional[object], type]:
    """How a class, or a base of it, annotates a field, and which of them; None where none does."""
    for owner in cls.__mro__:
        if field in (annotations := annotations_of(owner)):
            return annotations[field], owner
    return None, cls


def _protocols(annotation: object, owner: type) -> list[type]:
    """The protocols of which a field's value has to be one; none where its type is anything else, or is not known."""

    def holder() -> None: ...

    holder.__annotations__ = {"field": annotation}
    module = inspect.getmodule(owner)
    try:
        hint: object = typing.get_type_hints(holder, {} if module is None else vars(module))["field"]
    except (NameError, TypeError, AttributeError, SyntaxError):  # a name that only a type checker knows
        return []
    either = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    kinds = [get_origin(one) or one for one in either]
    if not all(isinstance(kind, type) and is_protocol(kind) for kind in kinds):
        return []
    return [kind for kind in kinds if isinstance(kind, type)]


def _is_plain(value: object) -> bool:
    return isinstance(value, _NEVER_A_LEARNER)


def _missing(value: object, wanted: list[type]) -> list[str]:
    """What a value lacks of the first of some protocols, where it is none of them."""
    lacking = [[name for name in sorted(get_protocol_members(kind)) if not _has(value, name)] for kind in wanted]
    return lacking[0] if lacking and all(lacking) else []


def _has(value: object, name: str) -> bool:
    """Whether a value has an attribute; no property is computed to find out."""
    if inspect.getattr_static(value, name, _NOTHING) is not _NOTHING:
        return True
    return hasattr(type(value), "__getattr__") and hasattr(value, name)


def _words(value: object) -> str:
    """What was given, in words: a cell by whose it is."""
    if isinstance(value, View):
        return f"a view of {value.source.name or an_instance(value.source)}"
    if isinstance(value, State):
        return value.name or an_instance(value)
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return repr(value) if isinstance(value, (bool, int, float, str, type(None))) else an_instance(value)


def _listed(names: list[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _spelt(annotation: object) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
