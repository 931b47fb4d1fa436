"""A callback class as the rules see it: its methods, which of them are hooks, and what names in it stand for."""

from __future__ import annotations

import ast
from functools import cached_property
from typing import Callable, Iterable, Iterator, Optional, Union

import attrs
from typing_extensions import TypeAlias, TypeGuard

from ..hooks import HOOKS
from .source import Definition, Sources, dotted, full_name

Function: TypeAlias = Union[ast.FunctionDef, ast.AsyncFunctionDef]
"""A method, as it is written."""

_NO_INSTANCE = ("staticmethod", "classmethod")
_BARE = ("builtins", "typing", "typing_extensions", "abc")
"""Where bases come from that bring nothing with them."""


@attrs.frozen
class Frame:
    """A function that runs when a hook runs, and what its arguments are called in it."""

    method: Function
    """The hook, or a helper."""

    receiver: str
    """What it calls the callback; empty where it is not given it."""

    event: str
    """What it calls the event; empty where it is not given it."""


class Subject:
    """A class that descends from Callback, or a mixin of one.

    Args:
        definition: The class.
        sources: What is known of other files.
        of: The callback whose mixin it is; itself where it is no mixin.
    """

    definition: Definition
    """The class."""

    sources: Sources
    """What is known of other files."""

    of: Definition
    """The callback whose mixin it is; itself where it is no mixin."""

    def __init__(self, definition: Definition, sources: Sources, of: Optional[Definition] = None) -> None:
        self.definition = definition
        self.sources = sources
        self.of = of or definition

    @property
    def is_mixin(self) -> bool:
        """Whether it is no callback itself."""
        return self.of is not self.definition

    @property
    def node(self) -> ast.ClassDef:
        """The class in the syntax tree."""
        return self.definition.node

    @property
    def name(self) -> str:
        """The class's name."""
        return self.node.name

    @cached_property
    def body(self) -> tuple[ast.stmt, ...]:
        """The statements of the class, those below an `if` or a `try` included."""
        return tuple(_statements(self.node.body))

    @cached_property
    def methods(self) -> tuple[Function, ...]:
        """Its own methods; of one name there may be several, below an `if` and its `else`."""
        return tuple(item for item in self.body if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)))

    @cached_property
    def hooks(self) -> tuple[Function, ...]:
        """Those of its methods that are hooks."""
        return tuple(method for method in self.methods if method.name in HOOKS)

    def hooks_named(self, *names: str) -> Iterator[Function]:
        """Its hooks of these names."""
        return (hook for hook in self.hooks if hook.name in names)

    @cached_property
    def lineage(self) -> tuple[Definition, ...]:
        """The callback and its bases, as far as their source is known, without Callback itself."""
        known = self.sources.lineage(self.of)
        return tuple(owner for owner in known if not owner.fullname.startswith("typedcb.callback."))

    @cached_property
    def knows_all_bases(self) -> bool:
        """Whether the source of every base is known."""
        return all(
            isinstance(base, Definition) or base.partition(".")[0] in _BARE
            for owner in self.lineage
            for base in self.sources.bases(owner)
        )

    def annotation(self, field: str) -> Optional[ast.expr]:
        """What a field of the callback, or of one of its bases, is annotated as; None where nothing says so."""
        for owner in self.lineage:
            for item in _statements(owner.node.body):
                if isinstance(item, ast.AnnAssign) and is_name(item.target, field):
                    return item.annotation
        return None

    def kind_of_field(self, field: str) -> str:
        """The last part of the name of a field's class, such as `Cell`; empty where nothing says so."""
        return dotted(self.annotation(field)).rpartition(".")[2]

    def meaning(self, node: Optional[ast.AST]) -> str:
        """The full name of what a name in the class stands for; empty where it is no name."""
        name = dotted(node)
        return full_name(self.sources.meaning(self.definition.module, name, self.node.lineno)) if name else ""

    def own(self, node: Optional[ast.AST]) -> str:
        """The name in typedcb of what a name stands for, such as `CancelBatch`; empty where it is none of typedcb's."""
        name = self.meaning(node)
        return name.rpartition(".")[2] if name.startswith("typedcb.") else ""

    def decorated(self, method: Function, *names: str) -> bool:
        """Whether a method has one of these decorators, by the last part of its name."""
        return any(dotted(decorator).rpartition(".")[2] in names for decorator in method.decorator_list)

    def receiver(self, method: Function) -> str:
        """What a method calls its instance, `self` as a rule; empty where it is given none."""
        arguments = [*method.args.posonlyargs, *method.args.args]
        no_instance = self.decorated(method, *_NO_INSTANCE) or method.name in ("__new__", "__init_subclass__")
        return "" if no_instance or not arguments else arguments[0].arg

    def event(self, hook: Function) -> Optional[ast.arg]:
        """The parameter of a hook that takes its event; None where there is none."""
        arguments = [*hook.args.posonlyargs, *hook.args.args]
        return arguments[1] if len(arguments) > 1 else None

    def frames(self, hook: Function) -> Iterator[Frame]:
        """A hook, and the helpers in the same file that it calls, and those that these call."""
        event = self.event(hook)
        waiting, seen = [Frame(hook, self.receiver(hook), event.arg if event else "")], {hook}
        while waiting:
            frame = waiting.pop(0)
            yield frame
            for node in within(frame.method):
                helper = self.helper(frame, node) if isinstance(node, ast.Call) else None
                if isinstance(node, ast.Call) and helper is not None and helper not in seen:
                    seen.add(helper)
                    waiting.append(self._called(frame, node, helper))

    def helper(self, frame: Frame, call: ast.Call) -> Optional[Function]:
        """The function that a call means: a method of this class or its bases, or a function of the same file."""
        if isinstance(call.func, ast.Attribute) and is_name(call.func.value, frame.receiver):
            name = call.func.attr
            own = next((method for method in self.methods if method.name == name), None)
            return None if name in HOOKS else own or next(self._inherited(name), None)
        if isinstance(call.func, ast.Name):
            return self.definition.module.functions.get(call.func.id)
        return None

    def _inherited(self, name: str) -> Iterator[Function]:
        for owner in self.lineage:
            for item in _statements(owner.node.body) if owner.module is self.definition.module else ():
                if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)) and item.name == name:
                    yield item

    def _called(self, frame: Frame, call: ast.Call, helper: Function) -> Frame:
        """The frame of a helper, with what it calls the event that it is handed."""
        receiver = self.receiver(helper) if isinstance(call.func, ast.Attribute) else ""
        given = bound(call, helper, skip=bool(receiver))
        event = next((name for name, value in given.items() if frame.event and is_name(value, frame.event)), "")
        return Frame(helper, receiver, event)

    def class_value(self, name: str) -> Optional[ast.expr]:
        """What the class, or the nearest of its bases that says so, gives a class attribute."""
        for owner in self.lineage:  # what Callback itself says is nobody's decision
            for item in _statements(owner.node.body):
                targets = item.targets if isinstance(item, ast.Assign) else ()
                target = item.target if isinstance(item, ast.AnnAssign) else next(iter(targets), None)
                if is_name(target, name) and isinstance(item, (ast.Assign, ast.AnnAssign)):
                    return item.value
        return None


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements, and those below an `if`, a `try` or a `with` among them."""
    for item in body:
        yield item
        if isinstance(item, (ast.If, ast.Try, ast.With)) and not _for_checkers(item):
            for part in (item.body, getattr(item, "orelse", []), getattr(item, "finalbody", [])):
                yield from _statements(part)
            for handler in getattr(item, "handlers", []):
                yield from _statements(handler.body)


def _for_checkers(item: ast.stmt) -> bool:
    """Whether a statement is `if TYPE_CHECKING`, below which nothing runs."""
    return isinstance(item, ast.If) and dotted(item.test).rpartition(".")[2] == "TYPE_CHECKING"


def bound(call: ast.Call, function: Function, *, skip: bool) -> dict[str, ast.expr]:
    """The arguments of a call by the names that the function gives them.

    Args:
        call: The call.
        function: What is called.
        skip: Whether its first parameter is the instance, which the call does not name.
    """
    names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)][int(skip) :]
    given = dict(zip(names, call.args, strict=False))
    return {**given, **{keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}}


def is_name(node: Optional[ast.AST], name: str) -> TypeGuard[ast.Name]:
    """Whether a node is this very name."""
    return isinstance(node, ast.Name) and node.id == name


def last_value(method: ast.AST, name: ast.Name) -> ast.expr:
    """What a name stands for where it is read: what was assigned to it last above; itself where nothing was."""
    above = [
        (node.lineno, node.value)
        for node in within(method)
        if isinstance(node, ast.Assign) and node.lineno < name.lineno and is_name(node.targets[0], name.id)
    ]
    return max(above, key=lambda found: found[0])[1] if above else name


def spelled(method: ast.AST, node: Optional[ast.AST]) -> str:
    """A name as it is written, such as `self.learn.model`; of one that stands for such a name, that one."""
    root = node
    while isinstance(root, ast.Attribute):
        root = root.value
    known = dotted(last_value(method, root)) if isinstance(root, ast.Name) else ""
    return f"{known}{dotted(node).removeprefix(root.id)}" if known and isinstance(root, ast.Name) else dotted(node)


def is_state(node: ast.expr, receiver: str, last: str) -> bool:
    """Whether this is `self.something.value`, or another last attribute."""
    if not (isinstance(node, ast.Attribute) and node.attr == last and isinstance(node.value, ast.Attribute)):
        return False
    return bool(receiver) and is_name(node.value.value, receiver)


def within(node: ast.AST, enter: Callable[[ast.AST], bool] = lambda _: True) -> Iterator[ast.AST]:
    """What runs when a function runs: everything in it, but not what stands in functions and classes inside.

    Args:
        node: The function, or a part of it.
        enter: Whether to look into a node.
    """
    parts = node.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else ast.iter_child_nodes(node)
    waiting = [*parts][::-1]
    while waiting:
        part = waiting.pop()
        if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)) or not enter(part):
            continue
        yield part
        waiting += [*ast.iter_child_nodes(part)][::-1]
