"""The rule that what a callback depends on is a field of it."""

from __future__ import annotations

import ast
import re
from typing import Iterator, Mapping, Optional

from ..codes import UNDECLARED
from .findings import Finding, finding
from .source import Definition, dotted
from .subject import Function, Subject, is_name, within


def undeclared_dependency(subject: Subject) -> Iterator[Finding]:
    """Another callback looked up, or reached by its name in the file: nothing says that it has run by then."""
    yield from _used_from_outside(subject)
    for method in subject.methods:
        for node in within(method):
            if isinstance(node, ast.Call) and (learner := _looked_up(subject, method, node.func)):
                kind = ast.unparse(node.args[0]) if node.args else "Other"
                yield finding(
                    node,
                    UNDECLARED,
                    f"{subject.name}.{method.name} looks up {kind} by {learner}.get, and nothing says that there is "
                    f"one, or that it has run by then: make it a field, {_field_name(kind)}: {kind}, and it runs "
                    f"before this one.",
                )


def _field_name(kind: str) -> str:
    """What a field of a class is called as a rule: smooth_loss of a SmoothLoss."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", kind.rpartition(".")[2]).lower()


def _looked_up(subject: Subject, method: Function, called: ast.expr) -> Optional[str]:
    """The learner on which a callback is looked up; None where this is no such call."""
    if not (isinstance(called, ast.Attribute) and called.attr == "get"):
        return None
    of = called.value
    on_self = isinstance(of, ast.Attribute) and of.attr == "learn" and is_name(of.value, subject.receiver(method))
    return ast.unparse(of) if on_self or is_name(of, "learn") else None


def _used_from_outside(subject: Subject) -> Iterator[Finding]:
    """Learners and callbacks that a method knows by their names around its class."""
    around = _made_around(subject)
    for method in subject.methods if around else ():
        own = {node.id for node in ast.walk(method) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        own |= {node.arg for node in ast.walk(method) if isinstance(node, ast.arg)}
        seen: set[str] = set()
        for node in within(method):
            if isinstance(node, ast.Name) and node.id in around and node.id not in own | seen:
                seen.add(node.id)
                words = _instead(node.id, around[node.id])
                yield finding(node, UNDECLARED, f"{subject.name}.{method.name} uses {node.id}, {words}")


def _instead(name: str, kind: str) -> str:
    if kind == "Learner":
        return (
            "the learner of this name around the class, whichever it is attached to: make it a LearnerCallback, and "
            "use self.learn."
        )
    return (
        f"the callback of this name around the class, and nothing says that it is attached, or that it has run by "
        f"then: make it a field, {name}: {kind}, and it runs before this one."
    )


def _made_around(subject: Subject) -> Mapping[str, str]:
    """The learners and callbacks that are made around a class, in its file or in functions that it stands in."""
    tree = subject.definition.module.tree
    inside = [
        node
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and subject.node in ast.walk(node)
    ]
    made: dict[str, str] = {}
    for scope in (tree, *inside):
        for statement in within(scope) if scope is not tree else tree.body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                kind = _kind_made(subject, statement.value)
                made.pop(statement.targets[0].id, None)
                if kind:
                    made[statement.targets[0].id] = kind
    return made


def _kind_made(subject: Subject, value: ast.expr) -> Optional[str]:
    """The class of the learner or callback that an expression makes; None where it makes something else."""
    if not isinstance(value, ast.Call):
        return None
    if isinstance(value.func, ast.Attribute) and value.func.attr == "add" and value.args:
        return _callback_named(subject, value.args[0])
    if subject.own(value.func) == "Learner":
        return "Learner"
    return _callback_named(subject, value.func)


def _callback_named(subject: Subject, node: ast.expr) -> Optional[str]:
    name = dotted(node)
    meaning = subject.sources.meaning(subject.definition.module, name, subject.node.lineno) if name else ""
    return name if isinstance(meaning, Definition) and subject.sources.is_callback(meaning) else None
