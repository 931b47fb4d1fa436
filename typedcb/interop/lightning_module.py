"""What of a LightningModule is wrapped while it fits, so that callbacks hear what Lightning's own never see.

These see neither the prediction nor what `training_step` makes of a batch. So a method is wrapped, on the instance,
where a callback listens to what happens in it. It does what it did before, where no callback asks for something else.

Each function that a batch runs through costs some 0.5 µs here, since the model's work has emptied the processor's
caches meanwhile. So there are few. For a moment to which nobody listens and that is to be noted all the same,
such as a batch's end, the module's own hook is taken: Lightning calls it in any case, and it does nothing, unless
somebody has overridden it. Lightning's way to its callbacks would be 11 calls.
"""

from __future__ import annotations

from functools import partial, wraps
from typing import Any, Callable, Collection, Final, Generic, Mapping, Optional, cast

from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import LoopError
from ..events import P, X, Y
from ..extras import require
from ..hosted import Hosted, HostedCursor, heard
from ..stages import BACKWARD, BEGUN, ENDED, LOSS, PREDICTED, SKIPPED, STEPPED
from .hosting import BatchFormat

require("lightning", extra="lightning")

import lightning as L  # noqa: E402

BATCH_STARTS: Final = frozenset({"on_train_batch_start", "on_validation_batch_start"})
BATCH_ENDS: Final = frozenset({"on_train_batch_end", "on_validation_batch_end"})


class StepLeft(BaseException):
    """A step was left in its middle; caught by what wraps the step."""


class HostedModule(Generic[X, Y, P]):
    """The methods of a LightningModule that are wrapped while a fit runs.

    Args:
        module: The module.
        predicts: The module whose call is the prediction.
        batches: How batches are taken apart and put together.
        heed: Called with the name of a hook that Lightning's callbacks are to have from now on: something happened
            that has to be seen to there.
    """

    cursor: Optional[HostedCursor[X, Y, P]]
    """The pass under way; between two batches it stands at ENDED. None before the first pass."""

    stepping: bool
    """Whether the optimizer's step is under way: Lightning runs the training step inside it, unless it accumulates."""

    def __init__(
        self, module: L.LightningModule, predicts: nn.Module, batches: BatchFormat[X, Y], heed: Callable[[str], None]
    ) -> None:
        self.cursor = None
        self.stepping = False
        self._module = module
        self._predicts = predicts
        self._split, self._join = batches.split, batches.join
        self._heed = heed
        self._given: tuple[object, object] = (None, None)
        self._valid_index = 0
        self._in_step = False
        self._keeps_gradients = False
        self._undo: list[Callable[[], None]] = []

    def wrap(self, fit: Hosted[X, Y, P], opt: Optimizer, told: Collection[str]) -> None:
        """Wraps what callbacks have to hear of.

        Args:
            fit: The fit.
            opt: The optimizer.
            told: The hooks of Lightning's that a callback of Lightning's sees to: the module's own are left alone.
        """
        train, valid = fit.plan.train, fit.plan.valid
        if heard(train):
            self._wrap(self._module, "training_step", partial(self._step, bool(train.after_backward)))
            self._wrap(self._module, "optimizer_step", self._optimizer_step)
        if train.after_batch and not train.after_backward:
            self._wrap(self._module, "on_after_backward", self._notes_backward)
        if heard(valid):
            self._wrap(self._module, "validation_step", partial(self._step, False))
        if heard(train) or heard(valid):
            self._wrap(self._predicts, "forward", self._predict)
        if train.after_backward or train.after_step:
            self._wrap(self._module, "optimizer_zero_grad", self._zero_grad)
            self._wrap(self._module, "on_validation_model_zero_grad", self._zero_grad)
        self._undo.append(opt.register_step_post_hook(self._stepped if heard(train) else self._counted).remove)
        for name in BATCH_STARTS - set(told):
            self._wrap(self._module, name, partial(self._begins, fit, name))
        for name in BATCH_ENDS - set(told):
            self._wrap(self._module, name, partial(self._ends, name))

    def unwrap(self) -> None:
        """Leaves the module as it was."""
        while self._undo:
            self._undo.pop()()

    def begin_pass(self, fit: Hosted[X, Y, P]) -> None:
        """Goes over to the pass that a fit has begun, or come back to."""
        self.cursor = fit.batch
        self._valid_index = 0

    def begin_batch(self, fit: Hosted[X, Y, P], trainer: object, module: object, batch: object, index: int) -> None:
        """Fires begin_batch, as a hook of a callback's.

        Args:
            fit: The fit.
            trainer: Lightning's.
            module: The LightningModule.
            batch: The batch as Lightning has it.
            index: Its number as Lightning counts, afresh for each loader.
        """
        cursor = self.cursor or fit.batch
        if cursor.stage != ENDED:
            fit.close_batch()
        if cursor.phase == "valid":
            index = self._valid_index
            self._valid_index += 1
        cursor.index = index
        cursor.xb, cursor.yb = self._given = self._split(batch)
        cursor.stage = BEGUN
        if cursor.plan.begin_batch:
            cursor.begin()

    def backward_done(self, optimizer: Optimizer) -> bool:
        """Fires after_backward: whether the optimizer is to step."""
        cursor = self.cursor
        if cursor is None:
            return True
        if cursor.stage != LOSS:  # no gradients are there to step on
            return False
        cursor.backward_done()
        if cursor.stage == BACKWARD:
            return True
        self._keeps_gradients = not cursor.drops_gradients()
        if not self._keeps_gradients:
            optimizer.zero_grad()
        self._see_to_end(cursor)
        return False

    # Lightning passes arguments by place.

    def _begins(self, fit: Hosted[X, Y, P], name: str, hook: Callable[..., object]) -> Callable[..., object]:
        """The module's hook where a batch begins. By what it answers, Lightning may end the epoch."""
        own = self._unless_idle(name, hook)
        split = self._split

        def begins(batch: object, index: int, *rest: object) -> object:
            cursor = self.cursor
            if cursor is None or cursor.stage != ENDED or cursor.phase == "valid":
                self.begin_batch(fit, None, None, batch, index)
            else:  # the same, with fewer calls
                cursor.xb, cursor.yb = self._given = split(batch)
                cursor.index = index
                cursor.stage = BEGUN
            return None if own is None else own(batch, index, *rest)

        return begins

    def _ends(self, name: str, hook: Callable[..., object]) -> Callable[..., object]:
        """The module's hook where a batch ends to which nobody listens."""
        own = self._unless_idle(name, hook)

        def ends(*args: object) -> object:
            cursor = self.cursor
            if cursor is not None:
                cursor.stage = ENDED
            return None if own is None else own(*args)

        return ends

    def _notes_backward(self, hook: Callable[..., object]) -> Callable[..., object]:
        """The module's hook after backward to which nobody listens: how far a batch has come is told at its end."""
        own = self._unless_idle("on_after_backward", hook)

        def notes_backward() -> object:
            cursor = self.cursor
            if cursor is not None and cursor.stage == LOSS:
                cursor.stage = BACKWARD
            return None if own is None else own()

        return notes_backward

    def _step(self, hears_backward: bool, step: Callable[..., object]) -> Callable[..., object]:
        """Runs a step on the batch as the callbacks left it; None where they want no more of it."""

        def run(batch: object, *rest: object) -> object:
            cursor = self.cursor
            if cursor is None or cursor.stage != BEGUN:
                return self._passed_over(step, batch, rest)
            xb, yb = self._given
            if cursor.xb is not xb or cursor.yb is not yb:
                batch = self._join(cursor.xb, cursor.yb)
            self._in_step = True
            try:
                output = step(batch, *rest)
            except StepLeft:
                return self._cut(cursor)
            finally:
                self._in_step = False
            if hears_backward and not self.stepping:  # Lightning adds gradients up
                self._heed("on_after_backward")
            if cursor.stage == PREDICTED and isinstance(output, Tensor):
                if not cursor.hears_loss and cursor.index:  # as `lost` does it, with one call less
                    cursor.computed = output
                    cursor.stage = LOSS
                    return output
                loss = cursor.lost(output)
                return loss if cursor.stage == LOSS else self._cut(cursor)
            return self._with_loss(cursor, output)

        return run

    def _passed_over(self, step: Callable[..., object], batch: object, rest: tuple[object, ...]) -> object:
        """What a step gives where no batch has begun, or the callbacks want no more of it."""
        cursor = self.cursor
        if cursor is None or not SKIPPED <= cursor.stage < ENDED:
            return step(batch, *rest)
        return self._cut(cursor)

    def _with_loss(self, cursor: HostedCursor[X, Y, P], output: object) -> object:
        """The fields that a step returns, with the loss as the callbacks left it; None where backward is not to run."""
        if cursor.stage == BEGUN:
            raise LoopError(
                "the step did not call the LightningModule itself, self(xb), so that nobody has seen a prediction: "
                "call it, or say which module predicts, host(..., forward=lambda module: module.net)."
            )
        fields = _fields(output)
        loss = None if fields is None else fields.get("loss")
        if fields is not None and loss is not None:
            new = cursor.lost(cast(Tensor, loss))
            if cursor.stage != LOSS:
                return self._cut(cursor)
            return fields if new is loss else {**fields, "loss": new}
        if output is None and cursor.phase == "valid" and cursor.hears_loss:
            raise LoopError(
                "validation_step returns no loss, and callbacks listen to after_loss in validation: return the "
                'loss, or a dict with it as "loss".'
            )
        if output is None:
            return self._cut(cursor)
        return output  # Lightning says what is wrong with it

    def _cut(self, cursor: HostedCursor[X, Y, P]) -> object:
        """What a step returns of which there is no more: Lightning is not to step the optimizer either."""
        if cursor.phase == "train":
            self._heed("on_before_optimizer_step")
        self._see_to_end(cursor)
        return None

    def _see_to_end(self, cursor: HostedCursor[X, Y, P]) -> None:
        """Has the end of a batch seen to, where it was cancelled."""
        if cursor.cancelled:
            phase = "train" if cursor.phase == "train" else "validation"
            self._heed(f"on_{phase}_batch_end")
            self._heed(f"on_{phase}_batch_start")

    def _predict(self, forward: Callable[..., P]) -> Callable[..., P]:
        """The forward of the module that predicts."""

        def predict(*args: object, **kwargs: object) -> P:
            output = forward(*args, **kwargs)
            cursor = self.cursor
            if cursor is None or not self._in_step:
                return output
            if cursor.stage != BEGUN:
                raise LoopError(
                    "the step called the module that predicts 2 times, and a batch has one prediction: say which "
                    "module's call it is, host(..., forward=lambda module: module.net)."
                )
            if not cursor.hears_pred:
                cursor.pred = output
                cursor.stage = PREDICTED
                return output
            cursor.predicted(output)
            if cursor.stage != PREDICTED:
                raise StepLeft
            return cursor.pred

        return predict

    def _optimizer_step(self, step: Callable[..., object]) -> Callable[..., object]:
        """Steps, unless a callback has asked for no step: then the optimizer is not touched."""

        def optimizer_step(*args: object, **kwargs: object) -> object:
            self.stepping = True
            try:
                return step(*args, **kwargs)
            except StepLeft:
                return None
            finally:
                self.stepping = False

        return optimizer_step

    def _zero_grad(self, zero_grad: Callable[..., None]) -> Callable[..., None]:
        def zero_unless_kept(*args: object) -> None:
            if not self._keeps_gradients:
                zero_grad(*args)

        return zero_unless_kept

    def _stepped(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        """The optimizer's own hook after a step."""
        cursor = self.cursor
        if cursor is None or cursor.stage == ENDED:
            return
        if cursor.stage == LOSS:  # nobody has listened to backward
            cursor.stage = BACKWARD
        if cursor.stage == BACKWARD and not cursor.hears_step:  # as `stepped` does it, with one call less
            cursor.steps += 1
            cursor.stage = STEPPED
            self._keeps_gradients = False
            return
        self._keeps_gradients = not cursor.stepped()
        if cursor.cancelled:
            self._see_to_end(cursor)

    def _counted(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        """The same where nobody listens to training batches."""
        if self.cursor is not None:
            self.cursor.steps += 1

    def _unless_idle(self, name: str, hook: Callable[..., object]) -> Optional[Callable[..., object]]:
        """A hook of the module's; None where it is Lightning's own, which does nothing."""
        overridden = name in vars(self._module) or getattr(type(self._module), name) is not getattr(
            L.LightningModule, name
        )
        return hook if overridden else None

    # Any: what stands under a name has no type.
    def _wrap(self, module: nn.Module, name: str, make: Callable[[Any], Callable[..., object]]) -> None:
        """Puts a function around a method of a module, on the instance alone."""
        original: Callable[..., object] = getattr(module, name)
        own = name in vars(module)
        setattr(module, name, wraps(original)(make(original)))
        self._undo.append(lambda: setattr(module, name, original) if own else delattr(module, name))


def _fields(output: object) -> Optional[Mapping[str, object]]:
    return cast("Mapping[str, object]", output) if isinstance(output, Mapping) else None
