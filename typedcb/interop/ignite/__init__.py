"""Typed callbacks in Ignite's engines.

    hosted = host(AvgStats(accuracy), partial(GradientClip, clip=0.1))
    trainer = hosted.trainer(model, opt, F.cross_entropy)
    evaluator = hosted.evaluator()
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(valid_dl))
    trainer.run(train_dl, max_epochs=3)

An engine runs a step function, and has no moment inside it. So the step functions here are ours: with them every event
comes. `hosted.attach` takes an engine with a step function of its own, and refuses what happens inside one.
"""

from __future__ import annotations

from typing import Optional

from ...events import P, X, Y
from ...hosted import Hostable
from ...state import OnMismatch
from ..hosting import BatchFormat
from .callbacks import IgniteCallbacks

__all__ = ["BatchFormat", "IgniteCallbacks", "host"]


def host(
    *callbacks: Hostable[X, Y, P],
    batches: Optional[BatchFormat[X, Y]] = None,
    on_mismatch: Optional[OnMismatch] = None,
) -> IgniteCallbacks[X, Y, P]:
    """Typed callbacks for engines of Ignite; its `trainer`, `evaluator` and `attach` give them an engine.

    It has `state_dict` and `load_state_dict`: `Checkpoint({"trainer": trainer, "callbacks": hosted, ...}, ...)`.

    Args:
        *callbacks: Instances, and factories that are called with the model and the optimizer when a run begins.
        batches: How batches are taken apart and put together; pairs by default.
        on_mismatch: What of a checkpoint may be left out where it does not fit, by the name of a callback's class.

    Raises:
        CallbackError: One is neither a callback nor a factory.
        DependencyError: What one depends on is missing, or there is a circle.
    """
    return IgniteCallbacks(callbacks, batches, on_mismatch)
