"""Which checkpoints of a folder stay, and which of them a fit goes on from."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path
from typing import Optional

from ..errors import CheckpointError, CheckpointWarning
from .manifest import MANIFEST
from .names import STEP, AnyPath, steps, temporary_name
from .reading import verify
from .writing import Written


def latest(folder: AnyPath) -> Path:
    """The newest checkpoint in a folder that is sound. Broken ones that are newer are named in a warning.

    Args:
        folder: Where the checkpoints are.

    Raises:
        CheckpointError: There is no folder, or no sound checkpoint in it; each broken one is named.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is no folder, so that there is no checkpoint to go on from.")
    broken: list[str] = []
    for path in reversed(steps(folder)):
        try:
            verify(path)
        except CheckpointError as error:
            broken.append(str(error))
            continue
        if broken:
            text = f"{path.name} is gone on from, since newer checkpoints are broken:\n" + "\n".join(broken)
            warnings.warn(text, CheckpointWarning, stacklevel=2)
        return path
    why = "each is broken:\n" + "\n".join(broken) if broken else "it has none, named as step-00000042 is."
    raise CheckpointError(f"{folder} has no checkpoint to go on from: {why}")


def found(path: AnyPath) -> Path:
    """A checkpoint by its own path, or the newest sound one of the folder that it is in."""
    path = Path(path)
    if STEP.fullmatch(path.name) or (path / MANIFEST).is_file():
        return path
    return latest(path)


def clean(folder: Path, keep: int, spared: Optional[str], written: Optional[Written] = None) -> None:
    """Removes all but the newest checkpoints of a folder, once the newest of them is known to be sound.

    It is when this process has just written it, with every file forced to the disk, and nothing about its files has
    changed since. Any other one is read whole, and compared with its checksums. Neither sees what a disk has lost that
    said it had stored it: for that there are the others that are kept, and `latest`, which goes back to them.

    Args:
        folder: Where they are.
        keep: How many to keep.
        spared: The name of one that stays in any case.
        written: What was written last.
    """
    those = steps(folder)
    old = [path for path in those[:-keep] if path.name != spared]
    if not old:
        return
    if written is None or written.path != those[-1] or not written.is_untouched():
        verify(those[-1])
    for path in old:
        # renamed first: whoever is killed in the middle leaves a temporary name, and no broken checkpoint
        gone = temporary_name(path)
        try:
            os.rename(path, gone)
            shutil.rmtree(gone)
        except OSError as error:
            warnings.warn(f"{path} could not be removed: {error}", CheckpointWarning, stacklevel=2)
