# transformers 5.24.0
from typing import Any

import torch

# Any: strings, enumerations of strings, numbers and dicts, in many ways; what is not used here is not looked up.

class TrainingArguments:
    num_train_epochs: float
    max_steps: int
    per_device_train_batch_size: int
    gradient_accumulation_steps: int
    auto_find_batch_size: bool
    lr_scheduler_type: Any  # an enumeration of strings
    metric_for_best_model: str | None
    optim: Any  # an enumeration of strings
    output_dir: str | None

    def __init__(
        self,
        output_dir: str | None = None,
        per_device_train_batch_size: int = ...,
        num_train_epochs: float = ...,
        max_steps: int = ...,
        learning_rate: float = ...,
        lr_scheduler_type: Any = ...,
        lr_scheduler_kwargs: Any = ...,
        warmup_steps: Any = ...,
        optim: Any = ...,
        optim_args: Any = ...,
        weight_decay: Any = ...,
        adam_beta1: Any = ...,
        adam_beta2: Any = ...,
        adam_epsilon: Any = ...,
        optim_target_modules: Any = ...,
        gradient_accumulation_steps: int = ...,
        average_tokens_across_devices: Any = ...,
        max_grad_norm: float = ...,
        label_smoothing_factor: Any = ...,
        bf16: Any = ...,
        fp16: Any = ...,
        bf16_full_eval: Any = ...,
        fp16_full_eval: Any = ...,
        tf32: Any = ...,
        activation_checkpointing: Any = ...,
        activation_checkpointing_kwargs: Any = ...,
        gradient_checkpointing: Any = ...,
        gradient_checkpointing_kwargs: Any = ...,
        torch_compile: Any = ...,
        torch_compile_backend: Any = ...,
        torch_compile_mode: Any = ...,
        use_liger_kernel: Any = ...,
        liger_kernel_config: Any = ...,
        use_cache: Any = ...,
        neftune_noise_alpha: Any = ...,
        torch_empty_cache_steps: Any = ...,
        auto_find_batch_size: Any = ...,
        logging_strategy: Any = ...,
        logging_steps: Any = ...,
        logging_first_step: Any = ...,
        log_on_each_node: Any = ...,
        logging_nan_inf_filter: Any = ...,
        include_num_input_tokens_seen: Any = ...,
        log_level: Any = ...,
        log_level_replica: Any = ...,
        disable_tqdm: bool | None = ...,
        report_to: str | list[str] | None = ...,
        run_name: Any = ...,
        project: Any = ...,
        trackio_space_id: Any = ...,
        trackio_bucket_id: Any = ...,
        trackio_static_space_id: Any = ...,
        eval_strategy: Any = ...,
        eval_steps: Any = ...,
        eval_delay: Any = ...,
        per_device_eval_batch_size: int = ...,
        prediction_loss_only: Any = ...,
        eval_on_start: Any = ...,
        eval_do_concat_batches: Any = ...,
        eval_use_gather_object: Any = ...,
        eval_accumulation_steps: Any = ...,
        include_for_metrics: Any = ...,
        batch_eval_metrics: Any = ...,
        save_only_model: Any = ...,
        save_strategy: Any = ...,
        save_steps: Any = ...,
        save_on_each_node: Any = ...,
        save_total_limit: Any = ...,
        enable_jit_checkpoint: Any = ...,
        push_to_hub: Any = ...,
        hub_token: Any = ...,
        hub_private_repo: Any = ...,
        hub_model_id: Any = ...,
        hub_strategy: Any = ...,
        hub_always_push: Any = ...,
        hub_revision: Any = ...,
        load_best_model_at_end: Any = ...,
        metric_for_best_model: str | None = ...,
        greater_is_better: Any = ...,
        ignore_data_skip: Any = ...,
        restore_callback_states_from_checkpoint: Any = ...,
        full_determinism: Any = ...,
        seed: int = ...,
        data_seed: Any = ...,
        use_cpu: bool = ...,
        accelerator_config: Any = ...,
        parallelism_config: Any = ...,
        dataloader_drop_last: Any = ...,
        dataloader_num_workers: Any = ...,
        dataloader_pin_memory: Any = ...,
        dataloader_persistent_workers: Any = ...,
        dataloader_prefetch_factor: Any = ...,
        dataloader_multiprocessing_context: Any = ...,
        dataloader_in_order: Any = ...,
        remove_unused_columns: Any = ...,
        label_names: Any = ...,
        train_sampling_strategy: Any = ...,
        length_column_name: Any = ...,
        ddp_find_unused_parameters: Any = ...,
        ddp_bucket_cap_mb: Any = ...,
        ddp_broadcast_buffers: Any = ...,
        ddp_static_graph: Any = ...,
        ddp_backend: Any = ...,
        ddp_timeout: Any = ...,
        fsdp: Any = ...,
        fsdp_config: Any = ...,
        deepspeed: Any = ...,
        debug: Any = ...,
        skip_memory_metrics: Any = ...,
        do_train: Any = ...,
        do_eval: Any = ...,
        do_predict: Any = ...,
        resume_from_checkpoint: str | None = ...,
        local_rank: Any = ...,
    ) -> None: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def n_gpu(self) -> int: ...
    @property
    def world_size(self) -> int: ...
    @property
    def should_save(self) -> bool: ...
