"""The mixin for Trainers in which typed callbacks run."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Optional, Union

from torch import nn
from typing_extensions import TypeIs, override

from ...data import length_of
from ...errors import CallbackError
from ...extras import require
from ..bare import refuse_bare
from ..cells_file import read_cells, write_cells
from .callback import TransformersCallbacks
from .checks import check_trainer, host_of

require("transformers", extra="transformers")

from transformers import Trainer, TrainerCallback  # noqa: E402
from transformers.trainer_utils import EvalLoopOutput  # noqa: E402

_FILE: Final = "typedcb.safetensors"
"""What holds the cells in a checkpoint's folder."""

_UNDER_WAY: Final = "_typedcb_under_way"
"""The attribute of a Trainer that holds what hosts the callbacks of its fit under way."""

_VALIDATING: Final = "_typedcb_validating"
"""The same, while it validates an epoch of that fit."""

# Any: a Trainer's batches are dicts of whatever the collator makes, its predictions whatever the model returns.


class TypedTrainer(Trainer):
    """A mixin for Trainers, so that typed callbacks run in them; it is a Trainer itself.

    Without typed callbacks it is the Trainer's own. Their cells go into the folder of each checkpoint, as a file of
    safetensors, and come back with `train(resume_from_checkpoint=...)`.
    """

    if not TYPE_CHECKING:  # the Trainer's own arguments are what checkers are to see

        @functools.wraps(Trainer.__init__)
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            refuse_bare(kwargs.get("callbacks") or (), "the Trainer", "typedcb.interop.transformers")
            super().__init__(*args, **kwargs)

    @override
    def add_callback(self, callback: Union[type[TrainerCallback], TrainerCallback]) -> None:
        """Adds a callback of the Trainer's.

        Args:
            callback: It, or its class.

        Raises:
            CallbackError: It is a typed one as it is.
        """
        refuse_bare((callback,), "the Trainer", "typedcb.interop.transformers")
        super().add_callback(callback)

    @override
    def train(
        self,
        resume_from_checkpoint: Any = None,  # Any: the Trainer's own
        trial: Any = None,
        ignore_keys_for_eval: Optional[list[str]] = None,
    ) -> Any:
        """Trains, between begin_fit and after_fit.

        Args:
            resume_from_checkpoint: A checkpoint's folder, or True for the last one.
            trial: A trial of a search.
            ignore_keys_for_eval: What of a model's output validation leaves out.
        """
        hosting = _typed(self)
        if hosting is None:
            return super().train(resume_from_checkpoint, trial, ignore_keys_for_eval)
        check_trainer(self, TypedTrainer)
        hosting.take(self, host_of(self))
        vars(self)[_UNDER_WAY] = hosting
        try:
            result = super().train(resume_from_checkpoint, trial, ignore_keys_for_eval)
        except BaseException as error:
            hosting.leave(error)
            raise
        finally:
            del vars(self)[_UNDER_WAY]
        hosting.leave()
        return result

    @override
    def prediction_step(
        self, model: nn.Module, inputs: Any, prediction_loss_only: bool, ignore_keys: Optional[list[str]] = None
    ) -> tuple[Any, Any, Any]:
        """Validates a batch; one that a callback cancelled has neither loss nor prediction.

        Args:
            model: The model.
            inputs: The batch.
            prediction_loss_only: Whether the loss is all that is wanted.
            ignore_keys: What of the model's output is left out.
        """
        hosting = _training(self)
        if hosting is None:
            return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        result: Optional[tuple[Any, Any, Any]] = hosting.prediction_step(
            super().prediction_step, model, inputs, prediction_loss_only, ignore_keys
        )
        return (None, None, None) if result is None else result

    @override
    def _run_epoch(
        self,
        model: Any,
        epoch: int,
        train_dataloader: Any,
        steps_in_epoch: int,
        num_update_steps_per_epoch: int,
        trial: Any,
        ignore_keys_for_eval: Optional[list[str]],
        start_time: float,
        resume_from_checkpoint: Optional[str],
        epochs_trained: int,
        steps_trained_in_current_epoch: int,
    ) -> None:
        def run() -> None:
            super(TypedTrainer, self)._run_epoch(
                model,
                epoch,
                train_dataloader,
                steps_in_epoch,
                num_update_steps_per_epoch,
                trial,
                ignore_keys_for_eval,
                start_time,
                resume_from_checkpoint,
                epochs_trained,
                steps_trained_in_current_epoch,
            )

        hosting = _training(self)
        if hosting is None:
            run()
            return
        resumed = epoch == epochs_trained and resume_from_checkpoint is not None
        if hosting.begin_epoch(epoch, length_of(train_dataloader), steps_trained_in_current_epoch if resumed else 0):
            run()
            hosting.finish_epoch()
        if hosting.fit.cancelled:
            self.control.should_training_stop = True

    @override
    def _evaluate(self, trial: Any, ignore_keys_for_eval: Any, skip_scheduler: bool = False) -> dict[str, float]:
        hosting = _training(self)
        if hosting is None or skip_scheduler:  # eval_on_start: no epoch has begun
            return super()._evaluate(trial, ignore_keys_for_eval, skip_scheduler)
        vars(self)[_VALIDATING] = hosting
        try:
            return super()._evaluate(trial, ignore_keys_for_eval, skip_scheduler)
        finally:
            del vars(self)[_VALIDATING]

    @override
    def evaluation_loop(self, dataloader: Any, *args: Any, **kwargs: Any) -> Any:
        """Goes over validation data, between begin_validate and after_validate where it validates an epoch.

        Args:
            dataloader: The batches.
            *args: As the Trainer has them.
            **kwargs: As the Trainer has them.
        """
        hosting: Optional[TransformersCallbacks[Any, Any, Any]] = vars(self).get(_VALIDATING)
        if hosting is None:
            return super().evaluation_loop(dataloader, *args, **kwargs)
        if not hosting.begin_validation(length_of(dataloader)):
            return EvalLoopOutput(predictions=None, label_ids=None, metrics={}, num_samples=0)
        output: Any = super().evaluation_loop(dataloader, *args, **kwargs)
        hosting.end_validation()
        return output

    @override
    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        hosting = _training(self)
        if hosting is not None:
            hosting.finish_epoch()  # a checkpoint that is written as an epoch ends is of an epoch that has ended
        super()._save_checkpoint(model, trial)

    @override
    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        hosting = _training(self)
        if hosting is not None and self.args.should_save:
            write_cells(hosting.state_dict(), Path(output_dir) / _FILE)

    @override
    def _load_optimizer_and_scheduler(self, checkpoint: Optional[str]) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        hosting = _training(self)
        if hosting is not None and checkpoint is not None and (Path(checkpoint) / _FILE).is_file():
            hosting.load_state_dict(read_cells(Path(checkpoint) / _FILE))


def _training(trainer: TypedTrainer) -> Optional[TransformersCallbacks[Any, Any, Any]]:
    """What hosts the callbacks of the fit under way; None where there is none."""
    found: Optional[TransformersCallbacks[Any, Any, Any]] = vars(trainer).get(_UNDER_WAY)
    return found


def _typed(trainer: TypedTrainer) -> Optional[TransformersCallbacks[Any, Any, Any]]:
    """The one callback that hosts typed ones; None where there is none."""
    found = [callback for callback in trainer.callback_handler.callbacks if _is_ours(callback)]
    if len(found) > 1:
        raise CallbackError(
            "this Trainer has several host(...): put all typed callbacks into one, so that they know each other."
        )
    return found[0] if found else None


def _is_ours(callback: TrainerCallback) -> TypeIs[TransformersCallbacks[Any, Any, Any]]:
    return isinstance(callback, TransformersCallbacks)
