"""The batches of a loader on their way into the loop: pairs, and as many as the loader says."""

from __future__ import annotations

import warnings
from itertools import chain
from typing import Iterator

from .articles import an_instance
from .cursor import Cursor
from .data import length_of
from .errors import BatchError, BatchWarning
from .events import P, X, Y


def checked(batches: Iterator[tuple[X, Y]], cursor: Cursor[X, Y, P]) -> Iterator[tuple[X, Y]]:
    """The same batches, the first of them checked: what a loader gives does not change its kind from batch to batch."""
    for first in batches:
        _check_pair(first)
        return chain((first,), batches)
    if cursor.epoch:
        hint = "was it a generator, which can be run through only once? Pass a DataLoader or a list."
    else:
        hint = "is the data set smaller than a batch, with drop_last=True?"
    raise BatchError(f"the loader gave no batch in the {cursor.phase} pass of epoch {cursor.epoch}: {hint}")


def check_count(cursor: Cursor[X, Y, P]) -> None:
    """Warns of a loader that has not given as many batches as it said."""
    told, given = cursor.n_batches, cursor.index + 1
    if told is not None and told != given:
        warnings.warn(
            f"the loader has a length of {told}, and gave {given} batches in the {cursor.phase} pass of epoch "
            f"{cursor.epoch}: what goes by its length, such as a schedule, was wrong. Mend its __len__.",
            BatchWarning,
            stacklevel=3,
        )


def _check_pair(batch: object) -> None:
    """Refuses a batch that is no pair; a DataLoader makes pairs as lists."""
    size = length_of(batch)
    if size == 2 and isinstance(batch, (tuple, list)):
        return
    what = an_instance(batch) + ("" if size is None else f" of {size}")
    raise BatchError(
        f"the loader gave {what}, and a batch is a pair (xb, yb): put several inputs into a tuple or dict of their "
        f"own, as xb."
    )
