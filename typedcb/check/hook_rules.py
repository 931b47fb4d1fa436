"""Rules about what a callback's hooks count and wait for."""

from __future__ import annotations

import ast
from typing import Final, Iterator, Optional

from ..codes import BOTH_PHASES, DEVICE_SYNC
from ..hooks import HOOKS
from .findings import Finding, finding
from .subject import Subject, is_name, is_state, within

_PER_BATCH: Final = tuple(
    name for name, spec in HOOKS.items() if hasattr(spec.event, "index") or hasattr(spec.event, "reached")
)
_IN_BOTH: Final = ("begin_batch", "after_pred", "after_loss", "after_batch")
_WITH: Final = ("with_batch", "with_pred", "with_loss")
_IN_TRAINING: Final = ("AfterStep", "AfterBackward")


def both_phases(subject: Subject) -> Iterator[Finding]:
    """A cell that adds up over batches, in a class that says nowhere which batches it is for."""
    if _tells_apart(subject):
        return
    for hook in subject.hooks_named(*_IN_BOTH):
        if any(isinstance(node, ast.Attribute) and node.attr in _WITH for node in within(hook)):
            continue  # what it does to batches it does to both, and may count
        for frame in subject.frames(hook):
            for node in within(frame.method):
                if isinstance(node, ast.stmt) and (state := _added_to(node, frame.receiver)):
                    yield finding(
                        node,
                        BOTH_PHASES,
                        f"{subject.name}.{hook.name} adds to {state} in training and in validation: say for which "
                        f'batches it is, phases: ClassVar[tuple[Phase, ...]] = ("train",), or ask event.phase.',
                    )


def _tells_apart(subject: Subject) -> bool:
    """Whether a class says which batches it means: by its phases, by asking, or by what it does between them."""
    if subject.class_value("phases") is not None or not subject.knows_all_bases:
        return True
    if any(subject.hooks_named("begin_validate", "after_validate")):
        return True
    parts = [part for method in subject.methods for part in ast.walk(method)]
    return any(
        (isinstance(part, ast.Attribute) and part.attr == "phase")
        or (isinstance(part, (ast.Name, ast.Attribute)) and subject.own(part) in _IN_TRAINING)
        for part in parts
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
    for hook in subject.hooks_named(*_PER_BATCH):
        for frame in subject.frames(hook):
            for node in within(frame.method):
                if isinstance(node, ast.Call) and (words := _sync(subject, node, frame.event)):
                    yield finding(
                        node,
                        DEVICE_SYNC,
                        f"{subject.name}.{hook.name} calls {words} at every batch, and the loop waits for the device "
                        f"each time: keep the tensor (detached) in a Cell, and read its number once an epoch.",
                    )


def _sync(subject: Subject, call: ast.Call, event: str) -> Optional[str]:
    if isinstance(call.func, ast.Attribute) and call.func.attr in _SYNCS and not call.args:
        return f"{ast.unparse(call.func)}()"
    if subject.meaning(call.func) in _CONVERTS and call.args:
        for part in ast.walk(call.args[0]):
            if isinstance(part, ast.Attribute) and part.attr in ("loss", "pred") and is_name(part.value, event):
                return ast.unparse(call)
    return None
