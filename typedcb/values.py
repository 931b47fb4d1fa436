"""The values of cells as plain trees, and back, by the types that the cells are declared with.

A frozen class becomes a dict of its fields, a named tuple a tuple, and whatever has `state_dict` and `load_state_dict`
its own state, which goes back into the live object. A tree never says which class it becomes: the declaration does.
"""

from __future__ import annotations

import typing
import weakref
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Union

import attrs
import torch
from torch import Tensor
from typing_extensions import get_args, get_origin

from .articles import an_instance
from .callback import SomeCallback
from .cell import Series, State
from .errors import StateError
from .extras import require
from .randomness import saves_itself
from .tree import Tree, is_dict, is_tuple

if TYPE_CHECKING:
    from cattrs import Converter

_OWN_STATE: Final = "state_dict"
"""The key of a dict that holds what an object's own state_dict gave."""


@attrs.frozen
class OwnState:
    """What an object's own `state_dict` gave, to be given to the live one."""

    state: dict[str, Any]  # Any: the object's own business
    """The state."""


def declared(callback: SomeCallback, name: str) -> Any:  # Any: whatever the annotation says
    """The type of the values of a callback's cell; of the items, for a series. Any where it cannot be told.

    Args:
        callback: The callback.
        name: The field.
    """
    # Remembered, since to read an annotation is to evaluate its text: once for each class, and never as files are read.
    known = _known_types.setdefault(type(callback), {})
    if name not in known:
        known[name] = _declared(type(callback), name)
    return known[name]


_known_types: Final[weakref.WeakKeyDictionary[type, dict[str, Any]]] = weakref.WeakKeyDictionary()  # Any: as said


def _declared(cls: type, name: str) -> Any:  # Any: as said
    for owner in cls.__mro__:
        annotation: object = vars(owner).get("__annotations__", {}).get(name)
        if annotation is not None:
            # a class of this one field: other annotations of the owner may name what only checkers see
            lone = type(owner.__name__, (), {"__annotations__": {name: annotation}, "__module__": owner.__module__})
            try:
                hint: object = typing.get_type_hints(lone, localns=dict(vars(owner)))[name]
            except NameError:  # a class inside a function, say
                return Any
            arguments = get_args(hint)
            return arguments[0] if arguments and not isinstance(arguments[0], typing.TypeVar) else Any
    return Any


def shown(kind: object) -> str:
    """A type as a reader knows it."""
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind).replace("typing.", "")


def taken(callback: SomeCallback, name: str, state: State) -> Tree:
    """The value of a callback's cell as a plain tree.

    Raises:
        StateError: No checkpoint can hold it.
    """
    value: object = getattr(state, "value", None)  # a cell and a series have one each, of their own type
    tree = _plain(value)
    kind = declared(callback, name)
    if not (is_dict(tree) and set(tree) == {_OWN_STATE}):
        try:
            made(kind, tree, many=isinstance(state, Series))
        except Exception as error:
            raise StateError(
                f"{state.name} cannot be saved: it holds {str(value)[:80]!r}, which does not come back as "
                f"{shown(kind)}, its declared type: {error}. Declare it as what it holds, or with saved=False to leave "
                f"it out."
            ) from error
    return tree


def _plain(value: object) -> Tree:
    if value is None or isinstance(value, (bool, int, float, str, Tensor)):
        return value
    if isinstance(value, (torch.dtype, torch.device)):
        return str(value)
    if is_tuple(value):
        return tuple(_plain(item) for item in value)
    own = saves_itself(value)
    if own is not None:
        return {_OWN_STATE: dict(own.state_dict())}
    plain: object = _converter().unstructure(value)
    return plain


def made(kind: Any, tree: Tree, *, many: bool) -> object:  # Any: whatever the annotation says
    """The value that a tree stands for.

    Args:
        kind: The declared type.
        tree: What `taken` made.
        many: Whether it is a series, so that `kind` is the type of an item.

    Returns:
        The value, or an OwnState for the live object.

    Raises:
        TypeError: It is no value of that type; so is a ValueError.
    """
    if many:
        if not is_tuple(tree):
            raise TypeError("it is no tuple of items")
        if kind in _EXACT and all(type(item) is kind for item in tree):  # a long history, most often
            return tree
        return tuple(_made(kind, item) for item in tree)
    if is_dict(tree) and set(tree) == {_OWN_STATE}:
        return OwnState(tree[_OWN_STATE])
    return _made(kind, tree)


def _made(kind: Any, tree: Tree) -> object:  # Any: whatever the annotation says
    if kind is Any or kind is object:
        return tree
    return _converter().structure(tree, kind)


@lru_cache(maxsize=1)
def _converter() -> Converter:
    """Structures by types, and converts nothing: what is no value of the type is refused."""
    require("cattrs", extra="checkpoint")
    from cattrs import Converter  # noqa: PLC0415  # it is an extra

    converter = Converter(forbid_extra_keys=True, detailed_validation=False)
    for kind in _EXACT:
        converter.register_structure_hook(kind, _strict)
        converter.register_unstructure_hook(kind, _same)
    converter.register_structure_hook_func(lambda cls: cls is object, lambda value, _: value)
    converter.register_structure_hook_func(_is_union, lambda value, cls: _one_of(converter, value, cls))
    converter.register_structure_hook_func(_is_tuple, lambda value, cls: _tuple_of(converter, value, cls))
    converter.register_unstructure_hook_func(_is_tuple, _plain)
    return converter


_EXACT: Final = (int, float, str, bool, Tensor)
"""What is stored as it is."""


def _same(value: object) -> object:
    return value


def _strict(value: object, kind: type) -> object:
    if isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool):
        return value
    if kind is float and type(value) is int:  # a float cell that holds an int holds a number that is a float's
        return value
    raise TypeError(f"it is {an_instance(value)}, and no {kind.__name__}")


def _is_union(kind: object) -> bool:
    return get_origin(kind) in (Union, type(int | str))


def _is_tuple(kind: object) -> bool:
    return kind is tuple or get_origin(kind) is tuple


def _one_of(converter: Converter, value: object, kind: Any) -> object:  # Any: a union
    problems: list[str] = []
    for member in get_args(kind):
        if member is type(None):
            if value is None:
                return None
            continue
        try:
            return converter.structure(value, member)
        except Exception as error:  # noqa: BLE001  # cattrs raises whatever a constructor does
            problems.append(str(error))
    raise TypeError(f"it is no {shown(kind)}: {'; '.join(problems) or f'it is {an_instance(value)}'}")


def _tuple_of(converter: Converter, value: object, kind: Any) -> object:  # Any: a tuple type
    if not is_tuple(value):
        raise TypeError(f"it is {an_instance(value)}, and no tuple")
    items = get_args(kind)
    if not items:
        return value
    if len(items) == 2 and items[1] is Ellipsis:
        return tuple(_made_by(converter, item, items[0]) for item in value)
    if len(items) != len(value):
        raise TypeError(f"it has {len(value)} items, and {shown(kind)} has {len(items)}")
    return tuple(_made_by(converter, item, one) for item, one in zip(value, items, strict=True))


def _made_by(converter: Converter, value: object, kind: Any) -> object:  # Any: an item's type
    return value if kind is object or kind is Any else converter.structure(value, kind)
