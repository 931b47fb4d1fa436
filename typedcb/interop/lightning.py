"""Typed callbacks in a Lightning Trainer.

    trainer = L.Trainer(callbacks=[host(AvgStats(accuracy), partial(GradientClip, clip=0.1))])

Lightning's own callbacks see neither the prediction nor what `training_step` makes of the batch. So while it fits, the
module's steps and what zeroes its gradients are wrapped, on the instance, and the forward of what predicts. They do
what they did before, where no callback asks for something else.
"""

from __future__ import annotations

import functools
import inspect
import math
from typing import Any, Callable, Generic, Mapping, Optional, Sequence, cast

from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer
from typing_extensions import override

from ..errors import LoopError
from ..events import P, X, Y
from ..extras import require
from ..hosted import Hostable, Hosted, HostedCursor
from ..stages import BACKWARD, BEGUN, LOSS, PREDICTED, SKIPPED
from ..state import OnMismatch
from .hosting import PAIRS, BatchFormat, Hosting
from .hosts import LIGHTNING, LIGHTNING_SCALED, LIGHTNING_SEVERAL

require("lightning", extra="lightning")

import lightning as L  # noqa: E402


def host(
    *callbacks: Hostable[X, Y, P],
    forward: Optional[Callable[[L.LightningModule], nn.Module]] = None,
    batches: Optional[BatchFormat[X, Y]] = None,
    on_mismatch: Optional[OnMismatch] = None,
) -> LightningCallbacks[X, Y, P]:
    """One callback of Lightning that hosts typed ones: `L.Trainer(callbacks=[host(AvgStats(accuracy))])`.

    Args:
        *callbacks: Instances, and factories that are called with the module and the optimizer when training begins.
        forward: Which module's call in `training_step` is the prediction; by default the LightningModule's own,
            `self(xb)`. For a step that calls `self.net(xb)`: `forward=lambda module: module.net`.
        batches: How batches are taken apart and put together; pairs by default.
        on_mismatch: What of a checkpoint may be left out where it does not fit, by the name of a callback's class.

    Raises:
        CallbackError: One is neither a callback nor a factory, or asks for what Lightning cannot do.
        DependencyError: What one depends on is missing, or there is a circle.
    """
    made: LightningCallbacks[X, Y, P] = LightningCallbacks(callbacks, forward, batches, on_mismatch)
    return made


class _Left(BaseException):
    """A step was left in its middle; caught by what wraps the step."""


class LightningCallbacks(Hosting[X, Y, P], L.Callback, Generic[X, Y, P]):
    """Typed callbacks, as one callback of Lightning; `host` makes it.

    Args:
        callbacks: Instances and factories.
        forward: Which module's call is the prediction.
        batches: How batches are taken apart and put together.
        on_mismatch: What of a checkpoint may be left out where it does not fit.
    """

    def __init__(
        self,
        callbacks: Sequence[Hostable[X, Y, P]],
        forward: Optional[Callable[[L.LightningModule], nn.Module]] = None,
        batches: Optional[BatchFormat[X, Y]] = None,
        on_mismatch: Optional[OnMismatch] = None,
    ) -> None:
        super().__init__(LIGHTNING, callbacks, on_mismatch)
        self._forward = forward
        self._format: BatchFormat[X, Y] = PAIRS if batches is None else batches
        self._split = self._format.split
        self._undo: list[Callable[[], None]] = []
        self._settings: list[Callable[[], None]] = []
        self._given: tuple[object, object] = (None, None)
        self._turn: Optional[HostedCursor[X, Y, P]] = None  # the batch under way, while a fit is
        self._epoch_runs: Optional[bool] = None
        self._valid_runs = False
        self._valid_index = 0
        self._in_step = False
        self._stepping = False
        self._keeps_gradients = False

    @property
    @override
    def state_key(self) -> str:
        """Under which the cells stand in Lightning's checkpoint."""
        return "typedcb"

    # ------------------------------------------------------------------------------------------- the fit and its epochs

    @override
    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Refuses what cannot be hosted, and wraps the module's steps."""
        _check_module(trainer, pl_module)
        if trainer.world_size > 1:
            self._hosted_by(LIGHTNING_SEVERAL)
        else:
            scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
            self._hosted_by(LIGHTNING_SCALED if scaled else LIGHTNING)
        opt = trainer.optimizers[0]
        self._wrap(pl_module, "training_step", self._training_step)
        self._wrap(pl_module, "validation_step", self._validation_step)
        self._wrap(pl_module, "optimizer_step", self._optimizer_step)
        self._wrap(pl_module, "optimizer_zero_grad", self._zero_grad)
        self._wrap(pl_module, "on_validation_model_zero_grad", self._zero_grad)
        self._undo.append(opt.register_step_post_hook(self._stepped).remove)
        predicts = pl_module if self._forward is None else self._forward(pl_module)
        self._wrap(predicts, "forward", self._predict)

    @override
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Fires begin_fit."""
        self._epoch_runs, self._valid_runs, self._keeps_gradients = None, False, False
        self._begin(pl_module, trainer.optimizers[0], _n_epochs(trainer), trainer.current_epoch)

    @override
    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Fires begin_epoch."""
        fit = self._under_way()
        self._epoch_runs = not fit.cancelled and fit.begin_epoch(trainer.current_epoch)
        if fit.cancelled:
            raise StopIteration  # Lightning ends the fit
        if self._epoch_runs:
            fit.begin_pass("train", trainer.current_epoch, _count(trainer.num_training_batches))

    @override
    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Fires after_epoch."""
        self._put_settings_back()
        fit = self._under_way()
        if self._epoch_runs is not False:
            self._end_epoch(trainer.current_epoch)
        if fit.cancelled:
            trainer.should_stop = True

    @override
    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Fires after_fit."""
        self._unwrap()
        self._end(early=_early(trainer))

    @override
    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Fires after_fit with the error, Ctrl-C included."""
        self._unwrap()
        self._end(exception)

    @override
    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Fires after_fit, where Lightning has left the fit in some other way."""
        self._unwrap()
        self._end(early="Lightning left the fit before its end")

    # ------------------------------------------------------------------------------------------------------ the batches

    @override
    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Fires begin_batch."""
        fit = self._fit or self._under_way()
        if self._epoch_runs is None and not fit.cancelled:  # taken up in the middle of an epoch
            self._epoch_runs = fit.begin_pass("train", trainer.current_epoch, _count(trainer.num_training_batches))
        if not self._epoch_runs or fit.cancelled:
            raise StopIteration  # Lightning ends the epoch
        self._begin_batch(fit, batch_idx, batch)

    @override
    def on_after_backward(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Fires after_backward in a batch whose gradients Lightning adds up for a later step."""
        if not self._stepping:
            self._backward_done(trainer.optimizers[0])

    @override
    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer) -> None:
        """Fires after_backward before a step: the gradients are not scaled here, and not yet clipped by Lightning."""
        turn = self._turn
        if turn is not None and turn.quietly_backward_done():
            return
        if not self._backward_done(optimizer):
            raise _Left

    @override
    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Fires after_batch, and ends the epoch where a callback has asked for that."""
        if self._turn is not None and self._turn.quietly_ended():
            return
        fit = self._fit or self._under_way()
        fit.close_batch()
        if fit.cut_short:
            trainer.fit_loop.epoch_loop.batch_progress.is_last_batch = True  # the loop over the batches ends on it
            if fit.cancelled:
                self._set(trainer, "limit_val_batches", 0)
            else:
                self._set(trainer, "val_check_batch", 1)  # what was cut short is validated, as a whole epoch is

    # --------------------------------------------------------------------------------------------------- the validation

    @override
    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Fires begin_validate; not for Lightning's sanity check, and not outside of a fit."""
        self._put_settings_back()
        if self._fit is not None:
            n_batches = _count(sum(trainer.num_val_batches))
            self._valid_index = 0
            self._valid_runs = self._epoch_runs is not False and self._fit.begin_pass(
                "valid", trainer.current_epoch, n_batches
            )

    @override
    def on_validation_batch_start(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Fires begin_batch."""
        fit = self._fit
        if fit is not None:
            if not self._valid_runs or fit.cut_short:
                raise StopIteration  # Lightning ends the validation
            self._begin_batch(fit, self._valid_index, batch)
            self._valid_index += 1

    @override
    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Fires after_batch."""
        if self._fit is not None:
            self._fit.end_batch()
            self._turn = None

    @override
    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Fires after_validate."""
        if self._fit is not None and self._valid_runs:
            self._valid_runs = False
            self._fit.end_pass()

    # -------------------------------------------------------------------------------- what is wrapped on the module

    # Lightning passes all arguments by place. A batch runs through here a few calls deep, since each call costs.

    def _training_step(self, step: Callable[..., object]) -> Callable[..., object]:
        def training_step(batch: object, *rest: object) -> object:
            turn = self._turn
            return step(batch, *rest) if turn is None else self._run_step(turn, step, batch, rest)

        return training_step

    def _validation_step(self, step: Callable[..., object]) -> Callable[..., object]:
        def validation_step(batch: object, *rest: object) -> object:
            turn = self._turn
            if turn is None or not self._valid_runs:
                return step(batch, *rest)
            output = self._run_step(turn, step, batch, rest)
            if output is None and turn.stage < SKIPPED and turn.hears_loss:
                raise LoopError(
                    "validation_step returns no loss, and callbacks listen to after_loss in validation: return the "
                    'loss, or a dict with it as "loss".'
                )
            return output

        return validation_step

    def _run_step(self, turn: HostedCursor[X, Y, P], step: Callable[..., object], batch: object, rest: Any) -> object:
        """Runs a step on the batch as the callbacks left it; None where they want no more of it."""
        if turn.stage >= SKIPPED:
            return None
        xb, yb = self._given
        if turn.xb is not xb or turn.yb is not yb:
            batch = self._format.join(turn.xb, turn.yb)
        self._in_step = True
        try:
            output = step(batch, *rest)
        except _Left:
            return None
        finally:
            self._in_step = False
        if turn.stage == PREDICTED:
            if isinstance(output, Tensor):
                turn.lost(output)
                return turn.value if turn.stage == LOSS else None
            return self._with_loss(turn, output)
        if turn.stage < SKIPPED:
            raise LoopError(
                "the step did not call the LightningModule itself, self(xb), so that nobody has seen a prediction: "
                "call it, or say which module predicts, host(..., forward=lambda module: module.net)."
            )
        return None

    def _with_loss(self, turn: HostedCursor[X, Y, P], output: object) -> object:
        """The fields that a step returns, with the loss as the callbacks left it; None where backward is not to run."""
        fields = _fields(output)
        if fields is None or fields.get("loss") is None:
            return output  # Lightning says what is wrong with it
        turn.lost(cast(Tensor, fields["loss"]))
        if turn.stage != LOSS:
            return None
        return fields if turn.value is fields["loss"] else {**fields, "loss": turn.value}

    def _predict(self, forward: Callable[..., P]) -> Callable[..., P]:
        """The forward of the module that predicts."""

        def predict(*args: object, **kwargs: object) -> P:
            output = forward(*args, **kwargs)
            turn = self._turn
            if turn is None or not self._in_step:
                return output
            if turn.stage != BEGUN:
                raise LoopError(
                    "the step called the module that predicts 2 times, and a batch has one prediction: say which "
                    "module's call it is, host(..., forward=lambda module: module.net)."
                )
            if not turn.hears_pred:
                turn.pred = output
                turn.stage = PREDICTED
                return output
            turn.predicted(output)
            if turn.stage != PREDICTED:
                raise _Left
            return turn.pred

        return predict

    def _optimizer_step(self, step: Callable[..., object]) -> Callable[..., object]:
        """Steps, unless a callback has asked for no step: then the optimizer is not touched."""

        def optimizer_step(*args: Any) -> object:
            turn = self._turn
            if turn is None:
                return step(*args)
            *where, closure = args
            self._stepping = True

            def closure_of_ours() -> object:
                result: object = closure()
                if turn.stage != LOSS:  # no gradients are there to step on
                    raise _Left
                return result

            try:
                return step(*where, closure_of_ours)
            except _Left:
                return None
            finally:
                self._stepping = False

        return optimizer_step

    def _zero_grad(self, zero_grad: Callable[..., None]) -> Callable[..., None]:
        def zero_unless_kept(*args: object) -> None:
            if not self._keeps_gradients:
                zero_grad(*args)

        return zero_unless_kept

    def _stepped(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        """The optimizer's own hook after a step."""
        turn = self._turn
        if turn is not None:
            self._keeps_gradients = not turn.stepped()

    def _backward_done(self, optimizer: Optimizer) -> bool:
        """Fires after_backward: whether the optimizer is to step."""
        turn = self._turn
        if turn is None:
            return True
        if turn.stage < SKIPPED:
            turn.backward_done()
        if turn.stage == BACKWARD:
            return True
        self._keeps_gradients = not turn.drops_gradients()
        if not self._keeps_gradients:
            optimizer.zero_grad()
        return False

    # ------------------------------------------------------------------------------------------------------ small parts

    def _begin_batch(self, fit: Hosted[X, Y, P], index: int, batch: object) -> None:
        xb, yb = self._given = self._split(batch)
        fit.begin_batch(index, xb, yb)
        if self._turn is not fit.cursor:
            self._turn = fit.batch

    def _under_way(self) -> Hosted[X, Y, P]:
        if self._fit is None:
            raise LoopError("Lightning trains, and on_train_start was never called: is another fit under way?")
        return self._fit

    def _wrap(self, module: nn.Module, name: str, make: Callable[[Any], Callable[..., object]]) -> None:
        """Puts a function around a method of a module, on the instance alone."""
        original: Callable[..., object] = getattr(module, name)
        own = name in vars(module)
        setattr(module, name, functools.wraps(original)(make(original)))
        self._undo.append(lambda: setattr(module, name, original) if own else delattr(module, name))

    def _unwrap(self) -> None:
        self._turn = None
        self._put_settings_back()
        while self._undo:
            self._undo.pop()()

    def _set(self, trainer: L.Trainer, name: str, value: object) -> None:
        """Changes a setting of the trainer until the epoch or the validation that it is for."""
        before: object = getattr(trainer, name)
        setattr(trainer, name, value)
        self._settings.append(lambda: setattr(trainer, name, before))

    def _put_settings_back(self) -> None:
        while self._settings:
            self._settings.pop()()


def _fields(output: object) -> Optional[Mapping[str, object]]:
    return cast("Mapping[str, object]", output) if isinstance(output, Mapping) else None


def _check_module(trainer: L.Trainer, module: L.LightningModule) -> None:
    """Refuses ways to train that have no place for typed callbacks."""
    name = type(module).__name__
    if not module.automatic_optimization:
        raise LoopError(
            f"{name} optimizes by hand (automatic_optimization=False): its batches have no one loss and no one step. "
            f"Run its callbacks in a loop of your own, typedcb.Loop."
        )
    if "dataloader_iter" in inspect.signature(module.training_step).parameters:
        raise LoopError(f"{name}.training_step takes dataloader_iter, so that no batch can be seen: let it take batch.")
    if isinstance(trainer.optimizers[0], LBFGS):
        raise LoopError("LBFGS runs a batch several times in one step, and a typed callback hears of each batch once.")
    if trainer.strategy.handles_gradient_accumulation:
        raise LoopError(f"{type(trainer.strategy).__name__} steps by itself, so that no callback can see its steps.")


def _n_epochs(trainer: L.Trainer) -> int:
    """How many epochs the fit is to reach."""
    if trainer.max_epochs is not None and trainer.max_epochs >= 0:
        return trainer.max_epochs
    n_batches = _count(trainer.num_training_batches)
    if trainer.max_steps < 0 or n_batches is None:
        raise LoopError("a typed callback knows how long its fit is to be: give the Trainer max_epochs.")
    return math.ceil(trainer.max_steps / math.ceil(n_batches / trainer.accumulate_grad_batches))


def _early(trainer: L.Trainer) -> str:
    """Why Lightning ended the fit before all of its epochs had run; empty where it did not."""
    all_epochs = trainer.max_epochs is not None and 0 <= trainer.max_epochs <= trainer.current_epoch
    if all_epochs or 0 <= trainer.max_steps <= trainer.global_step:
        return ""
    return "Lightning ended the fit early: trainer.should_stop was set, or its time was over"


def _count(n_batches: float) -> Optional[int]:
    return None if n_batches == float("inf") else int(n_batches)
