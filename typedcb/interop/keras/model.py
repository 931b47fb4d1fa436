"""The mixin for Keras's models in which typed callbacks run."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Generator, Optional, cast

from torch import Tensor, autograd, no_grad
from typing_extensions import Self, TypeIs, override

from ...errors import CallbackError
from ...extras import require
from ...hosted import Hosted
from ...stages import LOSS
from ..bare import refuse_bare
from .callbacks import KerasCallbacks
from .checks import check_backup, check_model
from .file import LOADED, taken_cells

require("keras", extra="keras")

import keras  # noqa: E402

_UNDER_WAY: Final = "_typedcb_under_way"
"""The attribute of a model that holds what hosts the callbacks of its fit under way."""

_LAST: Final = "_typedcb_last"
"""The attribute of a model that holds what hosted the callbacks of its last fit: their cells go into its files."""

# Any: Keras's data and logs have no types.


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
        check_model(self, TypedModel)
        hosting.take(initial_epoch)
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
        vars(self)[LOADED] = taken_cells(store)

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


def _is_ours(callback: object) -> TypeIs[KerasCallbacks[Any, Any, Any]]:
    return isinstance(callback, KerasCallbacks)
