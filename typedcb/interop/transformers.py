"""Typed callbacks in Hugging Face's Trainer.

    trainer = TypedTrainer(model, args, train_dataset=..., callbacks=[host(AvgStats(accuracy))])

A TrainerCallback sees no batch, no prediction and no loss, and can skip nothing. So the steps are those of
`TypedTrainer`, a mixin that stands before the class of Trainer that you have: around what the Trainer does, which it
leaves as it is. A Trainer without it hosts callbacks of whole epochs, and refuses the others.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Callable, Final, Generic, Mapping, Optional, Sequence, Sized, cast

import attrs
import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer
from typing_extensions import TypeIs, override

from ..errors import BatchError, CallbackError, LoopError
from ..events import P, X, Y
from ..extras import require
from ..hosted import Host, Hostable, Hosted, HostedCursor
from ..stages import BACKWARD, BEGUN, LOSS, PREDICTED, SKIPPED
from ..state import OnMismatch
from .cells_file import read_cells, write_cells
from .hosting import BatchFormat, Hosting
from .hosts import (
    TRANSFORMERS,
    TRANSFORMERS_CALLBACK,
    TRANSFORMERS_METRIC,
    TRANSFORMERS_OWN_LOSS,
    TRANSFORMERS_SEVERAL,
    both,
)

require("transformers", extra="transformers")

from transformers import (  # noqa: E402
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_utils import EvalLoopOutput  # noqa: E402

_FILE: Final = "typedcb.safetensors"
"""What holds the cells in a checkpoint's folder."""

_UNDER_WAY: Final = "_typedcb_under_way"
"""The attribute of a Trainer that holds what hosts the callbacks of its fit under way."""

_VALIDATING: Final = "_typedcb_validating"
"""The same, while it validates an epoch of that fit."""

_NOT_TYPED: Final = "class Mine(TypedTrainer, Seq2SeqTrainer), say, with TypedTrainer first"


# Any: a Trainer's batches are dicts of whatever the collator makes, its predictions whatever the model returns.


def _split_labels(batch: Any) -> tuple[Any, Any]:
    if isinstance(batch, Mapping) and "labels" in batch:
        fields = cast("Mapping[str, Any]", batch)
        return {name: value for name, value in fields.items() if name != "labels"}, fields["labels"]
    raise BatchError(
        f"a batch is {_kind(cast(object, batch))} without labels: say how to take it apart and put it together, by "
        f"batches=BatchFormat(split=..., join=...)."
    )


def _kind(value: object) -> str:
    return f"a {type(value).__name__}"


LABELLED: Final[BatchFormat[Any, Any]] = BatchFormat(_split_labels, lambda xb, yb: {**xb, "labels": yb})
"""Batches that are dicts: the inputs are all but `labels`, the targets are `labels`."""


@attrs.frozen
class OutputFormat(Generic[P]):
    """Where in what a model returns its prediction is."""

    take: Callable[[Any], P]
    """From what the model returns to the prediction."""

    put: Callable[[Any, P], object]
    """From what the model returned and another prediction to what it would have returned."""


def _take_logits(outputs: Any) -> Any:
    if isinstance(outputs, Tensor):
        return outputs
    if isinstance(outputs, Mapping) and "logits" in outputs:
        return cast("Mapping[str, Any]", outputs)["logits"]
    raise LoopError(
        f"the model returns {_kind(cast(object, outputs))} without logits: say where its prediction is, by "
        f"outputs=OutputFormat(take=..., put=...)."
    )


def _put_logits(outputs: Any, pred: Any) -> object:
    if isinstance(outputs, Tensor):
        return pred
    return type(outputs)(**{**outputs, "logits": pred})


LOGITS: Final[OutputFormat[Any]] = OutputFormat(_take_logits, _put_logits)
"""Models that return a tensor, or something with `logits`."""


def host(
    *callbacks: Hostable[X, Y, P],
    batches: Optional[BatchFormat[X, Y]] = None,
    outputs: Optional[OutputFormat[P]] = None,
    on_mismatch: Optional[OnMismatch] = None,
) -> TransformersCallbacks[X, Y, P]:
    """One callback of a Trainer that hosts typed ones: `TypedTrainer(..., callbacks=[host(AvgStats(accuracy))])`.

    Args:
        *callbacks: Instances, and factories that are called with the model and the optimizer when training begins.
        batches: How batches are taken apart and put together; by default dicts whose targets are `labels`.
        outputs: Where in what the model returns its prediction is; by default the tensor, or `logits`.
        on_mismatch: What of a checkpoint may be left out where it does not fit, by the name of a callback's class.

    Raises:
        CallbackError: One is neither a callback nor a factory.
        DependencyError: What one depends on is missing, or there is a circle.
    """
    return TransformersCallbacks(callbacks, batches, outputs, on_mismatch)


class _Left(BaseException):
    """A step was left in its middle; caught by what runs the step."""


class TransformersCallbacks(Hosting[X, Y, P], TrainerCallback, Generic[X, Y, P]):
    """Typed callbacks, as one callback of a Trainer; `host` makes it.

    Args:
        callbacks: Instances and factories.
        batches: How batches are taken apart and put together.
        outputs: Where in what the model returns its prediction is.
        on_mismatch: What of a checkpoint may be left out where it does not fit.
    """

    def __init__(
        self,
        callbacks: Sequence[Hostable[X, Y, P]],
        batches: Optional[BatchFormat[X, Y]] = None,
        outputs: Optional[OutputFormat[P]] = None,
        on_mismatch: Optional[OnMismatch] = None,
    ) -> None:
        super().__init__(TRANSFORMERS, callbacks, on_mismatch)
        self._batches: BatchFormat[X, Y] = LABELLED if batches is None else batches
        self._outputs: OutputFormat[P] = LOGITS if outputs is None else outputs
        self._trainer: Optional[TypedTrainer] = None
        self._undo: list[Callable[[], None]] = []
        self._turn: Optional[HostedCursor[X, Y, P]] = None  # the batch under way, while a step of ours runs it
        self._epoch = 0
        self._index = 0
        self._valid_index = 0
        self._ends_epoch = False
        self._validates = False
        self._begins = False
        self._keeps_gradients = False

    # ------------------------------------------------------------------------------------- what the Trainer tells of

    @override
    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        model: Any = None,
        optimizer: Any = None,
        train_dataloader: Any = None,
        **kwargs: Any,
    ) -> None:
        """Refuses what cannot be hosted, and fires begin_fit."""
        if self._trainer is None:
            self._hosted_by(TRANSFORMERS_CALLBACK)
            self._end(early="Hugging Face's Trainer left the fit before its end")
        n_batches = _count(train_dataloader)
        if n_batches is None:
            raise LoopError("a typed callback knows how long its fit is to be: give the Trainer data with a length.")
        per_epoch = max(-(-n_batches // args.gradient_accumulation_steps), 1)
        self._epoch = state.global_step // per_epoch
        self._ends_epoch = self._validates = self._keeps_gradients = False
        opt: Optimizer = getattr(optimizer, "optimizer", optimizer)  # accelerate's has the real one
        if isinstance(opt, LBFGS):
            raise LoopError(
                "LBFGS runs a batch several times in one step, and a typed callback hears of each batch once."
            )
        if self._trainer is not None:
            self._wrap(self._trainer, optimizer)
        if self._begin(model, opt, state.num_train_epochs, self._epoch).cancelled:
            control.should_training_stop = True

    @override
    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Fires begin_epoch in a Trainer without the mixin."""
        if self._trainer is None and self._fit is not None:
            self._fit.begin_epoch(self._epoch)

    @override
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Fires after_batch."""
        self._end_batch(control)

    @override
    def on_substep_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Fires after_batch, of a batch whose gradients are added to the next one's."""
        self._end_batch(control)

    @override
    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Fires after_epoch in a Trainer without the mixin."""
        fit = self._fit
        if fit is None:
            return
        self._ends_epoch = True
        if self._trainer is None:
            self.finish_epoch()
        if fit.cancelled:
            control.should_training_stop, control.should_evaluate = True, False

    @override
    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Fires after_fit."""
        complete = self._epoch >= state.num_train_epochs or state.global_step >= state.max_steps
        self._unwrap()
        self._end(early="" if complete else "Hugging Face's Trainer ended the fit early: should_training_stop was set")

    def _end_batch(self, control: TrainerControl) -> None:
        fit = self._fit
        if fit is None or self._trainer is None:
            return
        self._turn = None
        fit.close_batch()
        if fit.cut_short:
            control.should_epoch_stop = True
            if fit.cancelled:
                control.should_training_stop, control.should_evaluate = True, False

    # --------------------------------------------------------------------------------------- what the mixin asks for

    def take(self, trainer: TypedTrainer) -> None:
        """Takes a trainer that is about to train.

        Args:
            trainer: It.
        """
        _check_trainer(trainer)
        self._trainer = trainer
        self._hosted_by(_host_of(trainer))

    def leave(self, error: Optional[BaseException] = None) -> None:
        """Ends the fit, if one is under way, and leaves the trainer."""
        self._unwrap()
        self._trainer = None
        self._end(error, early="" if error else "Hugging Face's Trainer left the fit before its end")

    @property
    def fit(self) -> Hosted[X, Y, P]:
        """The fit under way.

        Raises:
            LoopError: There is none.
        """
        if self._fit is None:
            raise LoopError("no fit is under way: train begins one.")
        return self._fit

    def begin_epoch(self, epoch: int, n_batches: Optional[int], first: int) -> bool:
        """Begins an epoch: whether its batches are to run.

        Args:
            epoch: Its number.
            n_batches: How many batches it has.
            first: The batch that it begins with; more than 0 where it is taken up in its middle.
        """
        fit, taken_up = self.fit, first > 0 and self._resumed
        self._resumed = False
        self._epoch, self._index, self._ends_epoch = epoch, first, False
        runs = not fit.cancelled and (taken_up or fit.begin_epoch(epoch)) and fit.begin_pass("train", epoch, n_batches)
        self._epoch += not runs
        return runs

    def finish_epoch(self) -> None:
        """Fires after_epoch, unless that was done before the checkpoint of this epoch was saved."""
        if self._ends_epoch:
            self._ends_epoch = False
            self._epoch += 1
            self._end_epoch(self._epoch - 1)

    def training_step(self, step: Callable[[Any], Tensor], inputs: Any, nothing: Callable[[], Tensor]) -> Tensor:
        """Runs a training step on the batch as the callbacks left it, and fires after_backward.

        Args:
            step: The Trainer's own, from the batch to the loss.
            inputs: The batch.
            nothing: What a batch that was left says of its loss.
        """
        self._keeps_gradients = False
        self._begins = True  # in compute_loss, where the batch is on its device
        try:
            loss = step(inputs)
        except _Left:
            return nothing()
        turn = self.fit.batch
        if turn.stage == LOSS:
            turn.backward_done()
            if turn.drops_gradients():
                self._parts.opt.zero_grad()
        return loss

    def begin_validation(self, n_batches: Optional[int]) -> bool:
        """Fires begin_validate: whether the validation is to run."""
        self._valid_index = 0
        self._validates = self.fit.begin_pass("valid", self._epoch, n_batches)
        return self._validates

    def end_validation(self) -> None:
        """Fires after_validate."""
        if self._validates:
            self._validates = False
            self.fit.end_pass()

    def prediction_step(self, step: Callable[[Any], Any], inputs: Any) -> Any:
        """Runs a validation step on the batch as the callbacks left it; None where they want no more of it."""
        if not self._validates:  # somebody else's validation, in the middle of a batch perhaps
            turn, self._turn = self._turn, None
            try:
                return step(inputs)
            finally:
                self._turn = turn
        fit = self.fit
        if fit.cut_short:  # the Trainer goes through the rest of its batches
            return None
        index, self._valid_index = self._valid_index, self._valid_index + 1
        try:
            result = step(self._begin_batch(fit, index, inputs))
        except _Left:
            result = None
        ended = fit.batch
        if ended.stage < PREDICTED or (ended.stage < LOSS and ended.hears_loss):
            raise LoopError(
                "prediction_step computed no loss by compute_loss, and callbacks listen to what it makes of a batch: "
                "does the batch have labels, and is predict_with_generate off?"
            )
        self._turn = None
        fit.close_batch()
        return result

    # ------------------------------------------------------------------------------------------------------ small parts

    def _begin_batch(self, fit: Hosted[X, Y, P], index: int, inputs: Any) -> Any:
        """Fires begin_batch: the batch as the callbacks left it."""
        xb, yb = self._batches.split(inputs)
        fit.begin_batch(index, xb, yb)
        turn = self._turn = fit.batch
        if turn.stage >= SKIPPED:
            raise _Left
        return inputs if turn.xb is xb and turn.yb is yb else self._batches.join(turn.xb, turn.yb)

    def _predicted(self, turn: HostedCursor[X, Y, P], outputs: Any) -> Any:
        pred = self._outputs.take(outputs)
        turn.predicted(pred)
        if turn.stage != PREDICTED:
            raise _Left
        return outputs if turn.pred is pred else self._outputs.put(outputs, turn.pred)

    def _wrap(self, trainer: TypedTrainer, optimizer: Any) -> None:
        """Puts functions of ours around what the Trainer calls, on the instances, while it trains."""
        self._put(trainer, "compute_loss", self._compute_loss)
        for name in ("compute_loss_func", "label_smoother"):
            if getattr(trainer, name) is not None:
                self._put(trainer, name, self._of_pred)
        self._put(optimizer, "step", lambda step: self._step(step, optimizer))
        self._put(trainer.model_wrapped, "zero_grad", self._zero_grad)

    def _compute_loss(self, compute: Callable[..., Any]) -> Callable[..., Any]:
        """Computes a loss as the Trainer does, and fires after_pred and after_loss."""

        @functools.wraps(compute)
        def compute_loss(model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
            if self._begins:
                self._begins = False
                index, self._index = self._index, self._index + 1
                inputs = self._begin_batch(self.fit, index, inputs)
            turn = self._turn
            if turn is None:
                return compute(model, inputs, return_outputs=return_outputs, **kwargs)
            loss, outputs = compute(model, inputs, return_outputs=True, **kwargs)
            if turn.stage == BEGUN:  # the model has computed the loss itself
                outputs = self._predicted(turn, outputs)
            turn.lost(loss)
            if turn.cancelled or (turn.stage != LOSS and turn.phase == "train"):
                raise _Left
            return (turn.value, outputs) if return_outputs else turn.value

        return compute_loss

    def _of_pred(self, compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """What computes a loss of a prediction: after_pred fires before."""

        @functools.wraps(compute)
        def of_pred(outputs: Any, *args: Any, **kwargs: Any) -> Tensor:
            turn = self._turn
            if turn is not None and turn.stage == BEGUN:
                outputs = self._predicted(turn, outputs)
            return compute(outputs, *args, **kwargs)

        return of_pred

    def _step(self, step: Callable[..., object], optimizer: Any) -> Callable[..., None]:
        """Steps, unless a callback has asked for no step: then the optimizer is not touched, nor the schedule."""

        @functools.wraps(step)
        def step_unless_skipped(*args: Any, **kwargs: Any) -> None:
            turn = self._turn
            if turn is None:
                step(*args, **kwargs)
                return
            steps = turn.stage == BACKWARD
            optimizer._is_overflow = not steps  # as accelerate says it of a step that a GradScaler has skipped
            if steps:
                step(*args, **kwargs)
                self._keeps_gradients = not turn.stepped()
            else:
                self._keeps_gradients = not turn.drops_gradients()

        return step_unless_skipped

    def steps(self) -> bool:
        """Whether the batch under way will be stepped on."""
        return self._turn is None or self._turn.stage == BACKWARD

    def _zero_grad(self, zero_grad: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(zero_grad)
        def zero_unless_kept(*args: Any, **kwargs: Any) -> None:
            if not self._keeps_gradients:
                zero_grad(*args, **kwargs)

        return zero_unless_kept

    def _put(self, owner: Any, name: str, make: Callable[[Any], object]) -> None:
        original: object = getattr(owner, name)
        own = name in vars(owner)
        setattr(owner, name, make(original))
        self._undo.append(lambda: setattr(owner, name, original) if own else delattr(owner, name))

    def _unwrap(self) -> None:
        self._turn = None
        self._begins = False
        while self._undo:
            self._undo.pop()()


class TypedTrainer(Trainer):
    """A mixin for Trainers, so that typed callbacks run in them; it is a Trainer itself.

    Without typed callbacks it is the Trainer's own. Their cells go into the folder of each checkpoint, as a file of
    safetensors, and come back with `train(resume_from_checkpoint=...)`.
    """

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
        hosting.take(self)
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
    def training_step(self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Trains on a batch; the loss of one that a callback cancelled is 0.

        Args:
            model: The model, as accelerate has wrapped it.
            inputs: The batch.
            num_items_in_batch: How many labels count in the batches of this step.
        """
        hosting = _training(self)
        if hosting is None:
            return super().training_step(model, inputs, num_items_in_batch)
        step = super().training_step
        return hosting.training_step(
            lambda mine: step(model, mine, num_items_in_batch),
            inputs,
            lambda: torch.zeros((), device=self.args.device),
        )

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
        step = super().prediction_step
        result: Optional[tuple[Any, Any, Any]] = hosting.prediction_step(
            lambda mine: step(model, mine, prediction_loss_only, ignore_keys), self._prepare_inputs(inputs)
        )
        return (None, None, None) if result is None else result

    @override
    def _clip_grad_norm(self, model: Any) -> Any:
        hosting = _training(self)
        if hosting is not None and not hosting.steps():
            return self._get_grad_norm(model)  # without a step the gradients stay as they are
        return super()._clip_grad_norm(model)

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
        if hosting.begin_epoch(epoch, _count(train_dataloader), steps_trained_in_current_epoch if resumed else 0):
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
        if not hosting.begin_validation(_count(dataloader)):
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


def _host_of(trainer: TypedTrainer) -> Host:
    """What a Trainer can do as it is set up."""
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


_OURS: Final = ("train", "training_step", "prediction_step", "evaluation_loop", "_run_epoch", "_evaluate")


def _check_trainer(trainer: TypedTrainer) -> None:
    """Refuses ways to train that have no place for typed callbacks."""
    kind, args = type(trainer), trainer.args
    for name in _OURS:
        if getattr(kind, name) is not getattr(TypedTrainer, name):
            raise CallbackError(
                f"{kind.__name__}.{name} hides that of TypedTrainer: derive as {_NOT_TYPED}, and leave it alone."
            )
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


def _count(batches: object) -> Optional[int]:
    try:
        return len(cast(Sized, batches))
    except TypeError:
        return None
