"""Typed callbacks as a callback of fastai: which of fastai's events tells of what."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any, Final, Generic, Optional, Sequence, cast

import torch.distributed
from typing_extensions import override

from ...data import length_of
from ...errors import CallbackError, LoopError
from ...events import P, X, Y
from ...extras import require
from ...hosted import Hostable, HostedCursor
from ...stages import BACKWARD, BEGUN, ENDED, LOSS, PREDICTED, SKIPPED
from ...state import OnMismatch
from ..cells_file import SUFFIX, read_cells, write_cells
from ..hosting import Hosting
from ..hosts import FASTAI, FASTAI_SEVERAL
from .checks import check_learner, fits
from .optimizer import optimizer_of

require("fastai", extra="fastai")

from fastai.callback.core import (  # noqa: E402
    Callback,
    CancelBackwardException,
    CancelBatchException,
    CancelEpochException,
    CancelFitException,
    CancelTrainException,
    CancelValidException,
)
from fastai.learner import Learner  # noqa: E402


class FastaiCallbacks(Hosting[X, Y, P], Callback, Generic[X, Y, P]):
    """Typed callbacks, as one callback of fastai; `host` makes it. It runs after fastai's own ones, which it leaves be.

    Args:
        callbacks: Instances and factories.
        on_mismatch: What of a saved state may be left out where it does not fit.
    """

    order: float = 80
    """After SkipToEpoch, so that an epoch that is skipped is none here; and after all that changes a batch."""

    def __init__(self, callbacks: Sequence[Hostable[X, Y, P]], on_mismatch: Optional[OnMismatch] = None) -> None:
        self._nested = 0
        super().__init__(FASTAI, callbacks, on_mismatch)
        self._cursor: Optional[HostedCursor[X, Y, P]] = None
        self._epoch = 0
        self._done = 0
        self._epoch_runs = False
        self._valid_runs = False
        self._validates = False
        self._inner = 0
        self._ends_epoch = False
        self._searches = False
        self._searched: object = None
        self._refusal: Optional[LoopError] = None

    @override
    def __setattr__(self, name: str, value: object) -> None:
        """Sets an attribute, without a look at the learner's each time.

        fastai sets `learn` when the callback is attached, and to None when it is removed: also after an error in a fit
        that was given it by fit(cbs=...).
        """
        if name == "learn":
            self._attach(cast("Optional[Learner]", value))
        object.__setattr__(self, name, value)

    @override
    def __getstate__(self) -> dict[str, object]:
        """What a learner that is exported or copied takes along: all but the fit, with its batch and optimizer."""
        return {**vars(self), "_fit": None, "_last": None, "_cursor": None}

    @override
    def __call__(self, event_name: str) -> object:
        """Does what an event asks for. fastai's own would put another message into an error."""
        if event_name == "before_fit" and self._fit is not None:
            self._nested += 1  # somebody validates in the middle of the fit
        if self._nested:
            self._nested -= event_name == "after_fit"
            return None
        handler = getattr(type(self), event_name, None)
        return None if handler is None or not self.run else handler(self)

    def _attach(self, learn: Optional[Learner]) -> None:
        if learn is None:
            self._leave(sys.exc_info()[1])
            for name in _WRAPPED if self.learn is not None else ():
                vars(self.learn).pop(name, None)
        elif any(isinstance(other, FastaiCallbacks) for other in learn.cbs):
            raise CallbackError(
                "this learner has several host(...): put all typed callbacks into one, so that they know each other."
            )
        else:
            for name, wrapper in _WRAPPED.items():
                vars(learn)[name] = partial(wrapper, learn, self)

    # ------------------------------------------------------------------------------------------- the fit and its epochs

    def before_fit(self) -> None:
        """Refuses what cannot be hosted, and fires begin_fit."""
        learn = self._here()
        if not fits(learn):  # it validates or predicts
            return
        check_learner(learn)
        if not (self.run_train and self.run_valid):
            raise CallbackError(
                "run_train=False and run_valid=False would keep typed callbacks from a half of each epoch: leave them "
                "alone, and let a callback look at event.phase."
            )
        several = torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1
        self._hosted_by(FASTAI_SEVERAL if several else FASTAI)
        self._epoch_runs = self._valid_runs = self._validates = self._ends_epoch = False
        self._inner = 0
        skips = [cb for cb in learn.cbs if type(cb).__name__ == "SkipToEpoch"]
        start = max((cast(int, vars(cb)["_skip_to"]) for cb in skips), default=0)
        if not start:
            self._waiting = None  # a fit that begins anew, whatever was loaded before
        self._check_epochs(start, "Go on by fit(..., start_epoch={ended}), or begin anew without start_epoch")
        self._done = start
        self._searches = any(type(cb).__name__ == "LRFinder" for cb in learn.cbs)
        if self._begin(learn.model, optimizer_of(learn.opt), learn.n_epoch, start).cancelled:
            raise CancelFitException

    def before_epoch(self) -> None:
        """Fires begin_epoch."""
        fit = self._fit
        if fit is not None:
            self._epoch = self._here().epoch
            self._ends_epoch = False
            self._epoch_runs = fit.begin_epoch(self._epoch)
            self._heed_fit()
            if not self._epoch_runs:
                raise CancelEpochException

    def before_train(self) -> None:
        """Begins the pass over the training data."""
        if self._fit is not None:
            self._fit.begin_pass("train", self._epoch, length_of(self._here().dl))
            self._cursor = self._fit.batch

    def after_train(self) -> None:
        """Ends it."""
        if self._fit is not None:
            self._cursor = None
            self._fit.end_pass()
            self._heed_fit()

    def after_epoch(self) -> None:
        """Fires after_epoch."""
        self._end_this_epoch()
        self._heed_fit()

    def _end_this_epoch(self) -> None:
        self._done = self._epoch + 1
        if self._fit is not None and self._epoch_runs:
            self._ends_epoch = self._epoch_runs = False
            self._end_epoch(self._epoch)

    def after_fit(self) -> None:
        """Fires after_fit."""
        refusal, self._refusal = self._refusal, None
        if refusal is not None:
            raise refusal
        if self._fit is not None:
            self._cursor = None
            if self._ends_epoch:  # fastai's EarlyStoppingCallback ends the fit in after_epoch, before ours comes
                self._end_this_epoch()
            complete = self._done >= self._here().n_epoch
            self._end(early="" if complete else "fastai ended the fit early, by a CancelFitException")

    # --------------------------------------------------------------------------------------------------- the validation

    def before_validate(self) -> None:
        """Fires begin_validate; not outside of a fit, and not where there are no validation data."""
        fit = self._fit
        if fit is None:
            return
        if self._validates:  # somebody predicts before the validation has ended, as FetchPredsCallback does
            self._inner += 1
            self._cursor = None
            return
        self._validates = True
        n_batches = length_of(self._here().dl)
        if n_batches == 0:
            raise CancelValidException
        self._valid_runs = self._epoch_runs and fit.begin_pass("valid", self._epoch, n_batches)
        self._cursor = fit.batch if self._valid_runs else None
        self._heed_fit()
        if not self._valid_runs:
            raise CancelValidException

    def after_validate(self) -> None:
        """Fires after_validate."""
        fit = self._fit
        if self._inner:
            self._inner -= 1
        elif fit is not None:
            self._validates = False
            self._ends_epoch = self._epoch_runs
            self._cursor = None
            if self._valid_runs:
                self._valid_runs = False
                fit.end_pass()
            self._heed_fit()

    # ------------------------------------------------------------------------------------------------------ the batches

    def before_batch(self) -> None:
        """Fires begin_batch."""
        fit = self._fit
        if fit is None or self._cursor is None:
            return
        learn = self._here()
        xb, yb = _one(learn.xb), _one(learn.yb)
        if self._searches:
            self._searched = _rate(learn)
        fit.begin_batch(learn.iter, xb, yb)
        cursor = self._cursor
        if cursor.stage >= SKIPPED:
            raise CancelBatchException
        if cursor.xb is not xb:
            learn.xb = _several(cursor.xb, learn.xb)
        if cursor.yb is not yb:
            learn.yb = _several(cursor.yb, learn.yb)

    def after_pred(self) -> None:
        """Fires after_pred."""
        cursor = self._cursor
        if cursor is not None and cursor.stage == BEGUN:
            learn = self._here()
            cursor.predicted(learn.pred)
            if cursor.stage != PREDICTED:
                raise CancelBatchException
            learn.pred = cursor.pred

    def after_loss(self) -> None:
        """Fires after_loss, of what backward begins at."""
        cursor = self._cursor
        if cursor is not None and cursor.stage == PREDICTED:
            learn = self._here()
            given = learn.loss_grad
            cursor.lost(given)
            if cursor.cancelled:
                raise CancelBatchException
            if cursor.value is not given:
                learn.loss_grad = cursor.value
                learn.loss = cursor.value.clone()

    def before_backward(self) -> None:
        """Skips backward where a callback has asked for that."""
        if self._cursor is not None and self._cursor.stage != LOSS:
            raise CancelBackwardException

    def after_backward(self) -> None:
        """Fires after_backward."""
        cursor = self._cursor
        if cursor is not None and cursor.stage == LOSS:
            cursor.backward_done()
            if cursor.drops_gradients():
                self._parts.opt.zero_grad()

    def before_step(self) -> None:
        """Skips the step where a callback has asked for that; the gradients stay, as in GradientAccumulation."""
        if self._cursor is not None and self._cursor.stage != BACKWARD:
            raise CancelBatchException
        if self._searches and _rate(self._here()) != self._searched:
            self._refusal = LoopError(
                "lr_find sets the learning rate of each batch, and a typed callback sets the learning rate after it: "
                "search without that one, with learn.removed_cbs(hosted): learn.lr_find()."
            )
            raise CancelFitException  # LRFinder puts the model back and its folder away in after_fit, which comes first

    def after_step(self) -> None:
        """Fires after_step."""
        cursor = self._cursor
        if cursor is not None and cursor.stage == BACKWARD and not cursor.stepped():
            raise CancelBatchException  # what is left of the batch is zeroing the gradients

    def after_batch(self) -> None:
        """Fires after_batch, and ends the pass where a callback has asked for that."""
        fit, cursor = self._fit, self._cursor
        if fit is None or cursor is None or cursor.stage == ENDED:
            return
        fit.close_batch()
        if fit.cut_short:
            self._heed_fit()
            raise CancelTrainException if cursor.phase == "train" else CancelValidException

    # ------------------------------------------------------------------------------------------------------ small parts

    @override
    def state_dict(self) -> dict[str, object]:
        """The cells, and how far the fit is: a string, and tensors by name.

        What is saved as an epoch ends is of an epoch that has ended: after_epoch fires before.

        Raises:
            StateError: A cell holds what no checkpoint can hold.
        """
        if self._ends_epoch:
            self._end_epoch(self._epoch)
        return super().state_dict()

    def _here(self) -> Learner:
        if self.learn is None:
            raise LoopError("it is attached to no learner: learn.add_cb does that.")
        return self.learn

    def _heed_fit(self) -> None:
        if self._fit is not None and self._fit.cancelled:
            raise CancelFitException

    def _leave(self, error: Optional[BaseException] = None) -> None:
        """Ends the fit that is under way, if one is."""
        self._cursor = None
        self._nested = 0
        self._ends_epoch = False
        self._refusal = None
        self.run = True  # as fastai's own has it after a fit
        self._end(error, early="" if error else "fastai left the fit before its end")


# Any: what the learner's own methods take and give.


def _fit(learn: Learner, hosting: FastaiCallbacks[Any, Any, Any], *args: Any, **kwargs: Any) -> None:
    """A learner's fit, with after_fit in any case."""
    if hosting.learn is not learn:
        raise CallbackError(
            "this learner's typed callbacks have been given to another learner since, and would hear of nothing here: "
            "host them for each learner, by a host(...) of its own."
        )
    try:
        type(learn).fit(learn, *args, **kwargs)
    except BaseException as error:
        hosting._leave(error)
        raise
    hosting._leave()


def _save(learn: Learner, hosting: FastaiCallbacks[Any, Any, Any], file: Any, **kwargs: Any) -> Any:
    """A learner's save, with the cells in a file beside."""
    state = hosting.state_dict()  # first: it may end the epoch
    saved: Any = type(learn).save(learn, file, **kwargs)
    write_cells(state, Path(saved).with_suffix(SUFFIX))
    return saved


def _load(learn: Learner, hosting: FastaiCallbacks[Any, Any, Any], file: Any, **kwargs: Any) -> Any:
    """A learner's load, with the cells that are beside, for a fit that is taken up."""
    loaded: Any = type(learn).load(learn, file, **kwargs)
    beside = (Path(learn.path) / learn.model_dir / Path(file)).with_suffix(SUFFIX)
    if beside.is_file():
        hosting.load_state_dict(read_cells(beside))
    return loaded


_WRAPPED: Final = {"fit": _fit, "save": _save, "load": _load}
"""What wraps a learner's methods, on the instance, while the callbacks are its."""


def _one(parts: Any) -> Any:
    """What a tuple of one holds, or a tuple of several; fastai has tuples of either."""
    return parts[0] if len(parts) == 1 else parts


def _several(part: Any, before: Any) -> Any:
    return (part,) if len(before) == 1 else part


def _rate(learn: Learner) -> object:
    opt: Any = learn.opt
    rate: object = opt.hypers[-1]["lr"]
    return rate
