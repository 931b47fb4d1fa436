"""Rules about a callback's methods: their names, where they stand, what they take, what they take the place of."""

from __future__ import annotations

import ast
from functools import partial
from typing import Final, Iterable, Iterator, Optional, Union

from ..codes import DEFINED_TWICE, MISPLACED_HOOK, NO_SUPER, OWN_INIT, UNFILLED, UNKNOWN_HOOK
from ..hooks import HOOKS
from ..naming import name_problem, set_up_problem, state_problem
from ..rules import init_problem, unfilled_problem
from .findings import Finding, finding
from .source import Definition, dotted
from .subject import Function, Subject, within

_KNOWN: Final = ("override", "abstractmethod", "final")
"""Decorators that leave a function as it is."""


def unknown_hook(subject: Subject) -> Iterator[Finding]:
    """A method that reads as a hook's and is none; with @override on it, every type checker says so itself."""
    for method in subject.methods:
        called = partial(_is_called, subject, method.name)
        problem = name_problem(method.name, called) or state_problem(method.name) or _set_up(subject, method)
        if problem and not subject.decorated(method, "override", "property", "cached_property", "setter"):
            yield finding(method, UNKNOWN_HOOK, f"{subject.name}.{method.name} {problem}")
    for item in subject.body:
        for target in item.targets if isinstance(item, ast.Assign) and isinstance(item.value, ast.Lambda) else ():
            if isinstance(target, ast.Name) and (problem := name_problem(target.id)):
                yield finding(item, UNKNOWN_HOOK, f"{subject.name}.{target.id} {problem}")


def _set_up(subject: Subject, method: Function) -> Optional[str]:
    """What is wrong with a method that another framework would call."""
    takes = [argument.arg for argument in (*method.args.posonlyargs, *method.args.args)][1:]
    return set_up_problem(method.name, takes, called=partial(_is_called, subject, method.name), elsewhere=False)


def _is_called(subject: Subject, name: str) -> bool:
    """Whether something in the file mentions a method."""
    return any(
        isinstance(node, ast.Attribute) and node.attr == name for node in ast.walk(subject.definition.module.tree)
    )


def misplaced_hook(subject: Subject) -> Iterator[Finding]:
    """A hook inside another method, or behind the class: its indentation is wrong, and nobody calls it."""
    for method in subject.methods:
        for node in _functions_in(method.body):
            if _is_stray(node, method):
                yield finding(
                    node,
                    MISPLACED_HOOK,
                    f"{subject.name}.{method.name} has {node.name} inside it, which is never called: it is a hook one "
                    f"level further out, as a method of {subject.name}.",
                )
    for node in _behind(subject):
        if _is_stray(node, subject.definition.module.tree):
            yield finding(
                node,
                MISPLACED_HOOK,
                f"{node.name} stands outside of {subject.name} and is never called: it is a hook one level further in, "
                f"as a method of {subject.name}.",
            )


def _functions_in(body: Iterable[ast.AST]) -> Iterator[ast.FunctionDef]:
    """The functions inside a method; those of a class in it are that class's own."""
    for node in body:
        if isinstance(node, ast.FunctionDef):
            yield node
        if not isinstance(node, ast.ClassDef):
            yield from _functions_in(ast.iter_child_nodes(node))


def _is_stray(function: ast.FunctionDef, inside: ast.AST) -> bool:
    """Whether a function reads as a hook, and nothing in what is around it mentions it, or is handed it."""
    takes_self = bool(function.args.args) and function.args.args[0].arg == "self"
    mentioned = any(isinstance(node, ast.Name) and node.id == function.name for node in ast.walk(inside))
    return function.name in HOOKS and takes_self and not mentioned and _is_plain(function)


def _is_plain(function: Function) -> bool:
    """Whether no decorator is above a function that may call it, or fill what it takes."""
    return all(dotted(decorator).rpartition(".")[2] in _KNOWN for decorator in function.decorator_list)


def _behind(subject: Subject) -> Iterator[ast.FunctionDef]:
    """The functions of a file between a class and the next."""
    body = subject.definition.module.tree.body
    start = body.index(subject.node) + 1 if subject.node in body else len(body)
    for item in body[start:]:
        if isinstance(item, ast.ClassDef):
            return
        if isinstance(item, ast.FunctionDef):
            yield item


def unfilled_parameter(subject: Subject) -> Iterator[Finding]:
    """A hook that takes more than its event, with a default: the loop hands it nothing else."""
    for hook in subject.hooks:
        for name in _unfilled(hook) if _is_plain(hook) else ():
            problem = unfilled_problem(hook.name, name)
            if problem:
                yield finding(hook, UNFILLED, f"{subject.name}.{hook.name} {problem}")


def _unfilled(hook: Function) -> Iterator[str]:
    named = [*hook.args.posonlyargs, *hook.args.args]
    has_default = named[len(named) - len(hook.args.defaults) :] if hook.args.defaults else []
    yield from (argument.arg for argument in named[2:] if argument in has_default)
    for argument, default in zip(hook.args.kwonlyargs, hook.args.kw_defaults, strict=True):
        if default is not None:
            yield argument.arg
    for rest in (hook.args.vararg, hook.args.kwarg):
        if rest is not None and len(named) > 1 and _is_read(hook, rest.arg):
            yield rest.arg


def _is_read(hook: Function, name: str) -> bool:
    """Whether somebody looks into `*args` or `**kwargs`, and does not just hand them on."""
    handed_on = {
        id(part.value)
        for node in within(hook)
        for part in (node, *getattr(node, "keywords", ()))
        if isinstance(part, ast.Starred) or (isinstance(part, ast.keyword) and part.arg is None)
    }
    return any(isinstance(node, ast.Name) and node.id == name and id(node) not in handed_on for node in within(hook))


def own_init(subject: Subject) -> Iterator[Finding]:
    """An `__init__` in the place of the dataclass's own, which would make the fields."""
    for method in subject.methods:
        if method.name == "__init__" and not subject.is_mixin and not _makes_none(subject):
            mentions = {
                name
                for frame in subject.frames(method)
                for node in ast.walk(frame.method)
                if isinstance(node, (ast.Name, ast.Attribute))
                for name in _names(subject, node)
            }
            problem = init_problem(_fields(subject), mentions)
            if problem:
                yield finding(method, OWN_INIT, f"{subject.name}.__init__ {problem}")


def _names(subject: Subject, node: Union[ast.Name, ast.Attribute]) -> tuple[str, str]:
    """A name, and the name of what it stands for: `put = object.__setattr__` may be in the class, or in its module."""
    if isinstance(node, ast.Name):
        return node.id, subject.meaning(node).rpartition(".")[2]
    return node.attr, dotted(subject.class_value(node.attr)).rpartition(".")[2]


def _makes_none(subject: Subject) -> bool:
    """Whether a class has no decorator that makes a constructor: `typedcb-not-frozen` says so."""
    return not subject.node.decorator_list


def _fields(subject: Subject) -> tuple[str, ...]:
    """The fields of a class and of its bases, as far as their source is known, that have no plain default."""
    return tuple(
        item.target.id
        for owner in reversed(subject.lineage)
        for item in owner.node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        if dotted(item.annotation).rpartition(".")[2] != "ClassVar" and not _has_plain_default(item)
    )


def _has_plain_default(item: ast.AnnAssign) -> bool:
    """Whether a field's default is there without an `__init__`, as an attribute of the class."""
    if isinstance(item.value, ast.Call) and dotted(item.value.func).rpartition(".")[2] in ("cell", "series", "field"):
        return any(keyword.arg == "default" for keyword in item.value.keywords)
    return item.value is not None


_KEEPS_ALL: Final = ("overload", "setter", "getter", "deleter", "register")


def defined_twice(subject: Subject) -> Iterator[Finding]:
    """A method of a name that comes again below: Python keeps the last one, and says nothing."""
    last: dict[str, ast.stmt] = {}
    for item in subject.node.body:
        if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)) and not subject.decorated(item, *_KEEPS_ALL):
            first = last.get(item.name)
            if first is not None:
                yield finding(
                    item,
                    DEFINED_TWICE,
                    f"{subject.name} has two methods {item.name}, and the one above, in line {first.lineno}, is never "
                    f"called: write both into one.",
                )
            last[item.name] = item


def no_super(subject: Subject) -> Iterator[Finding]:
    """A hook of a ready-made callback overridden without a call of it: what the callback is for no longer happens."""
    for hook in subject.hooks:
        owner = next((base for base in subject.lineage[1:] if _has_hook(base, hook.name)), None)
        if owner is None or not owner.fullname.startswith("typedcb.callbacks."):
            continue
        if not any(isinstance(node, ast.Attribute) and node.attr == hook.name for node in ast.walk(hook)):
            yield finding(
                hook,
                NO_SUPER,
                f"{subject.name}.{hook.name} takes the place of {owner.node.name}.{hook.name}, which is no longer "
                f"called: write return super().{hook.name}(event) at its end.",
            )


def _has_hook(owner: Definition, name: str) -> bool:
    return any(isinstance(item, ast.FunctionDef) and item.name == name for item in owner.node.body)
