"""Typed callbacks in a Lightning Trainer.

    trainer = L.Trainer(callbacks=[host(AvgStats(accuracy), partial(GradientClip, clip=0.1))])

Lightning calls each hook of each callback, at some 2 µs, whether there is something in it or not. So a hosted callback
has those hooks alone that somebody needs, which is known when a fit begins; the rest is on the module, of which
`lightning_module` wraps what callbacks have to hear of.
"""

from __future__ import annotations

import inspect
import math
from functools import partial
from typing import Callable, Final, Generic, Optional, Sequence

from torch import nn
from torch.optim import Optimizer
from typing_extensions import override

from ..dispatch import Plan
from ..errors import LoopError
from ..events import P, X, Y
from ..extras import require
from ..hosted import Hostable, Hosted
from ..optimizer import check_closure
from ..state import OnMismatch
from .hosting import PAIRS, BatchFormat, Hosting
from .hosts import LIGHTNING, LIGHTNING_SCALED, LIGHTNING_SEVERAL
from .lightning_module import HostedModule, StepLeft

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


_IN_A_BATCH: Final = (
    "on_train_batch_start", "on_before_zero_grad", "on_before_backward", "on_after_backward",
    "on_before_optimizer_step", "on_train_batch_end", "on_validation_batch_start", "on_validation_batch_end",
)  # fmt: skip
"""The hooks that Lightning calls in each batch."""


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
        self._module: Optional[HostedModule[X, Y, P]] = None
        self._told: frozenset[str] = frozenset(_IN_A_BATCH)
        self._settings: list[Callable[[], None]] = []
        self._epoch_runs: Optional[bool] = None
        self._valid_runs = False
        self._cancelled_between = False  # by a validation between two batches

    @property
    @override
    def state_key(self) -> str:
        """Under which the cells stand in Lightning's checkpoint."""
        return "typedcb"

    # ------------------------------------------------------------------------------------------- the fit and its epochs

    @override
    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Refuses what cannot be hosted."""
        _check_module(trainer, pl_module)
        if trainer.world_size > 1:
            self._hosted_by(LIGHTNING_SEVERAL)
        else:
            scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
            self._hosted_by(LIGHTNING_SCALED if scaled else LIGHTNING)

    @override
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Fires begin_fit, and wraps what callbacks are to hear of."""
        self._epoch_runs, self._valid_runs, self._cancelled_between = None, False, False
        opt = trainer.optimizers[0]
        predicts = pl_module if self._forward is None else self._forward(pl_module)
        fit = self._begin(pl_module, opt, _n_epochs(trainer), trainer.current_epoch)
        self._told = _told(fit.plan)
        self._leave(*_IN_A_BATCH)
        self._take("on_train_batch_start")  # a fit may be taken up in the middle of an epoch
        self._module = HostedModule(pl_module, predicts, self._format, self._take)
        self._module.wrap(fit, opt, self._told)

    @override
    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Fires begin_epoch."""
        fit = self._under_way()
        self._epoch_runs = not fit.cancelled and fit.begin_epoch(trainer.current_epoch)
        if fit.cancelled:
            raise StopIteration  # Lightning ends the fit
        if self._epoch_runs:
            self._begin_train(fit, trainer)
        else:
            self._take("on_train_batch_start")

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
            self._epoch_runs = self._begin_train(fit, trainer)
        if not self._epoch_runs or self._cancelled_between:
            raise StopIteration  # Lightning ends the epoch
        if "on_train_batch_start" not in self._told:  # the module's own begins batches
            self._leave("on_train_batch_start")
        elif self._module is not None:
            self._module.begin_batch(fit, trainer, pl_module, batch, batch_idx)
            # From now on without the questions above, until `_take` has them asked again.
            vars(self)["on_train_batch_start"] = partial(self._module.begin_batch, fit)

    @override
    def on_after_backward(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Fires after_backward in a batch whose gradients Lightning adds up for a later step."""
        module = self._module
        if module is not None and not module.stepping:
            module.backward_done(trainer.optimizers[0])
        self._leave("on_after_backward")

    @override
    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer) -> None:
        """Fires after_backward before a step: the gradients are not scaled here, and not yet clipped by Lightning."""
        module = self._module
        if "on_before_optimizer_step" not in self._told:
            self._leave("on_before_optimizer_step")
        if module is not None and not module.backward_done(optimizer):
            raise StepLeft

    @override
    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Fires after_batch, and ends the epoch where a callback has asked for that."""
        fit = self._fit or self._under_way()
        ends_pass = fit.close_batch()
        if "on_train_batch_end" not in self._told:
            self._leave("on_train_batch_end")
        if ends_pass:
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
            self._valid_runs = self._epoch_runs is not False and self._fit.begin_pass(
                "valid", trainer.current_epoch, n_batches
            )
            if not self._valid_runs:
                self._take("on_validation_batch_start")
            elif self._module is not None:
                self._module.begin_pass(self._fit)

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
            if "on_validation_batch_start" not in self._told:  # the module's own begins batches
                self._leave("on_validation_batch_start")
            elif self._module is not None:
                self._module.begin_batch(fit, trainer, pl_module, batch, batch_idx)

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
            self._leave("on_validation_batch_end")

    @override
    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Fires after_validate."""
        fit = self._fit
        if fit is None:
            return
        if self._valid_runs:
            self._valid_runs = False
            fit.end_pass()
            if self._module is not None:
                self._module.begin_pass(fit)
        if fit.cancelled:
            self._cancelled_between = True
            self._take("on_train_batch_start")  # no more batches

    # ------------------------------------------------------------------------------------------------------ small parts

    def _take(self, *names: str) -> None:
        """Takes hooks of Lightning's, from now on."""
        for name in names:
            vars(self).pop(name, None)

    def _leave(self, *names: str) -> None:
        """Leaves hooks of Lightning's alone that are not needed in every batch: it passes over what is no function."""
        for name in names:
            if name not in self._told:
                vars(self)[name] = None

    def _begin_train(self, fit: Hosted[X, Y, P], trainer: L.Trainer) -> bool:
        """Begins a pass over the training data: whether it is to run."""
        runs = fit.begin_pass("train", trainer.current_epoch, _count(trainer.num_training_batches))
        if runs and self._module is not None:
            self._module.begin_pass(fit)
        return runs

    def _under_way(self) -> Hosted[X, Y, P]:
        if self._fit is None:
            raise LoopError("Lightning trains, and on_train_start was never called: is another fit under way?")
        return self._fit

    def _unwrap(self) -> None:
        self._take(*_IN_A_BATCH)
        self._put_settings_back()
        if self._module is not None:
            self._module.unwrap()
            self._module = None

    def _set(self, trainer: L.Trainer, name: str, value: object) -> None:
        """Changes a setting of the trainer until the epoch or the validation that it is for."""
        before: object = getattr(trainer, name)
        setattr(trainer, name, value)
        self._settings.append(lambda: setattr(trainer, name, before))

    def _put_settings_back(self) -> None:
        while self._settings:
            self._settings.pop()()


def _told(plan: Plan[X, Y, P]) -> frozenset[str]:
    """The hooks of Lightning's that are needed in every batch, by what callbacks listen to."""
    train, valid = plan.train, plan.valid
    needed: dict[str, object] = {
        "on_train_batch_start": train.begin_batch or train.after_batch,
        "on_before_optimizer_step": train.after_backward,
        "on_train_batch_end": train.after_cancel_batch or train.after_batch,
        "on_validation_batch_start": valid.begin_batch or valid.after_batch,
        "on_validation_batch_end": valid.after_cancel_batch or valid.after_batch,
    }
    return frozenset(name for name, listeners in needed.items() if listeners)


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
    check_closure(trainer.optimizers[0])
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
