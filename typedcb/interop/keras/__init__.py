"""Typed callbacks in Keras 3 on torch.

    class Net(TypedModel, keras.Sequential): ...

    net.fit(x, y, callbacks=[host(AvgStats(accuracy))])

Keras's callbacks see numbers alone. So the steps are those of `TypedModel`, a mixin that stands before Keras's class:
they are Keras's own, with what happens inside told. A model without it hosts callbacks of whole epochs, and refuses the
others.
"""

from __future__ import annotations

from typing import Optional

from ...events import P, X, Y
from ...hosted import Hostable
from ...state import OnMismatch
from .callbacks import KerasCallbacks
from .model import TypedModel

__all__ = ["KerasCallbacks", "TypedModel", "host"]


def host(*callbacks: Hostable[X, Y, P], on_mismatch: Optional[OnMismatch] = None) -> KerasCallbacks[X, Y, P]:
    """One callback of Keras that hosts typed ones: `net.fit(x, y, callbacks=[host(AvgStats(accuracy))])`.

    Args:
        *callbacks: Instances, and factories that are called with the model and the optimizer when a fit begins.
        on_mismatch: What of a saved state may be left out where it does not fit, by the name of a callback's class.

    Raises:
        CallbackError: One is neither a callback nor a factory.
        DependencyError: What one depends on is missing, or there is a circle.
    """
    return KerasCallbacks(callbacks, on_mismatch)
