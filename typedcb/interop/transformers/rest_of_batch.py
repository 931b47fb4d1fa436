"""What is left out for the rest of a training batch that a callback wants no more of."""

from __future__ import annotations

from typing import Any, Callable

from torch.optim import Optimizer

from ...extras import require
from .standing_in import Undo, put, undone

require("transformers", extra="transformers")

from transformers import Trainer  # noqa: E402


class RestOfBatch:
    """Has the Trainer leave out parts of a batch, up to its end: what no callback asks for costs nothing.

    Args:
        trainer: The Trainer.
        optimizer: Its optimizer, as accelerate has wrapped it.
        opt: The same without that.
    """

    def __init__(self, trainer: Trainer, optimizer: Any, opt: Optimizer) -> None:  # Any: accelerate's, typed in part
        self._trainer = trainer
        self._optimizer = optimizer
        self._opt = opt
        self._undo: Undo = []

    def leave_out_step(self, drops_gradients: bool) -> None:
        """Has the optimizer left alone, and the schedule, and the gradients: nothing is clipped.

        Args:
            drops_gradients: Whether the gradients are to be zeroed, so that they are not added to the next batch's.
        """
        if drops_gradients:
            self._opt.zero_grad()
        else:
            self.keep_gradients()
        optimizer = self._optimizer
        overflow: object = optimizer._is_overflow
        self._undo.append(lambda: setattr(optimizer, "_is_overflow", overflow))

        def left_out(*args: object, **kwargs: object) -> None:
            optimizer._is_overflow = True  # as accelerate says it of a step that a GradScaler has skipped

        put(self._undo, optimizer, "step", lambda step: left_out)
        put(self._undo, self._trainer, "_clip_grad_norm", lambda clip: self._trainer._get_grad_norm)

    def keep_gradients(self) -> None:
        """Has the gradients not zeroed."""
        put(self._undo, self._trainer.model_wrapped, "zero_grad", _left_alone)

    def end(self) -> None:
        """Ends the batch."""
        undone(self._undo)


def _left_alone(zero_grad: Callable[..., None]) -> Callable[..., None]:
    def left_alone(*args: object, **kwargs: object) -> None: ...

    return left_alone
