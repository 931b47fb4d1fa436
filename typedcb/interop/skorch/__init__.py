"""Typed callbacks in a skorch net.

    class Net(TypedNet, NeuralNetClassifier): ...

    net = Net(MLP, callbacks=[host(AvgStats(accuracy), partial(GradientClip, clip=0.1))])
    net.fit(x, y)

skorch's callbacks see neither the prediction nor the loss before a batch is over. So the net's steps are those of
`TypedNet`, a mixin that stands before skorch's class: it calls the net's own `infer` and `get_loss`.
"""

from __future__ import annotations

from typing import Optional

from ...events import P, X, Y
from ...hosted import Hostable
from ...state import OnMismatch
from .callbacks import SkorchCallbacks
from .net import TypedNet

__all__ = ["SkorchCallbacks", "TypedNet", "host"]


def host(*callbacks: Hostable[X, Y, P], on_mismatch: Optional[OnMismatch] = None) -> SkorchCallbacks[X, Y, P]:
    """One callback of skorch that hosts typed ones: `Net(MLP, callbacks=[host(AvgStats(accuracy))])`.

    Args:
        *callbacks: Instances, and factories that are called with the module and the optimizer when training begins.
        on_mismatch: What of a saved state may be left out where it does not fit, by the name of a callback's class.

    Raises:
        CallbackError: One is neither a callback nor a factory.
        DependencyError: What one depends on is missing, or there is a circle.
    """
    return SkorchCallbacks(callbacks, on_mismatch)
