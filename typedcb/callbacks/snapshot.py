"""Copies of a model's weights, to come back to."""

from __future__ import annotations

import copy
from typing import Optional

from torch import Tensor, nn
from typing_extensions import TypeAlias

Weights: TypeAlias = tuple[tuple[str, object], ...]
"""The entries of a model's state: parameters, buffers, and what modules add to it."""


def copy_weights(model: nn.Module, device: Optional[str] = None) -> Weights:
    """A copy of a model's state that training leaves alone.

    Args:
        model: The model.
        device: Where to keep the tensors; beside the model by default.
    """
    return tuple((name, _copied(value, device)) for name, value in model.state_dict().items())


def load_weights(model: nn.Module, weights: Weights) -> None:
    """Gives a model the state that `copy_weights` took of it.

    Args:
        model: The model that they were copied from.
        weights: The copy.
    """
    model.load_state_dict(
        {name: value if isinstance(value, Tensor) else copy.deepcopy(value) for name, value in weights}
    )


def _copied(value: object, device: Optional[str]) -> object:
    if isinstance(value, Tensor):
        return value.detach().to(device or value.device, copy=True)
    return copy.deepcopy(value)
