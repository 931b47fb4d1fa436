"""Typed callbacks in engines: which of an engine's events tells of what."""

from __future__ import annotations

import functools
from typing import Any, Callable, Generic, Optional, Sequence, Union

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import override

from ...errors import LoopError
from ...events import P, X, Y
from ...extras import require
from ...hosted import Hostable, Hosted
from ...optimizer import check_closure
from ...state import OnMismatch
from ..hosting import PAIRS, BatchFormat, Hosting
from ..hosts import IGNITE, IGNITE_ENGINE, IGNITE_ENGINE_SEVERAL, IGNITE_SEVERAL
from .runs import handle_first, n_epochs_of, why_early
from .steps import Steps
from .uncounted import leave_out_of_metrics

require("ignite", extra="ignite")

from ignite.distributed import get_world_size  # noqa: E402
from ignite.engine import Engine, Events  # noqa: E402


class IgniteCallbacks(Hosting[X, Y, P], Generic[X, Y, P]):
    """Typed callbacks for engines; `host` makes it.

    Args:
        callbacks: Instances and factories.
        batches: How batches are taken apart and put together.
        on_mismatch: What of a checkpoint may be left out where it does not fit.
    """

    def __init__(
        self,
        callbacks: Sequence[Hostable[X, Y, P]],
        batches: Optional[BatchFormat[X, Y]] = None,
        on_mismatch: Optional[OnMismatch] = None,
    ) -> None:
        super().__init__(IGNITE, callbacks, on_mismatch)
        self._format: BatchFormat[X, Y] = PAIRS if batches is None else batches
        self._engine: Optional[Engine] = None
        self._model: Optional[nn.Module] = None
        self._opt: Optional[Optimizer] = None
        self._step: Optional[Steps[X, Y, P]] = None
        self._epoch_runs = False
        self._epoch_over = False
        self._valid_runs = False
        self._interrupted = False
        self._foreign = False
        self._error: Optional[BaseException] = None
        self._index = 0
        self._from = 0
        self._valid_index = 0

    # ------------------------------------------------------------------------------------------------------ the engines

    def trainer(
        self,
        model: nn.Module,
        opt: Optimizer,
        loss_func: Callable[[P, Y], Tensor],
        *,
        device: Union[str, torch.device, None] = None,
        non_blocking: bool = False,
        gradient_accumulation_steps: int = 1,
    ) -> Engine:
        """An engine that trains, as `create_supervised_trainer` makes one; its output is the loss, as a number.

        Args:
            model: Called with the inputs.
            opt: The optimizer.
            loss_func: Called with the prediction and the targets; gives a scalar.
            device: Where batches are brought; nowhere by default.
            non_blocking: Whether that goes on while the host computes.
            gradient_accumulation_steps: How many batches make a step; the loss is divided by it for backward.

        Raises:
            CallbackError: A callback asks for what Ignite cannot do.
            LoopError: There is a trainer already, or the optimizer's step wants a closure, as LBFGS's does.
        """
        check_closure(opt)
        if gradient_accumulation_steps < 1:
            raise ValueError(f"gradient_accumulation_steps is {gradient_accumulation_steps}, and has to be at least 1.")
        self._see_inside()
        self._step = Steps(model, opt, loss_func, device, non_blocking, gradient_accumulation_steps)
        engine = Engine(self._train_step)
        self._take(engine, model, opt)
        return engine

    def evaluator(self, engine: Optional[Engine] = None) -> Engine:
        """An engine that validates, as `create_supervised_evaluator` makes one; its output is (prediction, targets).

        A run of it while an epoch of the trainer is under way, or completed, is a validation of that epoch. At other
        times, in a handler of STARTED or COMPLETED say, it is none: no callback hears of it. A batch that a callback
        cancels is counted by none of Ignite's metrics; before its prediction it has None as its output.

        Args:
            engine: An engine with a step function of its own, which is told of no event inside it.

        Raises:
            LoopError: There is no trainer yet.
        """
        if self._engine is None or (engine is None and self._step is None):
            raise LoopError(
                "an evaluator validates what a trainer of ours trains: make that first, hosted.trainer(...)."
            )
        if engine is None:
            engine = Engine(self._valid_step)
        else:
            self._see_inside(foreign=True)
            engine.add_event_handler(Events.ITERATION_STARTED, self._valid_started)
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._valid_completed)
        engine.add_event_handler(Events.STARTED, self._begin_validation)
        engine.add_event_handler(Events.COMPLETED, self._end_validation)
        return engine

    def attach(self, engine: Engine, model: nn.Module, opt: Optimizer) -> None:
        """Hosts the callbacks in a trainer with a step function of its own.

        Args:
            engine: The trainer.
            model: The model that it trains.
            opt: The optimizer that it steps.

        Raises:
            CallbackError: A callback listens to what happens inside a step function, or would cancel its batch.
            LoopError: There is a trainer already.
        """
        self._see_inside(foreign=True)
        self._take(engine, model, opt)
        engine.add_event_handler(Events.ITERATION_STARTED, self._started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._completed)

    def _see_inside(self, *, foreign: bool = False) -> None:
        """Refuses what cannot be hosted: in a step function that is not ours, and over several processes."""
        self._foreign = self._foreign or foreign
        alone, several = (IGNITE_ENGINE, IGNITE_ENGINE_SEVERAL) if self._foreign else (IGNITE, IGNITE_SEVERAL)
        self._hosted_by(several if get_world_size() > 1 else alone)

    def _take(self, engine: Engine, model: nn.Module, opt: Optimizer) -> None:
        if self._engine is not None:
            raise LoopError("these callbacks have a trainer already: for a second one, host other instances.")
        self._engine, self._model, self._opt = engine, model, opt
        engine.add_event_handler(Events.STARTED, self._begin_fit)
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin_epoch)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._epoch_completed)
        engine.add_event_handler(Events.INTERRUPT, self._interrupt)
        handle_first(engine, Events.EPOCH_COMPLETED, self._passes_over)
        handle_first(engine, Events.TERMINATE, self._left)
        handle_first(engine, Events.COMPLETED, self._left)
        run = engine.run

        @functools.wraps(run)
        def run_and_end(*args: Any, **kwargs: Any) -> object:
            # what others have attached since then validates; the epoch ends after that
            engine.remove_event_handler(self._epoch_completed, Events.EPOCH_COMPLETED)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._epoch_completed)
            self._interrupted = False
            self._error = None
            if Events.EXCEPTION_RAISED in vars(engine)["_event_handlers"]:  # one of which may keep it to itself
                engine.add_event_handler(Events.EXCEPTION_RAISED, self._failed)
            try:
                state: object = run(*args, **kwargs)
            except BaseException as error:
                self._end(error)
                raise
            finally:
                if engine.has_event_handler(self._failed, Events.EXCEPTION_RAISED):
                    engine.remove_event_handler(self._failed, Events.EXCEPTION_RAISED)
            self._end_run(engine)
            return state

        setattr(engine, "run", run_and_end)  # noqa: B010  # a method, for a checker, is not assigned to

    def _end_run(self, engine: Engine) -> None:
        if self._error is not None:
            self._end(self._error)
        elif not self._interrupted:
            self._end(early=why_early(engine))

    # ------------------------------------------------------------------------------------------- the fit and its epochs

    @override
    def state_dict(self) -> dict[str, object]:
        """The cells, and how far the fit is: a string, and tensors by name.

        A checkpoint that is written as an epoch ends is of an epoch that has ended: after_epoch fires before.

        Raises:
            StateError: A cell holds what no checkpoint can hold.
        """
        if self._engine is not None and self._epoch_over:
            self._epoch_completed(self._engine)
        return super().state_dict()

    def _begin_fit(self, engine: Engine) -> None:
        if self._model is None or self._opt is None:
            raise LoopError("the engine runs, and has no model.")
        self._epoch_runs = self._epoch_over = self._valid_runs = False
        self._end(early="its run was interrupted, and another one has begun")
        self._see_inside()
        if self._step is not None and not engine.state.iteration % self._step.every:
            self._opt.zero_grad()  # what was left before, which Ignite drops before the first backward
        self._check_epochs(engine.state.epoch, "Load the trainer's state with theirs, by Checkpoint.load_objects")
        fit = self._begin(self._model, self._opt, n_epochs_of(engine), engine.state.epoch)
        if fit.cancelled:
            engine.terminate()

    def _begin_epoch(self, engine: Engine) -> None:
        fit = self._under_way()
        self._epoch_over = False
        epoch = engine.state.epoch - 1
        length: Optional[int] = engine.state.epoch_length
        self._index = engine.state.iteration % length if self._resumed and length is not None else 0
        self._from = self._index
        self._resumed = False
        taken_up = self._index > 0  # in the middle of an epoch, which has begun before
        self._epoch_runs = taken_up or fit.begin_epoch(epoch)
        if fit.cancelled:
            engine.terminate()
        elif self._epoch_runs:
            fit.begin_pass("train", epoch, length)
        else:  # an engine leaves an epoch out from its first batch on
            engine.add_event_handler(Events.GET_BATCH_STARTED, self._leave_out)

    def _leave_out(self, engine: Engine) -> None:
        """Ends the epoch that has just begun: it has no batch, no validation and no end."""
        engine.remove_event_handler(self._leave_out, Events.GET_BATCH_STARTED)
        engine.terminate_epoch(skip_epoch_completed=True)

    def _epoch_completed(self, engine: Engine) -> None:
        fit = self._fit
        if fit is not None and self._epoch_runs:
            self._epoch_runs = False
            self._end_epoch(engine.state.epoch - 1)
            if fit.cancelled:
                engine.terminate()

    def _passes_over(self, engine: Engine) -> None:
        """An epoch has no more training batches; what its other handlers do now, validate or save, belongs to it."""
        self._epoch_over = self._fit is not None

    def _left(self, engine: Engine) -> None:
        """The run is over, by terminate() in the middle of an epoch too: what others do now belongs to no epoch."""
        self._epoch_runs = self._epoch_over = False

    def _failed(self, engine: Engine, error: BaseException) -> None:
        self._error = error

    def _interrupt(self, engine: Engine) -> None:
        self._interrupted = True

    # ------------------------------------------------------------------------------------------------------ the batches

    def _train_step(self, engine: Engine, batch: object) -> Optional[float]:
        """Our step function."""
        step, fit = self._step, self._under_way()
        if step is None:
            raise LoopError("there is no trainer.")
        index, self._index = self._index, self._index + 1
        xb, yb = self._prepared(step, batch)
        cursor = fit.batch
        loss: Optional[Tensor] = None
        if fit.begin_batch(index, xb, yb):
            loss = step.train(fit, cursor, engine.state.iteration)
        if cursor.cancelled:
            leave_out_of_metrics(engine, first=index == self._from)
        fit.end_batch()
        self._heed(fit, engine)
        return None if loss is None else loss.item()

    def _valid_step(self, engine: Engine, batch: object) -> object:
        """Our step function for validation."""
        step = self._step
        if step is None:
            raise LoopError("there is no trainer.")
        xb, yb = self._prepared(step, batch)
        fit = self._fit if self._valid_runs else None
        step.model.eval()
        with torch.no_grad():
            if fit is None:
                return step.model(xb), yb
            index, self._valid_index = self._valid_index, self._valid_index + 1
            cursor = fit.batch
            output = step.validate(fit, cursor) if fit.begin_batch(index, xb, yb) else None
            if cursor.cancelled:
                leave_out_of_metrics(engine, first=index == 0)
            fit.end_batch()
        self._heed_in_validation(fit, engine)
        return output

    def _prepared(self, step: Steps[X, Y, P], batch: object) -> tuple[X, Y]:
        xb, yb = self._format.split(batch)
        if step.device is None:
            return xb, yb
        return step.moved(xb), step.moved(yb)

    def _heed(self, fit: Hosted[X, Y, P], engine: Engine) -> None:
        """Ends the epoch or the run, where a callback has asked for it."""
        if fit.cancelled:
            engine.terminate()
        elif fit.cut_short:
            engine.terminate_epoch()

    def _started(self, engine: Engine) -> None:
        """A batch begins in a trainer with a step function of its own."""
        fit = self._under_way()
        index, self._index = self._index, self._index + 1
        self._begin_foreign(fit, engine, index)
        if not fit.goes_on:
            fit.end_batch()
            self._heed(fit, engine)

    def _completed(self, engine: Engine) -> None:
        fit = self._under_way()
        fit.end_batch()
        fit.batch.steps += 1
        self._heed(fit, engine)

    def _begin_foreign(self, fit: Hosted[X, Y, P], engine: Engine, index: int) -> None:
        xb, yb = self._format.split(engine.state.batch)
        fit.begin_batch(index, xb, yb)
        cursor = fit.batch
        if cursor.xb is not xb or cursor.yb is not yb:
            engine.state.batch = self._format.join(cursor.xb, cursor.yb)

    # --------------------------------------------------------------------------------------------------- the validation

    def _begin_validation(self, engine: Engine) -> None:
        fit, trainer = self._fit, self._engine
        self._valid_index, self._valid_runs = 0, False
        if fit is not None and trainer is not None and self._is_validation(trainer):
            self._valid_runs = fit.begin_pass("valid", trainer.state.epoch - 1, engine.state.epoch_length)
            if not self._valid_runs:
                engine.terminate()
            if fit.cancelled:
                trainer.terminate()

    def _is_validation(self, trainer: Engine) -> bool:
        """Whether a run of the evaluator validates an epoch: not before the first one, and not after the last."""
        if self._epoch_over and not self._epoch_runs:
            raise LoopError(
                f"epoch {trainer.state.epoch - 1} has ended, its after_epoch told, before its validation begins: a "
                f"checkpoint that was taken of these callbacks before has ended it. Attach the handler that runs the "
                f"evaluator first, and the checkpoint after it."
            )
        return self._epoch_runs

    def _end_validation(self, engine: Engine) -> None:
        if self._fit is not None and self._valid_runs:
            self._valid_runs = False
            self._fit.end_pass()
            if self._fit.cancelled and self._engine is not None:
                self._engine.terminate()

    def _heed_in_validation(self, fit: Hosted[X, Y, P], engine: Engine) -> None:
        if fit.cut_short:
            engine.terminate()

    def _valid_started(self, engine: Engine) -> None:
        """A batch begins in an evaluator with a step function of its own."""
        if self._fit is not None and self._valid_runs:
            index, self._valid_index = self._valid_index, self._valid_index + 1
            self._begin_foreign(self._fit, engine, index)
            if not self._fit.goes_on:
                self._fit.end_batch()
                self._heed_in_validation(self._fit, engine)

    def _valid_completed(self, engine: Engine) -> None:
        if self._fit is not None and self._valid_runs:
            self._fit.end_batch()
            self._heed_in_validation(self._fit, engine)

    def _under_way(self) -> Hosted[X, Y, P]:
        if self._fit is None:
            raise LoopError("the engine trains, and its run has not begun: was it begun by another run method?")
        return self._fit
