"""The recorded fits of the originals: their data, model and positions, for a typed learner with old callbacks in it."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

from typedcb import DataBunch, FitOutcome, Learner
from typedcb.interop.legacy import LegacyWarning

GOLDEN = Path(__file__).parent.parent / "golden"
SETUP = json.loads((GOLDEN / "setup.json").read_text())
NB04 = json.loads((GOLDEN / "nb04.json").read_text())

Position = tuple[str, str]
"""Where, and which hook: ("0t1", "after_loss") is training batch 1 of epoch 0; ("0", ...) an epoch, ("", ...) a fit."""

IN_BATCH = {
    "begin_batch",
    "after_pred",
    "after_loss",
    "after_backward",
    "after_step",
    "after_cancel_batch",
    "after_batch",
}
IN_EPOCH = {"begin_epoch", "begin_validate", "after_epoch"}


@dataclass
class Clock:
    """Which batch has been loaded last; the loaders move it on."""

    epoch: int = -1
    phase: str = ""
    index: int = -1

    def at(self, hook: str) -> str:
        """The position of an event that fires now."""
        if hook in IN_BATCH:
            return f"{self.epoch}{self.phase}{self.index}"
        return str(self.epoch) if hook in IN_EPOCH else ""


@dataclass
class Loader:
    """Batches that own their storage: slices of one tensor have another alignment, and other last bits."""

    clock: Clock
    x: str
    y: str
    lead: bool = False

    def __post_init__(self) -> None:
        size = SETUP["batch_size"]
        starts = range(0, len(SETUP[self.x]), size)
        self.batches = [
            (torch.tensor(SETUP[self.x][i : i + size]), torch.tensor(SETUP[self.y][i : i + size])) for i in starts
        ]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.clock.phase = "v" if self.x == "x_valid" else "t"
        for index, (xb, yb) in enumerate(self.batches):
            self.clock.index = index
            yield (xb[None] if self.lead else xb), yb


def initial_model(weights: Sequence[Any]) -> nn.Module:
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    with torch.no_grad():
        for parameter, values in zip(model.parameters(), weights, strict=True):
            parameter.copy_(torch.tensor(values).view_as(parameter))
    return model


class Ran(NamedTuple):
    """What a fit did."""

    losses: list[float]
    weights: list[list[float]]
    outcome: FitOutcome | None
    error: BaseException | None
    warned: list[str]
    learn: Learner

    @property
    def end(self) -> str:
        return "completed" if self.error is None else type(self.error).__name__


@dataclass
class Fit:
    """A typed learner on the recorded problem, whose old callbacks can be told where they are."""

    clock: Clock = field(default_factory=Clock)
    initial: Any = field(default_factory=lambda: SETUP["initial_weights"])
    lead: bool = False

    def run(self, *factories: Callable[[Learner], Any], epochs: int = 2, momentum: float = 0) -> Ran:
        """Fits with what the factories make."""
        losses: list[float] = []

        def loss_func(pred: Tensor, yb: Tensor) -> Tensor:
            loss = F.cross_entropy(pred, yb)
            losses.append(loss.item())
            return loss

        data = DataBunch(Loader(self.clock, "x", "y", self.lead), Loader(self.clock, "x_valid", "y_valid", self.lead))
        opt_func = partial(SGD, lr=SETUP["lr"], momentum=momentum)
        outcome, error = None, None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            learn = Learner(initial_model(self.initial), data, loss_func, opt_func, cb_funcs=list(factories))
            try:
                outcome = learn.fit(epochs)
            except Exception as raised:  # noqa: BLE001  # how the fit ended is what is compared
                error = raised
        assert all(warning.category is LegacyWarning for warning in caught)
        weights = [parameter.detach().flatten().tolist() for parameter in learn.model.parameters()]
        return Ran(losses, weights, outcome, error, [str(warning.message) for warning in caught], learn)


def unfolded(text: str, codes: dict[str, str]) -> list[Position]:
    """The positions of a folded recording; what marks an answer, and the handler's own question, are left out."""
    found: list[Position] = []
    for group in text.split("|"):
        place, _, events = group.partition(":")
        folded = re.fullmatch(r"(\d+[tv])(\d+)-(\d+)", place)
        places = [f"{folded[1]}{i}" for i in range(int(folded[2]), int(folded[3]) + 1)] if folded else [place]
        hooks = [codes[event.rstrip("+-")] for event in events.split()]
        found += [(where, hook) for where in places for hook in hooks if hook != "do_stop"]
    return found


def told_in_order(losses: dict[str, list[float | None]]) -> list[float]:
    """The losses of a folded recording, in the order in which they were computed."""
    return [loss for key in sorted(losses) for loss in losses[key] if loss is not None]


def assert_same(ran: Ran, losses: Sequence[float], weights: Sequence[Any]) -> None:
    """The recorded numbers, but for the last bits, which differ from one kind of processor to another."""
    assert ran.losses == pytest.approx(losses, rel=1e-6, abs=1e-6)
    for ours, theirs in zip(ran.weights, weights, strict=True):
        flat = torch.tensor(theirs, dtype=torch.float64).flatten().tolist()
        assert ours == pytest.approx(flat, rel=1e-6, abs=1e-6)
