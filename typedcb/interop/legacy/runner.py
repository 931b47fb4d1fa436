"""The runner that stands in for those of the course, and the counting that its own first callback did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Optional, Sequence

from torch import Tensor, zeros
from typing_extensions import TypeIs

from ...events import AfterBatch, AfterLoss, AfterPred, BeginBatch, BeginEpoch, BeginFit
from ...hooks import HOOKS
from ...learner import Learner
from .old import LegacyCallbacks, Old, class_of, in_order, instances
from .standin import StandIn

COURSE_HOOKS: Final = tuple(name for name in HOOKS if name != "after_validate")
"""The hooks of the course; typedcb has one more."""

_SHADOWS: Final = ("xb", "yb", "pred", "loss", "stop")
"""What an old callback may change, on its runner."""


class Runner(StandIn):
    """What old callbacks of the course read through, as `self.run` and by their `__getattr__`."""

    xb: Old
    """The inputs; write `run.xb` in `begin_batch` to replace them."""

    yb: Old
    """The targets; write `run.yb` in `begin_batch` to replace them."""

    pred: Old
    """The prediction; write `run.pred` in `after_pred` to replace it."""

    loss: Tensor
    """The loss; write `run.loss` in `after_loss` to replace it. From `after_backward` on it is detached."""

    epochs: int
    """How many epochs the fit is to reach."""

    epoch: int
    """The epoch's number, from 0."""

    n_epochs: float
    """How many epochs have been trained on so far; within an epoch it grows with each batch."""

    n_iter: int
    """How many training batches have ended in this fit."""

    iters: int
    """How many batches this pass over the data has; 0 where the loader does not know."""

    in_train: bool
    """Whether the pass is one over the training data."""

    stop: bool
    """In lesson 04: ends the pass over the data that is under way, or the next one."""

    def __init__(self, learn: Learner[object, object, object]) -> None:
        super().__init__("runner", learn, "model", "data", "loss_func", "opt", "device")
        self.learn = self
        self.epochs = self.epoch = self.n_iter = self.iters = 0
        self.n_epochs = 0.0
        self.in_train = self.stop = False
        self.logger = print


def bound(callbacks: Old, run: Runner) -> tuple[Old, ...]:
    """Old callbacks, sorted, with this runner as theirs."""
    found = in_order(instances(callbacks))
    for old in found:
        if callable(getattr(class_of(old), "set_runner", None)):
            old.set_runner(run)
        else:
            old.run = run
    return found


def name_them(adapter: LegacyCallbacks, run: Runner) -> None:
    """Puts each old callback into the runner under its own name, as the course did, unless the runner needs it.

    Of several with one name the last is kept.
    """
    for old in adapter.callbacks:
        name: object = getattr(old, "name", None)
        if not isinstance(name, str):
            continue
        held = any(getattr(run, name, None) is other for other in adapter.callbacks)
        if not held and (name in _SHADOWS or hasattr(run, name)):
            adapter._warn(
                old, "name", f"is '{name}', which the runner has already: the old one lost its own. Rename the class."
            )
        else:
            setattr(run, name, old)


def fit_begins(run: Runner, event: BeginFit) -> None:
    """What the old fit set at its beginning."""
    run.epochs = event.n_epochs
    run.n_epochs, run.n_iter = 0.0, 0
    run.loss = zeros(())
    run.stop = False


def epoch_begins(run: Runner, event: BeginEpoch) -> None:
    """What the old loop, and its first callback, set at the beginning of an epoch."""
    run.epoch = event.epoch
    run.n_epochs = float(event.epoch)
    run.in_train = True


def batch_begins(run: Runner, event: BeginBatch[object, object]) -> None:
    """What the old loop set at the beginning of a batch."""
    run.xb, run.yb = event.xb, event.yb
    run.iters = event.n_batches or 0
    run.in_train = event.phase == "train"


def batch_ends(run: Runner, event: AfterBatch[object, object, object]) -> None:
    """What the old loop's first callback counted at the end of a batch."""
    reached = event.reached
    run.xb, run.yb = reached.xb, reached.yb
    if has_pred(reached):
        run.pred = reached.pred
    if has_loss(reached):
        run.loss = reached.loss
    if reached.phase == "train":
        run.n_iter += 1
        if reached.n_batches:
            run.n_epochs += 1.0 / reached.n_batches


def has_pred(reached: BeginBatch[object, object]) -> TypeIs[AfterPred[object, object, object]]:
    """Whether a batch has come to its prediction."""
    return isinstance(reached, AfterPred)


def has_loss(reached: BeginBatch[object, object]) -> TypeIs[AfterLoss[object, object, object]]:
    """Whether a batch has come to its loss."""
    return isinstance(reached, AfterLoss)


def warn_of_shadows(adapter: LegacyCallbacks, old: Old, hook: str, names: Sequence[str]) -> None:
    """Warns of an old callback that assigned to itself what it meant to change on its runner."""
    for name in _shadowed(old, names):
        adapter._warn(
            old,
            hook,
            f"assigned self.{name}, which changes nothing and hides the runner's from this callback for good: "
            f"write self.run.{name} = ..., or event.with_... in a typed callback.",
            once=f"shadows {name}",
        )


def _shadowed(old: Old, names: Sequence[str]) -> Iterator[str]:
    own: Optional[dict[str, object]] = getattr(old, "__dict__", None)
    return (name for name in names if own is not None and name in own)
