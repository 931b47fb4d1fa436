"""What a callback's hooks may answer, read from their return types before anything runs."""

from __future__ import annotations

import ast
import inspect
import typing
from types import FunctionType, UnionType
from typing import Any, Final, Iterator, Optional, Union

from . import events, outcomes
from .callback import Callback, SomeCallback
from .errors import CallbackError
from .hooks import HookSpec
from .rules import signature_problem

_NAMES: Final = {**vars(events), **vars(outcomes), "Optional": Optional, "Union": Union}
"""What an annotation may name without its module's having it at run time."""


def hook_of(kind: type[SomeCallback], spec: HookSpec) -> Optional[FunctionType]:
    """The function that a callback's class, or a base of it, has as this hook; None where it leaves the hook alone.

    Args:
        kind: The callback's class.
        spec: The hook.

    Raises:
        CallbackError: What the class has as this hook is no plain function.
    """
    for owner in kind.__mro__:
        if owner is Callback:
            return None
        if spec.name in vars(owner):
            return _plain(kind, spec, vars(owner)[spec.name])
    return None


def _plain(kind: type[SomeCallback], spec: HookSpec, found: object) -> FunctionType:
    """The function that a hook is at its core, under decorators that say what they wrap."""
    if not isinstance(found, FunctionType):  # refused when a class is made; it has been put there since
        raise CallbackError(f"{kind.__name__}.{spec.name} {signature_problem(spec.name, found)}")
    core: object = inspect.unwrap(found, stop=lambda one: not isinstance(vars(one).get("__wrapped__"), FunctionType))
    return core if isinstance(core, FunctionType) else found


def legal_answers(spec: HookSpec) -> frozenset[type]:
    """All that a hook may answer besides None: the classes of its Cancels and its Skip, and its event's own."""
    replaced = (spec.event,) if spec.replace else ()
    skip = () if spec.skip is None else (spec.skip,)
    return frozenset((*spec.cancels, *skip, *replaced))


def answers_of(kind: type[SomeCallback], spec: HookSpec) -> frozenset[type]:
    """What a callback's hook says that it may answer besides None; nothing where it leaves the hook alone.

    The return type says it. A hook without one, or with one that cannot be read, may answer all that is legal.

    Args:
        kind: The callback's class.
        spec: The hook.
    """
    function = hook_of(kind, spec)
    if function is None:
        return frozenset()
    legal = legal_answers(spec)
    if "return" not in function.__annotations__:
        return legal
    named = _resolved(function)
    if named is None:
        return legal
    classes = tuple(part for part in named if inspect.isclass(part) and part is not Any)
    return legal if len(classes) < len(named) else frozenset(answer for answer in legal if issubclass(answer, classes))


def _resolved(function: FunctionType) -> Optional[tuple[object, ...]]:
    """The members of a function's return type; None where a name in it is known to the type checker alone."""
    annotation: object = function.__annotations__["return"]
    if not isinstance(annotation, str):
        return tuple(_members(annotation))
    try:
        hints = typing.get_type_hints(_only_return(function), localns=_NAMES)
    except (NameError, TypeError, AttributeError):
        return _by_name(annotation)
    return tuple(_members(hints["return"]))


def _only_return(function: FunctionType) -> FunctionType:
    """A function with the same globals whose one annotation is the return type: the arguments' are not asked for."""
    alone = FunctionType(function.__code__, function.__globals__)
    alone.__annotations__ = {"return": function.__annotations__["return"]}
    return alone


def _members(annotation: object) -> Iterator[object]:
    origin = typing.get_origin(annotation)
    if origin in (Union, UnionType):
        for part in typing.get_args(annotation):
            yield from _members(part)
    elif annotation is not type(None) and annotation is not None:
        yield annotation if origin is None else origin


def _by_name(annotation: str) -> Optional[tuple[object, ...]]:
    """The members of a return type by the names that typedcb gives them; None where it has others too."""
    members: list[object] = []
    for name in _outer_names(ast.parse(annotation, mode="eval").body):
        if name not in _NAMES:
            return None
        members += _members(_NAMES[name])
    return tuple(members)


def _outer_names(node: ast.expr) -> Iterator[str]:
    """The names in an annotation, apart from Optional, Union and what stands in a class's own brackets."""
    match node:
        case ast.BinOp(left=left, right=right):
            yield from _outer_names(left)
            yield from _outer_names(right)
        case ast.Subscript(value=ast.Name(id="Optional" | "Union") | ast.Attribute(attr="Optional" | "Union")):
            inside = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            for part in inside:
                yield from _outer_names(part)
        case ast.Subscript(value=value):
            yield from _outer_names(value)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            yield name
        case ast.Constant(value=None):
            return
        case _:
            yield ast.unparse(node)
