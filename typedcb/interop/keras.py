"""Typed callbacks in Keras 3 on torch.

    class Net(TypedModel, keras.Sequential): ...

    net.fit(x, y, callbacks=[host(AvgStats(accuracy))])

Keras's callbacks see numbers alone. So the steps are those of `TypedModel`, a mixin that stands before Keras's class:
they are Keras's own, with what happens inside told. A model without it hosts callbacks of whole epochs, and refuses the
others.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Generator, Generic, Optional, Sequence, cast

from torch import Tensor, autograd, no_grad
from typing_extensions import Self, TypeIs, override

from ..errors import CallbackError, LoopError
from ..events import P, X, Y
from ..extras import require
from ..hosted import Hostable, Hosted
from ..stages import LOSS
from ..state import OnMismatch
from ..state.cells import stateful
from .bare import refuse_bare
from .hosting import Hosting
from .hosts import KERAS, KERAS_CALLBACK
from .keras_checks import check_alone, check_backup, check_model
from .keras_file import Loaded, put_cells, taken_cells
from .keras_optimizer import KerasOptimizer

require("keras", extra="keras")

import keras  # noqa: E402

_UNDER_WAY: Final = "_typedcb_under_way"
"""The attribute of a model that holds what hosts the callbacks of its fit under way."""

_LAST: Final = "_typedcb_last"
"""The attribute of a model that holds what hosted the callbacks of its last fit: their cells go into its files."""

_LOADED: Final = "_typedcb_loaded"
"""The attribute of a model that holds what the last file that was loaded had of callbacks."""

_CUT: Final = cast(bool, 1)
"""What stop_training holds where a typed callback ends the epoch's batches: it is told from the True of others."""

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
        self._to_begin = False
        self._first = 0
        self._epoch = 0
        self._done = 0
        self._index = 0
        self._valid_index = 0
        self._epoch_runs = False
        self._valid_runs = False
        self._batches_ran = False
        self._validates = False
        self._measured = False
        self._went_on_at: object = None

    # ------------------------------------------------------------------------------------------ what Keras tells of

    @override
    def set_model(self, model: keras.Model) -> None:
        """Takes the model."""
        super().set_model(model)
        self._went_on_at = vars(model).get("_initial_epoch")

    @override
    def on_train_begin(self, logs: Any = None) -> None:
        """Refuses what cannot be hosted."""
        check_alone()
        if not self._typed:
            self._hosted_by(KERAS_CALLBACK)
            self._end(early="Keras left the fit before its end")
        self.model.zero_grad()
        self._epoch_runs = self._valid_runs = False
        self._to_begin = True

    def _begin_fit(self, first: int) -> None:
        """Fires begin_fit: when the first epoch begins, which Keras tells nobody before, and BackupAndRestore sets."""
        model = self.model
        self._to_begin, self._done = False, first
        loaded = cast(Optional[Loaded], vars(model).pop(_LOADED, None)) if self._typed else None
        if loaded is not None and first and self._waiting is None:
            self.load_state_dict(loaded.state)
            _check_place(loaded, self._epochs_waiting(), first)
        restored = vars(model).get("_initial_epoch")
        if restored and restored != self._went_on_at and self._waiting is None:
            self._check_stateless(first)
        self._begin(cast(Any, model), KerasOptimizer(model), (self.params or {})["epochs"], first)

    def _check_stateless(self, first: int) -> None:
        kept = [] if self._loop is None else [name for name, _ in stateful(self._loop.cbs)]
        if kept or self._loop is None:
            who = ", ".join(kept) or "what the factories make"
            way = "it was written without them" if self._typed else "without TypedModel they do not get into it"
            raise LoopError(
                f"BackupAndRestore goes on with epoch {first}, and its file has no cells for {who}: {way}. Delete its "
                f"folder to begin anew."
            )

    @override
    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Fires begin_fit before the first epoch, and begin_epoch."""
        if self._to_begin:
            self._begin_fit(epoch)
        fit = self._fit
        if fit is None:
            return
        self._epoch, self._index = epoch, 0
        self._batches_ran = self._measured = False
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
        if fit is not None and self._validates:
            self._valid_index = 0
            self._measured = False
            self._valid_runs = self._epoch_runs and fit.begin_pass("valid", self._epoch, _n_valid(self.model))

    @override
    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Ends the validation where a callback has asked for that."""
        if self._fit is not None and self._validates and (not self._valid_runs or self._fit.cut_short):
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
        self._done = epoch + 1
        self._end_this_epoch()
        if self._fit is not None and self._fit.cancelled:
            self.model.stop_training = True

    @override
    def on_train_end(self, logs: Any = None) -> None:
        """Fires after_fit."""
        if self._to_begin:  # there was no epoch left to run
            self._begin_fit(cast(int, vars(self.model).get("_initial_epoch") or self._first))
        complete = self._done >= (self.params or {})["epochs"]
        self._end(early="" if complete else "Keras ended the fit early: stop_training was set")

    def _end_this_epoch(self) -> None:
        if self._fit is not None and self._epoch_runs:
            self._epoch_runs = False
            self._end_epoch(self._epoch)

    # --------------------------------------------------------------------------------------- what the mixin asks for

    def take(self, model: TypedModel, first: int) -> None:
        """Takes a model that is about to be fitted, from an epoch on."""
        check_model(model, TypedModel)
        self._typed, self._first = True, first
        self._hosted_by(KERAS)

    def leave(self, error: Optional[BaseException] = None) -> None:
        """Ends the fit, if one is under way, and leaves the model."""
        self._typed, self._first = False, 0
        self._to_begin = self._validates = False
        self._end(error, early="" if error else "Keras left the fit before its end")

    @property
    def has_figures(self) -> bool:
        """Whether a batch of the pass has come to its loss: else Keras's metrics hold what they begin with."""
        return self._fit is None or self._measured

    def measured(self) -> None:
        """Takes note that a batch of the pass has come to its loss."""
        self._measured = True

    @contextmanager
    def validating(self) -> Generator[None, None, None]:
        """While Keras validates the epoch under way."""
        self._validates = True
        try:
            yield
        finally:
            self._validates = False

    @override
    def state_dict(self) -> dict[str, object]:
        """The cells, and how far the fit is: a string, and tensors by name.

        What is saved as an epoch ends is of an epoch that has ended: after_epoch fires before.

        Raises:
            StateError: A cell holds what no checkpoint can hold.
        """
        if not self._inside:
            self._end_this_epoch()
        return super().state_dict()

    def put(self, store: Any) -> None:
        """Puts the cells into a file that Keras writes."""
        state = self.state_dict()
        put_cells(store, state, f"in the middle of epoch {self._epoch}" if self._inside else "")

    @property
    def _inside(self) -> bool:
        """Whether an epoch is under way that has batches, or its validation, before it."""
        return self._fit is not None and self._epoch_runs and (not self._batches_ran or self._validates)

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
        """Keras has left the loop over the batches: where a typed callback made it, that is not to end the fit."""
        self._batches_ran = True
        if self._fit is not None and self.model.stop_training is _CUT:
            self.model.stop_training = self._fit.cancelled

    def _heed(self, fit: Hosted[X, Y, P]) -> None:
        if (not self._epoch_runs or fit.cut_short) and not self.model.stop_training:
            self.model.stop_training = _CUT


# Keras puts a class of its own in the place of keras.Model among the bases of a functional model's class, and of all
# classes that it derives from: so TypedModel must not derive from it, or all its other models would become functional.
if TYPE_CHECKING:
    _Mixin = keras.Model
else:
    _Mixin = object


class TypedModel(_Mixin):
    """A mixin for Keras's models on torch, so that typed callbacks run in them.

    It stands before a class of Keras's: `class Net(TypedModel, keras.Model)`, or `keras.Sequential`. Without typed
    callbacks it is the model's own. With them the gradients are zeroed after a step, and not before the next backward.
    """

    @override
    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not issubclass(cls, keras.Model):
            raise CallbackError(
                f"{cls.__name__} derives from TypedModel alone, which is a mixin: class {cls.__name__}(TypedModel, "
                f"keras.Model), say."
            )

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
        vars(self).pop(_LAST, None)
        if hosting is None:
            with self._beside(None):
                return run()
        hosting.take(self, initial_epoch)
        vars(self)[_LAST] = hosting
        try:
            with self._beside(hosting):
                history = run()
        except BaseException as error:
            hosting.leave(error)
            raise
        hosting.leave()
        return history

    @contextmanager
    def _under(self, hosting: Optional[KerasCallbacks[Any, Any, Any]]) -> Generator[None, None, None]:
        """While its steps tell of what they do to a fit's callbacks, or to none."""
        before, vars(self)[_UNDER_WAY] = _under_way(self), hosting
        try:
            yield
        finally:
            vars(self)[_UNDER_WAY] = before

    @contextmanager
    def _beside(self, hosting: Optional[KerasCallbacks[Any, Any, Any]]) -> Generator[None, None, None]:
        """The same, while it trains: in the middle of a fit, no gradient of it may stay for the fit's next batch."""
        around = _under_way(self)
        with self._under(hosting):
            yield
        if around is not None:
            vars(self)[_LAST] = around
            self.zero_grad()

    @override
    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluates as Keras does; within a fit that is a validation where Keras asks for it, and else for itself."""
        hosting = _under_way(self)
        if hosting is not None and kwargs.get("_use_cached_eval_dataset"):
            with hosting.validating():
                return super().evaluate(*args, **kwargs)
        with self._under(None):
            return super().evaluate(*args, **kwargs)

    @override
    def test_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluates a batch as Keras does; no callback hears of it."""
        with self._under(None):
            return super().test_on_batch(*args, **kwargs)

    @override
    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Trains on a batch as Keras does; no callback hears of it."""
        with self._beside(None):
            return super().train_on_batch(*args, **kwargs)

    @override
    def save_own_variables(self, store: Any) -> None:
        """Saves its own variables, and the cells of the callbacks of the fit under way, or the last one.

        Args:
            store: The file, as Keras hands it over.
        """
        super().save_own_variables(store)
        hosting = cast(Optional[KerasCallbacks[Any, Any, Any]], vars(self).get(_LAST))
        if hosting is not None:
            hosting.put(store)

    @override
    def load_own_variables(self, store: Any) -> None:
        """Loads its own variables, and the cells of callbacks, for a fit that goes on from there.

        Args:
            store: The file, as Keras hands it over.
        """
        super().load_own_variables(store)
        vars(self)[_LOADED] = taken_cells(store)

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
        logs = self._losing(hosting, fit, weight, training=True)
        cursor = fit.batch
        if cursor.stage == LOSS and not self.trainable_weights:
            warnings.warn("The model does not have any trainable weights.", stacklevel=1)  # as Keras says it
        elif cursor.stage == LOSS:
            autograd.backward((cursor.value,))
            if fit.backward_done():
                self._step(fit)
            elif cursor.drops_gradients():
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
        logs = self._losing(hosting, fit, weight, training=False)
        fit.end_batch()
        return logs

    @override
    def get_metrics_result(self) -> Any:
        """What Keras's metrics say of the pass; nothing where callbacks left out all of its batches, instead of 0."""
        hosting = _under_way(self)
        return super().get_metrics_result() if hosting is None or hosting.has_figures else {}

    def _losing(
        self, hosting: KerasCallbacks[Any, Any, Any], fit: Hosted[Any, Any, Any], weight: Any, *, training: bool
    ) -> Any:
        """The prediction and the loss of the batch under way, and Keras's logs of them."""
        if not fit.goes_on:
            return self.get_metrics_result()
        cursor = fit.batch
        pred = fit.predicted(self(cursor.xb, training=training) if self._call_has_training_arg else self(cursor.xb))
        if cursor.cancelled:
            return self.get_metrics_result()
        loss = fit.lost(
            self._compute_loss(x=cursor.xb, y=cursor.yb, y_pred=pred, sample_weight=weight, training=training)
        )
        first: Tensor = next(part for part in keras.tree.flatten(cursor.xb) if part is not None)
        hosting.measured()
        self._loss_tracker.update_state(loss.detach(), sample_weight=first.shape[0])
        return self.compute_metrics(cursor.xb, cursor.yb, pred, sample_weight=weight)

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
    given = keras.tree.flatten(getattr(callbacks, "callbacks", callbacks))
    refuse_bare(given, "Keras", "typedcb.interop.keras")
    found = [callback for callback in given if _is_ours(callback)]
    if len(found) > 1:
        raise CallbackError(
            "this fit has several host(...): put all typed callbacks into one, so that they know each other."
        )
    if found:
        check_backup(given)
    return found[0] if found else None


def _check_place(loaded: Loaded, ended: int, first: int) -> None:
    """Refuses a place to go on from at which callbacks would hear of batches twice, or never."""
    if loaded.inside:
        raise LoopError(
            f"the file was saved {loaded.inside}, and Keras begins with the first batch of epoch {first}: typed "
            f"callbacks would hear of batches twice. Load one that was saved as an epoch ended."
        )
    if ended != first:
        raise LoopError(
            f"the file was saved when {ended} epochs had ended, and Keras begins with epoch {first}: go on by "
            f"fit(..., initial_epoch={ended}), or begin anew by initial_epoch=0."
        )


def _is_ours(callback: object) -> TypeIs[KerasCallbacks[Any, Any, Any]]:
    return isinstance(callback, KerasCallbacks)
