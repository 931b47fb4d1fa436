"""What XLA needs of a loop, of which accelerate's own loaders and optimizers take care, and which are not used here.

What is computed on XLA's devices is only noted down in a graph, and runs once the graph is cut, or as far as somebody
reads a value. A graph that nobody cuts grows from batch to batch, and takes ever longer to compile. A collective in a
graph is answered only where all ranks run the very same one, so that it is cut before and behind it: the graphs around
it differ with the sizes of the shares, and with what a callback reads on one rank alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Union

import torch
from torch import nn
from torch.optim import Optimizer

from ..errors import EngineError
from ..optimizer import Steps


def check_devices(processes: int) -> None:
    """Refuses ranks that are threads of one process.

    Args:
        processes: How many ranks there are.

    Raises:
        EngineError: This process has the devices of several.
    """
    devices: int = _xla().device_count()
    if processes > 1 and devices > 1:
        raise EngineError(
            f"accelerate counts {processes} processes, and {devices} of their devices belong to this one: the ranks of "
            f"typedcb are processes, each with a device of its own. Start one for each device, as torch_xla.launch "
            f"does; on TPU v2 and v3, where it starts threads, take a single device."
        )


def move(model: nn.Module, device: Union[torch.device, str]) -> None:
    """Brings a model to a device. Weights that are one stay one: on XLA torch makes new ones of each.

    Args:
        model: The model.
        device: Where to.
    """
    from accelerate.utils import find_tied_parameters, retie_parameters  # noqa: PLC0415  # optional, and slow to import

    tied = find_tied_parameters(model)
    model.to(device)
    retie_parameters(model, tied)


def cut() -> None:
    """Has all that was noted down be computed, and begins a new graph."""
    _xla().sync()


def average_gradients(opt: Optimizer, processes: int) -> None:
    """Gives each gradient of an optimizer its mean over the ranks. Collective.

    Args:
        opt: The optimizer.
        processes: How many ranks there are.
    """
    if processes > 1:
        cut()
        _model().reduce_gradients(opt)
        cut()


class CutsBehind:
    """Steps by an optimizer, and cuts the graph: whoever reads weights or figures then finds them computed.

    Args:
        opt: The optimizer.
    """

    def __init__(self, opt: Steps) -> None:
        self._opt = opt

    def step(self) -> None:
        """Changes the parameters by their gradients."""
        self._opt.step()
        cut()

    def zero_grad(self) -> None:
        """Drops the gradients."""
        self._opt.zero_grad()


def _xla() -> Any:  # Any: torch_xla is not installed where types are checked
    return import_module("torch_xla")


def _model() -> Any:  # Any: as said
    return import_module("torch_xla.core.xla_model")
