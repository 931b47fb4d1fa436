"""Typed callbacks as a callback of skorch: which of skorch's events tells of what."""

from __future__ import annotations

import copy
from typing import Any, Generic, Iterable, Optional, Sequence

import torch.distributed
from torch import Tensor
from typing_extensions import Self, override

from ...errors import CallbackError, LoopError
from ...events import P, X, Y
from ...extras import require
from ...hosted import Hostable, Hosted, HostedCursor
from ...state import OnMismatch
from ..hosting import Hosting
from ..hosts import SKORCH, SKORCH_SEVERAL
from .checks import NOT_TYPED, TYPED
from .stops import Cancelled

require("skorch", extra="skorch")

from skorch import NeuralNet  # noqa: E402
from skorch.callbacks import Callback  # noqa: E402


class SkorchCallbacks(Hosting[X, Y, P], Callback, Generic[X, Y, P]):
    """Typed callbacks, as one callback of skorch; `host` makes it.

    A net that is pickled, by `Checkpoint(f_pickle=...)` say, takes their cells along; scikit-learn's `clone` does not.

    Args:
        callbacks: Instances and factories.
        on_mismatch: What of a saved state may be left out where it does not fit.
    """

    # Any in its hooks: skorch hands over whatever data a net is fitted on. The names of the constructor's arguments are
    # those of the attributes: scikit-learn reads and clones a callback by them.

    callbacks: Sequence[Hostable[X, Y, P]]
    """The instances and factories, as they were given."""

    on_mismatch: Optional[OnMismatch]
    """What of a saved state may be left out where it does not fit."""

    def __init__(self, callbacks: Sequence[Hostable[X, Y, P]], on_mismatch: Optional[OnMismatch] = None) -> None:
        super().__init__(SKORCH, callbacks, on_mismatch)
        self.callbacks = callbacks
        self.on_mismatch = on_mismatch
        self._epoch = 0
        self._epoch_runs = False
        self._passes_over = False
        self._index = 0

    @override
    def __getstate__(self) -> dict[str, object]:
        return {"callbacks": self.callbacks, "on_mismatch": self.on_mismatch, "state": self.state_dict()}

    def __setstate__(self, state: dict[str, Any]) -> None:  # Any: what __getstate__ gave
        type(self).__init__(self, state["callbacks"], state["on_mismatch"])
        self.load_state_dict(state["state"])

    @override
    def get_params(self, deep: bool = True) -> dict[str, Any]:  # Any: as scikit-learn has it
        """The arguments that it was made with."""
        return {"callbacks": self.callbacks, "on_mismatch": self.on_mismatch}

    @override
    def set_params(self, **params: Any) -> None:  # Any: as scikit-learn has it
        """Takes other callbacks, of `net.set_params(callbacks__SkorchCallbacks__callbacks=[...])` say.

        Args:
            **params: The arguments that it was made with; skorch hands them over again whenever a net is initialized.
        """
        given = {**self.get_params(), **params}
        if any(given[name] is not value for name, value in self.get_params().items() if name in params):
            type(self).__init__(self, given["callbacks"], given["on_mismatch"])
        super().set_params(**params)

    @override
    def state_dict(self) -> dict[str, object]:
        """The cells, and how far the fit is: a string, and tensors by name.

        What is saved as an epoch ends is of an epoch that has ended: after_epoch fires before.

        Raises:
            StateError: A cell holds what no checkpoint can hold.
        """
        self._end_this_epoch()
        return super().state_dict()

    def __sklearn_clone__(self) -> Self:
        """A copy with callbacks of its own, which know each other as these do; scikit-learn would copy each alone."""
        return type(self)(copy.deepcopy(self.callbacks), self.on_mismatch)

    @override
    def on_train_begin(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Refuses a net whose steps are not ours."""
        if not hasattr(net, TYPED):
            raise CallbackError(
                f"{type(net).__name__} calls no typed callback by itself: let it derive from TypedNet, {NOT_TYPED}."
            )

    @override
    def on_epoch_begin(
        self, net: NeuralNet, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Fires begin_epoch."""
        fit = self._fit
        if fit is not None:
            self._passes_over = False
            self._epoch_runs = fit.begin_epoch(self._epoch)
            if fit.cancelled:
                raise Cancelled

    @override
    def on_grad_computed(
        self,
        net: NeuralNet,
        named_parameters: Iterable[tuple[str, Tensor]],
        X: Any = None,
        y: Any = None,
        training: Optional[bool] = None,
        **kwargs: Any,
    ) -> None:
        """Fires after_backward."""
        if self._fit is not None:
            self._fit.backward_done()

    @override
    def on_epoch_end(self, net: NeuralNet, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Fires after_epoch."""
        fit = self._fit
        if fit is not None:
            self._end_this_epoch()
            self._epoch += 1
            if fit.cancelled:
                raise Cancelled

    def _end_this_epoch(self) -> None:
        """Fires after_epoch, where the epoch's passes are over and it has not been told."""
        if self._passes_over and self._epoch_runs:
            self._passes_over = self._epoch_runs = False
            self._end_epoch(self._epoch)

    # ----------------------------------------------------------------------------------------- what the mixin asks for

    def begin(self, net: NeuralNet, n_epochs: int, *, anew: bool = False) -> bool:
        """Begins a fit: whether it is to run.

        Args:
            net: The net, initialized.
            n_epochs: How many epochs are to run, after those that a loaded state has had.
            anew: Whether the module was made anew for it, so that nothing that was loaded belongs to it.
        """
        self._passes_over = self._epoch_runs = False
        if anew:
            self._waiting = None
        several = torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1
        self._hosted_by(SKORCH_SEVERAL if several else SKORCH)
        self._epoch = self._epochs_waiting()
        return not self._begin(net.module_, net.optimizer_, self._epoch + n_epochs, self._epoch).cancelled

    def end(self, error: Optional[BaseException] = None) -> None:
        """Ends the fit, if one is under way."""
        self._end(error)

    def stop(self) -> None:
        """Ends the fit, which one of skorch's own callbacks has stopped."""
        try:
            self._end_this_epoch()
        except BaseException as error:
            self._end(error)
            raise
        self._end(early="one of skorch's callbacks stopped it")

    @property
    def fit(self) -> Optional[Hosted[X, Y, P]]:
        """The fit under way."""
        return self._fit

    def begin_pass(self, training: bool, n_batches: Optional[int]) -> bool:
        """Begins a pass over the data: whether it is to run."""
        fit = self._under_way()
        self._index = 0
        runs = self._epoch_runs and fit.begin_pass("train" if training else "valid", self._epoch, n_batches)
        if fit.cancelled:
            raise Cancelled
        return runs

    def begin_batch(self, xb: X, yb: Y) -> HostedCursor[X, Y, P]:
        """Fires begin_batch: the batch as the callbacks left it."""
        fit, index = self._fit or self._under_way(), self._index
        self._index = index + 1
        fit.begin_batch(index, xb, yb)
        return fit.batch

    def end_batch(self) -> bool:
        """Fires after_batch: whether the pass goes on."""
        fit = self._fit or self._under_way()
        if not fit.close_batch():
            return True
        if fit.cancelled:
            raise Cancelled
        return False

    def passes_over(self) -> None:
        """Takes note that the epoch has no more passes over the data."""
        self._passes_over = True

    def end_pass(self) -> None:
        """Ends a pass over the data."""
        fit = self._under_way()
        fit.end_pass()
        if fit.cancelled:
            raise Cancelled

    def _under_way(self) -> Hosted[X, Y, P]:
        if self._fit is None:
            raise LoopError("no fit is under way: fit, partial_fit and fit_loop begin one.")
        return self._fit
