"""The batches of a loader on their way into the loop: pairs, and as many as the loader says."""

from __future__ import annotations

import warnings
from itertools import chain
from typing import Iterator

from .articles import an_instance
from .cursor import Cursor
from .data import length_of
from .engine import Engine
from .errors import BatchError, BatchWarning, UnsteppedWarning
from .events import P, X, Y
from .stages import BACKWARD, LOSS


def checked(batches: Iterator[tuple[X, Y]], cursor: Cursor[X, Y, P], engine: Engine) -> Iterator[tuple[X, Y]]:
    """The same batches, the first of them checked: what a loader gives does not change its kind from batch to batch."""
    for first in batches:
        _check_pair(first)
        engine.check_share(cursor.phase)
        return chain((first,), batches)
    if cursor.epoch:
        hint = "was it a generator, which can be run through only once? Pass a DataLoader or a list."
    else:
        hint = "is the data set smaller than a batch, with drop_last=True?"
    raise BatchError(f"the loader gave no batch in the {cursor.phase} pass of epoch {cursor.epoch}: {hint}")


def taken_up(batches: Iterator[tuple[X, Y]], cursor: Cursor[X, Y, P], engine: Engine) -> Iterator[tuple[X, Y]]:
    """The same batches of a pass in whose middle a fit is taken up, of which there may be none left."""
    for first in batches:
        engine.check_share(cursor.phase)
        return chain((first,), batches)
    return batches


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


def check_stepped(cursor: Cursor[X, Y, P], steps_before: int, *, unused: bool) -> bool:
    """Warns of a whole training pass in which no batch was stepped on, and no callback is why: whether it did.

    A body may mean that: it looks at gradients, or steps after several passes. So it is no error.

    Args:
        cursor: Where the pass is, which is over.
        steps_before: How many batches had been stepped on before it.
        unused: Whether backward could have begun at the loss of the first batch, and did not.
    """
    if cursor.phase != "train" or cursor.objectives or cursor.steps != steps_before:
        return False
    if cursor.left_at == BACKWARD:
        what = "the body of the last one ended behind backward, without .step(opt), and its gradients are left there"
    elif cursor.left_at == LOSS and unused:
        what = "their bodies ended with a loss, without .backward().step(opt)"
    else:
        return False
    warnings.warn(
        f"no batch of the training pass of epoch {cursor.epoch} was stepped on, by no callback's doing: {what}. Write "
        f"loss.backward().step(opt) in each batch: callbacks hear of the step then, and may leave it out, as "
        f"GradientAccumulation does. Where none is wanted, or another one, .step(...) takes any object with step() "
        f"and zero_grad().",
        UnsteppedWarning,
        stacklevel=4,
    )
    return True


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
