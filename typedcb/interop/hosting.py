"""What the adapters have in common: the callbacks of a trainer, their fit, and their cells in its checkpoint.

An adapter subclasses `Hosting`, says what its trainer can do (`Host`), calls `_begin` when the trainer's model and
optimizer are there, tells the `Hosted` fit of each moment, and calls `_end` in whatever way the trainer ends.
"""

from __future__ import annotations

from typing import Any, Callable, Final, Generic, Mapping, Optional, Sequence, TypeVar, cast

import attrs
import torch
from torch import nn
from torch.optim import Optimizer
from typing_extensions import Never, override

from ..articles import an_instance
from ..callback import Callback, SomeCallback, is_callback
from ..device import device_of
from ..errors import BatchError, CallbackError, LoopError
from ..events import FitOutcome, P, X, Y
from ..hosted import Host, Hostable, Hosted, check_host, check_kind, kind_of, made_for
from ..loop import Loop
from ..outcomes import CancelTrain
from ..position import Position, Resumption
from ..state import OnMismatch
from ..tree import is_tuple
from .cells import Cells, fitted, packed, unpacked

C = TypeVar("C", bound=SomeCallback)


class HostParts:
    """A trainer's model and optimizer, as they are now; factories are called with it.

    Args:
        host: The trainer in words.
    """

    __slots__ = ("_host", "_model", "_opt")

    def __init__(self, host: str) -> None:
        self._host = host
        self._model: Optional[nn.Module] = None
        self._opt: Optional[Optimizer] = None

    @override
    def __reduce__(self) -> tuple[type[HostParts], tuple[str]]:
        """A copy has neither: it gets those of its own trainer, when a fit begins there."""
        return HostParts, (self._host,)

    def bind(self, model: nn.Module, opt: Optimizer) -> None:
        """Takes the trainer's model and optimizer."""
        self._model, self._opt = model, opt

    @property
    def model(self) -> nn.Module:
        """The model that the trainer trains.

        Raises:
            LoopError: The trainer has none yet.
        """
        if self._model is None:
            raise self._too_early("model")
        return self._model

    @property
    def opt(self) -> Optimizer:
        """The optimizer that steps.

        Raises:
            LoopError: The trainer has none yet.
        """
        if self._opt is None:
            raise self._too_early("optimizer")
        return self._opt

    def _too_early(self, what: str) -> LoopError:
        return LoopError(
            f"{self._host} has made no {what} yet: it is there from begin_fit on. Ask for it in a hook, or pass a "
            f"factory, which is called when the fit begins."
        )


@attrs.frozen
class BatchFormat(Generic[X, Y]):
    """How a trainer's batches are taken apart into inputs and targets, and put together again."""

    split: Callable[[Any], tuple[X, Y]]  # Any: whatever the trainer's loader gives
    """From a batch to its inputs and its targets."""

    join: Callable[[X, Y], object]
    """From inputs and targets to a batch; called when a callback has replaced them."""


def _split_pair(batch: Any) -> tuple[Any, Any]:  # Any: what a loader gives has no type
    if type(batch) in (tuple, list) and len(batch) == 2:
        return batch[0], batch[1]
    if is_tuple(batch) and len(batch) == 2:  # a named one
        return batch[0], batch[1]
    raise BatchError(
        f"a batch of the loader is {_described(batch)}, and no pair of inputs and targets: say how to take it apart "
        f"and put it together, by batches=BatchFormat(split=..., join=...)."
    )


def _described(batch: object) -> str:
    name = an_instance(batch)
    if isinstance(batch, Mapping):
        return f"{name} of {', '.join(map(str, cast('Mapping[object, object]', batch)))}"
    return f"{name} of {len(cast('Sequence[object]', batch))}" if isinstance(batch, (tuple, list)) else name


PAIRS: Final[BatchFormat[Any, Any]] = BatchFormat(_split_pair, lambda xb, yb: (xb, yb))  # Any: any pair
"""Batches that are pairs of inputs and targets."""


class Hosting(Generic[X, Y, P]):
    """Callbacks that run in somebody else's trainer.

    Args:
        host: What the trainer can do.
        callbacks: Instances, and factories that are called with the trainer's model and optimizer as the fit begins.
        on_mismatch: What of a trainer's checkpoint may be left out where it does not fit, by a callback's class.

    Raises:
        CallbackError: One is neither, or asks for what the trainer cannot do.
        DependencyError: What one depends on is missing, or there is a circle.
    """

    def __init__(
        self, host: Host, callbacks: Sequence[Hostable[X, Y, P]], on_mismatch: Optional[OnMismatch] = None
    ) -> None:
        self._hostable = tuple(callbacks)
        self._hosted_by(host)
        self._on_mismatch: OnMismatch = {} if on_mismatch is None else on_mismatch
        self._parts = HostParts(host.name)
        self._loop: Optional[Loop[X, Y, P]] = None
        if all(map(is_callback, callbacks)):
            self._loop = self._made_loop()
        self._fit: Optional[Hosted[X, Y, P]] = None
        self._last: Optional[Hosted[X, Y, P]] = None
        self._epochs = 0
        self._resumed = False
        self._waiting: Optional[Mapping[str, object]] = None

    @property
    def cbs(self) -> tuple[Callback[X, Y, P], ...]:
        """The callbacks in the order in which they run.

        Raises:
            LoopError: There are factories among them, and no fit has begun: they have made nothing yet.
        """
        if self._loop is None:
            raise LoopError(
                f"factories make their callbacks when {self._host.name} begins to fit, and no fit has begun: pass an "
                f"instance to have it before."
            )
        return self._loop.cbs

    @property
    def outcome(self) -> FitOutcome:
        """How the last fit ended.

        Raises:
            LoopError: No fit has ended.
        """
        if self._last is None:
            raise LoopError(f"{self._host.name} has ended no fit with these callbacks.")
        return self._last.outcome

    def get(self, kind: type[C]) -> C:
        """The one callback of a class.

        Args:
            kind: The class, or a base of it.

        Raises:
            LookupError: There is none, or more than one.
            LoopError: There are factories, and no fit has begun.
        """
        found = [callback for callback in self.cbs if isinstance(callback, kind)]
        if len(found) == 1:
            return found[0]
        names = ", ".join(type(callback).__name__ for callback in self.cbs) or "none"
        raise LookupError(f"{len(found)} callbacks of class {kind.__name__} are hosted; there are: {names}.")

    def state_dict(self) -> dict[str, object]:
        """The cells, and how far the fit is, for the trainer's checkpoint: a string, and tensors by name.

        Raises:
            StateError: A cell holds what no checkpoint can hold.
        """
        if self._waiting is not None:
            return dict(self._waiting)
        if self._loop is None:
            return {}
        fit = self._fit or self._last
        return packed(0 if fit is None else fit.steps, self._epochs, self._loop.cbs)

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        """Takes what a checkpoint held; the cells get it when the next fit begins, after begin_fit.

        Args:
            state_dict: What `state_dict` gave.
        """
        self._waiting = dict(state_dict) or None

    def _hosted_by(self, host: Host) -> None:
        """Takes a trainer, and refuses what it cannot do, as far as it can be seen before the fit begins."""
        for hostable in self._hostable:
            _check_hostable(host, hostable)
        self._host = host

    def _begin(self, model: nn.Module, opt: Optimizer, n_epochs: int, start_epoch: int = 0) -> Hosted[X, Y, P]:
        """Begins a fit: factories are called, begin_fit fires, and cells get what a checkpoint held.

        Args:
            model: The trainer's model.
            opt: Its optimizer.
            n_epochs: How many epochs the fit is to reach.
            start_epoch: The first that runs.

        Raises:
            LoopError: A fit is under way.
            MismatchError: A checkpoint was loaded that does not fit the callbacks.
        """
        if self._fit is not None:
            raise LoopError(f"{self._host.name} fits with these callbacks already: one fit at a time.")
        self._parts.bind(model, opt)
        if self._loop is None:
            self._loop = self._made_loop()
        check_host(self._host, self._loop.cbs)
        resume = self._resumption(self._loop, start_epoch)
        fit = Hosted(self._loop, n_epochs, start_epoch, resume)
        self._last = fit
        self._resumed = resume is not None
        if resume is None:
            self._epochs = start_epoch
        fit.begin()  # where this fails, the fit has ended
        self._fit = fit
        return fit

    def _epochs_waiting(self) -> int:
        """How many epochs had ended by what was loaded, and waits for the fit to begin; 0 where nothing does."""
        return 0 if self._waiting is None else unpacked(self._waiting, self._host.name, torch.device("cpu")).epochs

    def _check_epochs(self, start: int, advice: str) -> None:
        """Refuses a fit in which epochs would run again of which the cells that were loaded hold the end already.

        Args:
            start: The epoch that the fit begins with.
            advice: What to do instead, with `{ended}` for how many epochs had ended.

        Raises:
            LoopError: There are such epochs.
        """
        ended = self._epochs_waiting()
        if ended > start:
            raise LoopError(
                f"the callbacks were saved when {ended} epochs had ended, and the fit begins with epoch {start}: they "
                f"would hear of epochs again that their cells hold already. {advice.format(ended=ended)}."
            )

    def _made_loop(self) -> Loop[X, Y, P]:
        return Loop(made_for(self._parts, self._hostable))

    def _resumption(self, loop: Loop[X, Y, P], epoch: int) -> Optional[Resumption]:
        """How the cells are given what a checkpoint held."""
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return None
        kept = unpacked(waiting, self._host.name, device_of(self._parts.model))
        cells: Cells = fitted(kept, loop.cbs, self._host.name, self._on_mismatch)
        self._epochs = kept.epochs
        return Resumption(Position(epoch, steps=kept.steps), cells.apply, lambda: 0, lambda: None)

    def _end_epoch(self, epoch: int) -> None:
        """Fires after_epoch, unless it was told before the trainer saved the checkpoint that it went on from."""
        if self._fit is not None and epoch >= self._epochs:
            self._epochs = epoch + 1
            self._fit.end_epoch(epoch)

    def _end(self, error: Optional[BaseException] = None, *, early: str = "") -> None:
        """Ends the fit that is under way, if one is: after_fit fires.

        Args:
            error: What ended it, if something went wrong.
            early: Why the trainer ended it before all of its epochs had run, in words; empty where it did not.
        """
        fit, self._fit = self._fit, None
        if fit is None:
            return
        if early and error is None:
            fit.note(CancelTrain(early))
        fit.end(error)

    @override
    def __repr__(self) -> str:
        names = ", ".join(_name_of(one) for one in self._hostable)
        return f"{type(self).__name__}({names})"


def _name_of(hostable: object) -> str:
    kind = kind_of(hostable)
    return repr(hostable) if kind is None else kind.__name__


def _check_hostable(host: Host, hostable: Hostable[Never, Never, Never]) -> None:
    """Refuses what is neither a callback nor a factory, and what the trainer cannot host."""
    kind = kind_of(hostable)
    if kind is not None:
        check_kind(host, kind)
    elif not callable(hostable):
        raise CallbackError(
            f"{hostable!r} is neither a callback nor a factory of one: pass instances, or what is called with the "
            f"trainer's model and optimizer, such as partial(GradientClip, clip=0.1)."
        )
