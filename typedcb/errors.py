"""The errors of typedcb, each a subclass of the built-in that a caller would expect.

    TypedcbError
    ├── CallbackError (TypeError)       a class or instance that cannot serve as a callback
    │   └── DependencyError             what a callback needs is not attached, or needs itself
    ├── HookError (RuntimeError)        a hook answered what is not legal there
    ├── LoopError (RuntimeError)        the loop is used in a way that cannot work: a nested fit, a batch that has ended
    ├── BatchError (ValueError)         data that cannot be trained on: no batch, no pair, a loss that is no scalar
    ├── NonFiniteError (FloatingPointError)  nan or infinity, in a batch, a loss, a gradient or the weights
    ├── TraceError (OSError)            a trace that cannot be written or read
    ├── EngineError (RuntimeError)      an engine cannot do what it was asked for, or its processes differ
    │   └── PeerError                   another process of the fit has failed, or is gone
    └── CheckpointError (OSError)       a checkpoint that cannot be written, found or used
        ├── CheckpointWriteError        it could not be written; what was there before is as it was
        ├── CorruptCheckpointError      its files are not what was written, or not what a checkpoint may hold
        ├── MismatchError               it is sound, and belongs to another model, optimizer, data or set of callbacks
        └── StateError                  a value that no checkpoint can hold

`place` says where an error happened, in a note: its type and its traceback stay what they were.
"""

from __future__ import annotations


class TypedcbError(Exception):
    """The base of all errors that typedcb raises itself."""


class CallbackError(TypedcbError, TypeError):
    """A class or an instance that cannot serve as a callback; found when it is made or attached."""


class DependencyError(CallbackError):
    """What a callback depends on is not attached, or depends on the callback in turn."""


class HookError(TypedcbError, RuntimeError):
    """A hook answered, or raised, what is not legal there."""


class LoopError(TypedcbError, RuntimeError):
    """The loop is used in a way that cannot work, such as a fit inside a fit."""


class BatchError(TypedcbError, ValueError):
    """The data or the loss cannot be trained on: an empty loader, a batch that is no pair, a loss that is no scalar."""


class BatchWarning(UserWarning):
    """Something about the data that does not stop the fit, such as a loader that gives more batches than it said."""


class UnsteppedWarning(UserWarning):
    """A whole training pass in which no batch was stepped on, by no callback's doing: it is hardly meant."""


class NonFiniteError(TypedcbError, FloatingPointError):
    """A batch, a loss, a gradient or the weights are nan or infinite: no training goes on from there."""


class LogWarning(UserWarning):
    """What a callback shows or logs could not be written; the fit goes on without it."""


class EngineError(TypedcbError, RuntimeError):
    """An engine cannot do what it was asked for, or its processes do not do the same."""


class PeerError(EngineError):
    """Another process of the fit has failed, or is gone: this one ends with it.

    Args:
        message: Which process, where and why, in words.
        ranks: The processes that failed.
    """

    ranks: tuple[int, ...]
    """The processes that failed."""

    def __init__(self, message: str, ranks: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.ranks = ranks


class TraceError(TypedcbError, OSError):
    """A trace cannot be written, or a file cannot be read as one."""


class TraceWarning(UserWarning):
    """A trace could not be written on; the fit goes on without it."""


class CheckpointError(TypedcbError, OSError):
    """A checkpoint cannot be written, found or used; the learner is as it was."""


class CheckpointWriteError(CheckpointError):
    """A checkpoint could not be written: nothing of it is left, and older ones are as they were."""


class CorruptCheckpointError(CheckpointError):
    """A checkpoint's files are not what was written, or not what a checkpoint may hold; nothing of them was used."""


class MismatchError(CheckpointError):
    """A checkpoint is sound, and does not fit the learner; nothing of it was copied.

    Args:
        message: What differs, in words.
        differences: The same, one by one: of what, and how.
    """

    differences: tuple[tuple[str, str], ...]
    """What differs, each as a name, such as `model` or `EarlyStopping`, and how."""

    def __init__(self, message: str, differences: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.differences = differences


class StateError(CheckpointError):
    """A value that a checkpoint cannot hold, found when it is saved; it says where the value is."""


class CheckpointWarning(UserWarning):
    """Something about a checkpoint that does not stop the fit, such as a newer one that is broken."""


_MARK = "typedcb: "


def place(error: BaseException, where: str) -> None:
    """Notes on `error` where it happened, unless a place nearer to it has been noted before.

    Args:
        error: The error on its way out.
        where: The place in words, such as `in GradientClip.after_backward, epoch 0, batch 3, train`.
    """
    if not any(note.startswith(_MARK) for note in getattr(error, "__notes__", ())):
        error.add_note(_MARK + where)


def within(error: BaseException, where: str) -> None:
    """Notes on `error` what its place is a part of, after the place itself.

    Args:
        error: The error on its way out.
        where: What it happened in, in words, such as `in the turn of Critic`.
    """
    if _MARK + where not in getattr(error, "__notes__", ()):
        error.add_note(_MARK + where)
