"""A model, its data, its loss and its optimizer, trained by a loop whose callbacks may do the rest.

`Learner.fit` is the whole training loop, written on the same scopes (`typedcb.loop`) that a loop of one's own uses.
"""

from __future__ import annotations

import math
import threading
from contextlib import contextmanager
from functools import partial
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Final,
    Generator,
    Generic,
    Iterable,
    Optional,
    Protocol,
    Sequence,
    TypeVar,
    Union,
    overload,
)

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import Concatenate, ParamSpec, TypeAlias, override
from typing_extensions import TypeVar as DefaultTypeVar

from .attach import checked_made, made_by, own_states
from .callback import Callback, SomeCallback, field_values, is_callback
from .cell import State, View
from .data import DataBunch, batch_size, length_of
from .device import placed
from .engine import Engine, engine_of
from .errors import CallbackError, LoopError, NonFiniteError
from .evaluating import evaluating
from .events import FitOutcome, P_co, X, X_co, Y, Y_co
from .fit import FitScope
from .hooks import P_contra, Y_contra
from .loop import Loop
from .optimizer import check_closure
from .portrait import portrait
from .position import Position
from .several import as_tuple
from .showing import Sheets
from .summary import Summary, summarize
from .validation import ValidationScope

if TYPE_CHECKING:
    from .callbacks.lr_finder import LRFinder
    from .state import OnMismatch
    from .store import AnyPath

M = DefaultTypeVar("M", bound=nn.Module, default=nn.Module)
M_co = DefaultTypeVar("M_co", bound=nn.Module, default=nn.Module, covariant=True)
PS = ParamSpec("PS")
C = TypeVar("C", bound=SomeCallback)

OptFunc: TypeAlias = Callable[[Iterable[nn.Parameter]], Optimizer]
"""Makes an optimizer of parameters: `torch.optim.AdamW`, `partial(SGD, lr=0.1)`."""

LossOfTensors: TypeAlias = Union[nn.Module, "partial[Tensor]"]
"""A loss whose prediction a checker cannot see, and takes for a tensor: `nn.CrossEntropyLoss()`, a partial function."""


_BEGINNING: Final = threading.Lock()
"""Held while a learner is marked as busy, so that of two threads one is refused."""


class LossFunc(Protocol[P_contra, Y_contra]):
    """A function, or another callable, that makes a scalar of a prediction and the targets."""

    # A Protocol and no Callable: mypy looks at callables last, after callbacks over object have made P an object.

    def __call__(self, pred: P_contra, yb: Y_contra, /) -> Tensor:
        """Computes the loss of a batch."""
        ...


_Unchecked: TypeAlias = Any  # Any: the implementation behind overloads that say what is taken


class Learner(Generic[X_co, Y_co, P_co, M_co]):
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
        self.opt = _make_opt(self._model, opt_func, splitter)
        self._busy = False
        self._loop: Loop[X_co, Y_co, P_co] = Loop(engine=engine)
        self._loop.add(*self._made(cbs, cb_funcs))

    @property
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

    @property
    def cbs(self) -> tuple[Callback[X_co, Y_co, P_co], ...]:
        """The callbacks in the order in which they run."""
        return self._loop.cbs

    def fit(
        self,
        n_epochs: int,
        cbs: Sequence[Callback[X_co, Y_co, P_co]] = (),
        cb_funcs: Sequence[Callable[[Learner[X_co, Y_co, P_co, M_co]], Callback[X_co, Y_co, P_co]]] = (),
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
                self._check_alive(fit)
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

    def _check_alive(self, fit: FitScope[X_co, Y_co, P_co]) -> None:
        """Refuses to train on with weights that are no numbers any more.

        One look at the last loss waits for the device once in an epoch; the weights are looked at when it is bad.
        """
        loss = None if fit.cancelled or fit.cursor is None else fit.cursor.last_loss
        if fit.cursor is None or loss is None or loss.is_meta or math.isfinite(float(loss.detach())):
            return
        bad = [name for name, parameter in self._model.named_parameters() if not bool(parameter.isfinite().all())]
        if bad and not self._is_search():
            raise NonFiniteError(
                f"the last training loss of epoch {fit.cursor.epoch} is {float(loss)}, and weights are nan or infinite "
                f"({', '.join(bad[:3])}{', ...' if len(bad) > 3 else ''}): no training goes on from there. Attach "
                f"CheckFinite(learn) to see where it begins, or TerminateOnNaN() to end the fit before it spoils "
                f"anything; a lower learning rate or GradientClip may keep it from happening."
            )

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

    def lr_find(
        self,
        start_lr: float = 1e-7,
        end_lr: float = 10.0,
        n_batches: int = 100,
        cbs: Sequence[Callback[X_co, Y_co, P_co]] = (),
    ) -> LRFinder:
        """Tries growing learning rates, one a batch, and leaves the learner as it was.

        Args:
            start_lr: The learning rate of the first batch.
            end_lr: The learning rate of the last batch.
            n_batches: How many learning rates to try.
            cbs: More callback instances, for this search alone.

        Returns:
            The finder, with its `suggestion()` and `plot()`.

        Raises:
            ValueError: There are no such learning rates.
        """
        from .callbacks import LRFinder, SmoothLoss  # noqa: PLC0415  # the ready-made callbacks are loaded when used

        smooth = SmoothLoss(beta=0.9)  # a longer mean lags far behind over so few batches
        finder = LRFinder(self, smooth, start_lr, end_lr, n_batches)
        self.fit(n_batches, cbs=[*cbs, smooth, finder])  # each epoch has a batch at least, and the finder ends it
        return finder

    def fit_one_cycle(
        self,
        n_epochs: int,
        lr: Union[float, tuple[float, ...]],
        cbs: Sequence[Callback[X_co, Y_co, P_co]] = (),
        cb_funcs: Sequence[Callable[[Learner[X_co, Y_co, P_co, M_co]], Callback[X_co, Y_co, P_co]]] = (),
        *,
        warm_up: float = 0.3,
        momentum: Optional[tuple[float, float]] = (0.95, 0.85),
    ) -> FitOutcome:
        """Trains with the one-cycle policy: the learning rate rises and falls, and the momentum the other way.

        Args:
            n_epochs: How many epochs to run.
            lr: The highest learning rate: one for all parameter groups, or a tuple with one for each.
            cbs: More callback instances, for this fit alone.
            cb_funcs: More factories, for this fit alone.
            warm_up: The share of the fit in which the learning rate rises.
            momentum: The momentum at both ends and at the peak; None leaves it alone.

        Returns:
            How the fit ended, as `fit` does.

        Raises:
            ValueError: The policy's figures make no cycle, or the optimizer has no such hyperparameter.
        """
        from .callbacks import OneCycle  # noqa: PLC0415  # the ready-made callbacks are loaded when used

        return self.fit(n_epochs, cbs=[*cbs, OneCycle(self, lr, momentum, warm_up)], cb_funcs=cb_funcs)

    def freeze(self, first: int = -1) -> None:
        """Freezes the parameter groups before one, and unfreezes it and those after it.

        Args:
            first: The first group that trains; by default the last group alone does. The splitter makes the groups.

        Raises:
            ValueError: There is no such group.
        """
        from .callbacks import freeze_to  # noqa: PLC0415  # the ready-made callbacks are loaded when used

        freeze_to(self.opt, first)

    def unfreeze(self) -> None:
        """Unfreezes all parameter groups."""
        self.freeze(0)

    def summary(self) -> Summary:
        """Runs the first training batch through the model, and says what it is made of; `print` shows a table.

        The batch is as the loader gives it: no callback changes it.
        """
        xb, _ = next(iter(placed(self._data.train_dl, self._device)))
        return summarize(self._model, xb)

    def add(
        self,
        factory: Callable[Concatenate[Learner[X_co, Y_co, P_co, M_co], PS], C],
        /,
        *args: PS.args,
        **kwargs: PS.kwargs,
    ) -> C:
        """Makes a callback for this learner and attaches it.

        Args:
            factory: A callback class, or a function, that takes the learner first.
            *args: What it takes besides.
            **kwargs: What it takes besides.

        Returns:
            The callback.

        Raises:
            CallbackError: What the factory made is no sound callback.
            DependencyError: What the callback depends on is missing.
            LoopError: A fit is under way.
        """
        if is_callback(factory):
            raise CallbackError(
                f"{type(factory).__name__} is an instance, and learn.add takes a class or factory, which it calls with "
                f"the learner: pass instances in cbs, to Learner or to fit."
            )
        callback = checked_made(factory, factory(self, *args, **kwargs), "the learner")
        self._attach((callback,))
        return callback

    def remove(self, *cbs: Callback[X_co, Y_co, P_co]) -> None:
        """Detaches callbacks.

        Args:
            *cbs: Instances that are attached to this learner.

        Raises:
            CallbackError: One is not attached to this learner.
            DependencyError: Another callback depends on one of them.
            LoopError: A fit is under way.
        """
        self._loop.remove(*cbs)

    @contextmanager
    def added(self, *cbs: Callback[X_co, Y_co, P_co]) -> Generator[None, None, None]:
        """Attaches callbacks for the length of a `with` block.

        Args:
            *cbs: Instances that are attached nowhere.
        """
        if cbs:
            self._attach(cbs)
        try:
            yield
        finally:
            if cbs:
                self._loop.remove(*cbs)

    def get(self, kind: type[C]) -> C:
        """The one callback of a class.

        Args:
            kind: The class, or a base of it.

        Raises:
            LookupError: There is none, or more than one.
        """
        found = [callback for callback in self.cbs if isinstance(callback, kind)]
        if len(found) == 1:
            return found[0]
        attached = ", ".join(type(callback).__name__ for callback in self.cbs) or "none"
        raise LookupError(f"{len(found)} callbacks of class {kind.__name__} are attached; there are: {attached}.")

    def _attach(self, cbs: Sequence[Callback[Any, Any, Any]]) -> None:  # Any: a factory's own word, checked below
        for callback in cbs:
            self._check_learner(callback)
        self._loop.add(*cbs)

    def _made(self, cbs: _Unchecked, cb_funcs: _Unchecked) -> list[Callback[X_co, Y_co, P_co]]:
        """The instances, and what the factories make, in that order."""
        made = [*cbs, *made_by(self, "the learner", cb_funcs)]
        for callback in made:
            self._check_learner(callback)
        return made

    def _check_learner(self, callback: object) -> None:
        """Refuses a callback that was made for another learner, or that reads what this one never measures."""
        if not is_callback(callback):
            return  # the loop refuses it, and says where it belongs
        for name, value in field_values(callback).items():
            if not self._data.has_valid and name not in own_states(callback):
                _check_filled(f"{type(callback).__name__}.{name}", value)
            if isinstance(value, Learner) and value is not self:
                raise CallbackError(
                    f"{type(callback).__name__}.{name} is another learner than the one that it is attached to: make it "
                    f"by learn.add({type(callback).__name__}, ...), which fills its own learner in."
                )

    def __rich__(self) -> Sheets:
        """What rich shows of it: its parts, and its callbacks with their settings and cells."""
        return portrait(self)

    def _repr_html_(self) -> str:
        return portrait(self).html()

    @override
    def __repr__(self) -> str:
        names = ", ".join(type(callback).__name__ for callback in self.cbs)
        return f"Learner({type(self._model).__name__}, {type(self.opt).__name__}, cbs=[{names}])"


def _check_filled(field: str, value: object) -> None:
    """Refuses a field that reads a figure of the validation, for a learner that has no data for one."""
    for part in as_tuple(value):
        source = part.source if isinstance(part, View) else part
        if isinstance(source, State) and source.phase == "valid":
            raise CallbackError(
                f"{field} reads {source.name}, which a validation gives its value, and the data has no valid_dl: pass "
                f"one, DataBunch(train_dl, valid_dl), or watch a figure of the training."
            )


def _split(data: DataBunch[X, Y], engine: Engine) -> DataBunch[X, Y]:
    """The same data, of each batch this rank's share."""
    train_dl = engine.split("train_dl", data.train_dl)
    return DataBunch(train_dl, engine.split("valid_dl", data.valid_dl) if data.has_valid else None)


def _make_opt(
    model: M, opt_func: OptFunc, splitter: Optional[Callable[[M], Sequence[Iterable[nn.Parameter]]]]
) -> Optimizer:
    """The optimizer over the model's parameters, in the groups that the splitter makes."""
    if splitter is None:
        opt = opt_func(model.parameters())
        check_closure(opt)
        _check_steps_on(opt, model)
        return opt
    groups = [list(group) for group in splitter(model)]
    grouped = {id(parameter) for group in groups for parameter in group}
    left_out = [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in grouped]
    if left_out:
        raise ValueError(
            f"the splitter leaves out {', '.join(left_out)}: put them into a group, or freeze them by "
            f"requires_grad_(False), or they would stay as they are without a word."
        )
    opt = opt_func(groups[0])
    check_closure(opt)
    for group in groups[1:]:
        opt.add_param_group({"params": group})
    return opt


def _check_steps_on(opt: Optimizer, model: nn.Module) -> None:
    """Refuses an optimizer over another model: no step would change this one."""
    own = {id(parameter) for parameter in model.parameters()}
    groups: Any = opt.param_groups  # Any: torch says dict[str, Any]
    if not own or any(id(parameter) in own for group in groups for parameter in group["params"]):
        return
    raise ValueError(
        "the optimizer holds no parameter of this model, so that no step would change it: opt_func is called with the "
        "parameters to train, and has to use them, as partial(SGD, lr=0.1) does."
    )
