"""What makes a class a sound callback, as rules over names and signatures: one implementation of each.

`callback.py` asks them when a class is made; they need neither torch nor an instance.
"""

from __future__ import annotations

import difflib
import inspect
from typing import Final, Optional

from .hooks import HOOKS

_HOOK_PREFIXES: Final = ("begin_", "after_", "before_", "on_")

_FOREIGN: Final = {
    "on_train_begin": "begin_fit",
    "on_train_start": "begin_fit",
    "on_fit_start": "begin_fit",
    "before_fit": "begin_fit",
    "on_train_end": "after_fit",
    "on_fit_end": "after_fit",
    "on_exception": "after_fit",
    "on_epoch_begin": "begin_epoch",
    "on_epoch_start": "begin_epoch",
    "on_train_epoch_start": "begin_epoch",
    "before_epoch": "begin_epoch",
    "before_train": "begin_epoch",
    "on_epoch_end": "after_epoch",
    "on_train_epoch_end": "after_epoch",
    "after_train": "begin_validate",
    "on_batch_begin": "begin_batch",
    "on_batch_start": "begin_batch",
    "on_step_begin": "begin_batch",
    "on_train_batch_begin": "begin_batch",
    "on_train_batch_start": "begin_batch",
    "on_validation_batch_start": "begin_batch",
    "on_test_batch_begin": "begin_batch",
    "before_batch": "begin_batch",
    "on_batch_end": "after_batch",
    "on_step_end": "after_batch",
    "on_train_batch_end": "after_batch",
    "on_validation_batch_end": "after_batch",
    "on_test_batch_end": "after_batch",
    "on_loss_begin": "after_pred",
    "on_backward_begin": "after_loss",
    "on_before_backward": "after_loss",
    "before_backward": "after_loss",
    "on_backward_end": "after_backward",
    "on_after_backward": "after_backward",
    "on_grad_computed": "after_backward",
    "on_before_optimizer_step": "after_backward",
    "on_pre_optimizer_step": "after_backward",
    "before_step": "after_backward",
    "on_optimizer_step": "after_step",
    "on_before_zero_grad": "after_step",
    "on_validation_start": "begin_validate",
    "on_validation_epoch_start": "begin_validate",
    "on_test_begin": "begin_validate",
    "before_validate": "begin_validate",
    "on_validation_end": "after_validate",
    "on_validation_epoch_end": "after_validate",
    "on_evaluate": "after_validate",
    "on_test_end": "after_validate",
    "after_cancel_fit": "after_cancel_train",
}


def near_hook(name: str) -> Optional[str]:
    """The hook that somebody who wrote `name` most likely meant; None where nothing is near.

    Args:
        name: A method's name, such as `after_bacward` or another framework's `on_train_batch_end`.
    """
    if name in _FOREIGN:
        return _FOREIGN[name]
    near = difflib.get_close_matches(name.lower(), HOOKS, n=1, cutoff=0.6)
    return near[0] if near else None


def name_problem(name: str) -> Optional[str]:
    """What is wrong with a method of this name in a callback; None where nothing is.

    A name that looks like a hook's and is none would never be called, so it is refused: one that begins as hooks do,
    and one that is a letter or two from a hook's.

    Args:
        name: The method's name.
    """
    if name in HOOKS or name.startswith("_"):
        return None
    reads_as_hook = name.lower().startswith(_HOOK_PREFIXES)
    if not reads_as_hook and not difflib.get_close_matches(name.lower(), HOOKS, n=1, cutoff=0.85):
        return None
    near = near_hook(name)
    hint = f"did you mean {near}?" if near else f"the hooks are {', '.join(HOOKS)}."
    return f"is no hook; {hint} (A method of your own needs a name that does not read as a hook's: _{name}, say.)"


def signature_problem(name: str, function: object) -> Optional[str]:
    """What is wrong with what a hook takes; None where nothing is.

    Args:
        name: The hook's name.
        function: What the class has under that name.
    """
    event = HOOKS[name].event.__name__
    expected = f"write def {name}(self, event: {event})"
    if not inspect.isfunction(function):
        return f"is a {type(function).__name__}, and a hook is a plain method: {expected}"
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return f"is async, and the loop awaits nothing: {expected}"
    if inspect.isgeneratorfunction(function):
        return f"has a yield in it, so that calling it would run nothing: {expected}"
    try:
        inspect.signature(function).bind(None, None)
    except TypeError as error:
        return f"is called with one event, and cannot be ({error}): {expected}"
    return None
