from typing import Any, Callable, Optional, Union

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .engine import Engine as Engine
from .events import Events as Events
from .events import EventsList as EventsList
from .events import RemovableEventHandle as RemovableEventHandle
from .events import State as State

# Any: batches, predictions and outputs are the user's own
def create_supervised_trainer(
    model: nn.Module,
    optimizer: Optimizer,
    loss_fn: Callable[[Any, Any], Tensor],
    device: Optional[Union[str, torch.device]] = None,
    non_blocking: bool = False,
    prepare_batch: Callable[..., Any] = ...,
    model_transform: Callable[[Any], Any] = ...,
    output_transform: Callable[[Any, Any, Any, Tensor], Any] = ...,
    deterministic: bool = False,
    amp_mode: Optional[str] = None,
    scaler: Any = False,
    gradient_accumulation_steps: int = 1,
    model_fn: Callable[[nn.Module, Any], Any] = ...,
) -> Engine: ...
def create_supervised_evaluator(
    model: nn.Module,
    metrics: Optional[dict[str, Any]] = None,
    device: Optional[Union[str, torch.device]] = None,
    non_blocking: bool = False,
    prepare_batch: Callable[..., Any] = ...,
    model_transform: Callable[[Any], Any] = ...,
    output_transform: Callable[[Any, Any, Any], Any] = ...,
    amp_mode: Optional[str] = None,
    model_fn: Callable[[nn.Module, Any], Any] = ...,
) -> Engine: ...
