"""Ways to train that are known by a name: the search for a learning rate, the one-cycle policy, frozen groups."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Callable, Generic, Optional, Sequence, Union

from typing_extensions import Self

from .callback import Callback
from .callback_holder import CallbackHolder
from .events import FitOutcome, P_co, X_co, Y_co

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from .callbacks.lr_finder import LRFinder


class Recipes(CallbackHolder[X_co, Y_co, P_co], ABC, Generic[X_co, Y_co, P_co]):
    """What can be trained by a recipe: each is a fit with a ready-made callback.

    Type parameters:
        X_co: The inputs of a batch.
        Y_co: The targets of a batch.
        P_co: What the model makes of the inputs.
    """

    opt: Optimizer
    """The optimizer; never None."""

    @property
    @abstractmethod
    def model(self) -> nn.Module:
        """The model."""

    @abstractmethod
    def fit(
        self,
        n_epochs: int,
        cbs: Sequence[Callback[X_co, Y_co, P_co]] = (),
        cb_funcs: Sequence[Callable[[Self], Callback[X_co, Y_co, P_co]]] = (),
    ) -> FitOutcome:
        """Trains the model."""

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
        cb_funcs: Sequence[Callable[[Self], Callback[X_co, Y_co, P_co]]] = (),
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
