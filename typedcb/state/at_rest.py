"""Saves a learner that is in no fit, and loads it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Optional

from ..errors import CheckpointWarning
from ..store import AnyPath, draft, found, read, write
from ..together import on_main
from .capture import bring_together, captured, lost
from .mismatch import OnMismatch
from .restore import prepared
from .subject import HasState


def save(learner: HasState, path: AnyPath) -> None:
    """Writes a checkpoint of a learner at rest.

    Args:
        learner: The learner.
        path: The directory that it becomes; nothing may be there yet.

    Raises:
        StateError: A cell holds what no checkpoint can hold.
        CheckpointWriteError: It cannot be written.
    """
    left_out = lost(learner)
    if left_out is not None:
        warnings.warn(f"{path} is without a part of the state. {left_out}.", CheckpointWarning, stacklevel=3)
    bring_together(learner)
    content = draft(captured(learner), copy=False)
    if content.sharded:
        write(Path(path), content)
    else:
        on_main(lambda: write(Path(path), content))


def load(learner: HasState, path: AnyPath, on_mismatch: Optional[OnMismatch]) -> None:
    """Gives a learner at rest the state in a checkpoint.

    Args:
        learner: The learner.
        path: A checkpoint, or a folder of them: the newest sound one in it.
        on_mismatch: What of the checkpoint may be left out where it does not fit.

    Raises:
        CheckpointError: There is no sound checkpoint, or it does not fit; nothing of it was copied.
    """
    prepared(learner, read(found(path)), on_mismatch or {}).apply(at_rest=True)
