"""Typed callbacks in a fastai Learner, version 2.

    learn = Learner(dls, model, cbs=[host(AvgStats(accuracy), partial(GradientClip, clip=0.1))])

fastai's events are those of typedcb under other names, and its exceptions do what answers do here. What it lacks is an
event after an error: so `fit` of the learner is wrapped, and `save` and `load` are, which take the cells along.
"""

from __future__ import annotations

from typing import Optional

from ...events import P, X, Y
from ...hosted import Hostable
from ...state import OnMismatch
from .callbacks import FastaiCallbacks
from .optimizer import FastaiOptimizer

__all__ = ["FastaiCallbacks", "FastaiOptimizer", "host"]


def host(*callbacks: Hostable[X, Y, P], on_mismatch: Optional[OnMismatch] = None) -> FastaiCallbacks[X, Y, P]:
    """One callback of fastai that hosts typed ones: `Learner(dls, model, cbs=[host(AvgStats(accuracy))])`.

    Args:
        *callbacks: Instances, and factories that are called with the model and the optimizer when a fit begins.
        on_mismatch: What of a saved state may be left out where it does not fit, by the name of a callback's class.

    Raises:
        CallbackError: One is neither a callback nor a factory.
        DependencyError: What one depends on is missing, or there is a circle.
    """
    return FastaiCallbacks(callbacks, on_mismatch)
