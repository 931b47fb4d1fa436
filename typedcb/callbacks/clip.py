"""Gradient clipping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn
from typing_extensions import override

from ..callback import AnyCallback
from ..events import BatchEvent
from ..needs import HasModel


@dataclass(frozen=True)
class GradientClip(AnyCallback):
    """Keeps the gradients small: scales them down before each step, so that their total norm is at most `clip`.

    The norm is taken over all parameters together (Pascanu et al. 2013, https://arxiv.org/abs/1211.5063), by
    `torch.nn.utils.clip_grad_norm_`.
    """

    learn: HasModel
    """Whose model's gradients are clipped; `learn.add` and `cb_funcs` fill it in."""

    clip: float
    """The largest total 2-norm, or the largest size of a single gradient, that is let through."""

    by: Literal["norm", "value"] = "norm"
    """Whether all gradients are scaled down together, by their norm, or each is clamped, by its value."""

    def __post_init__(self) -> None:
        if not self.clip > 0:
            raise ValueError(f"GradientClip.clip is {self.clip}, and has to be above 0: it is what is let through.")
        if self.by not in ("norm", "value"):
            raise ValueError(f'GradientClip.by is {self.by!r}, and has to be "norm" or "value".')

    @override
    def after_backward(self, event: BatchEvent) -> None:
        """Clips the gradients."""
        trained = [parameter for parameter in self.learn.model.parameters() if parameter.grad is not None]
        if not trained:
            return  # accumulation holds the gradients back, or all of the model is frozen
        if self.by == "norm":
            nn.utils.clip_grad_norm_(trained, self.clip)
        else:
            nn.utils.clip_grad_value_(trained, self.clip)
