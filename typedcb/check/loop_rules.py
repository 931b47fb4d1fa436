"""Rules about what a callback does besides its hooks' answers: to the loop, and to state that is not its own."""

from __future__ import annotations

import ast
from typing import Final, Iterator, Optional

from ..codes import AGAINST_THE_LOOP, LIVE_WEIGHTS, MUTABLE_FIELD, SHARED_STATE
from ..hooks import HOOKS
from .findings import Finding, finding
from .source import dotted
from .subject import Frame, Function, Subject, is_name, is_state, within

_PER_STEP: Final = ("begin_batch", "after_pred", "after_loss", "after_backward", "after_step", "after_batch")
_AT_THE_END: Final = ("after_fit", "after_cancel_train")


def against_the_loop(subject: Subject) -> Iterator[Finding]:
    """Backward, a step or the zeroing of gradients that the loop does as well; a mode that nobody sets back."""
    named = {name for method in subject.methods for node in ast.walk(method) if (name := _last_name(node))}
    for hook in subject.hooks:
        for frame in subject.frames(hook):
            for node in within(frame.method):
                problem = _done_twice(hook.name, frame, node, named) or _left_behind(hook.name, node, named)
                if problem and isinstance(node, ast.Call):
                    yield finding(node, AGAINST_THE_LOOP, f"{subject.name}.{hook.name} {problem}")


def _last_name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _done_twice(hook: str, frame: Frame, node: ast.AST, named: set[str]) -> Optional[str]:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return None
    of, does = dotted(node.func.value), node.func.attr
    words = f"calls {ast.unparse(node.func)}()"
    on_opt = of.rpartition(".")[2] == "opt"
    if does == "backward" and of == f"{frame.event}.loss" and frame.event and "SkipBackward" not in named:
        return f"{words}, and the loop does so as well: leave it to the loop, or answer SkipBackward() from after_loss."
    if does == "step" and on_opt and hook in _PER_STEP and "SkipStep" not in named:
        return f"{words}, and the loop steps as well: leave it to the loop, or answer SkipStep() from after_backward."
    cleared = on_opt or of.rpartition(".")[2] == "model"
    if does == "zero_grad" and cleared and hook == "after_backward" and "SkipStep" not in named:
        return f"{words} before the step, which then changes nothing: the loop zeroes gradients after after_step."
    return None


def _left_behind(hook: str, node: ast.AST, named: set[str]) -> Optional[str]:
    if hook in _AT_THE_END or not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return None
    words = ast.unparse(node)
    if node.func.attr == "eval" and dotted(node.func.value).endswith("learn.model") and "train" not in named:
        return (
            f"calls {words}, and nobody sets the model back: the rest of the fit would train in evaluation mode. Write "
            f"{ast.unparse(node.func.value)}.train() when you are done; the loop's own validation sets both."
        )
    return None


def live_weights(subject: Subject) -> Iterator[Finding]:
    """A model's weights put into a cell as they are: they are the very tensors that the next step changes."""
    for method in subject.methods:
        receiver = subject.receiver(method)
        for node in within(method):
            for target, value in _kept(node, receiver):
                weights = _weights(value)
                if weights:
                    yield finding(
                        value,
                        LIVE_WEIGHTS,
                        f"{subject.name}.{method.name} keeps {weights} in {target}, and these are the very tensors "
                        f"that the next step changes: keep copies, copy.deepcopy({weights}), or use SaveBest.",
                    )


def _kept(node: ast.AST, receiver: str) -> Iterator[tuple[str, ast.expr]]:
    """What a statement puts into a cell or a series of the instance."""
    if isinstance(node, ast.Assign) and is_state(node.targets[0], receiver, "value"):
        yield ast.unparse(node.targets[0]), node.value
    elif isinstance(node, ast.Call) and is_state(node.func, receiver, "append") and node.args:
        yield ast.unparse(node.func).removesuffix(".append"), node.args[0]


_SHALLOW: Final = ("dict", "tuple", "list", "copy", "copy.copy", "OrderedDict")


def _weights(value: ast.expr) -> Optional[str]:
    """The call that gives a model's own tensors, also in a copy of the container alone; None where this is none."""
    if not isinstance(value, ast.Call):
        return None
    if isinstance(value.func, ast.Attribute):
        if value.func.attr == "state_dict":
            return ast.unparse(value)
        if value.func.attr == "copy" and not value.args:
            return _weights(value.func.value)
        if value.func.attr in ("parameters", "named_parameters", "buffers") and not value.args:
            return ast.unparse(value)
    is_shallow = dotted(value.func) in _SHALLOW and len(value.args) == 1
    return _weights(value.args[0]) if is_shallow else None


_GROWS: Final = (
    "append",
    "extend",
    "insert",
    "appendleft",
    "setdefault",
    "popitem",
    "sort",
    "reverse",
    "add",
    "update",
)
_OF_A_TENSOR: Final = ("Tensor", "Parameter", "ndarray")


def shared_state(subject: Subject) -> Iterator[Finding]:
    """A global, or an attribute of the class, that a method changes: all instances and all fits have the same one."""
    classes = {owner.node.name for owner in subject.lineage}
    for method in subject.methods:
        outer = {name for node in within(method) if isinstance(node, (ast.Global, ast.Nonlocal)) for name in node.names}
        for node in within(method):
            name = _outer(node, outer) or _of_class(subject, method, node, classes) or _of_module(subject, method, node)
            if name and isinstance(node, (ast.stmt, ast.expr)):
                yield finding(
                    node,
                    SHARED_STATE,
                    f"{subject.name}.{method.name} changes {name}, which all instances share, and which no fit resets "
                    f"and no checkpoint has: make it a cell, or series() for a history.",
                )


def _outer(node: ast.AST, names: set[str]) -> Optional[str]:
    is_set = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in names
    return node.id if is_set and isinstance(node, ast.Name) else None


def _of_class(subject: Subject, method: Function, node: ast.AST, classes: set[str]) -> Optional[str]:
    if not (isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)):
        return None
    receiver = subject.receiver(method)
    on_class = isinstance(node.value, ast.Name) and node.value.id in classes
    on_type = receiver and ast.unparse(node.value) in (f"type({receiver})", f"{receiver}.__class__")
    return ast.unparse(node) if on_class or on_type else None


def _of_module(subject: Subject, method: Function, node: ast.AST) -> Optional[str]:
    """The list, dict or set of the file that a hook changes in place."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _GROWS:
        target: ast.expr = node.func.value
    elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
        target = node.value
    else:
        return None
    is_hook = method.name in HOOKS or bool(subject.receiver(method))
    is_own = isinstance(target, ast.Name) and target.id in subject.definition.module.containers
    inner = {name.id for name in ast.walk(method) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)}
    return target.id if is_hook and is_own and isinstance(target, ast.Name) and target.id not in inner else None


def changed_in_place(subject: Subject) -> Iterator[Finding]:
    """What a field or a cell holds, changed in place: no reset brings back what it was."""
    for method in subject.methods:
        receiver = subject.receiver(method)
        for node in within(method) if receiver else ():
            target = _target_of_change(node)
            words = ast.unparse(target) if target is not None else ""
            if target is not None and isinstance(node, ast.expr) and _is_kept_whole(subject, target, receiver):
                yield finding(
                    node,
                    MUTABLE_FIELD,
                    f"{subject.name}.{method.name} changes {words} in place, and no reset brings back what it was: "
                    f"keep it in a Cell, and set its value to a new one; or in series(), for a history.",
                )


def _target_of_change(node: ast.AST) -> Optional[ast.expr]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        does = node.func.attr
        in_place = does.endswith("_") and not does.endswith("__") and does != "requires_grad_"
        return node.func.value if in_place or does in _GROWS[:8] else None
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, (ast.Store, ast.Del)):
        return node.value
    return None


def _is_kept_whole(subject: Subject, target: ast.expr, receiver: str) -> bool:
    """Whether this is a tensor that is a field, or what a cell holds that is no tensor."""
    if not isinstance(target, ast.Attribute):
        return False
    if is_name(target.value, receiver):
        return subject.kind_of_field(target.attr) in _OF_A_TENSOR
    if target.attr == "value" and isinstance(target.value, ast.Attribute) and is_name(target.value.value, receiver):
        return subject.kind_of_field(target.value.attr) == "Cell" and not _holds_tensor(subject, target.value.attr)
    return False


def _holds_tensor(subject: Subject, field: str) -> bool:
    annotation = subject.annotation(field)
    held = annotation.slice if isinstance(annotation, ast.Subscript) else None
    return held is not None and any(name in ast.unparse(held) for name in _OF_A_TENSOR)
