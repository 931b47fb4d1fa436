"""Rules about what a callback keeps: state that is not its own, and what changes behind its back."""

from __future__ import annotations

import ast
from typing import Final, Iterator, Optional

from ..codes import LIVE_WEIGHTS, MUTABLE_FIELD, SHARED_STATE
from ..hooks import HOOKS
from .findings import Finding, finding
from .source import dotted
from .subject import Function, Subject, is_name, is_state, last_value, within


def live_weights(subject: Subject) -> Iterator[Finding]:
    """A model's weights put into a cell as they are: they are the very tensors that the next step changes."""
    means_them = _works_on_parameters(subject)
    for method in subject.methods:
        receiver = subject.receiver(method)
        for node in within(method):
            for target, value in _kept(node, receiver):
                weights = _weights(method, value)
                if weights and not (means_them and weights.endswith("parameters()")):
                    yield finding(
                        value,
                        LIVE_WEIGHTS,
                        f"{subject.name}.{method.name} keeps {weights} in {target}, and these are the very tensors "
                        f"that the next step changes: keep copies, copy.deepcopy({weights}), or use SaveBest.",
                    )


def _works_on_parameters(subject: Subject) -> bool:
    """Whether a class has to do with gradients: one that clips them keeps the very parameters, and means to."""
    words = {getattr(node, "attr", getattr(node, "id", "")) for method in subject.methods for node in ast.walk(method)}
    return not words.isdisjoint(("grad", "requires_grad", "requires_grad_", "clip_grad_norm_", "clip_grad_value_"))


def _kept(node: ast.AST, receiver: str) -> Iterator[tuple[str, ast.expr]]:
    """What a statement puts into a cell or a series of the instance."""
    if isinstance(node, ast.Assign) and is_state(node.targets[0], receiver, "value"):
        yield ast.unparse(node.targets[0]), node.value
    elif isinstance(node, ast.Call) and is_state(node.func, receiver, "append") and node.args:
        yield ast.unparse(node.func).removesuffix(".append"), node.args[0]


_SHALLOW: Final = ("dict", "tuple", "list", "copy", "copy.copy", "OrderedDict")


def _weights(method: Function, value: ast.expr) -> Optional[str]:
    """The call that gives a model's own tensors, also in a copy of the container alone; None where this is none."""
    if isinstance(value, ast.Name):
        value = last_value(method, value)
    if isinstance(value, (ast.ListComp, ast.GeneratorExp, ast.DictComp)):
        element = value.value if isinstance(value, ast.DictComp) else value.elt
        return _weights(method, value.generators[0].iter) if _is_shared(element) else None
    if not isinstance(value, ast.Call):
        return None
    if isinstance(value.func, ast.Attribute):
        if value.func.attr == "state_dict":
            return ast.unparse(value)
        if value.func.attr in ("copy", "items", "values") and not value.args:
            return _weights(method, value.func.value)
        if value.func.attr in ("parameters", "named_parameters", "buffers") and not value.args:
            return ast.unparse(value)
    is_shallow = dotted(value.func) in _SHALLOW and len(value.args) == 1
    return _weights(method, value.args[0]) if is_shallow else None


def _is_shared(element: ast.expr) -> bool:
    """Whether an element of a comprehension is the very tensor that it runs over, or shares its memory."""
    if isinstance(element, ast.Call) and isinstance(element.func, ast.Attribute):
        return element.func.attr in ("detach", "view", "flatten") and _is_shared(element.func.value)
    if isinstance(element, ast.Attribute):
        return element.attr == "data" and _is_shared(element.value)
    if isinstance(element, ast.Tuple):
        return any(map(_is_shared, element.elts[1:]))
    return isinstance(element, ast.Name)


_ALWAYS_IN_PLACE: Final = (
    "append",
    "extend",
    "insert",
    "appendleft",
    "setdefault",
    "popitem",
    "sort",
    "reverse",
)
"""Methods that change what they are called on, whatever that is."""

_GROWS: Final = (*_ALWAYS_IN_PLACE, "add", "update")
"""Methods that change a list, a dict or a set; of another class `add` may give something new."""

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
    """The list, dict, set or cell of the file that a hook changes in place."""
    target = _changed(node)
    if not isinstance(target, ast.Name) or target.id not in subject.definition.module.containers:
        return None
    if method.name not in HOOKS and not subject.receiver(method):
        return None
    inner = {name.id for name in ast.walk(method) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)}
    return None if target.id in inner else target.id


def _changed(node: ast.AST) -> Optional[ast.expr]:
    """What is changed in place here: by a method, at an index, or as the value of a cell."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.value if node.func.attr in _GROWS else None
    is_set = isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, ast.Store)
    if isinstance(node, ast.Attribute) and node.attr != "value":
        return None
    return node.value if is_set and isinstance(node, (ast.Subscript, ast.Attribute)) else None


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
        return node.func.value if in_place or does in _ALWAYS_IN_PLACE else None
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
