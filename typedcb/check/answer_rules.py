"""Rules about what a callback's hooks answer, and what becomes of the answers that they make."""

from __future__ import annotations

import ast
from typing import Final, Iterator, Optional

from ..codes import ILLEGAL_ANSWER, ILLEGAL_CANCEL, UNUSED_ANSWER, UNUSED_WITH
from ..hooks import HOOKS, HookSpec
from .findings import Finding, finding
from .subject import Function, Subject, is_name, within

_CANCELS: Final = ("CancelBatch", "CancelEpoch", "CancelTrain")
_SKIPS: Final = ("SkipBackward", "SkipStep", "SkipZeroGrad", "SkipValidate")
_CATCH_ALL: Final = ("builtins.Exception", "builtins.BaseException", "typedcb.outcomes.Cancel")


def illegal_cancel(subject: Subject) -> Iterator[Finding]:
    """A Cancel raised, or answered, where there is nothing that it could end."""
    for hook in subject.hooks:
        spec = HOOKS[hook.name]
        for answer in _unchecked_answers(subject, hook):
            if problem := _illegal(subject, spec, answer, "answers"):
                yield finding(answer, ILLEGAL_CANCEL, f"{subject.name}.{hook.name} {problem}")
        for frame in subject.frames(hook):
            via = "" if frame.method is hook else f" in {frame.method.name}"
            for node in _raised(subject, frame.method, ()):
                raised = _made_before(frame.method, node)
                problem = _illegal(subject, spec, raised, f"raises{via}") or _in_its_place(subject, spec, raised)
                if problem:
                    yield finding(node, ILLEGAL_CANCEL, f"{subject.name}.{hook.name} {problem}")


def _unchecked_answers(subject: Subject, hook: Function) -> Iterator[ast.expr]:
    """What a hook answers that does not say of which type: what it does say is a type checker's affair."""
    if hook.returns is not None and subject.meaning(hook.returns).rpartition(".")[2] != "Any":
        return
    for node in within(hook):
        if isinstance(node, ast.Return) and node.value is not None:
            yield from _choices(node.value)


def _choices(value: ast.expr) -> Iterator[ast.expr]:
    """What an expression may come to: both sides of an `if`, an `or` and the like."""
    if isinstance(value, ast.IfExp):
        yield from _choices(value.body)
        yield from _choices(value.orelse)
    elif isinstance(value, ast.BoolOp):
        yield from _choices(value.values[-1])
    else:
        yield value


def _illegal(subject: Subject, spec: HookSpec, value: Optional[ast.expr], verb: str) -> Optional[str]:
    kind = subject.own(value.func if isinstance(value, ast.Call) else value)
    if kind not in _CANCELS or kind in [cancel.__name__ for cancel in spec.cancels]:
        return None
    return f"{verb} {kind}; legal there is {spec.legal}."


_ENDS_ALL: Final = ("builtins.KeyboardInterrupt", "builtins.StopIteration", "builtins.GeneratorExit")


def _in_its_place(subject: Subject, spec: HookSpec, raised: Optional[ast.expr]) -> Optional[str]:
    """What is wrong with an error by which somebody means to end something: the fit fails by it."""
    kind = subject.meaning(raised.func if isinstance(raised, ast.Call) else raised)
    if kind not in _ENDS_ALL:
        return None
    return f"raises {kind.removeprefix('builtins.')}, by which the fit fails: to end it in order there is {spec.legal}."


def _made_before(method: Function, node: ast.Raise) -> Optional[ast.expr]:
    """What is raised; of a name, what was assigned to it last."""
    if not isinstance(node.exc, ast.Name):
        return node.exc
    made = [
        part.value
        for part in within(method)
        if isinstance(part, ast.Assign) and part.lineno < node.lineno and is_name(part.targets[0], node.exc.id)
    ]
    return made[-1] if made else node.exc


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


_NO_ANSWERS: Final = (
    ast.Constant, ast.JoinedStr, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.ListComp, ast.DictComp, ast.SetComp,
    ast.Compare, ast.UnaryOp, ast.BinOp, ast.Lambda,
)  # fmt: skip


def illegal_answer(subject: Subject) -> Iterator[Finding]:
    """An answer that the hook may not give, where no annotation lets a type checker say so."""
    for hook in subject.hooks:
        spec = HOOKS[hook.name]
        event = subject.event(hook)
        for answer in _unchecked_answers(subject, hook):
            problem = _not_legal(subject, spec, answer, event.arg if event else "")
            if problem:
                yield finding(answer, ILLEGAL_ANSWER, f"{subject.name}.{hook.name} {problem}")


def _not_legal(subject: Subject, spec: HookSpec, answer: ast.expr, event: str) -> Optional[str]:
    words, legal = ast.unparse(answer), f"legal there is {spec.legal}."
    if isinstance(answer, _NO_ANSWERS):
        is_none = isinstance(answer, ast.Constant) and answer.value is None
        return None if is_none else f"answers {words}; {legal}"
    called = answer.func if isinstance(answer, ast.Call) else None
    kind = subject.own(called or answer)
    if kind in (*_CANCELS, *_SKIPS) and called is None:
        return f"answers the class {words}, not an instance: write {words}(); {legal}"
    if kind in _SKIPS and (spec.skip is None or spec.skip.__name__ != kind):
        return f"answers {words}; {legal}"
    if isinstance(called, ast.Attribute) and called.attr in _WITH and called.attr != spec.replace:
        return f"answers {words}; {legal}"
    if event and is_name(answer, event) and not spec.replace:
        return f"answers its event; {legal}"
    return None


def unused_answer(subject: Subject) -> Iterator[Finding]:
    """A Cancel or a Skip that is made and goes nowhere; or what the base's hook answered."""
    for method in subject.methods:
        yield from _swallowed(subject, method)
        for node in within(method):
            words = _made_for_nothing(subject, method, node)
            if words and isinstance(node, ast.stmt):
                yield finding(node, UNUSED_ANSWER, f"{subject.name}.{method.name} {words}")


def _swallowed(subject: Subject, method: Function) -> Iterator[Finding]:
    """A Cancel raised where an `except Exception` of the same method catches it, and does not raise it again."""
    for block in (node for node in within(method) if isinstance(node, ast.Try)):
        handler = next((handler for handler in block.handlers if _catches_cancels(subject, handler)), None)
        if handler is None or any(isinstance(node, ast.Raise) for node in ast.walk(handler)):
            continue
        for node in within(ast.Module(block.body, [])):
            raised = node.exc if isinstance(node, ast.Raise) else None
            kind = subject.own(raised.func if isinstance(raised, ast.Call) else raised)
            if kind in _CANCELS and isinstance(node, ast.Raise):
                yield finding(
                    node,
                    UNUSED_ANSWER,
                    f"{subject.name}.{method.name} raises {kind}, which the except in line {handler.lineno} catches: "
                    f"answer it by return, or write except Cancel: raise before that.",
                )


def _catches_cancels(subject: Subject, handler: ast.ExceptHandler) -> bool:
    """Whether a handler catches a Cancel without saying so."""
    return handler.type is None or subject.meaning(handler.type) in ("builtins.Exception", "builtins.BaseException")


def _made_for_nothing(subject: Subject, method: Function, node: ast.AST) -> Optional[str]:
    if isinstance(node, ast.Expr):
        inner = node.value
        called = inner.func if isinstance(inner, ast.Call) else inner
        if subject.own(called) in (*_CANCELS, *_SKIPS):
            words = ast.unparse(inner) if isinstance(inner, ast.Call) else f"{ast.unparse(inner)}()"
            return f"makes {words} and hands it to nobody: write return {words}."
        if _base_answers(subject, method, called):
            words = ast.unparse(inner)
            return f"throws away what {words} answers: write return {words}."
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
        target = node.targets[0]
        is_answer = subject.own(node.value.func) in (*_CANCELS, *_SKIPS)
        if is_answer and isinstance(target, ast.Name) and not _read_later(method, target, node):
            return f"makes {ast.unparse(node.value)} and hands it to nobody: write return {target.id}."
    return None


def _base_answers(subject: Subject, method: Function, called: ast.expr) -> bool:
    """Whether this is `super()`'s hook of the same name, and that hook may answer something."""
    if not (isinstance(called, ast.Attribute) and called.attr == method.name and method.name in HOOKS):
        return False
    if not (isinstance(called.value, ast.Call) and is_name(called.value.func, "super")):
        return False
    for owner in subject.lineage[1:]:
        for item in owner.node.body:
            if isinstance(item, ast.FunctionDef) and item.name == method.name:
                return not (isinstance(item.returns, ast.Constant) and item.returns.value is None) and any(
                    isinstance(node, ast.Return) and not _is_none(node.value) for node in within(item)
                )
    return False


def _is_none(value: Optional[ast.expr]) -> bool:
    return value is None or (isinstance(value, ast.Constant) and value.value is None)


_WITH: Final = ("with_batch", "with_pred", "with_loss")
_PAYLOAD: Final = ("xb", "yb", "pred", "loss")


def unused_with(subject: Subject) -> Iterator[Finding]:
    """A changed event that nobody gets: an event is immutable, and only what a hook returns reaches the loop."""
    for method in subject.methods:
        for node in within(method):
            words = _changed_for_nothing(subject, method, node)
            if words and isinstance(node, ast.stmt):
                yield finding(node, UNUSED_WITH, f"{subject.name}.{method.name} {words}")


def _changed_for_nothing(subject: Subject, method: Function, node: ast.AST) -> Optional[str]:
    if isinstance(node, ast.Expr):
        call = _with_call(node.value) or _helper_with(subject, method, node.value)
        return call and (
            f"throws away what {call} makes: an event is immutable, and only an event that is returned reaches the "
            f"loop. Write return {call}."
        )
    if not isinstance(node, ast.Assign):
        return None
    target, call = node.targets[0], _with_call(node.value)
    if call and isinstance(target, ast.Name) and not _read_later(method, target, node):
        return (
            f"does nothing with {target.id}, the event that {call} makes: only an event that is returned reaches the "
            f"loop. Write return {target.id}."
        )
    names = [name for name in _names(target) if not name.id.startswith("_")]
    read = _payload_read(subject, method, node.value)
    if read and names and not call and not any(_read_anywhere(method, name) for name in names):
        first = names[0].id
        return (
            f"makes {first} of {read} and does nothing with it: only an event that is returned reaches the loop. Write "
            f"return {read.partition('.')[0]}.{HOOKS[method.name].replace}(...)."
        )
    return None


def _helper_with(subject: Subject, method: Function, value: ast.expr) -> Optional[str]:
    """A call of a helper of the class that returns a changed event, in words."""
    if not (isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute)):
        return None
    own = is_name(value.func.value, subject.receiver(method))
    for helper in subject.methods if own else ():
        returned = (node.value for node in within(helper) if isinstance(node, ast.Return) and node.value is not None)
        if helper.name == value.func.attr and any(map(_with_call, returned)):
            return ast.unparse(value)
    return None


def _names(target: ast.expr) -> list[ast.Name]:
    parts = target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]
    return [part for part in parts if isinstance(part, ast.Name)] if all(isinstance(p, ast.Name) for p in parts) else []


def _payload_read(subject: Subject, method: Function, value: ast.expr) -> Optional[str]:
    """The first part of the event's batch that an expression computes with, in a hook that may replace it."""
    event = subject.event(method)
    if method.name not in HOOKS or not HOOKS[method.name].replace or event is None:
        return None
    for node in ast.walk(value):
        if isinstance(node, ast.Attribute) and node.attr in _PAYLOAD and is_name(node.value, event.arg):
            return ast.unparse(node)
    return None


def _read_anywhere(method: Function, name: ast.Name) -> bool:
    return any(is_name(node, name.id) and isinstance(node.ctx, ast.Load) for node in ast.walk(method))


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
