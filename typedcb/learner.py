"""A model, its data, its loss and its optimizer, trained by a loop whose callbacks may do the rest.

`Learner.fit` is the whole training loop, written on the same scopes (`typedcb.loop`) that a loop of one's own uses.
"""

from __future__ import annotations

import math
import threading
from contextlib import contextmanager
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Final,
    Generator,
    Generic,
    Iterable,
    Optional,
    Sequence,
    Union,
    overload,
)

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import Self, TypeAlias, override
from typing_extensions import TypeVar as DefaultTypeVar

from .callback import Callback
from .data import DataBunch, batch_size, length_of
from .device import placed
from .engine import Engine, engine_of
from .errors import LoopError
from .evaluating import evaluating
from .events import FitOutcome, P_co, X, X_co, Y, Y_co
from .finiteness import no_way_on, spoiled
from .fit import FitScope
from .loop import Loop
from .losses import LossFunc, LossOfTensors
from .optimizer import OptFunc, made_optimizer
from .portrait import portrait
from .position import Position
from .recipes import Recipes
from .showing import Sheets
from .summary import Summary, summarize
from .validation import ValidationScope

if TYPE_CHECKING:
    from .state import OnMismatch
    from .store import AnyPath

M = DefaultTypeVar("M", bound=nn.Module, default=nn.Module)
M_co = DefaultTypeVar("M_co", bound=nn.Module, default=nn.Module, covariant=True)

_BEGINNING: Final = threading.Lock()
"""Held while a learner is marked as busy, so that of two threads one is refused."""


_Unchecked: TypeAlias = Any  # Any: the implementation behind overloads that say what is taken


class Learner(Recipes[X_co, Y_co, P_co], Generic[X_co, Y_co, P_co, M_co]):
    """A model with all that it takes to train it.

    Type parameters:
        X_co: The inputs of a batch.
        Y_co: The targets of a batch.
        P_co: What the model makes of the inputs.
        M_co: The model's own class.
    """

    opt: Optimizer
    """The optimizer; never None."""

    @overload
    def __init__(
        self: Learner[X, Y, Tensor, M],
        model: M,
        data: DataBunch[X, Y],
        loss_func: LossOfTensors,
        opt_func: OptFunc,
        cbs: Sequence[Callback[X, Y, Tensor]] = (),
        cb_funcs: Sequence[Callable[[Learner[X, Y, Tensor, M]], Callback[X, Y, Tensor]]] = (),
        *,
        splitter: Optional[Callable[[M], Sequence[Iterable[nn.Parameter]]]] = None,
        device: Union[torch.device, str, None] = None,
        engine: Optional[Engine] = None,
    ) -> None: ...
    @overload
    def __init__(
        self,
        model: M_co,
        data: DataBunch[X_co, Y_co],
        loss_func: LossFunc[P_co, Y_co],
        opt_func: OptFunc,
        cbs: Sequence[Callback[X_co, Y_co, P_co]] = (),
        cb_funcs: Sequence[Callable[[Learner[X_co, Y_co, P_co, M_co]], Callback[X_co, Y_co, P_co]]] = (),
        *,
        splitter: Optional[Callable[[M_co], Sequence[Iterable[nn.Parameter]]]] = None,
        device: Union[torch.device, str, None] = None,
        engine: Optional[Engine] = None,
    ) -> None: ...
    def __init__(
        self,
        model: _Unchecked,
        data: _Unchecked,
        loss_func: _Unchecked,
        opt_func: OptFunc,
        cbs: _Unchecked = (),
        cb_funcs: _Unchecked = (),
        *,
        splitter: _Unchecked = None,
        device: Union[torch.device, str, None] = None,
        engine: Optional[Engine] = None,
    ) -> None:
        """Makes the optimizer and the callbacks, and attaches them.

        Args:
            model: Called with `xb`. It is moved to `device`, if one is given.
            data: The training and the validation batches.
            loss_func: Called with the prediction and `yb`; gives a scalar. A function, or a module such as
                `nn.CrossEntropyLoss()`.
            opt_func: Called with the parameters; gives the optimizer, which is there from then on.
            cbs: Callback instances.
            cb_funcs: Factories, each called with this learner, such as `partial(GradientClip, clip=0.1)`.
            splitter: Splits the model's parameters into groups, for one learning rate each; one group by default.
            device: Where to compute; where the model is by default. Batches are brought there.
            engine: The processes to compute in, such as a `TorchEngine`: each has its share of every batch. One by
                default.

        Raises:
            CallbackError: An instance stands among the factories, a factory among the instances, or a callback is
                unsound.
            DependencyError: What a callback depends on is missing, or there is a circle.
            ValueError: The splitter leaves trainable parameters out, or the optimizer is over another model.
            LoopError: The optimizer's step wants a closure, as LBFGS's does.
        """
        self._engine = engine_of(engine)
        self._model: M_co = model
        self._device = self._engine.prepare(self._model, device)
        self._data: DataBunch[X_co, Y_co] = data if engine is None else _split(data, engine)
        self._loss_func: Callable[..., Tensor] = loss_func  # the property beside it says what it takes
        self.opt = made_optimizer(self._model, opt_func, splitter)
        self._busy = False
        loop: Loop[X_co, Y_co, P_co] = Loop(engine=engine)
        super().__init__(loop, has_valid=self._data.has_valid)
        loop.add(*self._made(cbs, cb_funcs))

    @property
    @override
    def model(self) -> M_co:
        """The model."""
        return self._model

    @property
    def data(self) -> DataBunch[X_co, Y_co]:
        """The training and the validation batches."""
        return self._data

    @property
    def loss_func(self) -> LossFunc[P_co, Y_co]:
        """Called with the prediction and the targets; gives a scalar."""
        return self._loss_func

    @property
    def device(self) -> torch.device:
        """Where the model is, and where its batches are brought."""
        return self._device

    @property
    def engine(self) -> Engine:
        """The processes that it computes in."""
        return self._engine

    @override
    def fit(
        self,
        n_epochs: int,
        cbs: Sequence[Callback[X_co, Y_co, P_co]] = (),
        cb_funcs: Sequence[Callable[[Self], Callback[X_co, Y_co, P_co]]] = (),
        *,
        resume: Optional[AnyPath] = None,
        on_mismatch: Optional[OnMismatch] = None,
    ) -> FitOutcome:
        """Trains the model, and validates it after each epoch where there is data for that.

        Args:
            n_epochs: How many epochs to run; those that an earlier fit has run count, with `resume`.
            cbs: More callback instances, for this fit alone.
            cb_funcs: More factories, for this fit alone.
            resume: A checkpoint to go on from, or the folder of a `Checkpoint` callback: the newest sound one in it.
            on_mismatch: What of the checkpoint may be left out where it does not fit, such as
                `{"EarlyStopping": "reset"}`.

        Returns:
            How the fit ended: Completed or Cancelled. A fit that fails raises.

        Raises:
            HookError: A hook answered what is not legal there.
            BatchError: A loader gave no batch or one that is no pair, or the loss is no scalar.
            NonFiniteError: An epoch's training has left weights that are nan or infinite.
            LoopError: A fit of this learner is under way.
            CheckpointError: There is no sound checkpoint to go on from, or it does not fit; nothing of it was copied.
            ExceptionGroup: Ending the fit went wrong as well; all errors are in it, the first one first.
        """
        model, loss_func, engine = self._model, self._loss_func, self._engine
        with (
            self._alone(),
            engine.running(),
            self.added(*self._made(cbs, cb_funcs)),
            self._scope(n_epochs, resume, on_mismatch) as fit,
        ):
            for epoch in fit.epochs():
                opt, forward = engine.steps(self.opt), engine.forward(model)
                for batch in epoch.train(placed(self._data.train_dl, self._device)):
                    out = batch.pred(forward(batch.xb))
                    if not out.cancelled:
                        out.loss(loss_func(out.pred, out.yb)).backward().step(opt)
                self._check_finite(fit)
                if self._data.has_valid:
                    engine.before_evaluating(model)
                    with evaluating(model):
                        for held_out in epoch.validate(placed(self._data.valid_dl, self._device)):
                            seen = held_out.pred(model(held_out.xb))
                            if not seen.cancelled:
                                seen.loss(loss_func(seen.pred, seen.yb))
        return fit.outcome

    def _scope(
        self, n_epochs: int, resume: Optional[AnyPath], on_mismatch: Optional[OnMismatch]
    ) -> FitScope[X_co, Y_co, P_co]:
        """A fit of the loop, the model ready for it."""
        taken_up = None
        if resume is not None:
            from .state import resumption  # noqa: PLC0415  # most fits begin at their beginning
            from .store import found, read  # noqa: PLC0415  # as said

            path = found(resume)
            self._engine.compare({"the checkpoint to go on from": path.name})
            taken_up = resumption(self, read(path), on_mismatch or {})
        self._engine.compare(
            {
                "n_epochs": n_epochs,
                "the number of training batches": length_of(self._data.train_dl),
                "the number of validation batches": length_of(self._data.valid_dl) if self._data.has_valid else 0,
            }
        )
        scope = self._loop.fit(n_epochs, resume=taken_up)
        self._model.train()
        self.opt.zero_grad()  # an earlier fit that failed after backward has left its gradients
        return scope

    @contextmanager
    def _validation(
        self, cbs: Sequence[Callback[X_co, Y_co, P_co]]
    ) -> Generator[ValidationScope[X_co, Y_co, P_co], None, None]:
        """A validation outside of any fit, the model ready for it."""
        with self._alone(), self._engine.running(), self.added(*cbs):
            self._engine.before_evaluating(self._model)
            with evaluating(self._model), self._loop.validation() as scope:
                yield scope

    @contextmanager
    def _alone(self) -> Generator[None, None, None]:
        """Refuses a second fit or validation before it has touched anything, from a hook or from another thread."""
        with _BEGINNING:
            if self._busy:
                raise LoopError("a fit is under way on this loop: a fit inside a fit would share its callbacks' state.")
            self._busy = True
        gradients = torch.is_grad_enabled()
        try:
            yield
        finally:
            self._busy = False
            torch.set_grad_enabled(gradients)  # an interrupt may come just where torch.no_grad() begins or ends

    def _check_finite(self, fit: FitScope[X_co, Y_co, P_co]) -> None:
        """Refuses to train on with weights that are no numbers any more; it looks at one loss, once in an epoch."""
        cursor = fit.cursor
        if cursor is None or fit.cancelled:
            return
        bad = spoiled(self._model, cursor.last_loss)
        if bad and not self._is_search():
            raise no_way_on(bad, cursor.last_loss, cursor.epoch)

    def _is_search(self) -> bool:
        """Whether the fit puts its weights back in the end, whatever becomes of them."""
        from .callbacks import LRFinder  # noqa: PLC0415  # the ready-made callbacks are loaded when used

        return any(isinstance(callback, LRFinder) for callback in self.cbs)

    @property
    def position(self) -> Optional[Position]:
        """How far the fit has come that is under way; a batch that has begun counts as over. None at rest."""
        return self._loop.position

    def save(self, path: AnyPath) -> None:
        """Writes a checkpoint: the weights, the optimizer and the cells of the callbacks.

        A `Checkpoint` callback writes those that a fit can be taken up from.

        Args:
            path: The directory that it becomes; nothing may be there yet.

        Raises:
            StateError: A cell holds what no checkpoint can hold.
            CheckpointWriteError: It cannot be written.
        """
        from .state import save  # noqa: PLC0415  # most learners save nothing

        with self._engine.running():
            self._engine.before_evaluating(self._model)
            save(self, path)

    def load(self, path: AnyPath, on_mismatch: Optional[OnMismatch] = None) -> None:
        """Gives the learner the weights, the optimizer's state and the cells of a checkpoint.

        A cell whose object only a fit has, such as the scaler of a `MixedPrecision`, is left as it is.

        Args:
            path: A checkpoint, or a folder of them: the newest sound one in it.
            on_mismatch: What of the checkpoint may be left out where it does not fit.

        Raises:
            CheckpointError: There is no sound checkpoint, or it does not fit; nothing of it was copied.
            LoopError: A fit is under way.
        """
        from .state import load  # noqa: PLC0415  # most learners load nothing

        if self._loop.running:
            raise LoopError("a fit is under way on this learner: a checkpoint is loaded before or after it.")
        with self._engine.running():
            load(self, path, on_mismatch)

    def validate(
        self,
        dl: Optional[Iterable[tuple[X_co, Y_co]]] = None,
        cbs: Sequence[Callback[X_co, Y_co, P_co]] = (),
    ) -> float:
        """Runs the validation alone; callbacks such as `AvgStats` hold what else it measured.

        Args:
            dl: Batches to validate on; the validation data by default.
            cbs: More callback instances, for this validation alone.

        Returns:
            The mean loss over all samples, each batch weighted by its size; nan when callbacks cancelled every batch.

        Raises:
            BatchError: There is no validation data.
        """
        batches = self._data.valid_dl if dl is None else self._engine.split("dl", dl)
        total, samples = torch.zeros((), device=self._device), 0
        with self._validation(cbs) as scope:
            for batch in scope.validate(placed(batches, self._device)):
                out = batch.pred(self._model(batch.xb))
                if out.cancelled:
                    continue
                seen = out.loss(self._loss_func(out.pred, out.yb))
                size = self._engine.counted(batch_size(out.yb))
                if size and not seen.cancelled:
                    total, samples = total + seen.value * size, samples + size
            loss_sum, n_samples = self._engine.total((float(total), samples))
        return loss_sum / n_samples if n_samples else math.nan

    def predict(
        self,
        dl: Optional[Iterable[tuple[X_co, Y_co]]] = None,
        cbs: Sequence[Callback[X_co, Y_co, P_co]] = (),
    ) -> list[P_co]:
        """The model's predictions, batch by batch.

        The callbacks' hooks of a validation batch are called (so that one that changes batches changes these too), but
        no loss is computed. A batch that a callback cancels is left out. Over several processes each rank has the
        predictions of its own share of each batch.

        Args:
            dl: Batches to predict on; the validation data by default.
            cbs: More callback instances, for these predictions alone.

        Returns:
            The prediction of each batch, as the callbacks left it, on the model's device.

        Raises:
            BatchError: There is no validation data.
        """
        batches = self._data.valid_dl if dl is None else self._engine.split("dl", dl)
        predictions: list[P_co] = []
        with self._validation(cbs) as scope:
            for batch in scope.predict(placed(batches, self._device)):
                out = batch.pred(self._model(batch.xb))
                if not out.cancelled and self._engine.counted(1):
                    predictions.append(out.pred)
        return predictions

    def summary(self) -> Summary:
        """Runs the first training batch through the model, and says what it is made of; `print` shows a table.

        The batch is as the loader gives it: no callback changes it.
        """
        xb, _ = next(iter(placed(self._data.train_dl, self._device)))
        return summarize(self._model, xb)

    def __rich__(self) -> Sheets:
        """What rich shows of it: its parts, and its callbacks with their settings and cells."""
        return portrait(self)

    def _repr_html_(self) -> str:
        return portrait(self).html()

    @override
    def __repr__(self) -> str:
        names = ", ".join(type(callback).__name__ for callback in self.cbs)
        return f"Learner({type(self._model).__name__}, {type(self.opt).__name__}, cbs=[{names}])"


def _split(data: DataBunch[X, Y], engine: Engine) -> DataBunch[X, Y]:
    """The same data, of each batch this rank's share."""
    train_dl = engine.split("train_dl", data.train_dl)
    return DataBunch(train_dl, engine.split("valid_dl", data.valid_dl) if data.has_valid else None)
