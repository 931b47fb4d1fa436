"""Typed callbacks as a callback of Keras: which of Keras's events tells of what."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Final, Generator, Generic, Optional, Sequence, cast

from typing_extensions import override

from ...errors import LoopError
from ...events import P, X, Y
from ...extras import require
from ...hosted import Hostable, Hosted
from ...state import OnMismatch
from ...state.cells import stateful
from ..hosting import Hosting
from ..hosts import KERAS, KERAS_CALLBACK
from .checks import check_alone, check_place
from .file import LOADED, Loaded, put_cells
from .optimizer import KerasOptimizer

require("keras", extra="keras")

import keras  # noqa: E402

_CUT: Final = cast(bool, 1)
"""What stop_training holds where a typed callback ends the epoch's batches: it is told from the True of others."""

# Any: Keras's data and logs have no types.


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
        loaded = cast(Optional[Loaded], vars(model).pop(LOADED, None)) if self._typed else None
        if loaded is not None and first and self._waiting is None:
            self.load_state_dict(loaded.state)
            check_place(loaded, self._epochs_waiting(), first)
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

    def take(self, first: int) -> None:
        """Takes a model that is about to be fitted, from an epoch on."""
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


def _n_valid(model: Any) -> Optional[int]:
    """How many batches the validation under way has."""
    found: Optional[int] = getattr(getattr(model, "_eval_epoch_iterator", None), "num_batches", None)
    return found
