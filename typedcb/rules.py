"""What makes a class a sound callback, as rules over names and signatures: one implementation of each.

`callback.py` asks them when a class is made; they need neither torch nor an instance.
"""

from __future__ import annotations

import ast
import collections
import inspect
from typing import Callable, Collection, Final, Iterator, Mapping, Optional, cast, get_args, get_origin

from .articles import an_instance, with_article
from .events import Phase
from .hooks import HOOKS

PHASES: Final[tuple[object, ...]] = get_args(Phase)
"""The phases that there are."""


def phases_problem(value: object) -> Optional[str]:
    """What is wrong with what a class says of its phases; None where nothing is.

    Args:
        value: The class attribute's value.
    """
    if isinstance(value, tuple) and value and all(part in PHASES for part in cast("tuple[object, ...]", value)):
        return None
    right = '("train",), ("valid",) or ("train", "valid")'
    return f"is {value!r}, and has to be {right}: of no other phase a callback would ever be told."


def order_problem(value: object) -> Optional[str]:
    """What is wrong with what a class says of its order; None where nothing is.

    Args:
        value: The class attribute's value.
    """
    if isinstance(value, (int, float)):
        return None
    return f"is {value!r}, and has to be a number: callbacks run in ascending order, 0 where nothing is said."


def shared_state_problem(kind: str) -> str:
    """What is wrong with a cell that is made where the class is, and not by `cell`.

    Args:
        kind: `Cell` or `Series`.
    """
    maker = "cell(...)" if kind == "Cell" else "series()"
    return f"is a {kind} that no fit resets, and that instances may share: write {maker}, which makes one for each."


def signature_problem(name: str, function: object) -> Optional[str]:
    """What is wrong with what a hook takes; None where nothing is.

    Args:
        name: The hook's name.
        function: What the class has under that name.
    """
    event = HOOKS[name].event.__name__
    expected = f"write def {name}(self, event: {event})"
    if not inspect.isfunction(function):
        return f"is {an_instance(function)}, and a hook is a plain method: {expected}"
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return f"is async, and the loop awaits nothing: {expected}"
    if inspect.isgeneratorfunction(function):
        return f"has a yield in it, so that calling it would run nothing: {expected}"
    signature = inspect.signature(function)
    try:
        signature.bind(None, None)
    except TypeError as error:
        return f"is called with one event, and cannot be ({error}): {expected}"
    # of a hook with a decorator that names what it wraps, what the decorator takes: it may fill the rest itself
    taken = tuple(inspect.signature(function, follow_wrapped=False).parameters.values())
    if len(taken) < 2 or any(parameter.kind is parameter.VAR_POSITIONAL for parameter in taken[:2]):
        return None  # a decorator's, which hands on what it is given
    unfilled = (unfilled_problem(name, p.name) for p in taken[2:] if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
    return next(filter(None, unfilled), None)


def unfilled_problem(name: str, parameter: str) -> Optional[str]:
    """What is wrong with a hook that takes something besides its event; None for a name of somebody's own, `_so`.

    Args:
        name: The hook's name.
        parameter: What it takes.
    """
    if parameter.startswith("_"):
        return None
    return (
        f"takes {parameter}, and the loop hands it one event and nothing else, so that {parameter} stays what it is by "
        f"default: write def {name}(self, event: {HOOKS[name].event.__name__}), and read what you need of the event, "
        f"or of a field. (A parameter that you fill yourself needs a name such as _{parameter}.)"
    )


_MAKE_FIELDS: Final = ("__init__", "__attrs_init__", "__setattr__", "__dict__", "setattr", "vars")


def init_problem(fields: Collection[str], mentions: Collection[str]) -> Optional[str]:
    """What is wrong with an `__init__` that a callback writes itself; None where it makes the fields.

    Args:
        fields: The fields that have no plain default, cells included.
        mentions: The names that the `__init__` mentions, and helpers that it calls.
    """
    if not fields or any(name in _MAKE_FIELDS for name in mentions):
        return None
    return (
        f"takes the place of the one that a dataclass writes, and so nothing makes {', '.join(fields)}: declare what "
        f"it takes as fields, and compute what follows from them in __post_init__."
    )


def frozen_problem(cls: str) -> str:
    """What is wrong with a callback class that can change after it was made.

    Args:
        cls: The class's name.
    """
    return (
        f"{cls} is no frozen dataclass: write @dataclass(frozen=True) above class {cls} "
        "(or @attrs.frozen). What changes in a callback belongs into a Cell."
    )


_MUTABLE: Final[Mapping[str, str]] = {
    "list": "list",
    "List": "list",
    "MutableSequence": "list",
    "deque": "deque",
    "Deque": "deque",
    "dict": "dict",
    "Dict": "dict",
    "MutableMapping": "dict",
    "defaultdict": "dict",
    "DefaultDict": "dict",
    "OrderedDict": "dict",
    "Counter": "dict",
    "set": "set",
    "Set": "set",
    "MutableSet": "set",
    "bytearray": "bytearray",
}
"""Names of classes whose instances change in place, and what people call these."""

_MUTABLE_HOMES: Final = ("builtins", "typing", "typing_extensions", "collections", "collections.abc")

_TRANSPARENT: Final = ("Optional", "Union", "Final", "ClassVar")

_MUTABLE_TYPES: Final = (list, dict, set, bytearray, collections.deque)

_INSTEAD: Final[Mapping[str, str]] = {
    "list": "a tuple for a setting, series() for a history",
    "deque": "a tuple for a setting, series() for a history",
    "dict": "a frozen class or a Mapping for a setting, a cell for each value that changes",
    "set": "a frozenset for a setting, a cell with a frozenset for what changes",
    "bytearray": "bytes for a setting, a cell with bytes for what changes",
}


def mutable_problem(kind: str, *, shared: bool, in_cell: bool = False) -> str:
    """What is wrong with a field or class attribute that changes in place.

    Args:
        kind: `list`, `dict`, `set` and the like, or the name of another class.
        shared: Whether all instances have the same one.
        in_cell: Whether a cell holds it.
    """
    instead = _INSTEAD.get(kind, "a frozen class for a setting, a cell for each value that changes")
    if in_cell:
        a_kind = with_article(kind)
        return f"is a cell with {a_kind}, whose initial value would change with it, so that no reset helps: {instead}."
    if shared:
        return f"is {with_article(kind)} that all instances share, in every fit: {instead}."
    return (
        f"is {with_article(kind)}, which no reset and no saved state of the callback knows of: {instead}. "
        f'Where it is meant all the same, Annotated[..., "why"] says so.'
    )


_IN_CELL: Final[Mapping[str, str]] = {
    "list": "a tuple, or write series() where it grows",
    "deque": "a tuple, or write series() where it grows",
    "dict": "a Mapping",
    "set": "a frozenset",
    "bytearray": "bytes",
}


def mutable_in_cell_problem(kind: str) -> str:
    """What is wrong with a cell that is declared for values that change in place, whatever it holds at first.

    Args:
        kind: `list`, `dict`, `set` and the like.
    """
    return (
        f"is a cell with {with_article(kind)}, which may change in place, for whoever has read it too: a cell is given "
        f"a new value instead. Declare it as {_IN_CELL[kind]}."
    )


def mutable_initial_problem(initial: object) -> Optional[str]:
    """What is wrong with the initial value of a cell; None where nothing is.

    Args:
        initial: What the cell holds at first.
    """
    if not isinstance(initial, _MUTABLE_TYPES):
        return None
    kind = next(known for known in _MUTABLE_TYPES if isinstance(initial, known))
    return mutable_problem(kind.__name__, shared=False, in_cell=True)


_READ_ONLY: Final = ("Mapping", "Sequence", "Collection", "Iterable", "Sized", "Container", "AbstractSet", "Annotated")


def may_hold_anything(annotation: Optional[ast.AST], meaning: Callable[[ast.AST], str]) -> bool:
    """Whether a field's annotation lets it change in place: not so where it can only be read, or says why it may.

    Args:
        annotation: The annotation, as it is written; None where there is none.
        meaning: The full name of what a name in it stands for.
    """
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = _expression(annotation.value)
    if annotation is None:
        return True
    head = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    name = meaning(head).rpartition(".")[2]
    if name in _TRANSPARENT and isinstance(annotation, ast.Subscript):
        return may_hold_anything(annotation.slice, meaning)
    return name not in _READ_ONLY


def mutable_annotation(annotation: ast.AST, meaning: Callable[[ast.AST], str]) -> Optional[str]:
    """The kind of mutable class that a field is annotated as, `cell of list` where it stands in a Cell; or None.

    Args:
        annotation: The annotation, as it is written.
        meaning: The full name of what a name in it stands for.
    """
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        parsed = _expression(annotation.value)
        return None if parsed is None else mutable_annotation(parsed, meaning)
    if isinstance(annotation, ast.BinOp):
        return mutable_annotation(annotation.left, meaning) or mutable_annotation(annotation.right, meaning)
    head = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    home, _, name = meaning(head).rpartition(".")
    if isinstance(annotation, ast.Subscript) and name != "Annotated":  # which says why it is meant
        arguments = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        inner = next(filter(None, (mutable_annotation(argument, meaning) for argument in arguments)), None)
        if name in _TRANSPARENT:
            return inner
        if name == "Cell":
            return f"{CELL_OF}{inner}" if inner else None
    is_view = (home, name) == ("collections.abc", "Set")  # the abstract class of what does not change
    return _MUTABLE.get(name) if home in _MUTABLE_HOMES and not is_view else None


CELL_OF: Final = "cell of "
"""What stands before the kind of a mutable value in a Cell."""


def _expression(text: str) -> Optional[ast.expr]:
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError:
        return None


def mutable_attributes(cls: type) -> Iterator[tuple[str, str]]:
    """The fields and class attributes of a class that change in place: each name, and what is wrong with it.

    Args:
        cls: The class, its decorator not yet applied. Bases are left alone.
    """
    annotations = annotations_of(cls)
    values: dict[str, object] = {name: value for name, value in vars(cls).items() if not _is_dunder(name)}
    for name in dict.fromkeys((*annotations, *values)):
        value = values.get(name)
        annotation = _expression(_spelling(annotations.get(name, "")))
        kind = None if annotation is None else mutable_annotation(annotation, _bare_meaning)
        changes = may_hold_anything(annotation, _bare_meaning)
        if kind is None and changes:
            kind = _kind_made(value)
        made = type(value)
        if issubclass(made, _MUTABLE_TYPES) and changes:
            yield name, mutable_problem(made.__name__, shared=True)
        elif kind is not None:
            yield name, mutable_annotation_problem(kind)


def mutable_annotation_problem(kind: str) -> str:
    """What is wrong with a field that is annotated as what changes in place.

    Args:
        kind: What `mutable_annotation` says of it.
    """
    inner = kind.removeprefix(CELL_OF)
    return mutable_problem(kind, shared=False) if inner == kind else mutable_in_cell_problem(inner)


def _kind_made(value: object) -> Optional[str]:
    """The kind of mutable value that a field's declaration makes for each instance."""
    factory: object = getattr(value, "default_factory", None)
    made = get_origin(factory) or factory  # list[int] makes lists
    return made.__name__ if inspect.isclass(made) and issubclass(made, _MUTABLE_TYPES) else None


def annotations_of(cls: type) -> Mapping[str, object]:
    """The annotations that a class has itself."""
    try:
        return inspect.get_annotations(cls)
    except NameError:  # from Python 3.14 on they are evaluated here, and a name may be a type checker's alone
        return {}


def _spelling(annotation: object) -> str:
    """An annotation as one writes it, whether it has been evaluated or not."""
    if inspect.isclass(annotation) and not hasattr(annotation, "__origin__"):
        return annotation.__qualname__
    return annotation if isinstance(annotation, str) else repr(annotation)


def _bare_meaning(node: ast.AST) -> str:
    """The full name of a class of the standard library's, by the last part of its name alone."""
    if isinstance(node, ast.Attribute):
        return f"{'collections.abc' if node.attr == 'Set' else 'typing'}.{node.attr}"
    name: str = getattr(node, "id", "")
    return f"{'collections.abc' if name == 'Set' else 'typing'}.{name}"


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")
