"""The gradients of some parameters, averaged over the ranks.

DistributedDataParallel averages what a backward pass leaves in all parameters of its module, as they come. A turn of an
objective computes the gradients of its own optimizer's parameters alone, which that class takes for a pass that has not
ended. So they are brought together here, once they are all there, in one collective for each type of number.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch.distributed is half without types

from __future__ import annotations

from typing import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import EngineError
from ..turns import Mark, is_reached


def average_gradients(parameters: Sequence[Tensor], before: Sequence[Mark], world_size: int) -> None:
    """Gives all ranks the mean of their gradients, in place. Collective.

    A parameter that had no part in the loss of some ranks counts as 0 there; one that had none on any is left as it is.
    What was there before the pass, the same on all ranks, stays what it was: the mean of equal numbers is that number.

    Args:
        parameters: The parameters, in the same order on all ranks.
        before: The gradients before the pass, as `marks` has them.
        world_size: How many ranks there are.

    Raises:
        EngineError: A gradient is sparse.
    """
    kinds = dict.fromkeys((parameter.device, parameter.dtype) for parameter in parameters)
    for kind in kinds:
        those = [
            (parameter, mark)
            for parameter, mark in zip(parameters, before, strict=True)
            if (parameter.device, parameter.dtype) == kind
        ]
        _average([parameter for parameter, _ in those], [is_reached(*one) for one in those], world_size)


@torch.no_grad()
def _average(parameters: Sequence[Tensor], reached: Sequence[bool], world_size: int) -> None:
    """The same for parameters of one type, on one device."""
    gradients = [parameter.grad for parameter in parameters]
    if any(gradient is not None and gradient.layout is not torch.strided for gradient in gradients):
        raise EngineError(
            "a gradient of an objective is sparse, and over several processes they are averaged as whole tensors: make "
            "its embedding with sparse=False."
        )
    parts = [
        (torch.zeros_like(parameter) if gradient is None else gradient).reshape(-1)
        for parameter, gradient in zip(parameters, gradients, strict=True)
    ]
    flags = parts[0].new_tensor(reached)
    together = torch.cat([*parts, flags])
    dist.all_reduce(together)
    *means, anywhere = torch.split(together, [*map(len, parts), len(flags)])
    for parameter, gradient, mean, ranks in zip(parameters, gradients, means, anywhere.tolist(), strict=True):
        if not ranks:
            continue
        averaged = mean.view_as(parameter) / world_size
        if gradient is None:
            parameter.grad = averaged
        else:
            gradient.copy_(averaged)
