"""The gradients under DeepSpeed's ZeRO, which moves them away from `.grad` as soon as they are computed.

While somebody looks at them they are brought back: the whole gradients of all ranks, at which a step then begins, with
whatever callbacks have made of them. That takes their memory on each rank; while nobody looks, they stay in parts.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Callable, Optional

import torch
from torch import Tensor, nn


class ZeroGradients:
    """Where the gradients of some parameters are.

    Args:
        parameters: The parameters that ZeRO trains.
    """

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self._parameters = parameters
        self._api: Any = import_module("deepspeed.utils")  # Any: it is not installed where types are checked
        self._inside = False
        self._shown = False

    def compute(self, backward: Callable[[], None], *, show: bool) -> None:
        """Computes gradients, and adds those that a step before has left. Collective.

        Args:
            backward: DeepSpeed's own backward.
            show: Whether to have them in `.grad`.
        """
        kept = [one.grad for one in self._parameters]
        if self._inside and not self._shown:  # a loop of one's own took no step, and hears of no event
            kept = self._whole()
        self.drop()
        backward()
        self._inside = True
        self._shown = show or any(old is not None for old in kept)
        if self._shown:
            for parameter, new, old in zip(self._parameters, self._whole(), kept, strict=True):
                parameter.grad = new if old is None or new is None else new.add_(old)

    def step(self, step: Callable[[], None]) -> None:
        """Steps on the gradients as they are in `.grad`, where they are there, and leaves them there.

        Args:
            step: DeepSpeed's own step.
        """
        seen = self._taken()
        if self._shown or any(grad is not None for grad in seen):
            self._put_inside(seen)
        step()
        self._inside = False
        for parameter, grad in zip(self._parameters, seen, strict=True):
            parameter.grad = grad

    def drop(self) -> None:
        """Drops the gradients, wherever they are."""
        self._put_inside(self._nothing())

    def _nothing(self) -> list[Optional[Tensor]]:
        self._taken()
        return [None] * len(self._parameters)

    def _taken(self) -> list[Optional[Tensor]]:
        """What is in `.grad`, which is empty then: DeepSpeed takes what is there for its own."""
        seen = [one.grad for one in self._parameters]
        for parameter in self._parameters:
            parameter.grad = None
        return seen

    def _whole(self) -> list[Optional[Tensor]]:
        """The whole gradients, of all ranks. Collective."""
        return [self._api.safe_get_full_grad(one) for one in self._parameters]

    def _put_inside(self, grads: list[Optional[Tensor]]) -> None:
        """Has ZeRO step on these; on zeros where there is none."""
        if not self._inside:
            return
        for parameter, grad in zip(self._parameters, grads, strict=True):
            value = torch.zeros_like(parameter) if grad is None else grad
            self._api.safe_set_full_grad(parameter, value)
