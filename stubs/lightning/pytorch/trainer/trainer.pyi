from collections.abc import Iterable
from datetime import timedelta
from os import PathLike
from typing import Any

from torch.optim import Optimizer

from ..callbacks import Callback
from ..core import LightningModule
from ..loops import _FitLoop
from ..strategies import Strategy

class Trainer:
    should_stop: bool
    accumulate_grad_batches: int
    limit_val_batches: int | float
    val_check_batch: int | float | None
    fit_loop: _FitLoop
    # Any below: objects of Lightning's that nothing here takes apart
    def __init__(
        self,
        *,
        accelerator: Any = "auto",
        strategy: Any = "auto",
        devices: list[int] | str | int = "auto",
        num_nodes: int = 1,
        precision: Any = None,
        logger: Any = None,
        callbacks: list[Callback] | Callback | None = None,
        fast_dev_run: int | bool = False,
        max_epochs: int | None = None,
        min_epochs: int | None = None,
        max_steps: int = -1,
        min_steps: int | None = None,
        max_time: str | timedelta | dict[str, int] | None = None,
        limit_train_batches: int | float | None = None,
        limit_val_batches: int | float | None = None,
        limit_test_batches: int | float | None = None,
        limit_predict_batches: int | float | None = None,
        overfit_batches: int | float = 0.0,
        val_check_interval: int | float | str | timedelta | dict[str, int] | None = None,
        check_val_every_n_epoch: int | None = 1,
        num_sanity_val_steps: int | None = None,
        log_every_n_steps: int | None = None,
        enable_checkpointing: bool | None = None,
        enable_progress_bar: bool | None = None,
        enable_model_summary: bool | None = None,
        accumulate_grad_batches: int = 1,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
        deterministic: Any = None,
        benchmark: bool | None = None,
        inference_mode: bool = True,
        use_distributed_sampler: bool = True,
        profiler: Any = None,
        detect_anomaly: bool = False,
        barebones: bool = False,
        plugins: Any = None,
        sync_batchnorm: bool = False,
        reload_dataloaders_every_n_epochs: int = 0,
        default_root_dir: str | PathLike[str] | None = None,
        enable_autolog_hparams: bool = True,
        model_registry: str | None = None,
    ) -> None: ...
    def fit(
        self,
        model: LightningModule,
        train_dataloaders: Iterable[Any] | None = None,
        val_dataloaders: Iterable[Any] | None = None,
        datamodule: Any = None,
        ckpt_path: str | PathLike[str] | None = None,
        weights_only: bool | None = None,
    ) -> None: ...
    def save_checkpoint(
        self, filepath: str | PathLike[str], weights_only: bool | None = None, storage_options: Any = None
    ) -> None: ...
    @property
    def optimizers(self) -> list[Optimizer]: ...
    @property
    def strategy(self) -> Strategy: ...
    @property
    def precision_plugin(self) -> object: ...
    @property
    def world_size(self) -> int: ...
    @property
    def current_epoch(self) -> int: ...
    @property
    def global_step(self) -> int: ...
    @property
    def max_epochs(self) -> int | None: ...
    @property
    def max_steps(self) -> int: ...
    @property
    def num_training_batches(self) -> int | float: ...
    @property
    def num_val_batches(self) -> list[int | float]: ...
    @property
    def sanity_checking(self) -> bool: ...
