"""Rules about what a callback's methods do: what they answer, read, look up and wait for."""

from __future__ import annotations

import ast
from typing import Final, Iterator, Mapping, Optional

import msgspec

from ..hooks import HOOKS, HookSpec
from .codes import (
    BOTH_PHASES,
    DEVICE_SYNC,
    EVENT_ASSIGNMENT,
    ILLEGAL_CANCEL,
    TOO_EARLY,
    TOO_LATE,
    UNDECLARED,
    UNUSED_WITH,
)
from .findings import Finding, finding
from .subject import Function, Subject, is_name, is_state, within

_CANCELS: Final = ("CancelBatch", "CancelEpoch", "CancelTrain")
_CATCH_ALL: Final = ("builtins.Exception", "builtins.BaseException", "typedcb.outcomes.Cancel")


def illegal_cancel(subject: Subject) -> Iterator[Finding]:
    """A Cancel raised, or answered, where there is nothing that it could end."""
    for name, hook in subject.hooks.items():
        spec = HOOKS[name]
        if hook.returns is None:  # what an annotated hook answers is a type checker's affair
            for node in within(hook):
                if isinstance(node, ast.Return) and (problem := _illegal(subject, spec, node.value, "answers")):
                    yield finding(node, ILLEGAL_CANCEL, f"{subject.name}.{name} {problem}")
        for method in subject.helpers(hook):
            via = "" if method is hook else f" in {method.name}"
            for node in _raised(subject, method, ()):
                if problem := _illegal(subject, spec, node.exc, f"raises{via}"):
                    yield finding(node, ILLEGAL_CANCEL, f"{subject.name}.{name} {problem}")


def _illegal(subject: Subject, spec: HookSpec, value: Optional[ast.expr], verb: str) -> Optional[str]:
    kind = subject.own(value.func if isinstance(value, ast.Call) else value)
    if kind not in _CANCELS or kind in [cancel.__name__ for cancel in spec.cancels]:
        return None
    return f"{verb} {kind}; legal there is {spec.legal}."


def _raised(subject: Subject, node: ast.AST, caught: tuple[str, ...]) -> Iterator[ast.Raise]:
    """What a method raises and does not catch itself."""
    for part in within(node, lambda inner: not isinstance(inner, ast.Try)):
        if isinstance(part, ast.Raise) and isinstance(part.exc, (ast.Call, ast.Name, ast.Attribute)):
            kind = subject.meaning(part.exc.func if isinstance(part.exc, ast.Call) else part.exc)
            if not caught or (kind not in caught and not set(caught) & set(_CATCH_ALL)):
                yield part
    for part in _outermost_tries(node):
        caught_here = (*caught, *_caught(subject, part))
        for statement in part.body:
            yield from _raised(subject, ast.Module([statement], []), caught_here)
        for statement in (*part.orelse, *part.finalbody, *(s for handler in part.handlers for s in handler.body)):
            yield from _raised(subject, ast.Module([statement], []), caught)


def _outermost_tries(node: ast.AST) -> Iterator[ast.Try]:
    inside: set[int] = set()
    for part in within(node):
        if isinstance(part, ast.Try) and id(part) not in inside:
            inside.update(id(inner) for inner in within(part))
            yield part


def _caught(subject: Subject, block: ast.Try) -> Iterator[str]:
    for handler in block.handlers:
        kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        for kind in kinds:
            yield "builtins.BaseException" if kind is None else subject.meaning(kind)


_WITH: Final = ("with_batch", "with_pred", "with_loss")


def unused_with(subject: Subject) -> Iterator[Finding]:
    """A changed event that nobody gets: an event is immutable, and only what a hook returns reaches the loop."""
    for name, method in subject.methods.items():
        for node in within(method):
            if isinstance(node, ast.Expr) and (call := _with_call(node.value)):
                yield finding(
                    node,
                    UNUSED_WITH,
                    f"{subject.name}.{name} throws away what {call} makes: an event is immutable, and only an event "
                    f"that is returned reaches the loop. Write return {call}.",
                )
            elif isinstance(node, ast.Assign) and (call := _with_call(node.value)):
                target = node.targets[0]
                if isinstance(target, ast.Name) and not _read_later(method, target, node):
                    yield finding(
                        node,
                        UNUSED_WITH,
                        f"{subject.name}.{name} does nothing with {target.id}, the event that {call} makes: only an "
                        f"event that is returned reaches the loop. Write return {target.id}.",
                    )


def _with_call(value: ast.expr) -> Optional[str]:
    """A call of one of an event's `with_...` in words; None where it is something else."""
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr in _WITH:
        return f"{ast.unparse(value.func)}(...)" if isinstance(value.func.value, ast.Name) else None
    return None


def _read_later(method: Function, name: ast.Name, at: ast.stmt) -> bool:
    """Whether a name is read after a statement, or anywhere when the statement stands in a loop."""
    loops = [node for node in ast.walk(method) if isinstance(node, (ast.For, ast.While))]
    in_loop = any(at in ast.walk(loop) for loop in loops)
    end = at.end_lineno or at.lineno
    return any(
        is_name(node, name.id) and isinstance(node.ctx, ast.Load) and (in_loop or node.lineno > end)
        for node in ast.walk(method)
    )


def event_assignment(subject: Subject) -> Iterator[Finding]:
    """An attribute set on the event: it is immutable, and there are no flags on it."""
    for name, hook in subject.hooks.items():
        event = subject.event(hook)
        for node in within(hook) if event else ():
            stores = isinstance(node, ast.Attribute) and isinstance(node.ctx, (ast.Store, ast.Del))
            if event and stores and isinstance(node, ast.Attribute) and is_name(node.value, event.arg):
                yield finding(
                    node,
                    EVENT_ASSIGNMENT,
                    f"{subject.name}.{name} sets {event.arg}.{node.attr}, and an event is immutable: what a hook "
                    f"wants, it answers. Legal here is {HOOKS[name].legal}.",
                )


_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    name: spec.event.__struct_fields__ if issubclass(spec.event, msgspec.Struct) else () for name, spec in HOOKS.items()
}
_ORDER: Final = tuple(HOOKS)


def wrong_time(subject: Subject) -> Iterator[Finding]:
    """A field that the event of this hook does not have, and another hook's has."""
    for name, hook in subject.hooks.items():
        event = subject.event(hook)
        for node in within(hook) if event else ():
            if not (isinstance(node, ast.Attribute) and event and is_name(node.value, event.arg)):
                continue
            if not isinstance(node.ctx, ast.Load):
                continue
            holders = [other for other in _ORDER if node.attr in _FIELDS[other]]
            if not holders or name in holders or hasattr(HOOKS[name].event, node.attr):
                continue
            early = _ORDER.index(holders[0]) > _ORDER.index(name)
            yield finding(node, TOO_EARLY if early else TOO_LATE, f"{subject.name}.{name} {_when(name, node.attr)}")


def _when(name: str, field: str) -> str:
    """When there is a field that a hook's event does not have."""
    event = HOOKS[name].event.__name__
    holders = [other for other in _ORDER if field in _FIELDS[other]]
    missing = f"reads event.{field}, and {event} has no {field}"
    if _ORDER.index(holders[0]) > _ORDER.index(name):
        return f"{missing}: it first exists at {holders[0]}. Do this there."
    if "reached" in _FIELDS[name] and holders[0] == "begin_batch":
        return f"{missing} itself: read event.reached.{field}, of the furthest event of the batch."
    if "reached" in _FIELDS[name]:
        return (
            f"{missing}: the batch may have ended before there was one. Ask event.reached, which is the furthest event "
            f"of the batch: if isinstance(event.reached, {HOOKS[holders[0]].event.__name__})."
        )
    return f"{missing}: it belongs to {' and '.join(holders[:2])}. Keep what you need of it in a Cell there."


def undeclared_dependency(subject: Subject) -> Iterator[Finding]:
    """Another callback looked up: nothing says that it is attached, or that it runs before this one."""
    for name, method in subject.methods.items():
        for node in within(method):
            if isinstance(node, ast.Call) and (learner := _looked_up(subject, method, node.func)):
                kind = ast.unparse(node.args[0]) if node.args else "Other"
                yield finding(
                    node,
                    UNDECLARED,
                    f"{subject.name}.{name} looks up {kind} by {learner}.get, and nothing says that there is one, or "
                    f"that it has run by then: make it a field, {kind.lower()}: {kind}, and it runs before this one.",
                )


def _looked_up(subject: Subject, method: Function, called: ast.expr) -> Optional[str]:
    """The learner on which a callback is looked up; None where this is no such call."""
    if not (isinstance(called, ast.Attribute) and called.attr == "get"):
        return None
    of = called.value
    on_self = isinstance(of, ast.Attribute) and of.attr == "learn" and is_name(of.value, subject.receiver(method))
    return ast.unparse(of) if on_self or is_name(of, "learn") else None


_PER_BATCH: Final = tuple(name for name, fields in _FIELDS.items() if "index" in fields or "reached" in fields)
_IN_BOTH: Final = ("after_loss", "after_batch")  # one that counts what it does to batches and predictions may mean both


def both_phases(subject: Subject) -> Iterator[Finding]:
    """A cell that adds up over batches, in a class that says nowhere which batches it is for."""
    parts = [part for method in subject.methods.values() for part in ast.walk(method)]
    asks = any(isinstance(part, ast.Attribute) and part.attr == "phase" for part in parts)
    if asks or subject.class_value("phases") is not None:
        return
    for name in _IN_BOTH:
        hook = subject.hooks.get(name)
        for method in subject.helpers(hook) if hook else ():
            for node in within(method):
                if isinstance(node, ast.stmt) and (state := _added_to(node, subject.receiver(method))):
                    yield finding(
                        node,
                        BOTH_PHASES,
                        f"{subject.name}.{name} adds to {state} in training and in validation: say for which batches "
                        f'it is, phases: ClassVar[tuple[Phase, ...]] = ("train",), or ask event.phase.',
                    )


def _added_to(statement: ast.stmt, receiver: str) -> Optional[str]:
    """The cell or series of the instance that a statement adds to; None where it adds to none."""
    if isinstance(statement, ast.AugAssign) and is_state(statement.target, receiver, "value"):
        return ast.unparse(statement.target).removesuffix(".value")
    if isinstance(statement, ast.Assign) and is_state(statement.targets[0], receiver, "value"):
        state = ast.unparse(statement.targets[0])
        reads = any(
            isinstance(part, ast.Attribute) and ast.unparse(part) == state for part in ast.walk(statement.value)
        )
        return state.removesuffix(".value") if reads else None
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        called = statement.value.func
        return ast.unparse(called).removesuffix(".append") if is_state(called, receiver, "append") else None
    return None


_SYNCS: Final = ("item", "tolist", "cpu", "numpy")
_CONVERTS: Final = ("builtins.float", "builtins.int", "builtins.bool")


def device_sync(subject: Subject) -> Iterator[Finding]:
    """A number that is taken off the device at every batch: the loop waits until the device has computed it."""
    for name in _PER_BATCH:
        hook = subject.hooks.get(name)
        for method in subject.helpers(hook) if hook else ():
            event = subject.event(method)
            for node in within(method):
                if isinstance(node, ast.Call) and (words := _sync(subject, node, event.arg if event else "")):
                    yield finding(
                        node,
                        DEVICE_SYNC,
                        f"{subject.name}.{name} calls {words} at every batch, and the loop waits for the device each "
                        f"time: keep the tensor (detached) in a Cell, and read its number once an epoch.",
                    )


def _sync(subject: Subject, call: ast.Call, event: str) -> Optional[str]:
    if isinstance(call.func, ast.Attribute) and call.func.attr in _SYNCS and not call.args:
        return f"{ast.unparse(call.func)}()"
    if subject.meaning(call.func) in _CONVERTS and call.args:
        for part in ast.walk(call.args[0]):
            if isinstance(part, ast.Attribute) and part.attr in ("loss", "pred") and is_name(part.value, event):
                return ast.unparse(call)
    return None
