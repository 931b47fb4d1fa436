"""Rules about what a callback's hooks read of their event, and what they do to it."""

from __future__ import annotations

import ast
import difflib
from typing import Final, Iterator, Mapping, Optional

from ..codes import DEAD_CONDITION, EVENT_ASSIGNMENT, TOO_EARLY, TOO_LATE, UNKNOWN_FIELD, Code
from ..hooks import HOOKS
from ..rules import PHASES
from .findings import Finding, finding
from .source import Definition, dotted
from .subject import Frame, Subject, is_name, within

_PAYLOAD: Final = ("xb", "yb", "pred", "loss")
_ORDER: Final = tuple(HOOKS)
_FIELDS: Final[frozenset[str]] = frozenset(
    name for spec in HOOKS.values() for name in dir(spec.event) if not name.startswith("_")
)


def event_assignment(subject: Subject) -> Iterator[Finding]:
    """An attribute set on the event, or its batch changed in place: it is immutable, and there are no flags on it."""
    for hook in subject.hooks:
        for frame in subject.frames(hook):
            parts: dict[str, str] = {}
            for node in within(frame.method) if frame.event else ():
                problem = _set_on_event(node, frame.event, parts)
                if isinstance(node, ast.Assign):
                    _note_names(node, frame.event, parts)
                if problem and isinstance(node, (ast.stmt, ast.expr)):
                    legal = f"what a hook wants, it answers. Legal here is {HOOKS[hook.name].legal}."
                    yield finding(node, EVENT_ASSIGNMENT, f"{subject.name}.{hook.name} {problem}: {legal}")


def _note_names(node: ast.Assign, event: str, parts: dict[str, str]) -> None:
    """Takes note of the names that an assignment gives to parts of the event's batch, or takes from them."""
    for target in node.targets:
        for name, value in _pairs(target, node.value):
            if isinstance(name, ast.Name):
                part = _part_of_batch(value, event, parts)
                parts.pop(name.id, None)
                if part:
                    parts[name.id] = part


def _pairs(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    """What is assigned to what: of two tuples, part by part."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        return list(zip(target.elts, value.elts, strict=False))
    return [(target, value)]


def _set_on_event(node: ast.AST, event: str, parts: Mapping[str, str]) -> Optional[str]:
    if isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, (ast.Store, ast.Del)):
        if isinstance(node, ast.Attribute) and is_name(node.value, event):
            return f"sets {event}.{node.attr}, and an event is immutable"
        return _in_place(node.value if isinstance(node, ast.Subscript) else node, event, parts)
    if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        return _in_place(node.target, event, parts)
    if isinstance(node, ast.Call):
        out = next((keyword.value for keyword in node.keywords if keyword.arg == "out"), None)
        if out is not None:
            return _in_place(out, event, parts)
        if isinstance(node.func, ast.Attribute) and _changes(node.func.attr):
            return _in_place(node.func.value, event, parts)
    return None


def _changes(method: str) -> bool:
    """Whether a method of this name changes its tensor, list or dict in place."""
    in_place = method.endswith("_") and not method.endswith("__") and method not in ("requires_grad_", "share_memory_")
    return in_place or method in ("append", "extend", "insert", "update", "pop", "popitem", "setdefault", "clear")


def _in_place(node: ast.expr, event: str, parts: Mapping[str, str]) -> Optional[str]:
    """What a change in place of a part of the event's batch is, in words; None where it is of something else."""
    words = _part_of_batch(node, event, parts)
    return words and f"changes {words} in place, and with it what the data set or somebody else holds"


def _part_of_batch(node: ast.expr, event: str, parts: Mapping[str, str]) -> Optional[str]:
    """The part of the event's batch that an expression is, or is in; None where it is something else."""
    inner = node
    while isinstance(inner, (ast.Attribute, ast.Subscript)):
        if isinstance(inner, ast.Attribute) and inner.attr in _PAYLOAD and is_name(inner.value, event):
            return ast.unparse(inner)
        inner = inner.value
    return parts.get(inner.id) if isinstance(inner, ast.Name) else None


def wrong_time(subject: Subject) -> Iterator[Finding]:
    """A field that the event of this hook does not have, and another hook's has; or that no event has."""
    for hook in subject.hooks:
        for frame in subject.frames(hook):
            for node in within(frame.method) if frame.event else ():
                field = _field_read(node, frame.event)
                if field is None or not isinstance(node, ast.expr) or hasattr(HOOKS[hook.name].event, field):
                    continue
                code, words = _why(hook.name, field)
                if code is not UNKNOWN_FIELD or isinstance(node, ast.Call) or _takes_anything(subject, frame):
                    yield finding(node, code, f"{subject.name}.{hook.name} {words}")


def _field_read(node: ast.AST, event: str) -> Optional[str]:
    """The field of the event that is read here, also by `getattr`, which no type checker looks into."""
    if isinstance(node, ast.Attribute) and is_name(node.value, event) and isinstance(node.ctx, ast.Load):
        return None if node.attr.startswith("__") else node.attr
    if isinstance(node, ast.Call) and dotted(node.func) in ("getattr", "hasattr") and len(node.args) > 1:
        name = node.args[1]
        if is_name(node.args[0], event) and isinstance(name, ast.Constant) and isinstance(name.value, str):
            return name.value
    if isinstance(node, ast.Subscript) and is_name(node.value, event):
        key = node.slice
        return f"[{key.value!r}]" if isinstance(key, ast.Constant) else None
    return None


def _takes_anything(subject: Subject, frame: Frame) -> bool:
    """Whether the event's parameter says nothing of its type, so that no type checker looks at its fields."""
    arguments = [*frame.method.args.posonlyargs, *frame.method.args.args]
    annotation = next((argument.annotation for argument in arguments if argument.arg == frame.event), None)
    return annotation is None or subject.meaning(annotation).rpartition(".")[2] == "Any"


_OTHER_NAMES: Final[Mapping[str, str]] = {
    "batch": "event.xb and event.yb", "inputs": "event.xb", "x": "event.xb", "targets": "event.yb", "y": "event.yb",
    "labels": "event.yb", "outputs": "event.pred", "output": "event.pred", "logits": "event.pred",
    "iter": "event.index", "iteration": "event.index", "batch_idx": "event.index", "train_iter": "event.step",
    "global_step": "event.step", "training": 'event.phase == "train"', "n_epoch": "event.n_epochs",
    "max_epochs": "event.n_epochs", "learn": "self.learn, a LearnerCallback's field", "exception": "event.outcome",
    "model": "self.learn.model, of a LearnerCallback", "opt": "self.learn.opt, of a LearnerCallback",
    "logs": "fields, each of its own type", "metrics": "a field of your callback, such as stats: AvgStats",
}  # fmt: skip


def _why(name: str, field: str) -> tuple[Code, str]:
    """Why a hook's event has no such field, and the code of that."""
    event = HOOKS[name].event.__name__
    holders = [other for other in _ORDER if hasattr(HOOKS[other].event, field)]
    if not holders:
        near = difflib.get_close_matches(field, _FIELDS, n=1, cutoff=0.7)
        meant = _OTHER_NAMES.get(field) or (f"event.{near[0]}" if near else None)
        hint = f"; did you mean {meant}?" if meant else f": {event} has {', '.join(_own_fields(name))}."
        return UNKNOWN_FIELD, f"reads event{'' if field.startswith('[') else '.'}{field}, which no event has{hint}"
    missing = f"reads event.{field}, and {event} has no {field}"
    if _ORDER.index(holders[0]) > _ORDER.index(name):
        return TOO_EARLY, f"{missing}: it first exists at {holders[0]}. Do this there."
    return TOO_LATE, f"{missing}{_instead(name, field, holders)}"


def _own_fields(name: str) -> list[str]:
    return [field for field in dir(HOOKS[name].event) if not field.startswith(("_", "with_"))]


def _instead(name: str, field: str, holders: list[str]) -> str:
    """What to read in the place of an earlier event's field."""
    if not hasattr(HOOKS[name].event, "reached"):
        return f": it belongs to {' and '.join(holders[:2])}. Keep what you need of it in a Cell there."
    if holders[0] == "begin_batch":
        return f" itself: read event.reached.{field}, of the furthest event of the batch."
    return (
        f": the batch may have ended before there was one. Ask event.reached, which is the furthest event of the batch:"
        f" if isinstance(event.reached, {HOOKS[holders[0]].event.__name__})."
    )


_LASTS: Final = {"epoch": "n_epochs", "index": "n_batches"}
_READABLES: Final = ("Cell", "Readable", "View")
_NEVER: Final = (ast.Eq, ast.Gt, ast.GtE)
_NEVER_MIRRORED: Final = (ast.Eq, ast.Lt, ast.LtE)


def dead_condition(subject: Subject) -> Iterator[Finding]:
    """A condition that comes out the same every time: a phase that does not exist, a count one too far, a cell."""
    for method in subject.methods:
        receiver = subject.receiver(method)
        for node in ast.walk(method):
            problem = None
            if isinstance(node, ast.Compare):
                problem = _no_phase(node) or _one_too_far(node)
            elif isinstance(node, ast.Match):
                problem = _no_phase_matched(node)
            problem = problem or _cell_itself(subject, node, receiver)
            if problem and isinstance(node, (ast.stmt, ast.expr)):
                yield finding(node, DEAD_CONDITION, f"{subject.name}.{method.name} {problem}")


def _no_phase(node: ast.Compare) -> Optional[str]:
    sides = [node.left, *node.comparators]
    if not any(isinstance(side, ast.Attribute) and side.attr == "phase" for side in sides):
        return None
    for part in (inner for side in sides for inner in ast.walk(side)):
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value not in PHASES:
            return _unknown_phase(part.value)
    return None


def _no_phase_matched(node: ast.Match) -> Optional[str]:
    if not (isinstance(node.subject, ast.Attribute) and node.subject.attr == "phase"):
        return None
    for part in ast.walk(node):
        value = part.value if isinstance(part, ast.MatchValue) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value not in PHASES:
            return _unknown_phase(value.value)
    return None


def _unknown_phase(name: str) -> str:
    return f'asks for the phase "{name}", which there never is: the phases are "train" and "valid".'


def _one_too_far(node: ast.Compare) -> Optional[str]:
    """What is wrong with `epoch == n_epochs`: counts are from 0."""
    left, right = node.left, node.comparators[0]
    if not (isinstance(left, ast.Attribute) and isinstance(right, ast.Attribute) and len(node.ops) == 1):
        return None
    if ast.unparse(left.value) != ast.unparse(right.value):
        return None
    if _LASTS.get(left.attr) == right.attr and isinstance(node.ops[0], _NEVER):
        return _last(left, right)
    if _LASTS.get(right.attr) == left.attr and isinstance(node.ops[0], _NEVER_MIRRORED):
        return _last(right, left)
    return None


def _last(count: ast.Attribute, size: ast.Attribute) -> str:
    return (
        f"asks whether {count.attr} comes to {size.attr}, and it never does, since it counts from 0: the last is "
        f"{ast.unparse(size)} - 1."
    )


def _cell_itself(subject: Subject, node: ast.AST, receiver: str) -> Optional[str]:
    """What is wrong with a condition on a cell, and not on its value."""
    for part in _conditions(node):
        if isinstance(part, ast.Attribute) and receiver and _kind(subject, part, receiver) in _READABLES:
            words = ast.unparse(part)
            return f"asks {words}, which is a cell, and not what it holds: write {words}.value."
    return None


def _kind(subject: Subject, part: ast.Attribute, receiver: str) -> str:
    """The class of `self.field`, or of a field of that, as far as annotations say so; empty where they do not."""
    if is_name(part.value, receiver):
        return subject.kind_of_field(part.attr)
    inner = part.value
    if not (isinstance(inner, ast.Attribute) and is_name(inner.value, receiver)):
        return ""
    name = dotted(subject.annotation(inner.attr))
    of = subject.sources.meaning(subject.definition.module, name, subject.node.lineno) if name else ""
    return Subject(of, subject.sources).kind_of_field(part.attr) if isinstance(of, Definition) else ""


def _conditions(node: ast.AST) -> list[ast.expr]:
    """The expressions whose truth is asked for here, or which are compared."""
    if isinstance(node, (ast.If, ast.While, ast.IfExp, ast.Assert)):
        return [node.test]
    if isinstance(node, ast.BoolOp):
        return node.values
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return [node.operand]
    if isinstance(node, ast.Compare) and not isinstance(node.ops[0], (ast.In, ast.NotIn)):
        both_cells = all(isinstance(side, ast.Attribute) for side in (node.left, *node.comparators))
        is_identity = isinstance(node.ops[0], (ast.Is, ast.IsNot))
        return [] if both_cells and is_identity else [node.left, *node.comparators]
    return []
