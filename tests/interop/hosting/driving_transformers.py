"""Runs Hugging Face's Trainer."""

from __future__ import annotations

import importlib
import os
import tempfile
from typing import Any

from driving import Driver, Pair, Ran, Task
from torch import Tensor, nn
from typing_extensions import override

from typedcb.interop.hosting import BatchFormat, Hosting
from typedcb.interop.hosts import TRANSFORMERS, TRANSFORMERS_CALLBACK, TRANSFORMERS_OWN_LOSS

PAIRED: BatchFormat[Any, Any] = BatchFormat(
    lambda batch: (batch["xb"], batch["labels"]), lambda xb, yb: {"xb": xb, "labels": yb}
)


class Module(nn.Module):
    """A model of a task as the Trainer wants one: called by keywords."""

    def __init__(self, task: Task, own_loss: bool) -> None:
        super().__init__()
        self.net = task.model()
        self.loss = task.loss if own_loss else None

    def forward(self, xb: Tensor, labels: Tensor | None = None) -> Any:
        logits = self.net(xb)
        return logits if self.loss is None else {"loss": self.loss(logits, labels), "logits": logits}


def batches_of(pairs: Any) -> Any:
    """A loader of batches as the Trainer wants them."""
    from torch.utils.data import DataLoader  # noqa: PLC0415

    batches: list[Any] = [{"xb": xb, "labels": yb} for xb, yb in pairs]
    return DataLoader(batches, batch_size=1, collate_fn=lambda batch: batch[0])


def trainer_of(
    task: Task, *callbacks: Any, mixin: bool = True, own_loss: bool = False, base: Any = None, **options: Any
) -> Any:
    """A quiet Trainer."""
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    import transformers  # noqa: PLC0415
    from transformers.trainer_callback import PrinterCallback, ProgressCallback  # noqa: PLC0415

    transformers.logging.set_verbosity_error()
    typed: Any = importlib.import_module("typedcb.interop.transformers").TypedTrainer
    kind: Any = base or (typed if mixin else transformers.Trainer)

    class Quiet(kind):  # type: ignore[misc]
        def get_train_dataloader(self) -> Any:
            return batches_of(task.train)

        def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
            return batches_of(task.valid)

    settings: dict[str, Any] = {
        "output_dir": tempfile.gettempdir(), "num_train_epochs": task.n_epochs, "per_device_train_batch_size": 1,
        "eval_strategy": "epoch" if task.valid else "no", "save_strategy": "no", "logging_steps": 1, "use_cpu": True,
        "report_to": "none", "disable_tqdm": True, "max_grad_norm": 0.0, "lr_scheduler_type": "constant",
        "logging_nan_inf_filter": False, "dataloader_pin_memory": False, "label_names": ["labels"],
    }  # fmt: skip
    model = Module(task, own_loss)
    trainer = Quiet(
        model,
        transformers.TrainingArguments(**{**settings, **options}),
        train_dataset=list(task.train),
        eval_dataset=list(task.valid) or None,
        callbacks=list(callbacks),
        optimizers=(task.opt(model.parameters()), None),
        compute_loss_func=None if own_loss else lambda pred, yb, num_items_in_batch=None: task.loss(pred, yb),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    return trainer


def losses_of(trainer: Any) -> list[float]:
    """The loss of each training batch, as the Trainer has logged it."""
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


class Transformers(Driver):
    name = "transformers"
    package = "transformers"
    host = TRANSFORMERS
    mixin = True
    own_loss = False

    @override
    def hosting(self, *callbacks: Any, **options: Any) -> Hosting[Any, Any, Any]:
        adapter: Any = importlib.import_module("typedcb.interop.transformers")
        hosted: Hosting[Any, Any, Any] = adapter.host(*callbacks, **{"batches": PAIRED, **options})
        return hosted

    @override
    def fit(self, task: Task, hosting: Any, **options: Any) -> Ran:
        callbacks = [] if hosting is None else [hosting]
        mixin = self.mixin and hosting is not None
        trainer = trainer_of(task, *callbacks, mixin=mixin, own_loss=self.own_loss, **options)
        trainer.train()
        return Ran(trainer.model, losses_of(trainer))


class OwnLoss(Transformers):
    """With a model that returns its loss."""

    name = "transformers_own_loss"
    host = TRANSFORMERS_OWN_LOSS
    own_loss = True


class Plain(Transformers):
    """Without the mixin."""

    name = "transformers_callback"
    host = TRANSFORMERS_CALLBACK
    mixin = False


FOUND = (Transformers(), OwnLoss(), Plain())

__all__ = ["FOUND", "PAIRED", "Module", "Pair", "trainer_of"]
