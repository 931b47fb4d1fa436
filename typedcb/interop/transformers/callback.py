"""The callback of a Trainer that hosts typed ones: their fit, its epochs, and where its batches begin and end."""

from __future__ import annotations

from typing import Any, Generic, Optional, Sequence

from torch.optim import Optimizer
from typing_extensions import override

from ...data import length_of
from ...errors import LoopError
from ...events import P, X, Y
from ...extras import require
from ...hosted import Host, Hostable, Hosted
from ...optimizer import check_closure
from ...stages import ENDED, LOSS
from ...state import OnMismatch
from ..hosting import BatchFormat, Hosting
from ..hosts import TRANSFORMERS, TRANSFORMERS_CALLBACK
from .formats import LABELLED, LOGITS, OutputFormat
from .hosted_trainer import HostedTrainer
from .standing_in import Undo, undone

require("transformers", extra="transformers")

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments  # noqa: E402


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
        self._trainer: Optional[Trainer] = None  # one with the mixin
        self._hosted: Optional[HostedTrainer[X, Y, P]] = None  # the same, while it trains
        self._validation: Optional[Undo] = None  # what ends the validation under way
        self._epoch = 0
        self._ends_epoch = False

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
        """Refuses what cannot be hosted, fires begin_fit, and wraps what callbacks are to hear of."""
        if self._trainer is None:
            self._hosted_by(TRANSFORMERS_CALLBACK)
            self._end(early="Hugging Face's Trainer left the fit before its end")
        n_batches = length_of(train_dataloader)
        if n_batches is None:
            raise LoopError("a typed callback knows how long its fit is to be: give the Trainer data with a length.")
        per_epoch = max(-(-n_batches // args.gradient_accumulation_steps), 1)
        self._epoch = state.global_step // per_epoch
        self._ends_epoch = False
        opt: Optimizer = getattr(optimizer, "optimizer", optimizer)  # accelerate's has the real one
        check_closure(opt)
        fit = self._begin(model, opt, state.num_train_epochs, self._epoch)
        if fit.cancelled:
            control.should_training_stop = True
        if self._trainer is not None:
            self._hosted = HostedTrainer(self._trainer, optimizer, opt, fit, self._batches, self._outputs)
            self._hosted.wrap()

    @override
    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Fires begin_epoch in a Trainer without the mixin."""
        if self._trainer is None and self._fit is not None:
            self._fit.begin_epoch(self._epoch)

    # What a Trainer calls for each batch: it calls each hook of each callback, whether there is something in it or not.

    @override
    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Lets compute_loss know that it is a batch of the fit that comes."""
        hosted = self._hosted
        if hosted is not None and hosted.hears:
            hosted.cursor = hosted.train

    @override
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Fires after_batch."""
        hosted = self._hosted
        if hosted is None:
            return
        cursor = hosted.cursor
        if cursor is not None and cursor.stage == LOSS and not cursor.plan.after_batch:
            cursor.steps += 1  # the same with fewer calls, where nobody listens to anything behind the loss
            cursor.stage = ENDED
            hosted.cursor = None
        elif hosted.hears:
            self._end_batch(control, hosted, stepped=True)
        elif hosted.train is not None:
            hosted.train.index += 1
            hosted.train.steps += 1

    @override
    def on_substep_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Fires after_batch, of a batch whose gradients are added to the next one's."""
        hosted = self._hosted
        if hosted is not None and hosted.hears:
            self._end_batch(control, hosted, stepped=False)
        elif hosted is not None and hosted.train is not None:
            hosted.train.index += 1

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

    def _end_batch(self, control: TrainerControl, hosted: HostedTrainer[X, Y, P], stepped: bool) -> None:
        hosted.end_train_batch(stepped)
        fit = self.fit
        if fit.cut_short:
            control.should_epoch_stop = True
            if fit.cancelled:
                control.should_training_stop, control.should_evaluate = True, False

    # --------------------------------------------------------------------------------------- what the mixin asks for

    def take(self, trainer: Trainer, host: Host) -> None:
        """Takes a Trainer with the mixin that is about to train.

        Args:
            trainer: It.
            host: What it can do as it is set up.
        """
        self._trainer = trainer
        self._hosted_by(host)

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
        self._epoch, self._ends_epoch = epoch, False
        runs = not fit.cancelled and (taken_up or fit.begin_epoch(epoch)) and fit.begin_pass("train", epoch, n_batches)
        if not runs:
            self._epoch += 1
        elif self._hosted is not None:
            self._hosted.begin_train(first)
        return runs

    def finish_epoch(self) -> None:
        """Fires after_epoch, unless that was done before the checkpoint of this epoch was saved."""
        if self._ends_epoch:
            self._ends_epoch = False
            self._epoch += 1
            self._end_epoch(self._epoch - 1)

    def begin_validation(self, n_batches: Optional[int]) -> bool:
        """Fires begin_validate: whether the validation is to run."""
        runs = self._hosted is not None and self.fit.begin_pass("valid", self._epoch, n_batches)
        if runs and self._hosted is not None:
            self._validation = self._hosted.validate()
        return runs

    def end_validation(self) -> None:
        """Fires after_validate."""
        if self._validation is not None:
            undone(self._validation)
            self._validation = None
            self.fit.end_pass()

    # Any: what a step of the Trainer's gives has no one type.
    def prediction_step(self, step: Any, *args: object) -> Any:
        """Runs a validation step on the batch as the callbacks left it; None where they want no more of it.

        Args:
            step: The Trainer's own.
            *args: What it is called with.
        """
        hosted = self._hosted
        if hosted is None:
            return step(*args)
        if self._validation is None:
            return hosted.aside(step, args)
        return None if self.fit.cut_short else hosted.prediction_step(step, args)  # the Trainer goes through the rest

    def _unwrap(self) -> None:
        if self._validation is not None:
            undone(self._validation)
            self._validation = None
        if self._hosted is not None:
            self._hosted.unwrap()
            self._hosted = None
