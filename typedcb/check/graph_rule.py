"""The rule that what a cell keeps holds no graph: a graph in a cell is a batch's memory that is never given back."""

from __future__ import annotations

import ast
from typing import Final, Iterator, Optional

from ..codes import GRAPH_IN_CELL
from .findings import Finding, finding
from .source import Definition, dotted
from .subject import Frame, Function, Subject, bound, is_name, within

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
    """A loss, a prediction or an event kept beyond the hook before its graph has been let go."""
    if only_validates(subject):
        return
    for hook in subject.hooks_named(*_HOLDERS):
        event = subject.event(hook)
        if event is None:
            continue
        held = _Held(subject, event.arg, _tensors(event, _HOLDERS[hook.name]))
        for target, value in _kept(subject, Frame(hook, subject.receiver(hook), event.arg), held):
            what = held.what(value)
            if what:
                yield finding(
                    value,
                    GRAPH_IN_CELL,
                    f"{subject.name}.{hook.name} keeps {what} in {target} together with its graph, and so all memory "
                    f"of the batch: {_fix(what, event.arg)}.",
                )


def _fix(what: str, event: str) -> str:
    if what == event:
        return f"keep {event}.loss.detach() alone, or the event from after_backward on, where it is detached"
    return f"write {what}.detach(), or keep it from after_backward on, where the event is detached"


def only_validates(subject: Subject) -> bool:
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

    def inside(self, given: dict[str, ast.expr]) -> _Held:
        """What holds a graph in a helper that is handed these."""
        held = _Held(self._subject, "", ())
        held._names = {name: name for name in given}
        return held

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
        if self._makes_object(call):
            parts = [*call.args, *(keyword.value for keyword in call.keywords)]
            return next(filter(None, map(self.what, _flat(parts))), None)
        if self._subject.meaning(call.func).startswith("torch."):
            return next(filter(None, map(self.what, _flat(call.args))), None)
        if isinstance(call.func, ast.Attribute) and call.func.attr not in _LOOSE:
            of = call.func.value
            return None if is_name(of, self._event) else self.what(of)
        return None  # a function of somebody's may do what is right

    def _makes_object(self, call: ast.Call) -> bool:
        """Whether this makes an instance of a class of the project's, which keeps what it is given."""
        name = dotted(call.func)
        module = self._subject.definition.module
        found = self._subject.sources.meaning(module, name, self._subject.node.lineno) if name else ""
        return isinstance(found, Definition) and not found.fullname.startswith("typedcb.")


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


_DEPTH: Final = 3
"""How far helpers are followed that call helpers."""


def _kept(subject: Subject, frame: Frame, held: _Held, depth: int = 0) -> Iterator[tuple[str, ast.expr]]:
    """What a hook keeps beyond its end, in the order in which it does; names are noted on the way."""
    outside = _Outside(frame)
    for node in in_training(frame.method):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and node.func.attr in _APPENDS and outside.has(node.func):
                yield from ((ast.unparse(node.func.value), argument) for argument in node.args[-1:])
            elif depth < _DEPTH:
                yield from _kept_by_helper(subject, frame, node, held, depth)
        for target, value in _assigned(node):
            if outside.has(target):
                yield ast.unparse(target), value
            if not isinstance(node, ast.AugAssign):
                held.note(target, value)
                outside.note(target, value)


def _assigned(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """What a statement assigns to, and what it assigns."""
    if isinstance(node, ast.Assign):
        yield from ((target, node.value) for target in node.targets)
    elif isinstance(node, (ast.AnnAssign, ast.AugAssign)) and node.value is not None:
        yield node.target, node.value


def _kept_by_helper(
    subject: Subject, frame: Frame, call: ast.Call, held: _Held, depth: int
) -> Iterator[tuple[str, ast.expr]]:
    """What a helper keeps of what it is handed, by the words of the one who hands it."""
    helper = subject.helper(frame, call)
    if helper is None:
        return
    receiver = subject.receiver(helper) if isinstance(call.func, ast.Attribute) else ""
    given = {name: value for name, value in bound(call, helper, skip=bool(receiver)).items() if held.what(value)}
    inner = held.inside(given)
    for target, value in _kept(subject, Frame(helper, receiver, ""), inner, depth + 1) if given else ():
        if inner.what(value):
            for handed in given.values():
                yield f"{target} (in {helper.name})", handed
                break


class _Outside:
    """Which names of a function stand for something that is there after it: its instance's, and globals."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._globals = {name for node in within(frame.method) if isinstance(node, ast.Global) for name in node.names}
        inside = [node for node in ast.walk(frame.method) if isinstance(node, ast.Name)]
        self._inside = {node.id for node in inside if isinstance(node.ctx, ast.Store)} - self._globals
        arguments = frame.method.args
        self._inside |= {argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
        self._inside.discard(frame.receiver)

    def note(self, target: ast.expr, value: ast.expr) -> None:
        """Takes note of a local name for something that is there afterwards."""
        if isinstance(target, ast.Name) and isinstance(value, ast.Attribute) and self.has(value):
            self._inside.discard(target.id)

    def has(self, node: ast.expr) -> bool:
        """Whether what is set here is there after the function."""
        if isinstance(node, ast.Name):
            return node.id in self._globals
        root: ast.expr = node
        while isinstance(root, (ast.Attribute, ast.Subscript)):
            root = root.value
        return root is not node and isinstance(root, ast.Name) and root.id not in self._inside


def in_training(method: Function) -> Iterator[ast.AST]:
    """What of a function may run on a training batch."""
    for statement in method.body:
        yield from (statement, *within(statement, _may_train)) if _may_train(statement) else ()
        if isinstance(statement, ast.If) and isinstance(statement.body[-1], ast.Return) and not _may_go_on(statement):
            return


def _may_go_on(statement: ast.If) -> bool:
    """Whether what follows `if ...: return` may still train."""
    return _phase_asked(statement) is not True


def _may_train(node: ast.AST) -> bool:
    """Whether a part of a hook may run on a training batch: not what stands below `if event.phase == "valid"`."""
    if _without_graph(node):
        return False
    return not isinstance(node, ast.If) or _phase_asked(node) is not False


def _phase_asked(node: ast.If) -> Optional[bool]:
    """Whether an `if` asks for training, or for validation; None where it asks for something else."""
    if not (isinstance(node.test, ast.Compare) and len(node.test.ops) == 1):
        return None
    left, right = node.test.left, node.test.comparators[0]
    if not (isinstance(left, ast.Attribute) and left.attr == "phase" and isinstance(right, ast.Constant)):
        return None
    return (right.value == "train") is isinstance(node.test.ops[0], ast.Eq)


def _without_graph(node: ast.AST) -> bool:
    """Whether a block computes without graphs: what is kept of the event itself there, no rule sees."""
    return isinstance(node, ast.With) and any(
        ast.unparse(item.context_expr).rpartition(".")[2] in ("no_grad()", "inference_mode()") for item in node.items
    )


_APPENDS: Final = ("append", "appendleft", "extend", "insert")
