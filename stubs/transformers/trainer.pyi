# transformers 5.24.0
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .trainer_callback import CallbackHandler, TrainerCallback, TrainerControl, TrainerState
from .trainer_utils import EvalLoopOutput, TrainOutput
from .training_args import TrainingArguments

# Any: batches are dicts of whatever the collator makes; data sets and outputs have no one type.

class Trainer:
    args: TrainingArguments
    state: TrainerState
    control: TrainerControl
    callback_handler: CallbackHandler
    model: Any
    model_wrapped: Any
    optimizer: Any
    lr_scheduler: Any
    accelerator: Any
    compute_loss_func: Callable[..., Tensor] | None
    label_smoother: Callable[..., Tensor] | None
    is_deepspeed_enabled: bool

    def __init__(
        self,
        model: Any = None,
        args: TrainingArguments | None = None,
        data_collator: Any = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        model_init: Callable[..., Any] | None = None,
        compute_loss_func: Callable[..., Tensor] | None = None,
        compute_metrics: Callable[[Any], dict[str, Any]] | None = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[torch.optim.Optimizer | None, Any] = (None, None),
        optimizer_cls_and_kwargs: tuple[type[torch.optim.Optimizer], dict[str, Any]] | None = None,
        preprocess_logits_for_metrics: Callable[[Any, Any], Any] | None = None,
    ) -> None: ...
    def add_callback(self, callback: type[TrainerCallback] | TrainerCallback) -> None: ...
    def get_train_dataloader(self) -> Any: ...
    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any: ...
    def train(
        self,
        resume_from_checkpoint: str | bool | None = None,
        trial: Any = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> TrainOutput: ...
    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor: ...
    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any: ...
    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]: ...
    def evaluation_loop(
        self,
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput: ...
    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Any, Any, Any]: ...
    def remove_callback(self, callback: type[TrainerCallback] | TrainerCallback) -> None: ...
    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]: ...
    def _clip_grad_norm(self, model: Any) -> Any: ...
    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any: ...
    def _run_epoch(
        self,
        model: Any,
        epoch: int,
        train_dataloader: Any,
        steps_in_epoch: int,
        num_update_steps_per_epoch: int,
        trial: Any,
        ignore_keys_for_eval: list[str] | None,
        start_time: float,
        resume_from_checkpoint: str | None,
        epochs_trained: int,
        steps_trained_in_current_epoch: int,
    ) -> None: ...
    def _evaluate(
        self, trial: Any, ignore_keys_for_eval: list[str] | None, skip_scheduler: bool = False
    ) -> dict[str, float]: ...
    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None: ...
    def _save_optimizer_and_scheduler(self, output_dir: str) -> None: ...
    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None: ...
