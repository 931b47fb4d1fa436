"""What of a run is recorded."""

from __future__ import annotations

from typing import Literal

import attrs
from typing_extensions import TypeAlias

HookName: TypeAlias = Literal[
    "begin_fit",
    "begin_epoch",
    "begin_batch",
    "after_pred",
    "after_loss",
    "after_backward",
    "after_step",
    "after_cancel_batch",
    "after_batch",
    "after_cancel_epoch",
    "begin_validate",
    "after_validate",
    "after_epoch",
    "after_cancel_train",
    "after_fit",
]
"""The name of a hook."""

Field: TypeAlias = Literal["xb", "yb", "pred", "loss"]
"""What a batch's events carry."""

Watch: TypeAlias = Literal["cells", "weights", "gradients", "hypers", "random"]
"""What a trace watches beside events."""


@attrs.frozen
class Options:
    """What is recorded."""

    every_batches: int
    """Batches are recorded whose index is a multiple of this."""

    events: frozenset[str]
    """The events that are recorded, by their hooks' names."""

    fields: frozenset[str]
    """Which of xb, yb, pred and loss are recorded."""

    watch: frozenset[str]
    """What is watched beside events."""

    hashes: bool
    """Whether tensors of events and cells are hashed."""

    stats: bool
    """Whether their mean and standard deviation are computed."""

    each_weight: bool
    """Whether every weight and gradient is recorded by name."""

    thorough: bool
    """Whether every weight is hashed after every turn."""

    sync: bool
    """Whether tensors of other devices than the CPU are fetched."""
