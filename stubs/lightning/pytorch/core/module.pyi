from typing import Any, Callable

from torch import Tensor, device, nn
from torch.optim import Optimizer

from ..trainer import Trainer

class LightningModule(nn.Module):
    automatic_optimization: bool
    trainer: Trainer
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    @property
    def device(self) -> device: ...
    @property
    def global_step(self) -> int: ...
    @property
    def current_epoch(self) -> int: ...
    def log(
        self,
        name: str,
        value: Any,
        prog_bar: bool = False,
        logger: bool | None = None,
        on_step: bool | None = None,
        on_epoch: bool | None = None,
        reduce_fx: str | Callable[[Any], Any] = "mean",
        enable_graph: bool = False,
        sync_dist: bool = False,
        sync_dist_group: Any = None,
        add_dataloader_idx: bool = True,
        batch_size: int | None = None,
        metric_attribute: str | None = None,
        rank_zero_only: bool = False,
    ) -> None: ...
    def training_step(self, *args: Any, **kwargs: Any) -> Any: ...
    def validation_step(self, *args: Any, **kwargs: Any) -> Any: ...
    def configure_optimizers(self) -> Any: ...
    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Any,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None: ...
    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None: ...
    def manual_backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None: ...
