"""Typed callbacks for PyTorch training loops.

What is where, and which way imports go (a module imports only from lines above its own):

    outcomes, errors        what a hook may answer; what can go wrong
    ranks                   the processes of a fit, as a callback may ask of them
    showing, codes          how things show themselves; the codes of the mistakes that are found in the source
    tree, store             state as plain values; checkpoints on the disk; with locks and together
    events                  what a hook is given: one immutable class per event
    hooks, naming, rules    one Protocol per hook; names that read as one's; what makes a class a sound callback
    cell, callback          state that changes; the base of all callbacks
    check                   mistakes that no type checker sees, found in the source
    answers                 what a callback's hooks may answer, read from their return types
    dependencies            what callbacks depend on, and in what order they run
    dispatch, attach        callbacks become a plan, and an event is folded through it
    agreement, identity     what several processes decide together; what tells callbacks apart
    cursor, scopes, batches where a pass is; a batch as types; with losses, optimizer and stages
    turns                   turns of objectives within a batch
    data, device, engine    what a loop is fed with, and what it computes on
    loading, position       a loader's batches on their way into the loop; how far a fit has come
    run, fit, validation    what a loop's `with` gives: a fit and its epochs, or a validation
    loop                    the training loop as types
    objective               one of several that a loop trains: a model, its optimizer and its callbacks
    needs                   what a callback may ask of what runs it; with portrait and summary, what a learner shows
    hosted                  a fit in somebody else's trainer
    state                   what is saved and how it is given back; with loaders, randomness, values and trained
    callbacks               the ready-made ones
    callback_holder         what a learner does with callbacks
    recipes                 trainings that are known by a name
    learner, loop_parts     a model, its data, its loss and its optimizer on that loop, or for a loop of one's own
    engines                 several processes
    trace, explain          a recording of what happens; in what order callbacks run, and why
    interop                 other trainers, and callbacks of other systems
    cli, mypy               the command line; `check` as a mypy plugin

Everything is loaded when it is first asked for, so that `import typedcb` by itself is quick: the mypy plugin does so in
each run of mypy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

# At once, since the function of that name is to stand before the module of that name.
from .cell import Cell as Cell
from .cell import Readable as Readable
from .cell import Series as Series
from .cell import View as View
from .cell import cell as cell
from .cell import series as series

if TYPE_CHECKING:
    from .callback import AnyCallback as AnyCallback
    from .callback import AnyLearnerCallback as AnyLearnerCallback
    from .callback import Callback as Callback
    from .callback import LearnerCallback as LearnerCallback
    from .data import DataBunch as DataBunch
    from .errors import BatchError as BatchError
    from .errors import BatchWarning as BatchWarning
    from .errors import CallbackError as CallbackError
    from .errors import CheckpointError as CheckpointError
    from .errors import CheckpointWarning as CheckpointWarning
    from .errors import CheckpointWriteError as CheckpointWriteError
    from .errors import CorruptCheckpointError as CorruptCheckpointError
    from .errors import DependencyError as DependencyError
    from .errors import EngineError as EngineError
    from .errors import HookError as HookError
    from .errors import LogWarning as LogWarning
    from .errors import LoopError as LoopError
    from .errors import MismatchError as MismatchError
    from .errors import NonFiniteError as NonFiniteError
    from .errors import PeerError as PeerError
    from .errors import StateError as StateError
    from .errors import TraceError as TraceError
    from .errors import TraceWarning as TraceWarning
    from .errors import TypedcbError as TypedcbError
    from .errors import UnsteppedWarning as UnsteppedWarning
    from .events import AfterBackward as AfterBackward
    from .events import AfterBatch as AfterBatch
    from .events import AfterCancelBatch as AfterCancelBatch
    from .events import AfterCancelEpoch as AfterCancelEpoch
    from .events import AfterCancelTrain as AfterCancelTrain
    from .events import AfterEpoch as AfterEpoch
    from .events import AfterFit as AfterFit
    from .events import AfterLoss as AfterLoss
    from .events import AfterPred as AfterPred
    from .events import AfterStep as AfterStep
    from .events import AfterValidate as AfterValidate
    from .events import BatchEvent as BatchEvent
    from .events import BeginBatch as BeginBatch
    from .events import BeginEpoch as BeginEpoch
    from .events import BeginFit as BeginFit
    from .events import BeginValidate as BeginValidate
    from .events import Cancelled as Cancelled
    from .events import Completed as Completed
    from .events import Failed as Failed
    from .events import FitOutcome as FitOutcome
    from .events import LossEvent as LossEvent
    from .events import OnlyBegun as OnlyBegun
    from .events import Phase as Phase
    from .events import Reached as Reached
    from .learner import Learner as Learner
    from .loop import Loop as Loop
    from .loop_parts import LoopParts as LoopParts
    from .loop_parts import ObjectiveParts as ObjectiveParts
    from .objective import Objective as Objective
    from .outcomes import CancelBatch as CancelBatch
    from .outcomes import CancelEpoch as CancelEpoch
    from .outcomes import CancelTrain as CancelTrain
    from .outcomes import SkipBackward as SkipBackward
    from .outcomes import SkipStep as SkipStep
    from .outcomes import SkipValidate as SkipValidate
    from .outcomes import SkipZeroGrad as SkipZeroGrad

_HOMES: Final = {
    "callback": (
        "AnyCallback",
        "AnyLearnerCallback",
        "Callback",
        "LearnerCallback",
    ),
    "errors": (
        "BatchError",
        "BatchWarning",
        "CallbackError",
        "CheckpointError",
        "CheckpointWarning",
        "CheckpointWriteError",
        "CorruptCheckpointError",
        "DependencyError",
        "EngineError",
        "HookError",
        "LogWarning",
        "LoopError",
        "MismatchError",
        "NonFiniteError",
        "PeerError",
        "StateError",
        "TraceError",
        "TraceWarning",
        "TypedcbError",
        "UnsteppedWarning",
    ),
    "events": (
        "AfterBackward",
        "AfterBatch",
        "AfterCancelBatch",
        "AfterCancelEpoch",
        "AfterCancelTrain",
        "AfterEpoch",
        "AfterFit",
        "AfterLoss",
        "AfterPred",
        "AfterStep",
        "AfterValidate",
        "BatchEvent",
        "BeginBatch",
        "BeginEpoch",
        "BeginFit",
        "BeginValidate",
        "Cancelled",
        "Completed",
        "Failed",
        "FitOutcome",
        "LossEvent",
        "OnlyBegun",
        "Phase",
        "Reached",
    ),
    "outcomes": (
        "CancelBatch",
        "CancelEpoch",
        "CancelTrain",
        "SkipBackward",
        "SkipStep",
        "SkipValidate",
        "SkipZeroGrad",
    ),
    "data": ("DataBunch",),
    "learner": ("Learner",),
    "loop": ("Loop",),
    "loop_parts": ("LoopParts", "ObjectiveParts"),
    "objective": ("Objective",),
}
"""Where each name is from; a test holds these to the imports above."""

_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names}

__version__ = "0.1.0"


if not TYPE_CHECKING:  # with it, a checker would take any misspelt name for an object
    __all__ = sorted({*_HOME_OF, "Cell", "Readable", "Series", "View", "cell", "series"})  # noqa: PLE0605

    def __getattr__(name: str) -> object:
        if name not in _HOME_OF:
            raise AttributeError(f"module 'typedcb' has no attribute '{name}'")
        value: object = vars(import_module(f"typedcb.{_HOME_OF[name]}"))[name]
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
