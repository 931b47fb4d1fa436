"""Rules about a callback class itself: its decorator, its settings, its fields."""

from __future__ import annotations

import ast
from typing import Final, Iterator, Mapping, Optional

from ..codes import MUTABLE_FIELD, NOT_FROZEN, SELF_ASSIGNMENT, UNKNOWN_SETTING
from ..naming import setting_problem
from ..rules import (
    frozen_problem,
    may_hold_anything,
    mutable_annotation,
    mutable_annotation_problem,
    mutable_problem,
    order_problem,
    phases_problem,
    shared_state_problem,
)
from .findings import Finding, finding
from .source import Definition, dotted
from .subject import Subject, is_name, within


def unknown_setting(subject: Subject) -> Iterator[Finding]:
    """A class attribute by which another framework is told something."""
    for item in subject.body:
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
    if subject.is_mixin or any(subject.decorated(method, "abstractmethod") for method in subject.methods):
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


_MAKES: Final = ("__new__", "__init__", "__post_init__", "__attrs_post_init__", "__setstate__")
"""Where an instance is made, and `object.__setattr__` is how a frozen one gets its fields."""


def self_assignment(subject: Subject) -> Iterator[Finding]:
    """An attribute made, changed or deleted on the instance; a frozen class refuses that when the method runs."""
    for method in subject.methods:
        receiver = subject.receiver(method)
        for node in within(method) if receiver else ():
            name = _set_on(node, receiver, forced=method.name not in _MAKES)
            if name and isinstance(node, ast.expr):
                yield finding(
                    node,
                    SELF_ASSIGNMENT,
                    f"{subject.name}.{method.name} sets {receiver}.{name}, and a callback is frozen: what changes is a "
                    f"cell. Declare {name}: Cell[...] = cell(...), and set {receiver}.{name}.value.",
                )


def _set_on(node: ast.AST, receiver: str, *, forced: bool) -> Optional[str]:
    """The attribute of the instance that an expression sets; None where it sets none."""
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, (ast.Store, ast.Del)):
        return node.attr if is_name(node.value, receiver) else None
    if forced and isinstance(node, ast.Call) and dotted(node.func) in ("object.__setattr__", "setattr"):
        name = node.args[1] if len(node.args) > 1 and is_name(node.args[0], receiver) else None
        return None if name is None else str(name.value) if isinstance(name, ast.Constant) else "..."
    return None


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
_STATES: Final = {"typedcb.cell.Cell": "Cell", "typedcb.cell.Series": "Series"}
_FIELDS: Final = ("dataclasses.field", "attrs.field", "attr.ib", "attr.field", "attr.attrib")


def mutable_field(subject: Subject) -> Iterator[Finding]:
    """A field, or a class attribute, that changes in place."""
    for item in subject.body:
        targets = item.targets if isinstance(item, ast.Assign) else []
        if isinstance(item, ast.AnnAssign):
            targets = [item.target]
        names = [target.id for target in targets if isinstance(target, ast.Name) and not target.id.startswith("__")]
        problem = _field_problem(subject, item) if names else None
        if problem:
            yield finding(item, MUTABLE_FIELD, f"{subject.name}.{names[0]} {problem}")


def phases_and_order(subject: Subject) -> Iterator[Finding]:
    """What a class says of its phases or its order and cannot be meant; it is refused when it is made, too."""
    for item in subject.body:
        value = item.value if isinstance(item, (ast.Assign, ast.AnnAssign)) else None
        targets = item.targets if isinstance(item, ast.Assign) else [getattr(item, "target", None)]
        for name, problem_of in (("phases", phases_problem), ("order", order_problem)):
            if value is not None and any(is_name(target, name) for target in targets):
                problem = problem_of(_literal(value))
                if problem and _literal(value) is not None:
                    yield finding(item, UNKNOWN_SETTING, f"{subject.name}.{name} {problem}")


def _literal(value: ast.expr) -> object:
    """What a literal stands for; None for any other expression."""
    try:
        return ast.literal_eval(value)
    except (ValueError, TypeError):
        return None


def _field_problem(subject: Subject, item: ast.stmt) -> Optional[str]:
    value = item.value if isinstance(item, (ast.Assign, ast.AnnAssign)) else None
    annotation = item.annotation if isinstance(item, ast.AnnAssign) else None
    changes = may_hold_anything(annotation, subject.meaning)
    if value is not None and changes and (kind := _made(subject, value)):
        return mutable_problem(kind, shared=True)
    if annotation is not None and (kind := mutable_annotation(annotation, subject.meaning)):
        return mutable_annotation_problem(kind)
    if isinstance(value, ast.Call):
        name = subject.meaning(value.func)
        if name in _STATES:
            return shared_state_problem(_STATES[name])
        if name == "typedcb.cell.cell" and value.args:
            kind = _made(subject, value.args[0])
            return mutable_problem(kind, shared=False, in_cell=True) if kind else None
        if name in _FIELDS and (state := _state_of_field(subject, value)):
            return shared_state_problem(state)
        if name in _FIELDS and changes:
            kind = _kind_of_field(subject, value)
            return mutable_problem(kind, shared=False) if kind else None
    return None


def _state_of_field(subject: Subject, call: ast.Call) -> Optional[str]:
    """The kind of cell that `field(...)` makes by itself."""
    for keyword in call.keywords:
        if keyword.arg in ("default_factory", "factory", "default"):
            made = keyword.value.body if isinstance(keyword.value, ast.Lambda) else keyword.value
            return _STATES.get(subject.meaning(made.func if isinstance(made, ast.Call) else made))
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
    """The name of a class that is known to change: a dataclass that is not frozen, or one whose methods set fields."""
    spelling = dotted(name)
    meaning = subject.sources.meaning(subject.definition.module, spelling, subject.node.lineno) if spelling else ""
    if not isinstance(meaning, Definition) or meaning.fullname.startswith("typedcb."):
        return None
    other = Subject(meaning, subject.sources)
    decorators = other.node.decorator_list
    is_record = any(_freezes(other, decorator) is False for decorator in decorators)
    all_known = all(_freezes(other, decorator) is not None for decorator in decorators)
    changes = all_known and not _any_freezes(other) and (is_record or _sets_fields(other))
    return other.name if changes and not subject.sources.is_callback(meaning) else None


def _sets_fields(subject: Subject) -> bool:
    """Whether a class sets its instances' fields after they were made."""
    return any(
        _set_on(node, subject.receiver(method), forced=False)
        for method in subject.methods
        if method.name not in _MAKES and subject.receiver(method)
        for node in within(method)
    )


def _any_freezes(subject: Subject) -> bool:
    return any(_freezes(subject, decorator) for decorator in subject.node.decorator_list)
