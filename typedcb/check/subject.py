"""A callback class as the rules see it: its methods, which of them are hooks, and what names in it stand for."""

from __future__ import annotations

import ast
from functools import cached_property
from typing import Callable, Iterator, Optional, Union

from typing_extensions import TypeAlias, TypeGuard

from ..hooks import HOOKS
from .source import Definition, Sources, dotted, full_name

Function: TypeAlias = Union[ast.FunctionDef, ast.AsyncFunctionDef]
"""A method, as it is written."""

_NO_INSTANCE = ("staticmethod", "classmethod")


class Subject:
    """A class that descends from Callback.

    Args:
        definition: The class.
        sources: What is known of other files.
    """

    def __init__(self, definition: Definition, sources: Sources) -> None:
        self.definition = definition
        self.sources = sources

    @property
    def node(self) -> ast.ClassDef:
        """The class in the syntax tree."""
        return self.definition.node

    @property
    def name(self) -> str:
        """The class's name."""
        return self.node.name

    @cached_property
    def methods(self) -> dict[str, Function]:
        """Its own methods by name."""
        return {item.name: item for item in self.node.body if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef))}

    @cached_property
    def hooks(self) -> dict[str, Function]:
        """Those of its methods that are hooks."""
        return {name: method for name, method in self.methods.items() if name in HOOKS}

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

    def helpers(self, hook: Function) -> Iterator[Function]:
        """A hook, and the methods of this class that it calls, and those that these call."""
        waiting, seen = [hook.name], {hook.name}
        while waiting:
            method = self.methods[waiting.pop()]
            yield method
            for node in within(method):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    called = node.func.attr
                    is_own = is_name(node.func.value, self.receiver(method)) and called in self.methods
                    if is_own and called not in seen and called not in HOOKS:
                        seen.add(called)
                        waiting.append(called)

    def class_value(self, name: str) -> Optional[ast.expr]:
        """What the class, or the nearest of its bases that says so, gives a class attribute."""
        for owner in self.sources.lineage(self.definition):
            if owner.fullname.startswith("typedcb.callback."):
                continue  # what Callback says is nobody's decision
            for item in owner.node.body:
                targets = item.targets if isinstance(item, ast.Assign) else ()
                target = item.target if isinstance(item, ast.AnnAssign) else next(iter(targets), None)
                if is_name(target, name) and isinstance(item, (ast.Assign, ast.AnnAssign)):
                    return item.value
        return None


def is_name(node: Optional[ast.AST], name: str) -> TypeGuard[ast.Name]:
    """Whether a node is this very name."""
    return isinstance(node, ast.Name) and node.id == name


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
    for part in parts:
        if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)) or not enter(part):
            continue
        yield part
        yield from within(part, enter)
