"""Typed callbacks in a skorch net.

    class Net(TypedNet, NeuralNetClassifier): ...

    net = Net(MLP, callbacks=[host(AvgStats(accuracy), partial(GradientClip, clip=0.1))])
    net.fit(x, y)

skorch's callbacks see neither the prediction nor the loss before a batch is over. So the net's steps are those of
`TypedNet`, a mixin that stands before skorch's class: it calls the net's own `infer` and `get_loss`.
"""

from __future__ import annotations

import copy
import dis
from typing import Any, Final, Generic, Iterable, Optional, Sequence

import torch
import torch.distributed
from torch import Tensor, autograd
from typing_extensions import Self, TypeIs, override

from ..data import length_of
from ..errors import CallbackError, LoopError
from ..events import P, X, Y
from ..extras import require
from ..hosted import Hostable, Hosted, HostedCursor
from ..optimizer import check_closure
from ..stages import BACKWARD, LOSS, SKIPPED
from ..state import OnMismatch
from .bare import refuse_bare
from .hosting import Hosting
from .hosts import SKORCH, SKORCH_SEVERAL

require("skorch", extra="skorch")

from skorch import NeuralNet  # noqa: E402
from skorch.callbacks import Callback  # noqa: E402
from skorch.dataset import get_len, unpack_data  # noqa: E402
from skorch.utils import TeeGenerator, to_tensor  # noqa: E402

_UNDER_WAY: Final = "_typedcb_under_way"
"""The attribute of a net that holds what hosts the callbacks of its fit under way."""

_ANEW: Final = "_typedcb_anew"
"""The attribute of a net that says, while it is in `fit`, whether its module was made anew for that."""

_NOT_TYPED: Final = "class Net(TypedNet, NeuralNetClassifier), say, with TypedNet first"


def host(*callbacks: Hostable[X, Y, P], on_mismatch: Optional[OnMismatch] = None) -> SkorchCallbacks[X, Y, P]:
    """One callback of skorch that hosts typed ones: `Net(MLP, callbacks=[host(AvgStats(accuracy))])`.

    Args:
        *callbacks: Instances, and factories that are called with the module and the optimizer when training begins.
        on_mismatch: What of a saved state may be left out where it does not fit, by the name of a callback's class.

    Raises:
        CallbackError: One is neither a callback nor a factory.
        DependencyError: What one depends on is missing, or there is a circle.
    """
    return SkorchCallbacks(callbacks, on_mismatch)


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
        if not isinstance(net, TypedNet):
            raise CallbackError(
                f"{type(net).__name__} calls no typed callback by itself: let it derive from TypedNet, {_NOT_TYPED}."
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
                raise _Cancelled

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
                raise _Cancelled

    def _end_this_epoch(self) -> None:
        """Fires after_epoch, where the epoch's passes are over and it has not been told."""
        if self._passes_over and self._epoch_runs:
            self._passes_over = self._epoch_runs = False
            self._end_epoch(self._epoch)

    # ----------------------------------------------------------------------------------------- what the mixin asks for

    def begin(self, net: TypedNet, n_epochs: int, *, anew: bool = False) -> bool:
        """Begins a fit: whether it is to run.

        Args:
            net: The net, initialized.
            n_epochs: How many epochs are to run, after those that a loaded state has had.
            anew: Whether the module was made anew for it, so that nothing that was loaded belongs to it.
        """
        _check_net(net)
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
            raise _Cancelled
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
            raise _Cancelled
        return False

    def passes_over(self) -> None:
        """Takes note that the epoch has no more passes over the data."""
        self._passes_over = True

    def end_pass(self) -> None:
        """Ends a pass over the data."""
        fit = self._under_way()
        fit.end_pass()
        if fit.cancelled:
            raise _Cancelled

    def _under_way(self) -> Hosted[X, Y, P]:
        if self._fit is None:
            raise LoopError("no fit is under way: fit, partial_fit and fit_loop begin one.")
        return self._fit


class _Cancelled(BaseException):
    """A callback has cancelled the fit; caught by `TypedNet.fit_loop`."""


class TypedNet(NeuralNet):
    """A mixin for skorch's nets, so that typed callbacks run in them: `class Net(TypedNet, NeuralNetClassifier): ...`.

    Without typed callbacks the net is skorch's own. With them `train_step` zeroes the gradients after a step instead of
    before the next one, and calls `step` without a closure.
    """

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
            if hosting.begin(self, n_epochs, anew=vars(self).get(_ANEW, False)):
                self._zero_grad_optimizer()  # what was left of an earlier fit, which skorch drops before the first step
                super().fit_loop(X, y, epochs, **fit_params)
        except _Cancelled:
            pass
        except KeyboardInterrupt as stop:
            hosting.stop() if _by_a_callback(stop) else hosting.end(stop)
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


def _by_a_callback(stop: KeyboardInterrupt) -> bool:
    """Whether one of skorch's callbacks has raised it, which is how they stop a fit; and not the user's Ctrl-C."""
    place = stop.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    if place is None or not isinstance(place.tb_frame.f_locals.get("self"), Callback):
        return False
    # Ctrl-C comes between two instructions of whatever runs, and is raised by none of them
    return dis.opname[place.tb_frame.f_code.co_code[place.tb_lasti]] == "RAISE_VARARGS"


def _is_ours(callback: Callback) -> TypeIs[SkorchCallbacks[Any, Any, Any]]:
    return isinstance(callback, SkorchCallbacks)


def _check_net(net: TypedNet) -> None:
    """Refuses ways to train that have no place for typed callbacks."""
    kind = type(net)
    for name in ("train_step", "validation_step", "run_single_epoch", "fit_loop"):
        if getattr(kind, name) is not getattr(TypedNet, name):
            raise CallbackError(
                f"{kind.__name__}.{name} hides that of TypedNet: derive as {_NOT_TYPED}, and leave it alone."
            )
    for name in ("train_step", "train_step_single", "validation_step", "run_single_epoch", "_step_optimizer"):
        owner = next(one for one in kind.__mro__ if name in vars(one) and one is not TypedNet)
        if owner is not NeuralNet:
            raise CallbackError(
                f"{owner.__name__}.{name} would not be called: TypedNet has it otherwise. Put its work into infer or "
                f"get_loss, which TypedNet calls."
            )
    check_closure(net.optimizer_)
