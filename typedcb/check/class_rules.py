"""Rules about a callback class itself: its methods' names, its decorator, its fields."""

from __future__ import annotations

import ast
from typing import Final, Iterator, Mapping, Optional

from ..rules import (
    CELL_OF,
    frozen_problem,
    may_hold_anything,
    mutable_annotation,
    mutable_problem,
    name_problem,
    setting_problem,
)
from .codes import MUTABLE_FIELD, NOT_FROZEN, SELF_ASSIGNMENT, UNKNOWN_HOOK, UNKNOWN_SETTING
from .findings import Finding, finding
from .source import Definition, dotted
from .subject import Subject, is_name, within


def unknown_hook(subject: Subject) -> Iterator[Finding]:
    """A method that reads as a hook's and is none; with @override on it, every type checker says so itself."""
    for name, method in subject.methods.items():
        problem = name_problem(name)
        if problem and not subject.decorated(method, "override", "property", "cached_property", "setter"):
            yield finding(method, UNKNOWN_HOOK, f"{subject.name}.{name} {problem}")


def unknown_setting(subject: Subject) -> Iterator[Finding]:
    """A class attribute by which another framework is told something."""
    for item in subject.node.body:
        for target in item.targets if isinstance(item, ast.Assign) else ():
            problem = setting_problem(target.id) if isinstance(target, ast.Name) else None
            if problem:
                yield finding(item, UNKNOWN_SETTING, f"{subject.name}.{ast.unparse(target)} {problem}")


_FROZEN: Final = ("attrs.frozen", "attr.frozen")
_MAY_FREEZE: Final = (
    "dataclasses.dataclass",
    "attrs.define",
    "attr.define",
    "attrs.mutable",
    "attr.mutable",
    "attr.s",
    "attr.attrs",
    "attr.attributes",
    "attr.dataclass",
)
_MARKS: Final = ("final", "runtime_checkable", "deprecated", "total_ordering", "disjoint_base")


def not_frozen(subject: Subject) -> Iterator[Finding]:
    """A class that can change after it was made; one with abstract methods is never made itself."""
    if any(subject.decorated(method, "abstractmethod") for method in subject.methods.values()):
        return
    if all(_freezes(subject, decorator) is False for decorator in subject.node.decorator_list):
        yield finding(subject.node, NOT_FROZEN, frozen_problem(subject.name))


def _freezes(subject: Subject, decorator: ast.expr) -> Optional[bool]:
    """Whether a decorator makes instances frozen; None where that is not known."""
    call = decorator if isinstance(decorator, ast.Call) else None
    name = subject.meaning(call.func if call else decorator)
    frozen = next((keyword.value for keyword in call.keywords if keyword.arg == "frozen"), None) if call else None
    if name in _MAY_FREEZE:
        if isinstance(frozen, ast.Constant):
            return bool(frozen.value)
        unpacked = call is not None and any(keyword.arg is None for keyword in call.keywords)
        return None if frozen is not None or unpacked else False
    if name in _FROZEN:
        return not (isinstance(frozen, ast.Constant) and frozen.value is False)
    return False if name.rpartition(".")[2] in _MARKS else None


def self_assignment(subject: Subject) -> Iterator[Finding]:
    """An attribute made, changed or deleted on the instance; a frozen class refuses that when the method runs."""
    for name, method in subject.methods.items():
        receiver = subject.receiver(method)
        for node in within(method):
            if (
                receiver
                and isinstance(node, ast.Attribute)
                and isinstance(node.ctx, (ast.Store, ast.Del))
                and is_name(node.value, receiver)
            ):
                yield finding(
                    node,
                    SELF_ASSIGNMENT,
                    f"{subject.name}.{name} sets {receiver}.{node.attr}, and a callback is frozen: what changes is a "
                    f"cell. Declare {node.attr}: Cell[...] = cell(...), and set {receiver}.{node.attr}.value.",
                )


_MAKERS: Final = {
    "builtins.list": "list",
    "builtins.dict": "dict",
    "builtins.set": "set",
    "builtins.bytearray": "bytearray",
    "collections.deque": "deque",
    "collections.defaultdict": "dict",
    "collections.OrderedDict": "dict",
    "collections.Counter": "dict",
}
_LITERALS: Final[Mapping[type[ast.expr], str]] = {
    ast.List: "list",
    ast.ListComp: "list",
    ast.Dict: "dict",
    ast.DictComp: "dict",
    ast.Set: "set",
    ast.SetComp: "set",
}
_FIELDS: Final = ("dataclasses.field", "attrs.field", "attr.ib", "attr.field", "attr.attrib")


def mutable_field(subject: Subject) -> Iterator[Finding]:
    """A field, or a class attribute, that changes in place."""
    for item in subject.node.body:
        targets = item.targets if isinstance(item, ast.Assign) else []
        if isinstance(item, ast.AnnAssign):
            targets = [item.target]
        names = [target.id for target in targets if isinstance(target, ast.Name) and not target.id.startswith("__")]
        problem = _field_problem(subject, item) if names else None
        if problem:
            yield finding(item, MUTABLE_FIELD, f"{subject.name}.{names[0]} {problem}")


def _field_problem(subject: Subject, item: ast.stmt) -> Optional[str]:
    value = item.value if isinstance(item, (ast.Assign, ast.AnnAssign)) else None
    annotation = item.annotation if isinstance(item, ast.AnnAssign) else None
    changes = may_hold_anything(annotation, subject.meaning)
    if value is not None and changes and (kind := _made(subject, value)):
        return mutable_problem(kind, shared=True)
    if annotation is not None and (kind := mutable_annotation(annotation, subject.meaning)):
        return mutable_problem(kind.removeprefix(CELL_OF), shared=False, in_cell=kind.startswith(CELL_OF))
    if isinstance(value, ast.Call):
        name = subject.meaning(value.func)
        if name in ("typedcb.cell.cell", "typedcb.cell.Cell") and value.args:
            kind = _made(subject, value.args[0])
            return mutable_problem(kind, shared=False, in_cell=True) if kind else None
        if name in _FIELDS and changes:
            kind = _kind_of_field(subject, value)
            return mutable_problem(kind, shared=False) if kind else None
    return None


def _kind_of_field(subject: Subject, call: ast.Call) -> Optional[str]:
    """The kind of mutable value that `field(...)` gives each instance."""
    for keyword in call.keywords:
        if keyword.arg in ("default_factory", "factory"):
            if isinstance(keyword.value, ast.Lambda):
                return _made(subject, keyword.value.body)
            return _MAKERS.get(subject.meaning(keyword.value)) or _mutable_class(subject, keyword.value)
        if keyword.arg == "default":
            return _made(subject, keyword.value)
    return None


def _made(subject: Subject, value: ast.expr) -> Optional[str]:
    """The kind of mutable value that an expression makes."""
    if isinstance(value, ast.Call):
        return _MAKERS.get(subject.meaning(value.func)) or _mutable_class(subject, value.func)
    return _LITERALS.get(type(value))


def _mutable_class(subject: Subject, name: ast.expr) -> Optional[str]:
    """The name of a dataclass that is known not to be frozen."""
    spelling = dotted(name)
    meaning = subject.sources.meaning(subject.definition.module, spelling, subject.node.lineno) if spelling else ""
    if not isinstance(meaning, Definition) or meaning.fullname.startswith("typedcb."):
        return None
    other = Subject(meaning, subject.sources)
    decorators = other.node.decorator_list
    is_record = any(_freezes(other, decorator) is False for decorator in decorators)
    all_known = all(_freezes(other, decorator) is not None for decorator in decorators)
    return other.name if is_record and all_known and not _any_freezes(other) else None


def _any_freezes(subject: Subject) -> bool:
    return any(_freezes(subject, decorator) for decorator in subject.node.decorator_list)
