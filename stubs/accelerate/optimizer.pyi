from typing import Any, Callable, Optional

import torch
from torch.optim import Optimizer

class AcceleratedOptimizer(Optimizer):
    optimizer: Optimizer
    scaler: Optional[torch.amp.GradScaler]
    def __init__(
        self, optimizer: Optimizer, device_placement: bool = True, scaler: Optional[torch.amp.GradScaler] = None
    ) -> None: ...
    def zero_grad(self, set_to_none: Optional[bool] = None) -> None: ...
    def train(self) -> object: ...
    def eval(self) -> object: ...
    def step(self, closure: Optional[Callable[[], float]] = None) -> None: ...  # type: ignore[override]  # as it is
    @property
    def step_was_skipped(self) -> bool: ...
    def state_dict(self) -> dict[str, Any]: ...  # Any: as torch has it
