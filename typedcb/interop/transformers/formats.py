"""How a Trainer's batches are taken apart, and what a model of Hugging Face's returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable, Final, Generic, cast

import attrs
from torch import Tensor

from ...articles import an_instance
from ...errors import BatchError, LoopError
from ...events import P
from ..hosting import BatchFormat

# Any: a Trainer's batches are dicts of whatever the collator makes, its predictions whatever the model returns.
# A dict is told from others without Mapping's own instance check, which is slow.


def _split_labels(batch: Any) -> tuple[Any, Any]:
    if isinstance(batch, (dict, Mapping)) and "labels" in batch:
        fields: dict[str, Any] = dict(cast("Mapping[str, Any]", batch))
        labels: object = fields.pop("labels")
        return fields, labels
    raise BatchError(
        f"a batch is {an_instance(cast(object, batch))} without labels: say how to take it apart and put it together, "
        f"by batches=BatchFormat(split=..., join=...)."
    )


LABELLED: Final[BatchFormat[Any, Any]] = BatchFormat(_split_labels, lambda xb, yb: {**xb, "labels": yb})
"""Batches that are dicts: the inputs are all but `labels`, the targets are `labels`."""


@attrs.frozen
class OutputFormat(Generic[P]):
    """Where in what a model returns its prediction is."""

    take: Callable[[Any], P]
    """From what the model returns to the prediction."""

    put: Callable[[Any, P], object]
    """From what the model returned and another prediction to what it would have returned."""


def _take_logits(outputs: Any) -> Any:
    if isinstance(outputs, Tensor):
        return outputs
    if isinstance(outputs, (dict, Mapping)) and "logits" in outputs:
        return cast("Mapping[str, Any]", outputs)["logits"]
    raise LoopError(
        f"the model returns {an_instance(cast(object, outputs))} without logits: say where its prediction is, by "
        f"outputs=OutputFormat(take=..., put=...)."
    )


def _put_logits(outputs: Any, pred: Any) -> object:
    if isinstance(outputs, Tensor):
        return pred
    return type(outputs)(**{**outputs, "logits": pred})


LOGITS: Final[OutputFormat[Any]] = OutputFormat(_take_logits, _put_logits)
"""Models that return a tensor, or something with `logits`."""
