"""What of a Trainer is wrapped while it trains, so that callbacks hear what its own never see.

A TrainerCallback sees no batch, no prediction and no loss. So functions of ours stand around what the Trainer calls, on
its instance, where a callback listens to what happens there. Which they are is known when a fit begins. They do what
they did before, where no callback asks for something else; and what leaves out a step is there in that batch alone.
"""

from __future__ import annotations

import functools
from functools import partial
from typing import Any, Callable, Generic, Optional

import torch
from torch import Tensor
from torch.optim import Optimizer

from ...dispatch import fold
from ...errors import LoopError
from ...events import AfterLoss, P, X, Y
from ...extras import require
from ...hooks import AFTER_LOSS
from ...hosted import Hosted, HostedCursor, heard
from ...stages import BACKWARD, BEGUN, ENDED, LOSS, PREDICTED, SKIPPED, STEPPED
from ..hosting import BatchFormat
from .formats import LOGITS, OutputFormat
from .rest_of_batch import RestOfBatch
from .standing_in import Undo, put, undone

require("transformers", extra="transformers")

from transformers import Trainer  # noqa: E402


class BatchLeft(BaseException):
    """A batch was left in its middle; caught by what runs it."""


class HostedTrainer(Generic[X, Y, P]):
    """The methods of a Trainer that are wrapped while it trains.

    Args:
        trainer: The Trainer.
        optimizer: Its optimizer, as accelerate has wrapped it.
        opt: The same without that.
        fit: The fit, which has begun.
        batches: How batches are taken apart and put together.
        outputs: Where in what the model returns its prediction is.
    """

    cursor: Optional[HostedCursor[X, Y, P]]
    """The pass whose batch is under way; None between batches, and while somebody else validates."""

    train: Optional[HostedCursor[X, Y, P]]
    """The pass over the training data; None before the first one."""

    hears: bool
    """Whether somebody listens to what happens in a training batch."""

    def __init__(
        self,
        trainer: Trainer,
        optimizer: Any,  # Any: accelerate's, which is typed in part
        opt: Optimizer,
        fit: Hosted[X, Y, P],
        batches: BatchFormat[X, Y],
        outputs: OutputFormat[P],
    ) -> None:
        self.cursor = None
        self.train = None
        self.hears = heard(fit.plan.train)
        self._trainer = trainer
        self._optimizer = optimizer
        self._fit = fit
        self._batches = batches
        self._outputs = outputs
        self._leaves = False
        self._undo: Undo = []
        self._rest = RestOfBatch(trainer, optimizer, opt)

    def wrap(self) -> None:
        """Wraps what callbacks have to hear of."""
        trainer, train, valid = self._trainer, self._fit.plan.train, self._fit.plan.valid
        if self.hears or heard(valid):
            put(self._undo, trainer, "compute_loss", self._compute_loss)
        if train.after_pred or valid.after_pred:
            for name in ("compute_loss_func", "label_smoother"):
                if getattr(trainer, name) is not None:
                    put(self._undo, trainer, name, self._of_pred)
        # Where the batch's end is told, it is told how far the batch has come.
        self._leaves = self.hears and type(trainer).training_step is not Trainer.training_step
        if train.after_backward or train.after_batch or self._leaves:
            self._leaves = True
            put(self._undo, trainer, "training_step", self._training_step)
        if train.after_step or train.after_batch:
            put(self._undo, self._optimizer, "step", self._step)

    def unwrap(self) -> None:
        """Leaves the Trainer as it was."""
        self.cursor = None
        self._rest.end()
        undone(self._undo)

    # ------------------------------------------------------------------------------------------------- training

    def begin_train(self, first: int) -> None:
        """Goes over to the pass over the training data that the fit has begun.

        Args:
            first: The number of the batch that it begins with.
        """
        self.train = self._fit.batch
        self.train.index = first - 1

    def end_train_batch(self, stepped: bool) -> None:
        """Ends a training batch: after_batch fires.

        Args:
            stepped: Whether it was the last of those whose gradients were added up.
        """
        cursor, self.cursor = self.train, None
        if cursor is None:
            return
        if cursor.stage in (ENDED, BEGUN):
            raise LoopError(
                "training_step computed no loss by compute_loss, and callbacks listen to what it makes of a batch: "
                "call self.compute_loss once in it."
            )
        if stepped and cursor.stage < STEPPED:  # nobody listens to the step itself, nor to the end
            cursor.steps += 1
        self._rest.end()
        self._fit.close_batch()
        if not stepped:
            self.cursor = cursor  # the next one comes without on_step_begin

    def _training_step(self, step: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Runs a training step, and fires after_backward; the loss of a batch that was left is 0."""

        @functools.wraps(step)
        def training_step(*args: Any, **kwargs: Any) -> Tensor:
            try:
                loss = step(*args, **kwargs)
            except BatchLeft:
                return self._nothing().detach()
            cursor = self.cursor
            if cursor is not None and cursor.stage == LOSS:
                cursor.backward_done()
                if cursor.stage != BACKWARD:
                    self._rest.leave_out_step(cursor.drops_gradients())
            return loss

        return training_step

    def _step(self, step: Callable[..., object]) -> Callable[..., None]:
        """Steps, and fires after_step."""

        @functools.wraps(step)
        def step_and_tell(*args: Any, **kwargs: Any) -> None:
            step(*args, **kwargs)
            cursor = self.cursor
            if cursor is None:
                return
            if cursor.stage == LOSS:  # nobody listens to after_backward
                cursor.backward_done()
            if cursor.stage == BACKWARD and not cursor.stepped():
                self._rest.keep_gradients()

        return step_and_tell

    def _nothing(self) -> Tensor:
        """What a batch that was left says of its loss; backward has nothing to do for it."""
        return torch.zeros((), device=self._trainer.args.device, requires_grad=True)

    # ----------------------------------------------------------------------------------------------- validation

    def validate(self) -> Undo:
        """Goes over to a validation that the fit has begun; what ends it is the answer."""
        valid = self._fit.batch
        valid.index = -1
        undo: Undo = []
        if heard(valid.plan):
            put(undo, self._trainer, "_prepare_inputs", self._prepare)
        return undo

    def prediction_step(self, step: Callable[..., Any], args: tuple[object, ...]) -> Any:
        """Runs a validation step on the batch as the callbacks left it; None where they want no more of it."""
        cursor = self._fit.batch
        if not heard(cursor.plan):
            cursor.index += 1
            return step(*args)
        self.cursor = cursor
        try:
            result = step(*args)
        except BatchLeft:
            result = None
        if cursor.stage == ENDED or cursor.stage < PREDICTED or (cursor.stage < LOSS and cursor.hears_loss):
            raise LoopError(
                "prediction_step computed no loss by compute_loss, and callbacks listen to what it makes of a batch: "
                "does the batch have labels, and is predict_with_generate off?"
            )
        self.cursor = None
        self._fit.close_batch()
        return result

    def aside(self, step: Callable[..., Any], args: tuple[object, ...]) -> Any:
        """Runs a step of somebody else's validation, in the middle of a batch perhaps."""
        cursor, self.cursor = self.cursor, None
        try:
            return step(*args)
        finally:
            self.cursor = cursor

    def _prepare(self, prepare: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Puts a batch on its device, where a validation batch begins: prediction_step looks for its labels there."""

        @functools.wraps(prepare)
        def prepare_inputs(inputs: Any) -> Any:
            prepared = prepare(inputs)
            cursor = self.cursor
            return prepared if cursor is None or cursor.stage != ENDED else self._begin(cursor, prepared)

        return prepare_inputs

    # ------------------------------------------------------------------------------------------------------ both

    def _begin(self, cursor: HostedCursor[X, Y, P], inputs: Any) -> Any:
        """Fires begin_batch: the batch as the callbacks left it."""
        cursor.index += 1
        xb, yb = cursor.xb, cursor.yb = self._batches.split(inputs)
        cursor.stage = BEGUN
        if not cursor.plan.begin_batch:
            return inputs
        cursor.begin()
        if cursor.stage >= SKIPPED:
            raise BatchLeft
        return inputs if cursor.xb is xb and cursor.yb is yb else self._batches.join(cursor.xb, cursor.yb)

    def _compute_loss(self, compute: Callable[..., Any]) -> Callable[..., Any]:
        """Computes a loss as the Trainer does; begin_batch, after_pred and after_loss fire."""
        train = self._fit.plan.train
        quick = not (train.begin_batch or train.after_pred)
        split, take, tensors = self._batches.split, self._outputs.take, self._outputs is LOGITS

        @functools.wraps(compute)
        def compute_loss(model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
            cursor = self.cursor
            if cursor is None:
                return compute(model, inputs, return_outputs=return_outputs, **kwargs)
            if not quick or cursor.stage != ENDED or cursor.index < 0:
                return self._hear(cursor, partial(compute, model, **kwargs), inputs, return_outputs)
            # As `_hear` does it. Each call costs 1 µs, behind a model that has had the processor's caches to itself.
            cursor.index += 1
            cursor.xb, cursor.yb = split(inputs)
            cursor.stage = BEGUN
            loss, outputs = compute(model, inputs, return_outputs=True, **kwargs)
            pred: Any = outputs  # Any: as the Trainer has it
            is_pred = tensors and isinstance(outputs, Tensor)
            cursor.pred = pred if is_pred else take(outputs)
            cursor.computed = loss
            cursor.stage = LOSS
            if cursor.hears_loss:
                event: AfterLoss[X, Y, P] = AfterLoss(
                    "train", cursor.epoch, cursor.index, cursor.n_batches, cursor.steps,
                    cursor.xb, cursor.yb, cursor.pred, loss,
                )  # fmt: skip
                answer = fold(AFTER_LOSS, train.after_loss, event)
                if answer is not event:
                    cursor.take_after_loss(answer)
                    loss = cursor.computed if cursor.stage == LOSS else self._left(cursor)
            return (loss, outputs) if return_outputs else loss

        return compute_loss

    def _hear(
        self, cursor: HostedCursor[X, Y, P], compute: Callable[..., Any], inputs: Any, return_outputs: bool
    ) -> Any:
        """The loss of a batch whose begin, prediction or loss somebody may listen to."""
        try:
            if cursor.stage == ENDED:
                inputs = self._begin(cursor, inputs)
            loss, outputs = compute(inputs, return_outputs=True)
            if cursor.stage == BEGUN:  # the model has computed the loss itself
                outputs = self._predicted(cursor, outputs)
            loss = cursor.lost(loss)
            if cursor.stage != LOSS:
                loss = _goes_on(cursor)
        except BatchLeft:
            loss, outputs = self._left(cursor), None
        return (loss, outputs) if return_outputs else loss

    def _left(self, cursor: HostedCursor[X, Y, P]) -> Tensor:
        """What a batch says of its loss that was left; it is left altogether where something catches that."""
        if cursor.phase == "train":
            self._rest.leave_out_step(cursor.drops_gradients())
            if not self._leaves:
                return self._nothing()
        raise BatchLeft

    def _of_pred(self, compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """What computes a loss of a prediction: after_pred fires before."""

        @functools.wraps(compute)
        def of_pred(outputs: Any, *args: Any, **kwargs: Any) -> Tensor:
            cursor = self.cursor
            if cursor is not None and cursor.stage == BEGUN:
                outputs = self._predicted(cursor, outputs)
            return compute(outputs, *args, **kwargs)

        return of_pred

    def _predicted(self, cursor: HostedCursor[X, Y, P], outputs: Any) -> Any:
        """Fires after_pred: what the model returned, with the prediction as the callbacks left it."""
        pred = self._outputs.take(outputs)
        cursor.predicted(pred)
        if cursor.stage != PREDICTED:
            raise BatchLeft
        return outputs if cursor.pred is pred else self._outputs.put(outputs, cursor.pred)


def _goes_on(cursor: HostedCursor[X, Y, P]) -> Tensor:
    """The loss of a batch that a callback stopped where it was computed: in validation, what is skipped is not there.

    Raises:
        BatchLeft: The batch is to be left.
    """
    if cursor.cancelled or cursor.phase == "train":
        raise BatchLeft
    return cursor.computed
