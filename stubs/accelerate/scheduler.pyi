from typing import Any, Sequence, Union

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

class AcceleratedScheduler:
    scheduler: LRScheduler
    optimizers: list[Optimizer]
    split_batches: bool
    step_with_optimizer: bool
    def __init__(
        self,
        scheduler: LRScheduler,
        optimizers: Union[Optimizer, Sequence[Optimizer]],
        step_with_optimizer: bool = True,
        split_batches: bool = False,
    ) -> None: ...
    def step(self, *args: Any, **kwargs: Any) -> None: ...  # Any: what the scheduler itself takes
    def get_last_lr(self) -> list[float]: ...
    def state_dict(self) -> dict[str, Any]: ...  # Any: as torch has it
    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...
