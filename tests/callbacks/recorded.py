"""The problem on which the originals were recorded, and what the tests of callbacks run on it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

from typedcb import Callback, Cancelled, CancelTrain, DataBunch, FitOutcome, Learner, Loop

RECORDED: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "callbacks.json").read_text())
SCENARIOS: dict[str, dict[str, Any]] = RECORDED["scenarios"]
SETUP: dict[str, Any] = RECORDED["setup"]

torch.set_num_threads(1)  # the recordings were made on one: several add in another order

Pair = tuple[Tensor, Tensor]
Net = Learner[Tensor, Tensor, Tensor, nn.Module]
ONE_ROW: list[Pair] = [(torch.zeros(1), torch.zeros(1))]


def scenarios(prefix: str, *, without: Sequence[str] = ()) -> list[str]:
    """The names of the recorded scenarios that begin so, less some of them."""
    return [name for name in SCENARIOS if name.startswith(prefix) and name not in without]


def number(value: Any) -> float:
    """A recorded number: nan and the infinities stand there as words."""
    return float(value)


def batches(x: str = "x_train", y: str = "y_train") -> list[Pair]:
    """The recorded batches of 6 rows, each owning its storage."""
    return [(torch.tensor(SETUP[x][i : i + 6]), torch.tensor(SETUP[y][i : i + 6])) for i in range(0, len(SETUP[x]), 6)]


def model(weights: Any = SETUP["weights"]) -> nn.Module:
    made = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    with torch.no_grad():
        for parameter, values in zip(made.parameters(), weights, strict=True):
            parameter.copy_(torch.tensor(values).view_as(parameter))
    return made


def learner(
    *cbs: Any,
    weights: Any = SETUP["weights"],
    loss_func: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    valid: bool = True,
    opt_func: Any = partial(SGD, lr=0.1),
    **kwargs: Any,
) -> Net:
    data = DataBunch(batches(), batches("x_valid", "y_valid") if valid else None)
    return Learner(model(weights), data, loss_func, opt_func, cbs=list(cbs), **kwargs)


def flat(values: Any) -> list[float]:
    """The numbers of nested lists, or of a model's parameters, in their order."""
    if isinstance(values, nn.Module):
        values = [parameter.detach().tolist() for parameter in values.parameters()]
    if isinstance(values, list):
        return [x for value in values for x in flat(value)]
    return [number(values)]


def train_losses(scenario: dict[str, Any]) -> list[float]:
    """The recorded losses of the training batches, in their order."""
    passes = sorted((name for name in scenario["losses"] if name.endswith("t")), key=lambda name: int(name[:-1]))
    return [number(loss) for name in passes for loss in scenario["losses"][name] if loss is not None]


def reason(outcome: FitOutcome) -> str:
    """Why a fit was cancelled."""
    assert isinstance(outcome, Cancelled)
    assert isinstance(outcome.cancel, CancelTrain)
    return outcome.cancel.reason


@attrs.define
class Dial:
    """A readable that tests turn by hand."""

    value: float = math.nan


def watched(
    callback: Callback[Any, Any, Any], dial: Dial, values: Sequence[Any], state: Callable[[], Any]
) -> tuple[list[Any], FitOutcome]:
    """Runs an epoch for each value, and returns `state()` after each epoch. None stands for no validation."""
    rows: list[Any] = []
    with Loop[Tensor, Tensor, Tensor]([callback]).fit(len(values)) as fit:
        for epoch in fit.epochs():
            if epoch.epoch:
                rows.append(state())
            value = values[epoch.epoch]
            if value is not None:
                dial.value = number(value)
                for batch in epoch.validate(ONE_ROW):
                    batch.pred(batch.xb)
    return [*rows, state()], fit.outcome
