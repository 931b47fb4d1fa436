"""Typed callbacks in Keras 3 on torch.

    class Net(TypedModel, keras.Sequential): ...

    net.fit(x, y, callbacks=[host(AvgStats(accuracy))])

Keras's callbacks see numbers alone. So the steps are those of `TypedModel`, a mixin that stands before Keras's class:
they are Keras's own, with what happens inside told. A model without it hosts callbacks of whole epochs, and refuses the
others.
"""

from __future__ import annotations

from typing import Any, Final, Generic, Optional, Sequence, cast

from torch import Tensor, autograd, no_grad
from torch.optim import Optimizer
from typing_extensions import Self, TypeIs, override

from ..errors import CallbackError, LoopError
from ..events import P, X, Y
from ..extras import require
from ..hosted import Hostable, Hosted
from ..stages import LOSS
from ..state import OnMismatch
from .hosting import Hosting
from .hosts import KERAS, KERAS_CALLBACK

require("keras", extra="keras")

import keras  # noqa: E402

_UNDER_WAY: Final = "_typedcb_under_way"
"""The attribute of a model that holds what hosts the callbacks of its fit under way."""

_NOT_TYPED: Final = "class Net(TypedModel, keras.Sequential), say, with TypedModel first"

# Any: Keras's data and logs have no types.


def host(*callbacks: Hostable[X, Y, P], on_mismatch: Optional[OnMismatch] = None) -> KerasCallbacks[X, Y, P]:
    """One callback of Keras that hosts typed ones: `net.fit(x, y, callbacks=[host(AvgStats(accuracy))])`.

    Args:
        *callbacks: Instances, and factories that are called with the model and the optimizer when a fit begins.
        on_mismatch: What of a saved state may be left out where it does not fit, by the name of a callback's class.

    Raises:
        CallbackError: One is neither a callback nor a factory.
        DependencyError: What one depends on is missing, or there is a circle.
    """
    return KerasCallbacks(callbacks, on_mismatch)


class KerasCallbacks(Hosting[X, Y, P], keras.callbacks.Callback, Generic[X, Y, P]):
    """Typed callbacks, as one callback of Keras; `host` makes it.

    Args:
        callbacks: Instances and factories.
        on_mismatch: What of a saved state may be left out where it does not fit.
    """

    def __init__(self, callbacks: Sequence[Hostable[X, Y, P]], on_mismatch: Optional[OnMismatch] = None) -> None:
        keras.callbacks.Callback.__init__(self)
        super().__init__(KERAS, callbacks, on_mismatch)
        self._typed = False
        self._first = 0
        self._epoch = 0
        self._done = 0
        self._index = 0
        self._valid_index = 0
        self._epoch_runs = False
        self._valid_runs = False
        self._cut = False

    # ------------------------------------------------------------------------------------------ what Keras tells of

    @override
    def on_train_begin(self, logs: Any = None) -> None:
        """Refuses what cannot be hosted, and fires begin_fit."""
        model = self.model
        if not self._typed:
            self._hosted_by(KERAS_CALLBACK)
            self._end(early="Keras left the fit before its end")
        self._first = self._done = cast(int, vars(model).get("_initial_epoch") or self._first)
        params = self.params or {}
        model.zero_grad()
        fit = self._begin(cast(Any, model), KerasOptimizer(model), params["epochs"], self._first)
        self._epoch_runs = self._valid_runs = self._cut = False
        if fit.cancelled:
            model.stop_training = True

    @override
    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Fires begin_epoch."""
        fit = self._fit
        if fit is None:
            return
        if epoch < self._first:
            raise LoopError(f"Keras begins with epoch {epoch}, and {self._first} was to be the first.")
        self._epoch, self._index = epoch, 0
        self._epoch_runs = not fit.cancelled and fit.begin_epoch(epoch)
        if self._epoch_runs and self._typed:
            fit.begin_pass("train", epoch, (self.params or {}).get("steps"))
        self._heed(fit)

    @override
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Ends the epoch's batches where a callback has asked for that."""
        if self._fit is not None and self._typed:
            self._heed(self._fit)

    @override
    def on_test_begin(self, logs: Any = None) -> None:
        """Fires begin_validate."""
        fit = self._fit
        if fit is not None and self._typed:
            self._valid_index = 0
            self._valid_runs = self._epoch_runs and fit.begin_pass("valid", self._epoch, _n_valid(self.model))

    @override
    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Ends the validation where a callback has asked for that."""
        if self._fit is not None and self._typed and (not self._valid_runs or self._fit.cut_short):
            setattr(self.model, "stop_evaluating", True)  # noqa: B010  # which Keras declares nowhere

    @override
    def on_test_end(self, logs: Any = None) -> None:
        """Fires after_validate."""
        if self._fit is not None and self._valid_runs:
            self._valid_runs = False
            self._fit.end_pass()

    @override
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Fires after_epoch."""
        fit = self._fit
        self._done = epoch + 1
        if fit is not None:
            if self._epoch_runs:
                self._epoch_runs = False
                self._end_epoch(epoch)
            if fit.cancelled:
                self.model.stop_training = True

    @override
    def on_train_end(self, logs: Any = None) -> None:
        """Fires after_fit."""
        complete = self._done >= (self.params or {})["epochs"]
        self._end(early="" if complete else "Keras ended the fit early: stop_training was set")

    # --------------------------------------------------------------------------------------- what the mixin asks for

    def take(self, model: TypedModel, first: int) -> None:
        """Takes a model that is about to be fitted, from an epoch on."""
        _check_model(model)
        self._typed, self._first = True, first
        self._hosted_by(KERAS)

    def leave(self, error: Optional[BaseException] = None) -> None:
        """Ends the fit, if one is under way, and leaves the model."""
        self._typed, self._first = False, 0
        self._end(error, early="" if error else "Keras left the fit before its end")

    def begin_batch(self, training: bool, xb: X, yb: Y) -> Optional[Hosted[X, Y, P]]:
        """Fires begin_batch; None where the batch is not to run."""
        fit = self._fit
        if fit is None or not (self._epoch_runs if training else self._valid_runs) or fit.cut_short:
            return None
        if training:
            index, self._index = self._index, self._index + 1
        else:
            index, self._valid_index = self._valid_index, self._valid_index + 1
        fit.begin_batch(index, xb, yb)
        return fit

    def batches_left(self) -> None:
        """Keras has left the loop over the batches: what made it leave is not to end the fit."""
        if self._cut and self._fit is not None:
            self._cut = False
            self.model.stop_training = self._fit.cancelled

    def _heed(self, fit: Hosted[X, Y, P]) -> None:
        if (not self._epoch_runs or fit.cut_short) and not self.model.stop_training:
            self._cut = self.model.stop_training = True


class TypedModel(keras.Model):
    """A mixin for Keras's models on torch, so that typed callbacks run in them.

    Without typed callbacks it is the model's own. With them the gradients are zeroed after a step, and not before the
    next backward.
    """

    @override
    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: Optional[int] = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: Optional[int] = None,
        validation_steps: Optional[int] = None,
        validation_batch_size: Optional[int] = None,
        validation_freq: int = 1,
    ) -> Any:
        """Fits as Keras does, between begin_fit and after_fit; the arguments are Keras's."""

        def run() -> Any:
            return super(TypedModel, self).fit(
                x,
                y,
                batch_size,
                epochs,
                verbose,
                callbacks,
                validation_split,
                validation_data,
                shuffle,
                class_weight,
                sample_weight,
                initial_epoch,
                steps_per_epoch,
                validation_steps,
                validation_batch_size,
                validation_freq,
            )

        hosting = _typed(callbacks)
        if hosting is None:
            return run()
        hosting.take(self, initial_epoch)
        vars(self)[_UNDER_WAY] = hosting
        try:
            history = run()
        except BaseException as error:
            hosting.leave(error)
            raise
        finally:
            del vars(self)[_UNDER_WAY]
        hosting.leave()
        return history

    @override
    def eval(self) -> Self:
        """Sets it to evaluate, which Keras does when it has left the loop over the batches."""
        hosting = _under_way(self)
        if hosting is not None:
            hosting.batches_left()
        return super().eval()

    @override
    def train_step(self, data: Any) -> Any:
        """Trains on a batch.

        Args:
            data: Inputs, targets and weights.
        """
        hosting = _under_way(self)
        if hosting is None:
            return super().train_step(data)
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        fit = hosting.begin_batch(True, x, y)
        if fit is None:
            return self.get_metrics_result()
        logs = self._losing(fit, weight, training=True)
        turn = fit.batch
        if turn.stage == LOSS:
            autograd.backward((turn.value,))
            if fit.backward_done():
                self._step(fit)
            elif turn.drops_gradients():
                self.zero_grad()
        fit.end_batch()
        return logs

    @override
    def test_step(self, data: Any) -> Any:
        """Validates a batch.

        Args:
            data: Inputs, targets and weights.
        """
        hosting = _under_way(self)
        if hosting is None:
            return super().test_step(data)
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        fit = hosting.begin_batch(False, x, y)
        if fit is None:
            return self.get_metrics_result()
        logs = self._losing(fit, weight, training=False)
        fit.end_batch()
        return logs

    def _losing(self, fit: Hosted[Any, Any, Any], weight: Any, *, training: bool) -> Any:
        """The prediction and the loss of the batch under way, and Keras's logs of them."""
        if not fit.goes_on:
            return self.get_metrics_result()
        turn = fit.batch
        pred = fit.predicted(self(turn.xb, training=training) if self._call_has_training_arg else self(turn.xb))
        if turn.cancelled:
            return self.get_metrics_result()
        loss = fit.lost(self._compute_loss(x=turn.xb, y=turn.yb, y_pred=pred, sample_weight=weight, training=training))
        first: Tensor = next(part for part in keras.tree.flatten(turn.xb) if part is not None)
        self._loss_tracker.update_state(loss.detach(), sample_weight=first.shape[0])
        return self.compute_metrics(turn.xb, turn.yb, pred, sample_weight=weight)

    def _step(self, fit: Hosted[Any, Any, Any]) -> None:
        variables, opt = self.trainable_weights[:], self.optimizer
        before = int(opt.iterations) if opt.gradient_accumulation_steps else -1
        with no_grad():
            opt.apply([variable.value.grad for variable in variables], variables)
        added_up = before >= 0 and int(opt.iterations) == before  # Keras has sums of its own of the gradients
        if added_up or fit.stepped():
            self.zero_grad()


def _n_valid(model: Any) -> Optional[int]:
    """How many batches the validation under way has."""
    found: Optional[int] = getattr(getattr(model, "_eval_epoch_iterator", None), "num_batches", None)
    return found


def _under_way(model: TypedModel) -> Optional[KerasCallbacks[Any, Any, Any]]:
    found: Optional[KerasCallbacks[Any, Any, Any]] = vars(model).get(_UNDER_WAY)
    return found


def _typed(callbacks: Any) -> Optional[KerasCallbacks[Any, Any, Any]]:
    """The one callback that hosts typed ones; None where there is none."""
    given = (
        [callbacks] if isinstance(callbacks, keras.callbacks.Callback) else getattr(callbacks, "callbacks", callbacks)
    )
    found = [callback for callback in given or () if _is_ours(callback)]
    if len(found) > 1:
        raise CallbackError(
            "this fit has several host(...): put all typed callbacks into one, so that they know each other."
        )
    return found[0] if found else None


def _is_ours(callback: object) -> TypeIs[KerasCallbacks[Any, Any, Any]]:
    return isinstance(callback, KerasCallbacks)


def _check_model(model: TypedModel) -> None:
    """Refuses ways to train that have no place for typed callbacks."""
    kind = type(model)
    for name in ("fit", "train_step", "test_step"):
        if getattr(kind, name) is not getattr(TypedModel, name):
            raise CallbackError(f"{kind.__name__}.{name} hides that of TypedModel: derive as {_NOT_TYPED}.")
    if keras.backend.backend() != "torch":
        raise LoopError(f"Keras runs on {keras.backend.backend()} here: set KERAS_BACKEND=torch before it is imported.")
    if model.jit_compile:
        raise LoopError("a compiled step tells nobody what happens in it: compile(..., jit_compile=False).")
    scaled = getattr(model.optimizer, "loss_scale_factor", None) is not None or hasattr(
        model.optimizer, "inner_optimizer"
    )
    if scaled:
        raise LoopError("the optimizer scales the loss, so that a callback would see scaled gradients: train without.")


class _Group(dict[str, Any]):
    """The group of all parameters, whose learning rate is Keras's."""

    def __init__(self, model: Any) -> None:
        super().__init__(params=[variable.value for variable in model.trainable_weights], lr=None)
        self._opt = model.optimizer

    @override
    def __getitem__(self, name: str) -> Any:
        return float(self._opt.learning_rate) if name == "lr" else super().__getitem__(name)

    @override
    def __setitem__(self, name: str, value: Any) -> None:
        if name == "lr":
            self._opt.learning_rate = value
        super().__setitem__(name, value)


class KerasOptimizer(Optimizer):
    """A model's optimizer as one of torch's: one group, whose `lr` is live.

    Args:
        model: The model.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.param_groups: list[dict[str, Any]] = [_Group(model)]

    @override
    def step(self, closure: Any = None) -> Any:
        """Changes the parameters by their gradients."""
        variables = self.model.trainable_weights[:]
        self.model.optimizer.apply([variable.value.grad for variable in variables], variables)

    @override
    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops the gradients."""
        self.model.zero_grad()
