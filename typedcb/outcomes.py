"""What a hook may answer: `Cancel*` ends something, `Skip*` leaves out one thing.

Which of them a hook may answer stands in its return type (`typedcb.hooks`). `None` always means: go on.

    Cancel                    an exception too: return it, or raise it from deep inside a helper
    ├── CancelBatch           the rest of this batch
    ├── CancelEpoch           the rest of this pass over the data (or, from begin_epoch, the epoch)
    └── CancelTrain           the rest of the fit
    SkipBackward              no backward pass for this batch, hence no step
    SkipStep                  no optimizer step; the gradients stay, and add up with the next batch's
    SkipZeroGrad              the gradients stay after the step
    SkipValidate              no validation this time
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Union

import attrs
from typing_extensions import Self, TypeAlias, final


class Cancel(Exception):
    """Ends the batch, the epoch or the fit that is under way."""

    reason: str
    """Why, in words for people."""

    if TYPE_CHECKING:  # or pyrefly offers what BaseException takes

        def __new__(cls, reason: str = "") -> Self:
            """Keeps the reason.

            Args:
                reason: Why, in words for people.
            """
            ...

    def __init__(self, reason: str = "") -> None:
        """Keeps the reason.

        Args:
            reason: Why, in words for people. It is shown by `Progress` and stands in the outcome of the fit.
        """
        super().__init__(reason)
        self.reason = reason


@final
class CancelBatch(Cancel):
    """Ends this batch: `after_cancel_batch` and `after_batch` follow, then the next batch.

    Gradients that this batch has already added are dropped, so that they cannot leak into the next step.
    """


@final
class CancelEpoch(Cancel):
    """Ends this pass over the data: `after_cancel_epoch` follows.

    In training the epoch's validation and `after_epoch` still come; from `begin_epoch` nothing more of the epoch does.
    """


@final
class CancelTrain(Cancel):
    """Ends the fit: `after_cancel_train` and `after_fit` follow, no validation and no `after_epoch`."""


@final
@attrs.frozen
class SkipBackward:
    """From `after_loss`: no backward pass, and so no step. The gradients of earlier batches stay as they are."""


@final
@attrs.frozen
class SkipStep:
    """From `after_backward`: no optimizer step and no `after_step`. The gradients stay, and the next batch's are added.

    To drop the gradients as well, answer `CancelBatch`.
    """


@final
@attrs.frozen
class SkipZeroGrad:
    """From `after_step`: the gradients are not zeroed after this step."""


@final
@attrs.frozen
class SkipValidate:
    """From `begin_validate`: this pass over the validation data is left out."""


Skip: TypeAlias = Union[SkipBackward, SkipStep, SkipZeroGrad, SkipValidate]
"""Leaves out one thing; all callbacks still see the event."""

InBatch: TypeAlias = Union[CancelBatch, CancelEpoch, CancelTrain]
"""What may be cancelled while a batch is under way."""

InEpoch: TypeAlias = Union[CancelEpoch, CancelTrain]
"""What may be cancelled while an epoch is under way, between batches."""
