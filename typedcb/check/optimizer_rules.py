"""Rules about what a callback does to gradients, to the optimizer, and to the parameters that the optimizer has."""

from __future__ import annotations

import ast
from typing import Final, Iterator, Optional

from ..codes import DEAD_SETTING, GRADIENTS, NEW_WEIGHTS
from .findings import Finding, finding
from .subject import Frame, Function, Subject, is_name, spelled, within

_BEFORE: Final = ("begin_batch", "after_pred", "after_loss")
_IN_PLACE: Final = ("clip_grad_norm_", "clip_grad_value_")
_OWN_WAY: Final = ("backward", "autograd", "SkipBackward", "SkipStep", "SkipZeroGrad")
"""Who names one of these goes a way of their own with gradients."""


def gradients(subject: Subject) -> Iterator[Finding]:
    """Gradients read or clipped before backward or after the step, or dropped before it."""
    named = {getattr(node, "attr", getattr(node, "id", "")) for method in subject.methods for node in ast.walk(method)}
    if named.intersection(_OWN_WAY):
        return
    for hook in subject.hooks:
        for frame in subject.frames(hook):
            asked = _asked(frame.method)
            for node in within(frame.method):
                problem = _clipped_too_soon_or_late(hook.name, node) or _dropped(hook.name, frame, node)
                if isinstance(node, ast.Attribute) and node not in asked and _is_gradient(subject, frame, node):
                    problem = _read_too_soon_or_late(hook.name, node)
                if problem and isinstance(node, (ast.stmt, ast.expr)):
                    yield finding(node, GRADIENTS, f"{subject.name}.{hook.name} {problem}")


def _asked(method: Function) -> set[ast.AST]:
    """What stands in conditions, which may well ask whether somebody has left gradients behind."""
    tests = [node.test for node in within(method) if isinstance(node, (ast.If, ast.Assert))]
    return {part for test in tests for part in ast.walk(test)}


def _is_gradient(subject: Subject, frame: Frame, node: ast.Attribute) -> bool:
    """Whether this reads a tensor's `grad`, and not a field of that name, or `torch.func.grad`."""
    is_field = bool(frame.receiver) and is_name(node.value, frame.receiver)
    is_read = node.attr == "grad" and isinstance(node.ctx, ast.Load)
    return is_read and not is_field and not subject.meaning(node).startswith("torch.")


def _read_too_soon_or_late(hook: str, node: ast.Attribute) -> Optional[str]:
    if hook in _BEFORE:
        return f"reads {ast.unparse(node)}, and before backward there are no gradients: do this in after_backward."
    if hook == "after_batch":
        return f"reads {ast.unparse(node)}, and by then the gradients are zeroed: do this in after_step."
    return None


def _clipped_too_soon_or_late(hook: str, node: ast.AST) -> Optional[str]:
    if isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute)):
        name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
        if name in _IN_PLACE and hook in _BEFORE:
            return f"calls {name} before backward, when there are no gradients: do this in after_backward."
        if name in _IN_PLACE and hook in ("after_step", "after_batch"):
            return f"calls {name} when the optimizer has stepped, which changes nothing: do this in after_backward."
    return None


def _dropped(hook: str, frame: Frame, node: ast.AST) -> Optional[str]:
    """What is wrong with a loop over all parameters that drops the gradients before the step."""
    if hook != "after_backward" or not (isinstance(node, ast.For) and isinstance(node.target, ast.Name)):
        return None
    over = node.iter.func if isinstance(node.iter, ast.Call) else None
    if not spelled(frame.method, over).endswith("learn.model.parameters"):
        return None
    for statement in node.body:
        grad = _gradient_dropped(statement)
        if grad is not None and is_name(grad.value, node.target.id):
            return "drops all gradients before the step, which then changes nothing: answer CancelBatch() to skip it."
    return None


def _gradient_dropped(statement: ast.stmt) -> Optional[ast.Attribute]:
    """The gradient that a statement sets to None or to zero."""
    target: Optional[ast.expr] = None
    if (
        isinstance(statement, ast.Assign)
        and isinstance(statement.value, ast.Constant)
        and statement.value.value is None
    ):
        target = statement.targets[0]
    elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        called = statement.value.func
        target = called.value if isinstance(called, ast.Attribute) and called.attr == "zero_" else None
    return target if isinstance(target, ast.Attribute) and target.attr == "grad" else None


def dead_setting(subject: Subject) -> Iterator[Finding]:
    """The optimizer's defaults, which stand for groups to come: those that there are have settings of their own."""
    for method in subject.methods:
        asked = _looked_into(method)
        for node in within(method):
            is_defaults = isinstance(node, ast.Attribute) and node.attr == "defaults" and node not in asked
            if isinstance(node, ast.Attribute) and is_defaults and is_opt(spelled(method, node.value)):
                words = ast.unparse(node)
                yield finding(
                    node,
                    DEAD_SETTING,
                    f"{subject.name}.{method.name} asks {words}, which is for parameter groups that are still to be "
                    f"added: what is trained with stands in {words.removesuffix('.defaults')}.param_groups, and "
                    f"LR.read(group) and LR.write(group, lr) reach it.",
                )


def _looked_into(method: Function) -> set[ast.AST]:
    """What `in` looks into, as in `"momentum" in opt.defaults`, which tells one kind of optimizer from another."""
    return {
        node.comparators[0]
        for node in within(method)
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn))
    }


def is_opt(name: str) -> bool:
    """Whether this is the optimizer that the loop steps."""
    return name.endswith(("learn.opt", "parts.opt"))


def new_weights(subject: Subject) -> Iterator[Finding]:
    """A part of the model put in its place by a hook: the optimizer holds the parameters that there were before."""
    if any(
        isinstance(node, ast.Attribute) and node.attr == "add_param_group"
        for method in subject.methods
        for node in ast.walk(method)
    ):
        return
    for hook in subject.hooks:
        for frame in subject.frames(hook):
            for node in within(frame.method):
                if isinstance(node, ast.Assign) and _makes_parameters(subject, node.value):
                    words = next((ast.unparse(part) for part in node.targets if _is_part(frame, part)), None)
                    if words:
                        yield finding(
                            node,
                            NEW_WEIGHTS,
                            f"{subject.name}.{hook.name} sets {words} to a new module, whose parameters the optimizer "
                            f"does not have, and so never trains: build the model before the learner, or add them, "
                            f'self.learn.opt.add_param_group({{"params": ...}}).',
                        )


def _is_part(frame: Frame, target: ast.expr) -> bool:
    """Whether this is a part of the learner's model; what a parameter of it holds is none."""
    if isinstance(target, ast.Attribute) and target.attr == "data":
        return False
    node = target
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
        if spelled(frame.method, node).endswith("learn.model"):
            return True
    return False


_WITH_PARAMETERS: Final = (
    "Linear", "LazyLinear", "Bilinear", "Conv", "LazyConv", "BatchNorm", "LazyBatchNorm", "SyncBatchNorm", "GroupNorm",
    "LayerNorm", "RMSNorm", "Embedding", "RNN", "LSTM", "GRU", "Transformer", "MultiheadAttention", "PReLU",
    "Parameter",
)  # fmt: skip
"""How the names of those classes in torch.nn begin that have parameters; the others, such as Dropout, have none."""


def _makes_parameters(subject: Subject, value: ast.expr) -> bool:
    """Whether this makes a module of torch's that has parameters, by itself or inside another, or a parameter."""
    if not isinstance(value, ast.Call):
        return False
    home, _, name = subject.meaning(value.func).rpartition(".")
    if home in ("torch.nn", "torch.nn.parameter") or home.startswith("torch.nn.modules."):
        own = name.startswith(_WITH_PARAMETERS)
        return own or any(_makes_parameters(subject, inner) for inner in value.args)
    return False
