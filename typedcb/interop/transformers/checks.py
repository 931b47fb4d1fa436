"""What a Trainer can do for typed callbacks as it is set up, and the ways to train that have no place for them."""

from __future__ import annotations

from typing import Any, Final

from ...errors import CallbackError, LoopError
from ...extras import require
from ...hosted import Host
from ..hosts import TRANSFORMERS, TRANSFORMERS_METRIC, TRANSFORMERS_OWN_LOSS, TRANSFORMERS_SEVERAL, both

require("transformers", extra="transformers")

from transformers import Trainer  # noqa: E402

_OURS: Final = ("train", "training_step", "prediction_step", "evaluation_loop", "_run_epoch", "_evaluate")


def host_of(trainer: Trainer) -> Host:
    """What a Trainer can do as it is set up.

    Args:
        trainer: It.
    """
    hosts = [TRANSFORMERS]
    computes = type(trainer).compute_loss is Trainer.compute_loss
    if not computes or (trainer.compute_loss_func is None and trainer.label_smoother is None):
        hosts.append(TRANSFORMERS_OWN_LOSS)
    plateau = trainer.args.lr_scheduler_type in ("reduce_lr_on_plateau", "greedy")
    if plateau or trainer.args.metric_for_best_model is not None:
        hosts.append(TRANSFORMERS_METRIC)
    if trainer.args.world_size > 1:
        hosts.append(TRANSFORMERS_SEVERAL)
    return both(*hosts)


def check_trainer(trainer: Trainer, mixin: type[Trainer]) -> None:
    """Refuses ways to train that have no place for typed callbacks.

    Args:
        trainer: The Trainer.
        mixin: The class that is to stand in front of its others.

    Raises:
        CallbackError: Its class hides what the mixin does.
        LoopError: It trains in a way in which callbacks could not hear of each batch, or not of what is there.
    """
    _check_class(type(trainer), mixin)
    args = trainer.args
    reasons = {
        "auto_find_batch_size begins a fit again when memory runs out: give a size.": args.auto_find_batch_size,
        "DataParallel over several GPUs makes several predictions of a batch: start it by torchrun.": args.n_gpu > 1,
        "DeepSpeed steps by itself, so that no callback can see its steps.": trainer.is_deepspeed_enabled,
        "with fp16=True the gradients are scaled where a callback sees them: train with bf16=True.": (
            getattr(trainer.accelerator, "scaler", None) is not None
        ),
        "LOMO steps inside backward, so that no callback can see its steps.": args.optim in ("lomo", "adalomo"),
    }
    for reason, holds in reasons.items():
        if holds:
            raise LoopError(reason)


def _check_class(kind: type[Trainer], mixin: type[Trainer]) -> None:
    for name in _OURS:
        # Any: classes of any kind. The mixin itself has no training_step: it is wrapped where somebody listens to it.
        in_front: tuple[type[Any], ...] = kind.__mro__[: kind.__mro__.index(mixin)]
        if any(name in vars(one) for one in in_front):
            raise CallbackError(
                f"{kind.__name__}.{name} hides that of TypedTrainer: derive as class Mine(TypedTrainer, "
                f"Seq2SeqTrainer), say, with TypedTrainer first, and leave it alone."
            )
