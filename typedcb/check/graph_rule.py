"""The rule that what a cell keeps holds no graph: a graph in a cell is a batch's memory that is never given back."""

from __future__ import annotations

import ast
from typing import Final, Iterator, Optional

from .codes import GRAPH_IN_CELL
from .findings import Finding, finding
from .source import dotted
from .subject import Function, Subject, is_name, is_state, within

_HOLDERS: Final = {"after_pred": ("pred",), "after_loss": ("pred", "loss")}
"""The hooks whose event still holds graphs, and in which fields."""

_LOOSE: Final = (
    "detach", "detach_", "item", "tolist", "numpy", "size", "dim", "numel", "argmax", "argmin", "eq", "ne", "lt", "gt",
    "le", "ge", "isnan", "isinf", "isfinite", "long", "int", "bool", "nelement", "argsort", "nonzero", "new_zeros",
)  # fmt: skip
"""Methods of a tensor whose result has no graph."""

_VIEWS: Final = ("T", "mT", "H", "mH", "real", "imag")
"""Attributes of a tensor that have its graph."""


def graph_in_cell(subject: Subject) -> Iterator[Finding]:
    """A loss, a prediction or an event put into a cell or series before its graph has been let go."""
    if _only_validates(subject):
        return
    for name, fields in _HOLDERS.items():
        hook = subject.hooks.get(name)
        event = subject.event(hook) if hook else None
        if hook is None or event is None:
            continue
        held = _Held(subject, event.arg, _tensors(event, fields))
        for target, value in _kept(subject, hook, held):
            what = held.what(value)
            if what:
                yield finding(
                    value,
                    GRAPH_IN_CELL,
                    f"{subject.name}.{name} keeps {what} in {target} together with its graph, and so all memory of the "
                    f"batch: {_fix(what, event.arg)}.",
                )


def _fix(what: str, event: str) -> str:
    if what == event:
        return f"keep {event}.loss.detach() alone, or the event from after_backward on, where it is detached"
    return f"write {what}.detach(), or keep it from after_backward on, where the event is detached"


def _only_validates(subject: Subject) -> bool:
    """Whether a callback is told of no training batch: what is validated has no graph."""
    phases = subject.class_value("phases")
    if not isinstance(phases, (ast.Tuple, ast.List)):
        return False
    return not any(isinstance(phase, ast.Constant) and phase.value == "train" for phase in phases.elts)


def _tensors(event: ast.arg, fields: tuple[str, ...]) -> tuple[str, ...]:
    """The fields that are tensors: of a prediction of another class nothing is known."""
    annotation = event.annotation
    if isinstance(annotation, ast.Subscript):
        payload = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        if len(payload) != 3 or dotted(payload[2]).rpartition(".")[2] != "Tensor":
            return tuple(field for field in fields if field != "pred")
    return fields


class _Held:
    """What holds a graph in a hook: the event, its tensors, and the names that stand for one of them."""

    def __init__(self, subject: Subject, event: str, fields: tuple[str, ...]) -> None:
        self._subject = subject
        self._event = event
        self._fields = fields
        self._names: dict[str, str] = {}

    def note(self, target: ast.expr, value: ast.expr) -> None:
        """Takes note of an assignment to a local name."""
        if isinstance(target, ast.Name):
            what = self.what(value)
            if what:
                self._names[target.id] = target.id
            else:
                self._names.pop(target.id, None)

    def what(self, node: Optional[ast.expr]) -> Optional[str]:
        """What in an expression brings a graph into its value; None where nothing does."""
        if isinstance(node, ast.Name):
            return self._names.get(node.id) or (node.id if node.id == self._event and self._fields else None)
        if isinstance(node, ast.Attribute):
            if is_name(node.value, self._event):
                return ast.unparse(node) if node.attr in self._fields else None
            return self.what(node.value) if node.attr in _VIEWS else None
        if isinstance(node, ast.Call):
            return self._of_call(node)
        return next(filter(None, map(self.what, _operands(node))), None)

    def _of_call(self, call: ast.Call) -> Optional[str]:
        if self._subject.meaning(call.func).startswith("torch."):
            return next(filter(None, map(self.what, _flat(call.args))), None)
        if isinstance(call.func, ast.Attribute) and call.func.attr not in _LOOSE:
            of = call.func.value
            return None if is_name(of, self._event) else self.what(of)
        return None  # a function of somebody's may do what is right


def _operands(node: Optional[ast.expr]) -> list[ast.expr]:
    """The parts of an expression whose graphs are the whole's."""
    if isinstance(node, ast.BinOp):
        return [node.left, node.right]
    if isinstance(node, ast.UnaryOp):
        return [] if isinstance(node.op, ast.Not) else [node.operand]
    if isinstance(node, (ast.Tuple, ast.List)):
        return _flat(node.elts)
    if isinstance(node, ast.Subscript):
        return [node.value]
    if isinstance(node, ast.IfExp):
        return [node.body, node.orelse]
    if isinstance(node, ast.NamedExpr):
        return [node.value]
    return []


def _flat(nodes: list[ast.expr]) -> list[ast.expr]:
    return [
        part
        for node in nodes
        for part in (_flat(node.elts) if isinstance(node, (ast.Tuple, ast.List)) else [_unstarred(node)])
    ]


def _unstarred(node: ast.expr) -> ast.expr:
    return node.value if isinstance(node, ast.Starred) else node


def _kept(subject: Subject, hook: Function, held: _Held) -> Iterator[tuple[str, ast.expr]]:
    """What a hook puts into its cells and series, in the order in which it does; names are noted on the way."""
    receiver = subject.receiver(hook)
    for node in within(hook, _may_train):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if is_state(target, receiver, "value"):
                    yield ast.unparse(target), node.value
                held.note(target, node.value)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            held.note(node.target, node.value)
        elif isinstance(node, ast.AugAssign) and is_state(node.target, receiver, "value"):
            yield ast.unparse(node.target), node.value
        elif isinstance(node, ast.Call) and is_state(node.func, receiver, "append"):
            for argument in node.args[:1]:
                yield ast.unparse(node.func).removesuffix(".append"), argument


def _may_train(node: ast.AST) -> bool:
    """Whether a part of a hook may run on a training batch: not what stands below `if event.phase == "valid"`."""
    if not (isinstance(node, ast.If) and isinstance(node.test, ast.Compare) and len(node.test.ops) == 1):
        return True
    left, right = node.test.left, node.test.comparators[0]
    is_phase = isinstance(left, ast.Attribute) and left.attr == "phase" and isinstance(right, ast.Constant)
    says = getattr(right, "value", None)
    return not is_phase or (says == "train") is isinstance(node.test.ops[0], ast.Eq)
