"""Looking into the model: functions called at each forward pass of its modules, and statistics of what they put out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Callable, ClassVar, Iterable, Optional

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from typing_extensions import TypeAlias, override

from ..callback import AnyCallback
from ..cell import Cell, Series, cell, series
from ..events import AfterEpoch, AfterFit, BatchEvent, BeginFit, Phase
from ..needs import HasModel

OnForward: TypeAlias = Callable[[nn.Module, object], None]
"""Called with a module and what it put out."""


def leaves(model: nn.Module) -> tuple[nn.Module, ...]:
    """The modules of a model that hold no others, in the order of their registration."""
    return tuple(module for module in model.modules() if next(module.children(), None) is None)


def register(modules: Iterable[nn.Module], on_forward: OnForward) -> tuple[RemovableHandle, ...]:
    """Has a function called at each forward pass of some modules.

    Args:
        modules: The modules.
        on_forward: Called with the module and its output.

    Returns:
        Handles, to remove the function again by.
    """

    def hook(module: nn.Module, inputs: object, output: object) -> None:
        on_forward(module, output)

    return tuple(module.register_forward_hook(hook) for module in modules)


@dataclass(frozen=True)
class ForwardHooks(AnyCallback):
    """Has a function called at each forward pass of some modules, for the length of a fit.

    The hooks are removed when the fit ends, in whatever way.
    """

    modules: tuple[nn.Module, ...]
    """The modules, such as `leaves(learn.model)`."""

    on_forward: OnForward
    """Called with the module and its output, in training and in validation."""

    handles: Cell[tuple[RemovableHandle, ...]] = cell((), saved=False)
    """By which the hooks are removed."""

    @override
    def begin_fit(self, event: BeginFit) -> None:
        """Registers the hooks."""
        self.handles.value = register(self.modules, self.on_forward)

    @override
    def after_fit(self, event: AfterFit) -> None:
        """Removes the hooks."""
        for handle in self.handles.value:
            handle.remove()


@dataclass(frozen=True)
class ActivationStats(AnyCallback):
    """The mean, the standard deviation and the share near zero of what modules put out, in each training batch.

    The figures stay on their device until the epoch ends. A module that a batch does not use has nan; one that it uses
    several times has the figures of the last.
    """

    phases: ClassVar[tuple[Phase, ...]] = ("train",)

    learn: HasModel
    """Whose model is looked into; `learn.add` and `cb_funcs` fill it in."""

    modules: Optional[tuple[nn.Module, ...]] = None
    """The modules; by default all that hold no others."""

    near_zero: float = 1e-2
    """An activation counts as near zero up to this size."""

    means: Series[tuple[float, ...]] = series()
    """For each batch the mean of each module's output."""

    stds: Series[tuple[float, ...]] = series()
    """For each batch the standard deviation of each module's output."""

    near_zeros: Series[tuple[float, ...]] = series()
    """For each batch the share of each module's output that is near zero."""

    pending: Series[Tensor] = series()
    """Figures that are still on their device, of shape (modules, 3)."""

    seen: Cell[tuple[tuple[int, Tensor], ...]] = cell((), saved=False)
    """The figures of the batch under way, by the module's place."""

    watching: Cell[bool] = cell(False, saved=False)
    """Whether a training batch is in the model."""

    handles: Cell[tuple[RemovableHandle, ...]] = cell((), saved=False)
    """By which the hooks are removed."""

    @property
    def watched(self) -> tuple[nn.Module, ...]:
        """The modules, in the order of the figures."""
        return leaves(self.learn.model) if self.modules is None else self.modules

    @override
    def begin_fit(self, event: BeginFit) -> None:
        """Registers the hooks."""
        self.handles.value = register(self.watched, self._look)

    @override
    def begin_batch(self, event: BatchEvent) -> None:
        """Begins to watch."""
        self.seen.value = ()
        self.watching.value = True

    @override
    def after_pred(self, event: BatchEvent) -> None:
        """Keeps the figures of this batch."""
        self.watching.value = False
        rows = dict(self.seen.value)
        if rows:
            nothing = torch.full_like(next(iter(rows.values())), math.nan)
            self.pending.append(torch.stack([rows.get(place, nothing) for place in range(len(self.watched))]))

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        """Fetches the figures of the epoch."""
        self._fetch()

    @override
    def after_fit(self, event: AfterFit) -> None:
        """Removes the hooks, and fetches what a fit that ended early has left."""
        self.watching.value = False
        for handle in self.handles.value:
            handle.remove()
        self._fetch()

    def _look(self, module: nn.Module, output: object) -> None:
        if not self.watching.value or not isinstance(output, Tensor) or not output.is_floating_point():
            return
        with torch.no_grad():
            flat = output.detach().float()
            figures = torch.stack([flat.mean(), flat.std(correction=0), (flat.abs() <= self.near_zero).float().mean()])
        place = next(index for index, known in enumerate(self.watched) if known is module)
        self.seen.value = (*self.seen.value, (place, figures))

    def _fetch(self) -> None:
        for figures in self.pending.value:
            means, stds, near_zeros = figures.cpu().unbind(1)
            self.means.append(tuple(float(mean) for mean in means.unbind()))
            self.stds.append(tuple(float(std) for std in stds.unbind()))
            self.near_zeros.append(tuple(float(share) for share in near_zeros.unbind()))
        self.pending.restart()
