"""Whether a training can go on: not with weights that are no numbers any more."""

from __future__ import annotations

import math
from typing import Optional, Sequence

from torch import Tensor, nn

from .errors import NonFiniteError


def spoiled(model: nn.Module, last_loss: Optional[Tensor]) -> list[str]:
    """The names of a model's weights that are nan or infinite.

    One look at the last loss waits for the device; the weights are looked at when it is bad, and only then.

    Args:
        model: The model.
        last_loss: The loss of the last batch; None where no batch had one.
    """
    if last_loss is None or last_loss.is_meta or math.isfinite(float(last_loss.detach())):
        return []
    return [name for name, parameter in model.named_parameters() if not bool(parameter.isfinite().all())]


def no_way_on(names: Sequence[str], last_loss: Optional[Tensor], epoch: int) -> NonFiniteError:
    """What is raised where weights are spoiled.

    Args:
        names: Theirs.
        last_loss: The loss of the last batch.
        epoch: The epoch that it was in.
    """
    figure = math.nan if last_loss is None else float(last_loss.detach())
    return NonFiniteError(
        f"the last training loss of epoch {epoch} is {figure}, and weights are nan or infinite "
        f"({', '.join(names[:3])}{', ...' if len(names) > 3 else ''}): no training goes on from there. Attach "
        f"CheckFinite(learn) to see where it begins, or TerminateOnNaN() to end the fit before it spoils "
        f"anything; a lower learning rate or GradientClip may keep it from happening."
    )
