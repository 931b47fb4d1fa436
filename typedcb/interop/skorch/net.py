"""The mixin for skorch's nets in which typed callbacks run."""

from __future__ import annotations

from typing import Any, Final, Iterable, Optional, Sequence

import torch
from torch import Tensor, autograd
from typing_extensions import Self, TypeIs, override

from ...data import length_of
from ...errors import CallbackError
from ...extras import require
from ...hosted import HostedCursor
from ...stages import BACKWARD, LOSS, SKIPPED
from ..bare import refuse_bare
from .callbacks import SkorchCallbacks
from .checks import check_net
from .stops import Cancelled, by_a_callback

require("skorch", extra="skorch")

from skorch import NeuralNet  # noqa: E402
from skorch.callbacks import Callback  # noqa: E402
from skorch.dataset import get_len, unpack_data  # noqa: E402
from skorch.utils import TeeGenerator, to_tensor  # noqa: E402

_UNDER_WAY: Final = "_typedcb_under_way"
"""The attribute of a net that holds what hosts the callbacks of its fit under way."""

_ANEW: Final = "_typedcb_anew"
"""The attribute of a net that says, while it is in `fit`, whether its module was made anew for that."""


class TypedNet(NeuralNet):
    """A mixin for skorch's nets, so that typed callbacks run in them: `class Net(TypedNet, NeuralNetClassifier): ...`.

    Without typed callbacks the net is skorch's own. With them `train_step` zeroes the gradients after a step instead of
    before the next one, and calls `step` without a closure.
    """

    _typedcb_typed: Final = True  # TYPED is its name

    @override
    def fit(self, X: Any, y: Any = None, **fit_params: Any) -> Self:  # Any: skorch's own
        """Fits as skorch does; without `warm_start` the fit begins anew, also for cells that were loaded.

        Args:
            X: The inputs, or a dataset.
            y: The targets.
            **fit_params: What goes to the module's forward.
        """
        vars(self)[_ANEW] = not (self.warm_start and self.initialized_)
        try:
            super().fit(X, y, **fit_params)
        finally:
            del vars(self)[_ANEW]
        return self

    @override
    def initialize_callbacks(self) -> Self:
        """Initializes the callbacks as skorch does.

        Raises:
            CallbackError: A typed one is among them as it is.
        """
        given: Sequence[object] = self.callbacks if isinstance(self.callbacks, (list, tuple)) else ()
        bare = (one[1] if isinstance(one, tuple) and len(one) == 2 else one for one in given)
        refuse_bare(bare, "skorch", "typedcb.interop.skorch")
        super().initialize_callbacks()
        return self

    @override
    def fit_loop(
        self, X: Any, y: Any = None, epochs: Optional[int] = None, **fit_params: Any
    ) -> Self:  # Any: skorch's own
        """Runs the epochs, between begin_fit and after_fit.

        Args:
            X: The inputs, or a dataset.
            y: The targets.
            epochs: How many; `max_epochs` by default.
            **fit_params: What goes to the module's forward.
        """
        hosting = self._typed()
        if hosting is None:
            super().fit_loop(X, y, epochs, **fit_params)
            return self
        vars(self)[_UNDER_WAY] = hosting  # its own look-up in each batch would cost more than all else here
        n_epochs = self.max_epochs if epochs is None else epochs
        try:
            check_net(self, TypedNet)
            if hosting.begin(self, n_epochs, anew=vars(self).get(_ANEW, False)):
                self._zero_grad_optimizer()  # what was left of an earlier fit, which skorch drops before the first step
                super().fit_loop(X, y, epochs, **fit_params)
        except Cancelled:
            pass
        except KeyboardInterrupt as stop:
            hosting.stop() if by_a_callback(stop) else hosting.end(stop)
            raise
        except BaseException as error:
            hosting.end(error)
            raise
        finally:
            del vars(self)[_UNDER_WAY]
        hosting.end()
        return self

    @override
    def run_single_epoch(
        self, iterator: Optional[Iterable[Any]], training: bool, prefix: str, step_fn: Any, **fit_params: Any
    ) -> None:  # Any: skorch's own
        """Runs one pass over the data; a batch that a callback cancels before its loss leaves no figures.

        Args:
            iterator: The batches; None for no pass.
            training: Whether it trains.
            prefix: Of the names under which figures are kept, `train` or `valid`.
            step_fn: Called with each batch.
            **fit_params: What goes to it.
        """
        hosting = self._hosting
        if hosting is None:
            super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)
            return
        if iterator is not None and hosting.begin_pass(training, length_of(iterator)):
            self._run_pass(hosting, iterator, training, prefix, step_fn, fit_params)
        if not training:
            hosting.passes_over()
            self._leave_out_scores()

    def _leave_out_scores(self) -> None:
        """Has the end of the epoch told without the data of which no batch was run.

        skorch's scores are computed from what was predicted of them in the epoch, and would fail without it.
        """
        batches = self.history[-1]["batches"]
        unseen = [p for p in ("train", "valid") if not any(f"{p}_batch_size" in batch for batch in batches)]
        if not unseen:
            return
        notify = self.notify

        def notify_without(method_name: str, **kwargs: Any) -> None:  # Any: skorch's own
            del vars(self)["notify"]  # what is told next is the end of the epoch, and the others are told as ever
            if method_name == "on_epoch_end":
                kwargs |= {f"dataset_{prefix}": None for prefix in unseen}
            notify(method_name, **kwargs)

        vars(self)["notify"] = notify_without

    def _run_pass(
        self,
        hosting: SkorchCallbacks[Any, Any, Any],
        iterator: Iterable[Any],
        training: bool,
        prefix: str,
        step_fn: Any,
        fit_params: dict[str, Any],
    ) -> None:
        """Runs the batches of a pass that has begun, and ends it."""
        batch_count = 0
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            step: dict[str, Tensor] = step_fn(batch, **fit_params)
            if "loss" in step:
                self.history.record_batch(f"{prefix}_loss", step["loss"].item())
                size = get_len(batch[0]) if isinstance(batch, (tuple, list)) else get_len(batch)
                self.history.record_batch(f"{prefix}_batch_size", size)
                self.notify("on_batch_end", batch=batch, training=training, **step)
            batch_count += 1
            if not hosting.end_batch():
                break
        self.history.record(f"{prefix}_batch_count", batch_count)
        hosting.end_pass()

    @override
    def train_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:  # Any: skorch's own
        """Trains on a batch.

        Args:
            batch: What the iterator gave.
            **fit_params: What goes to the module's forward.

        Returns:
            Its `loss` and `y_pred`; neither where a callback cancelled the batch before its loss.
        """
        hosting = self._hosting
        if hosting is None:
            step: dict[str, Any] = super().train_step(batch, **fit_params)
            return step
        self._set_training(True)
        cursor = hosting.begin_batch(*self._parts_of(batch))
        made = self._losing(cursor, True, fit_params)
        if cursor.stage == LOSS:
            autograd.backward((made["loss"],))
            parameters = TeeGenerator(self.get_all_learnable_params())
            self.notify("on_grad_computed", named_parameters=parameters, batch=batch, training=True)
            if cursor.stage == BACKWARD:
                self._step_optimizer(None)
                if cursor.stepped():
                    self._zero_grad_optimizer()
            elif cursor.drops_gradients():
                self._zero_grad_optimizer()
        if made:
            made["loss"] = made["loss"].detach()
        return made

    @override
    def validation_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:  # Any: skorch's own
        """Validates a batch.

        Args:
            batch: What the iterator gave.
            **fit_params: What goes to the module's forward.

        Returns:
            Its `loss` and `y_pred`; neither where a callback cancelled the batch before its loss.
        """
        hosting = self._hosting
        if hosting is None:
            step: dict[str, Any] = super().validation_step(batch, **fit_params)
            return step
        self._set_training(False)
        with torch.no_grad():
            cursor = hosting.begin_batch(*self._parts_of(batch))
            return self._losing(cursor, False, fit_params)

    def _losing(
        self, cursor: HostedCursor[Any, Any, Any], training: bool, fit_params: dict[str, Any]
    ) -> dict[str, Any]:
        """The prediction and the loss of a batch, as the callbacks left them; nothing of one that was cancelled."""
        if cursor.stage >= SKIPPED:
            return {}
        cursor.predicted(self.infer(cursor.xb, **fit_params))
        if cursor.cancelled:
            return {}
        pred = cursor.pred
        return {"loss": cursor.lost(self.get_loss(pred, cursor.yb, X=cursor.xb, training=training)), "y_pred": pred}

    def _parts_of(self, batch: Any) -> tuple[Any, Any]:
        """A batch's inputs and targets, on the net's device."""
        xb, yb = unpack_data(batch)
        if self.device in (None, "cpu") and isinstance(xb, Tensor) and isinstance(yb, Tensor):
            return xb, yb
        return to_tensor(xb, device=self.device), to_tensor(yb, device=self.device)

    @override
    def __getstate__(self) -> dict[str, Any]:  # Any: skorch's own
        state: dict[str, Any] = super().__getstate__()
        for name in (_UNDER_WAY, _ANEW):  # a copy is in no fit
            state.pop(name, None)
        return state

    @property
    def _hosting(self) -> Optional[SkorchCallbacks[Any, Any, Any]]:
        """What hosts the callbacks of the fit under way; None where there is none."""
        found: Optional[SkorchCallbacks[Any, Any, Any]] = vars(self).get(_UNDER_WAY)
        return found

    def _typed(self) -> Optional[SkorchCallbacks[Any, Any, Any]]:
        """The one callback that hosts typed ones; None where there is none."""
        found = [callback for _, callback in self.callbacks_ if _is_ours(callback)]
        if len(found) > 1:
            raise CallbackError(
                "this net has several host(...): put all typed callbacks into one, so that they know each other."
            )
        return found[0] if found else None


def _is_ours(callback: Callback) -> TypeIs[SkorchCallbacks[Any, Any, Any]]:
    return isinstance(callback, SkorchCallbacks)
