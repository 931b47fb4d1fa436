"""How the tests run each trainer: on the same tiny tasks as a learner, with the same callbacks."""

from __future__ import annotations

import importlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any

import attrs
import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from typedcb.hosted import Host
from typedcb.interop.hosting import Hosting

Pair = tuple[Tensor, Tensor]


@attrs.frozen
class Task:
    """Something to train."""

    model: Callable[[], nn.Module]
    """Makes the model, with the same weights each time."""

    loss: Callable[[Tensor, Tensor], Tensor]
    """The loss of a prediction and its targets."""

    opt: Callable[[Any], Optimizer]
    """Makes the optimizer of parameters."""

    train: Sequence[Pair]
    """The training batches."""

    valid: Sequence[Pair]
    """The validation batches; none for no validation."""

    n_epochs: int
    """How many epochs a fit has."""

    def count(self, **changes: Any) -> Task:
        """The same with something else."""
        return attrs.evolve(self, **changes)


@attrs.frozen
class Ran:
    """What a fit left."""

    model: nn.Module
    """The trained model."""

    losses: list[float]
    """The loss of each training batch, by the trainer's own account."""

    @property
    def weights(self) -> list[Tensor]:
        """The model's weights."""
        return [weight.detach().clone() for weight in self.model.parameters()]


class Loader:
    """Batches that are no list: a trainer may take a list for several loaders."""

    def __init__(self, batches: Sequence[Pair]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.batches)


class Driver(ABC):
    """Runs one trainer."""

    name: str
    """The name of its adapter's module, and of its extra."""

    package: str
    """What it is imported as."""

    host: Host
    """What its adapter says that it can do."""

    exact: bool = True
    """Whether it steps as torch's optimizers do, bit for bit."""

    def task(self, task: Task) -> Task:
        """The task as it can have it."""
        return task

    @abstractmethod
    def hosting(self, *callbacks: Any, **options: Any) -> Hosting[Any, Any, Any]:
        """What its adapter's `host` gives."""

    @abstractmethod
    def fit(self, task: Task, hosting: Hosting[Any, Any, Any] | None, **options: Any) -> Ran:
        """Trains, with hosted callbacks or bare."""

    @property
    def installed(self) -> bool:
        """Whether the trainer is there."""
        return find_spec(self.package) is not None


DRIVERS = ("lightning", "ignite", "skorch", "transformers", "fastai", "keras")
"""The trainers with all that an adapter gives; driving_NAME.py has the driver of each."""

ALONE = ("ignite_engine", "transformers_own_loss", "transformers_callback", "keras_callback")
"""The same trainers where they are left to themselves, and can do less."""


def driver(name: str) -> Driver:
    """The driver of a trainer; the test is skipped where that is not installed."""
    module = importlib.import_module(f"driving_{name.partition('_')[0]}")
    found: Driver = next(one for one in module.FOUND if one.name == name)
    if not found.installed:
        pytest.skip(f"{found.package} is not installed: make hosts tests it in an environment of its own")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a trainer has to say of its own imports
        importlib.import_module(f"typedcb.interop.{found.package}")
    torch.manual_seed(0)
    return found
