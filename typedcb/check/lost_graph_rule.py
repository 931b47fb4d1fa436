"""The rule that a loss or prediction that a hook answers holds its graph: without one no parameter gets a gradient."""

from __future__ import annotations

import ast
from typing import Final, Iterator

from ..codes import GRAPH_LOST
from .findings import Finding, finding
from .graph_rule import in_training, only_validates
from .subject import Subject, is_name

_ANSWERS: Final = {"after_pred": ("with_pred", "pred"), "after_loss": ("with_loss", "loss")}
_CUTS: Final = ("detach", "item", "tolist", "numpy")


def graph_lost(subject: Subject) -> Iterator[Finding]:
    """A changed event whose loss or prediction is made of detached tensors and of constants alone."""
    if only_validates(subject):
        return
    for hook in subject.hooks_named(*_ANSWERS):
        event, (answer, field) = subject.event(hook), _ANSWERS[hook.name]
        for node in in_training(hook) if event else ():
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == answer):
                continue
            if event and len(node.args) == 1 and _is_cut(node.args[0], event.arg):
                yield finding(
                    node,
                    GRAPH_LOST,
                    f"{subject.name}.{hook.name} answers a {field} without its graph, {ast.unparse(node.args[0])}, and "
                    f"no parameter would get a gradient from it: compute with event.{field} itself.",
                )


def _is_cut(value: ast.expr, event: str) -> bool:
    """Whether an expression reads the event, and nothing in it can hold a graph."""
    held = [node for node in _uncut(value) if isinstance(node, ast.Name)]
    reads = any(is_name(node, event) for node in ast.walk(value))
    return reads and not held


def _uncut(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of an expression, without those that are cut from their graph."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CUTS:
        return
    if isinstance(node, ast.Call) and is_name(node.func, "float"):
        return
    if isinstance(node, ast.Attribute) and node.attr == "data":
        return
    yield node
    for part in ast.iter_child_nodes(node):
        yield from _uncut(part)
