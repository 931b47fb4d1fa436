"""Names that read as a hook's and are none, and names by which other frameworks are told something: what was meant.

`rules.py` and `typedcb.check` refuse them by the words that stand here.
"""

from __future__ import annotations

import difflib
from typing import Callable, Collection, Final, Mapping, Optional

from .hooks import HOOKS

_HOOK_PREFIXES: Final = ("begin_", "after_", "before_", "on_")

_FOREIGN: Final[Mapping[str, str]] = {
    "on_exception": "after_fit",
    "before_train": "begin_epoch",
    "after_train": "begin_validate",
    "on_grad_computed": "after_backward",
    "before_step": "after_backward",
    "on_optimizer_step": "after_step",
    "on_evaluate": "after_validate",
    "after_cancel_fit": "after_cancel_train",
}
"""Hooks of other frameworks whose names do not say by themselves what they are here."""

_MOMENTS: Final[Mapping[str, str]] = {
    "begin": "begin", "start": "begin", "before": "begin", "pre": "begin",
    "end": "after", "after": "after", "post": "after", "completed": "after",
}  # fmt: skip
"""What frameworks call the beginning and the end of something."""

_THINGS: Final[Mapping[str, str]] = {
    "grad": "grad", "zero": "grad", "optimizer": "step", "optim": "step", "backward": "backward", "loss": "loss",
    "pred": "pred", "predict": "pred", "forward": "pred",
    "batch": "batch", "step": "batch", "iter": "batch", "iteration": "batch",
    "validate": "validate", "validation": "validate", "valid": "validate", "val": "validate", "eval": "validate",
    "test": "validate", "epoch": "epoch", "fit": "fit", "train": "fit", "training": "fit",
}  # fmt: skip
"""What frameworks call the parts of a fit; of several in one name the one that comes first here is meant."""

_HOOK_AT: Final[Mapping[tuple[str, str], str]] = {
    ("begin", "grad"): "after_step", ("after", "grad"): "after_batch",
    ("begin", "step"): "after_backward", ("after", "step"): "after_step",
    ("begin", "backward"): "after_loss", ("after", "backward"): "after_backward",
    ("begin", "loss"): "after_pred", ("after", "loss"): "after_loss",
    ("begin", "pred"): "begin_batch", ("after", "pred"): "after_pred",
    ("begin", "batch"): "begin_batch", ("after", "batch"): "after_batch",
    ("begin", "validate"): "begin_validate", ("after", "validate"): "after_validate",
    ("begin", "epoch"): "begin_epoch", ("after", "epoch"): "after_epoch",
    ("begin", "fit"): "begin_fit", ("after", "fit"): "after_fit",
}  # fmt: skip


def near_hook(name: str) -> Optional[str]:
    """The hook that somebody who wrote `name` most likely meant; None where nothing is near.

    Args:
        name: A method's name, such as `after_bacward` or another framework's `on_train_batch_end`.
    """
    if name in HOOKS:
        return name
    meant = _FOREIGN.get(name) or _by_moment(name)
    if meant:
        return meant
    near = difflib.get_close_matches(name.lower(), HOOKS, n=1, cutoff=0.6)
    return near[0] if near else None


def _by_moment(name: str) -> Optional[str]:
    """The hook of a name that is made of a moment and of parts of a fit alone, such as `train_epoch_end`."""
    words = name.lower().removeprefix("on_").split("_")
    moments = [_MOMENTS[word] for word in words if word in _MOMENTS]
    things = [thing for word, thing in _THINGS.items() if word in words]
    if not moments or not things or not all(word in _MOMENTS or word in _THINGS for word in words):
        return None
    return _HOOK_AT[moments[0], things[0]]


def name_problem(name: str, called: Optional[Callable[[], bool]] = None) -> Optional[str]:
    """What is wrong with a method of this name in a callback; None where nothing is.

    A name that looks like a hook's and is none would never be called, so it is refused: one that begins as hooks do,
    one that says a moment and a part of a fit, and one that is a letter or two from a hook's.

    Args:
        name: The method's name.
        called: Whether the callback calls it itself, as it may call a `start_epoch`, if not what begins as hooks do;
            nobody does by default.
    """
    if name in HOOKS or name.startswith("_"):
        return None
    begins_so = name.lower().startswith(_HOOK_PREFIXES)
    reads_as_hook = begins_so or name in _FOREIGN or _by_moment(name) is not None
    if not reads_as_hook and not difflib.get_close_matches(name.lower(), HOOKS, n=1, cutoff=0.85):
        return None
    if not begins_so and called is not None and called():
        return None
    near = near_hook(name)
    hint = f"did you mean {near}?" if near else f"the hooks are {', '.join(HOOKS)}."
    return f"is no hook; {hint} (A method of your own needs a name that does not read as a hook's: _{name}, say.)"


_SET_UP: Final[Mapping[str, str]] = {
    "setup": "do this in begin_fit",
    "initialize": "do this in begin_fit, or in __post_init__",
    "set_params": "what a callback needs are its fields",
    "set_model": "a LearnerCallback has self.learn.model",
    "set_trainer": "a LearnerCallback has self.learn",
    "attach": "learn.add attaches a callback, and what it needs are its fields",
    "run_event": "there is one hook for each event",
    "match": "a hook asks this itself",
    "apply": "do this in the hook of its event",
    "prepare_data": "do this before the fit",
    "teardown": "do this in after_fit",
    "close": "do this in after_fit",
    "post_close": "do this in after_fit",
}
"""Methods of other frameworks' callbacks that are called there beside the hooks, and what to do instead."""

_THEIR_ARGUMENTS: Final = (
    "trainer",
    "pl_module",
    "stage",
    "state",
    "control",
    "logger",
    "net",
    "engine",
    "runner",
    "logs",
)

_GENERAL: Final = ("setup", "teardown", "initialize")
"""Names that somebody may well give to a method of their own, which takes something of their own."""

_ALWAYS_FOREIGN: Final = ("set_model", "set_params", "set_trainer", "run_event", *_GENERAL)


def set_up_problem(name: str, takes: Collection[str], *, called: Callable[[], bool], elsewhere: bool) -> Optional[str]:
    """What is wrong with a method that another framework would call; None where nothing is, or somebody calls it here.

    Args:
        name: The method's name, such as `setup`.
        takes: What it takes besides the instance.
        called: Whether other code that one sees here mentions it.
        elsewhere: Whether there is code that one does not see.
    """
    if name not in _SET_UP or called():
        return None
    theirs = any(argument in _THEIR_ARGUMENTS for argument in takes)
    surely = name in _ALWAYS_FOREIGN and (theirs or not takes or name not in _GENERAL)
    if not (surely and theirs if elsewhere else surely or theirs):
        return None
    return f"is never called: another framework would, and this loop calls hooks alone: {_SET_UP[name]}."


_FOREIGN_SETTINGS: Final[Mapping[str, str]] = {
    "run_after": "what runs before a callback is a field of it: smooth: SmoothLoss",
    "run_before": "let that callback have a field of this one's class, or give one of them an order: ClassVar[int]",
    "run_valid": 'write phases: ClassVar[tuple[Phase, ...]] = ("train",)',
    "run_train": 'write phases: ClassVar[tuple[Phase, ...]] = ("valid",)',
    "toward_end": "write order: ClassVar[int] = 100",
    "_order": "write order: ClassVar[int] = ...",
}


_FOREIGN_STATE: Final = ("state_dict", "load_state_dict")


def state_problem(name: str) -> Optional[str]:
    """What is wrong with a method by which another framework saves a callback; None where nothing is.

    Args:
        name: The method's name, such as `state_dict`.
    """
    if name not in _FOREIGN_STATE:
        return None
    return "is never called: what a checkpoint holds of a callback are its cells, all of them, and nothing else."


def setting_problem(name: str) -> Optional[str]:
    """What is wrong with a class attribute of this name, which is no field; None where nothing is.

    Args:
        name: The attribute's name, such as another framework's `run_after`.
    """
    if name not in _FOREIGN_SETTINGS:
        return None
    return f"is a setting of another framework's, and nothing reads it here: {_FOREIGN_SETTINGS[name]}."
