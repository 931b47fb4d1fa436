"""What a learner computes on: one device, or the processes of an engine in `typedcb.engines`.

An engine says how the model is called in training, how its gradients are computed, which share of each batch this
process trains on, and what the processes decide together. `ONE_DEVICE`, the default, leaves all of it to torch.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Callable, Final, Iterable, Mapping, Optional, Protocol, Sequence, Union

import torch
from torch import nn
from torch.optim import Optimizer
from typing_extensions import TypeAlias

from .agreement import Electorate
from .callback import SomeCallback
from .device import device_of
from .dispatch import BatchPlan, Plan
from .events import P, Phase, X, Y
from .optimizer import Steps
from .ranks import Alone

Forward: TypeAlias = Callable[..., Any]  # Any: what a module takes and makes is its own
"""Calls a model in training."""

Device: TypeAlias = Union[torch.device, str, None]


class Engine(Electorate, Protocol):
    """What a learner computes on. All ranks call the same methods in the same order."""

    def prepare(self, model: nn.Module, device: Device, /) -> torch.device:
        """Makes a model ready, in place, before its optimizer is made.

        Args:
            model: The model.
            device: Where it is to be; the engine's own choice by default.

        Returns:
            Where it is, and where its batches are brought.
        """
        ...

    def forward(self, model: nn.Module, /) -> Forward:
        """What calls the model in training; asked for in each epoch.

        Args:
            model: A model that has been prepared.
        """
        ...

    def steps(self, opt: Steps, /) -> Steps:
        """What steps in place of an optimizer, or the optimizer itself; asked for in each epoch, before `forward`.

        Args:
            opt: The optimizer over the model's parameters.
        """
        ...

    def before_evaluating(self, model: nn.Module, /) -> None:
        """Has a model be the same on all ranks before it is asked for predictions.

        Args:
            model: A model that has been prepared.
        """
        ...

    def split(self, name: str, dl: Iterable[tuple[X, Y]], /) -> Iterable[tuple[X, Y]]:
        """The same batches, each with this rank's share of its samples.

        Args:
            name: What the loader is called, for error messages.
            dl: The loader, which gives the same batches on every rank.
        """
        ...

    def presplit(self, name: str, dl: Iterable[tuple[X, Y]], /) -> Iterable[tuple[X, Y]]:
        """The batches of a loader that gives each rank its own share already; every rank weighs the same.

        Args:
            name: What the loader is called, for error messages.
            dl: The loader of this rank. It gives as many batches as that of every other one.
        """
        ...

    def begin_pass(self) -> None:
        """A loop begins to draw batches: `check_share` says whether they are shares."""
        ...

    def check_share(self, phase: Phase, /) -> None:
        """Refuses a pass whose first batch has been drawn, and came out of no loader of `split` or `presplit`.

        Args:
            phase: Which data the pass goes over.

        Raises:
            EngineError: There are several ranks, each of which would have the whole of each batch.
        """
        ...

    def planned(self, plan: Plan[X, Y, P], callbacks: Sequence[SomeCallback], /) -> Plan[X, Y, P]:
        """The plan of this rank; asked for as a fit or a validation begins.

        Args:
            plan: Whom to call at each event.
            callbacks: All callbacks.
        """
        ...

    def check_turns(self, models: Sequence[nn.Module], /) -> None:
        """Takes note of the models of a loop's objectives, which are called as they are, as the loop is made.

        Args:
            models: The models.

        Raises:
            EngineError: It cannot compute the gradients of one objective's parameters alone.
        """
        ...

    def planned_turn(self, plan: BatchPlan[X, Y, P], opt: Optimizer, /) -> BatchPlan[X, Y, P]:
        """The plan of an objective's turns on this rank, in one phase; asked for as a fit or a validation begins.

        Args:
            plan: Whom to call at each event of a turn.
            opt: The objective's optimizer.
        """
        ...

    def compare(self, facts: Mapping[str, object], /) -> None:
        """Refuses what is not the same on all ranks.

        Args:
            facts: What this rank has, by name.

        Raises:
            EngineError: It names the fact, and what each rank has.
        """
        ...

    def failed(self, error: BaseException, /) -> BaseException:
        """Tells the other ranks of an error, so that none waits for this one.

        Args:
            error: What has gone wrong here.

        Returns:
            What has gone wrong in truth: a PeerError where the error comes of another rank's failure.
        """
        ...

    def running(self) -> AbstractContextManager[None]:
        """What stands around a fit or a validation: `here()` is this engine, and an error of one rank ends all."""
        ...


class OneDevice(Alone):
    """One process, on one device."""

    def alone(self, who: str, /) -> None:
        """Nothing: it is alone in any case."""

    def in_hook(self, begins: bool, /) -> None:
        """Nothing: nobody else draws any batches."""

    def prepare(self, model: nn.Module, device: Device, /) -> torch.device:
        """Moves the model, if it is told where to."""
        if device is not None:
            model.to(device)
        return device_of(model)

    def forward(self, model: nn.Module, /) -> Forward:
        """The model itself."""
        return model

    def steps(self, opt: Steps, /) -> Steps:
        """The optimizer itself."""
        return opt

    def before_evaluating(self, model: nn.Module, /) -> None:
        """Nothing."""

    def split(self, name: str, dl: Iterable[tuple[X, Y]], /) -> Iterable[tuple[X, Y]]:
        """The loader itself."""
        return dl

    def presplit(self, name: str, dl: Iterable[tuple[X, Y]], /) -> Iterable[tuple[X, Y]]:
        """The loader itself."""
        return dl

    def begin_pass(self) -> None:
        """Nothing: whatever is drawn is all there is."""

    def check_share(self, phase: Phase, /) -> None:
        """Nothing: as said."""

    def planned(self, plan: Plan[X, Y, P], callbacks: Sequence[SomeCallback], /) -> Plan[X, Y, P]:
        """The plan itself."""
        return plan

    def check_turns(self, models: Sequence[nn.Module], /) -> None:
        """Nothing: a turn computes gradients by itself."""

    def planned_turn(self, plan: BatchPlan[X, Y, P], opt: Optimizer, /) -> BatchPlan[X, Y, P]:
        """The plan itself."""
        return plan

    def compare(self, facts: Mapping[str, object], /) -> None:
        """Nothing: there is nobody to differ."""

    def failed(self, error: BaseException, /) -> BaseException:
        """The error itself."""
        return error

    def running(self) -> AbstractContextManager[None]:
        """Nothing."""
        return nullcontext()


ONE_DEVICE: Final[Engine] = OneDevice()
"""One process, on one device."""


def engine_of(engine: Optional[Engine]) -> Engine:
    """The engine, or one device where there is none.

    Args:
        engine: What somebody passed.
    """
    return ONE_DEVICE if engine is None else engine
