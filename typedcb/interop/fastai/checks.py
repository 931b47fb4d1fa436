"""Whether a learner fits, and the ways to train that have no place for typed callbacks."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Optional

from ...errors import LoopError
from ...extras import require
from ...optimizer import check_closure
from .optimizer import optimizer_of

require("fastai", extra="fastai")

from fastai.learner import Learner  # noqa: E402


def fits(learn: Learner) -> bool:
    """Whether it is in fit: fastai tells of the begin of a fit when it validates or predicts too.

    Args:
        learn: The learner.
    """
    frame: Optional[FrameType] = sys._getframe()
    while frame is not None:
        if frame.f_code is Learner.fit.__code__ and frame.f_locals.get("self") is learn:
            return True
        frame = frame.f_back
    return False


def check_learner(learn: Learner) -> None:
    """Refuses ways to train that have no place for typed callbacks.

    Args:
        learn: The learner.

    Raises:
        LoopError: It trains in one of them.
    """
    if any(type(cb).__name__ in ("MixedPrecision", "NonNativeMixedPrecision") for cb in learn.cbs):
        raise LoopError(
            "under MixedPrecision the gradients are scaled where a callback sees them, and in bfloat16 a batch that "
            "is cancelled leaves autocast on: train without it."
        )
    check_closure(optimizer_of(learn.opt))
