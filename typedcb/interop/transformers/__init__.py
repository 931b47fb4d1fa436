"""Typed callbacks in Hugging Face's Trainer.

    trainer = TypedTrainer(model, args, train_dataset=..., callbacks=[host(AvgStats(accuracy))])

A TrainerCallback sees no batch, no prediction and no loss, and can skip nothing. So the steps are those of
`TypedTrainer`, a mixin that stands before the class of Trainer that you have: around what the Trainer does, which it
leaves as it is. A Trainer without it hosts callbacks of whole epochs, and refuses the others.
"""

from __future__ import annotations

from typing import Optional

from ...events import P, X, Y
from ...hosted import Hostable
from ...state import OnMismatch
from ..hosting import BatchFormat
from .callback import TransformersCallbacks
from .formats import LABELLED, LOGITS, OutputFormat
from .trainer import TypedTrainer

__all__ = ["LABELLED", "LOGITS", "BatchFormat", "OutputFormat", "TransformersCallbacks", "TypedTrainer", "host"]


def host(
    *callbacks: Hostable[X, Y, P],
    batches: Optional[BatchFormat[X, Y]] = None,
    outputs: Optional[OutputFormat[P]] = None,
    on_mismatch: Optional[OnMismatch] = None,
) -> TransformersCallbacks[X, Y, P]:
    """One callback of a Trainer that hosts typed ones: `TypedTrainer(..., callbacks=[host(AvgStats(accuracy))])`.

    Args:
        *callbacks: Instances, and factories that are called with the model and the optimizer when training begins.
        batches: How batches are taken apart and put together; by default dicts whose targets are `labels`.
        outputs: Where in what the model returns its prediction is; by default the tensor, or `logits`.
        on_mismatch: What of a checkpoint may be left out where it does not fit, by the name of a callback's class.

    Raises:
        CallbackError: One is neither a callback nor a factory.
        DependencyError: What one depends on is missing, or there is a circle.
    """
    return TransformersCallbacks(callbacks, batches, outputs, on_mismatch)
