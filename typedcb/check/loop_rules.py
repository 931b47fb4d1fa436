"""Rules about what a callback does besides its hooks' answers, and the loop does as well or is disturbed by."""

from __future__ import annotations

import ast
from typing import Final, Iterator, Optional

from ..codes import AGAINST_THE_LOOP
from .findings import Finding, finding
from .optimizer_rules import is_opt
from .source import dotted
from .subject import Frame, Subject, spelled, within

_PER_STEP: Final = ("begin_batch", "after_pred", "after_loss", "after_backward", "after_step", "after_batch")
_SET_BACK: Final = ("begin_validate", "after_validate", "after_fit", "after_cancel_train")
"""After which the loop sets every module's mode back, or trains no more."""


def against_the_loop(subject: Subject) -> Iterator[Finding]:
    """Backward, a step or the zeroing of gradients that the loop does as well; a fit in a fit; a mode left behind."""
    named = {name for method in subject.methods for node in ast.walk(method) if (name := _last_name(node))}
    for hook in subject.hooks:
        for frame in subject.frames(hook):
            for node in within(frame.method):
                problem = _problem(hook.name, frame, node, named) if isinstance(node, ast.Call) else None
                problem = problem or _for_good(node)
                if problem and isinstance(node, (ast.stmt, ast.expr)):
                    yield finding(node, AGAINST_THE_LOOP, f"{subject.name}.{hook.name} {problem}")


def _last_name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _problem(hook: str, frame: Frame, call: ast.Call, named: set[str]) -> Optional[str]:
    """What is wrong with a call in a hook, or in a helper of it."""
    if hook in _BETWEEN and "eval" not in named and _is_model(frame, call.func) and not _switched(frame):
        return (
            f"calls {ast.unparse(call.func)} in training mode: dropout is on, and batch norm takes what it is shown "
            f"into its statistics. Write {ast.unparse(call.func)}.eval() before, and .train() after it."
        )
    if not isinstance(call.func, ast.Attribute):
        return None
    return (
        _done_twice(hook, frame, call.func, named)
        or _left_behind(hook, frame, call, named)
        or _fit_in_fit(call.func)
        or _scheduled_twice(frame, call.func)
    )


_BETWEEN: Final = ("begin_epoch", "after_epoch")
"""Where nobody but a hook calls the model, and the model is in training mode."""


def _switched(frame: Frame) -> bool:
    """Whether a method calls `train(False)`, or hands the model to what a `with` enters, which may switch it."""
    handed = [
        argument
        for node in within(frame.method)
        if isinstance(node, ast.With)
        for item in node.items
        if isinstance(item.context_expr, ast.Call)
        for argument in item.context_expr.args
    ]
    return any(map(_is_false, _switches(frame))) or any(_is_model(frame, argument) for argument in handed)


def _switches(frame: Frame) -> list[list[ast.expr]]:
    """What a method hands to `train`, call by call."""
    return [
        node.args
        for node in within(frame.method)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "train"
    ]


def _is_model(frame: Frame, node: ast.expr) -> bool:
    return spelled(frame.method, node).endswith("learn.model")


def _done_twice(hook: str, frame: Frame, called: ast.Attribute, named: set[str]) -> Optional[str]:
    of, does = dotted(called.value), called.attr
    if does == "backward" and of == f"{frame.event}.loss" and frame.event and "SkipBackward" not in named:
        so = ", and the loop does so as well: leave it to the loop, or answer SkipBackward() from after_loss."
    elif "SkipStep" in named:
        return None
    elif does == "step" and hook in _PER_STEP and _is_on_opt(frame, called):
        so = ", and the loop steps as well: leave it to the loop, or answer SkipStep() from after_backward."
    elif does == "zero_grad" and hook == "after_backward" and _has_gradients(frame, called):
        so = " before the step, which then changes nothing: the loop zeroes gradients after after_step."
    else:
        return None
    return f"calls {ast.unparse(called)}(){so}"


def _is_on_opt(frame: Frame, called: ast.Attribute) -> bool:
    return dotted(called.value) == "opt" or is_opt(spelled(frame.method, called.value))


def _has_gradients(frame: Frame, called: ast.Attribute) -> bool:
    return _is_on_opt(frame, called) or dotted(called.value).rpartition(".")[2] == "model"


def _left_behind(hook: str, frame: Frame, call: ast.Call, named: set[str]) -> Optional[str]:
    if hook in _SET_BACK or not isinstance(call.func, ast.Attribute):
        return None
    if not (call.func.attr == "eval" and "train" not in named) and not _is_train_false(call, frame):
        return None
    if not _is_model(frame, call.func.value):
        return None
    return (
        f"calls {ast.unparse(call)}, and nobody sets the model back: the rest of the fit would train in evaluation "
        f"mode. Write {ast.unparse(call.func.value)}.train() when you are done; the loop's own validation sets both."
    )


def _is_train_false(call: ast.Call, frame: Frame) -> bool:
    """Whether this is `train(False)`, and the method does not call `train` otherwise."""
    is_train = isinstance(call.func, ast.Attribute) and call.func.attr == "train"
    return is_train and all(map(_is_false, _switches(frame)))


def _is_false(arguments: list[ast.expr]) -> bool:
    return bool(arguments) and isinstance(arguments[0], ast.Constant) and arguments[0].value is False


_ALONE: Final = ("fit", "fit_one_cycle", "lr_find", "validate", "predict", "add", "remove")
"""What a learner does outside of any fit alone."""


def _fit_in_fit(called: ast.Attribute) -> Optional[str]:
    if called.attr not in _ALONE or not dotted(called.value).endswith("self.learn"):
        return None
    return (
        f"calls {ast.unparse(called)} while a fit is under way, which the learner refuses: do this when fit has "
        f"returned."
    )


def _scheduled_twice(frame: Frame, called: ast.Attribute) -> Optional[str]:
    of = spelled(frame.method, called.value) if called.attr == "step" else ""
    if not of.endswith(".scheduler.value") or of.count(".") < 3:  # its own is its own affair
        return None
    return f"calls {ast.unparse(called)}(), and its TorchScheduler does so as well: leave it to that."


def _for_good(node: ast.AST) -> Optional[str]:
    """What is wrong with gradients switched off by a statement, and not for the length of a `with` block."""
    call = node.value if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else None
    if call is None or dotted(call.func) != "torch.set_grad_enabled" or not _is_false(call.args):
        return None
    return f"calls {ast.unparse(call)} for the rest of the fit: write with torch.no_grad(), around what needs none."
