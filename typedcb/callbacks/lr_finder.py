"""Finding a learning rate: it grows from batch to batch while the loss is watched (Smith 2015).

smooth = SmoothLoss()
finder = LRFinder(learn, smooth)
learn.fit(100, cbs=[smooth, finder])  # ends by itself, and leaves the learner as it was
finder.suggestion()
"""

from __future__ import annotations

import bisect
import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal, Optional, Sequence

import attrs
from typing_extensions import TypeAlias, override

from ..callback import AnyCallback
from ..cell import Cell, Series, cell, series
from ..errors import BatchError
from ..events import AfterFit, BatchEvent, BeginFit, BeginValidate, LossEvent, Phase
from ..extras import require
from ..needs import HasModelAndOpt
from ..outcomes import CancelTrain, SkipValidate
from ..ranks import here
from .anneal import exponential
from .hyper import LR
from .smooth import SmoothLoss
from .snapshot import Weights, copy_weights, load_weights

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Suggestion: TypeAlias = Literal["steepest", "valley"]
"""How to read a learning rate off the curve: see `LRFinder.suggestion`."""


@attrs.frozen
class Diverged:
    """Stops a search when the loss is far above the best loss so far, or not finite."""

    factor: float = 4.0
    """How many times the best loss so far is too much."""

    of: Literal["smooth", "batch"] = "smooth"
    """Which loss is watched: the smoothed one, or that of each batch alone."""

    def __attrs_post_init__(self) -> None:
        if not self.factor > 1:
            raise ValueError(
                f"Diverged.factor is {self.factor}, and has to be above 1: it is a multiple of the best loss."
            )

    def stops(self, loss: float, best: float) -> bool:
        """Whether a loss ends the search.

        Args:
            loss: The loss of this batch, smoothed or not.
            best: The best loss of the batches before; nan at the first.
        """
        # for a best loss above 0 the limit is factor * best; a loss may also be below 0
        return not math.isfinite(loss) or loss > best + (self.factor - 1) * abs(best)


SMOOTH_4: Final = Diverged()
"""Stops when the smoothed loss is above 4 times its best: the rule of fastai v1."""

BATCH_10: Final = Diverged(10.0, "batch")
"""Stops when the loss of a batch is above 10 times the best: the rule of the fastai course."""


@attrs.frozen(eq=False)
class Before:
    """What a search puts back."""

    weights: Weights
    """The model's state."""

    opt: dict[str, object]
    """The optimizer's state, its learning rates among it."""


@dataclass(frozen=True)
class LRFinder(AnyCallback):
    """Tries growing learning rates, one a batch, and ends the fit when the loss diverges or all have been tried.

    The learning rate of batch i is start_lr * (end_lr / start_lr)**(i / (n_batches - 1)), in all parameter groups. It
    is set after what other callbacks set, so that schedulers may stay attached. Validation is skipped. When the fit
    ends, also by an error, the model, the optimizer and its learning rates are again what they were.

    A copy of the weights and of the optimizer's state is kept meanwhile. The loss is read in each batch, which costs a
    synchronisation on a GPU; over several processes it is over the samples of all ranks, and so is the curve.
    """

    order: ClassVar[int] = 100
    """After those that set a learning rate, and those that write weights when the fit ends."""

    phases: ClassVar[tuple[Phase, ...]] = ("train",)

    learn: HasModelAndOpt
    """Whose learning rate is sought; `learn.add` and `cb_funcs` fill it in."""

    loss: SmoothLoss
    """The smoothed loss, which is attached too."""

    start_lr: float = 1e-7
    """The learning rate of the first batch."""

    end_lr: float = 10.0
    """The learning rate of the last batch."""

    n_batches: int = 100
    """How many learning rates to try. The fit needs to have as many batches; more are not run."""

    stop: Optional[Diverged] = SMOOTH_4
    """When to stop early: `SMOOTH_4`, `BATCH_10`, a `Diverged` of your own, or None for never."""

    lrs: Series[float] = series()
    """The learning rate of each batch."""

    losses: Series[float] = series()
    """The loss of each batch."""

    smooth_losses: Series[float] = series()
    """The smoothed loss after each batch."""

    best: Cell[float] = cell(math.nan)
    """The best loss so far, of the kind that `stop` watches."""

    n_epochs: Cell[int] = cell(1)
    """How many epochs are left for the search."""

    before: Cell[Optional[Before]] = cell(None, saved=False)
    """What is put back when the fit ends; None outside of a fit."""

    def __post_init__(self) -> None:
        if not 0 < self.start_lr < self.end_lr:
            raise ValueError(
                f"LRFinder goes from start_lr={self.start_lr} to end_lr={self.end_lr}, and needs 0 < start_lr < end_lr."
            )
        if self.n_batches < 2:
            raise ValueError(f"LRFinder.n_batches is {self.n_batches}, and has to be at least 2: one at each end.")
        LR.check(self.learn.opt)

    @override
    def begin_fit(self, event: BeginFit) -> None:
        """Keeps what is to be put back."""
        self.n_epochs.value = event.n_epochs - event.start_epoch
        self.before.value = Before(copy_weights(self.learn.model), copy.deepcopy(self.learn.opt.state_dict()))

    @override
    def begin_batch(self, event: BatchEvent) -> None:
        """Sets the learning rate of this batch."""
        if not self.lrs and event.n_batches is not None:
            self._check_length(event.n_batches)
        lr = exponential(self.start_lr, self.end_lr)(len(self.lrs) / (self.n_batches - 1))
        for group in self.learn.opt.param_groups:
            LR.write(group, lr)

    @override
    def after_loss(self, event: LossEvent) -> Optional[CancelTrain]:
        """Takes the loss down, and ends the search when it is time."""
        lr = LR.read(self.learn.opt.param_groups[0])
        self.lrs.append(lr)
        self.losses.append(float(here().mean(event.loss).detach()))
        self.smooth_losses.append(self.loss.value)
        if self.stop is not None:
            loss = (self.smooth_losses if self.stop.of == "smooth" else self.losses)[-1]
            if self.stop.stops(loss, self.best.value):
                return CancelTrain(f"the loss diverged at a learning rate of {lr:.3g} (batch {len(self.lrs)})")
            self.best.value = loss if math.isnan(self.best.value) else min(loss, self.best.value)
        if len(self.lrs) == self.n_batches:
            return CancelTrain(f"all {self.n_batches} learning rates have been tried")
        return None

    @override
    def begin_validate(self, event: BeginValidate) -> SkipValidate:
        """Skips validation: it would tell nothing of a learning rate."""
        return SkipValidate()

    @override
    def after_fit(self, event: AfterFit) -> None:
        """Puts back the model and the optimizer."""
        before, self.before.value = self.before.value, None
        if before is not None:
            load_weights(self.learn.model, before.weights)
            self.learn.opt.load_state_dict(before.opt)
            self.learn.opt.zero_grad()

    def suggestion(self, how: Suggestion = "valley") -> float:
        """A learning rate to train with, read off the smoothed loss.

        The first tenth of the batches is left out: a mean of few losses jumps.

        Args:
            how: `"steepest"` takes the learning rate around which the loss falls fastest (over the logarithm of the
                learning rate, a tenth of the batches to each side, since batches differ), as Smith's method is commonly
                read (2015, https://arxiv.org/abs/1506.01186).
                `"valley"` takes the middle of the longest series of learning rates, from left to right and not
                necessarily adjacent, along which the loss falls; it is less easily misled by a single jump.

        Raises:
            ValueError: There are too few batches, or the loss falls nowhere.
        """
        skipped = len(self.lrs) // 10
        lrs, losses = self.lrs[skipped:], self.smooth_losses[skipped:]
        finite = sum(map(math.isfinite, losses))  # only the last can be something else, where it ended the search
        if finite < 3:
            raise ValueError(
                f"LRFinder has {len(self.lrs)} batches to read, and needs a few more: run a fit with it first."
            )
        place = (_steepest if how == "steepest" else _valley)(losses[:finite])
        if place is None:
            raise ValueError(
                "the loss fell at no learning rate that was tried: is start_lr too high, or the loss wrong?"
            )
        return lrs[place]

    def plot(self, how: Suggestion = "valley") -> Figure:
        """A picture of the loss by learning rate, with the suggested one.

        Args:
            how: How the suggestion is read off the curve.

        Returns:
            A matplotlib figure that belongs to no window: `figure.savefig("lr.png")`.

        Raises:
            ModuleNotFoundError: matplotlib is missing; the message names the extra.
            ValueError: There is nothing to suggest.
        """
        require("matplotlib", extra="plot")
        from .plots import draw_lr_search  # noqa: PLC0415  # matplotlib is an extra

        return draw_lr_search(self.lrs.value, self.losses.value, self.smooth_losses.value, self.suggestion(how))

    def _check_length(self, n_batches: int) -> None:
        """Refuses a fit that would end before all learning rates have been tried."""
        if n_batches * self.n_epochs.value < self.n_batches:
            raise BatchError(
                f"LRFinder.n_batches is {self.n_batches}, and this fit has {self.n_epochs.value} epochs of {n_batches} "
                f"batches: call fit({math.ceil(self.n_batches / n_batches)}), which ends by itself when all learning "
                f"rates have been tried, or try fewer of them."
            )


def _steepest(losses: Sequence[float]) -> Optional[int]:
    """The middle of the tenths before and after it over which the losses fall most; None where they fall nowhere."""
    reach = max(1, len(losses) // 10)
    falls = [before - after for before, after in zip(losses, losses[2 * reach :], strict=False)]
    most = max(falls)
    return falls.index(most) + reach if most > 0 else None


def _valley(losses: Sequence[float]) -> Optional[int]:
    """The middle of the longest series of places along which the losses fall; None where they fall nowhere."""
    highest: list[float] = []  # the highest loss that a series of each length can end with, negated to be ascending
    begins: list[int] = []  # where that series begins
    ends: list[int] = []  # where it ends
    for place, loss in enumerate(losses):
        length = bisect.bisect_left(highest, -loss)
        begin = begins[length - 1] if length else place
        highest[length : length + 1], ends[length : length + 1] = [-loss], [place]
        begins[length : length + 1] = [begin]
    return (begins[-1] + ends[-1]) // 2 if len(highest) > 1 else None
