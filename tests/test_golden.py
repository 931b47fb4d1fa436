"""The fits of the original callback systems (fastai course, notebooks 05b and 09b), run again with typed callbacks.

`golden/` holds what the originals did when a callback raised this or that at one place: the events they fired, the
losses they computed, and the weights they ended with. A typed callback that answers the same at the same place has to
lead to the same. Where typedcb decides otherwise on purpose, DIFFERENCES says why, and a test holds what it does
instead.

Numbers are compared twice: with the recording, up to the last bits, which differ from one processor to another; and
with the original's loop written down by hand and run beside the fit, bit for bit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from recording import At, Recorder, Seen, answering, raising
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

from typedcb import CancelBatch, CancelEpoch, Cancelled, CancelTrain, Completed, DataBunch, HookError, Learner

GOLDEN = Path(__file__).parent / "golden"
SETUP = json.loads((GOLDEN / "setup.json").read_text())
SCENARIOS = {
    s["name"]: s for name in ("course_05b", "course_09b") for s in json.loads((GOLDEN / f"{name}.json").read_text())
}
KINDS = {"CancelBatch": CancelBatch, "CancelEpoch": CancelEpoch, "CancelTrain": CancelTrain, "ValueError": ValueError}

ESCAPED = "not legal there: the original let it escape from the fit, here it is a HookError that says what is legal"
LEAKED = "the original kept the gradients of the cancelled batch, and the next step took them; here they are dropped"
SKIPPED = "the original let it escape from the fit; here it leaves the epoch out"

DIFFERENCES = {
    **{
        f"{system} {what}": ESCAPED
        for system in ("05b", "09b")
        for what in (
            "CancelBatch in begin_fit",
            "CancelBatch in begin_epoch",
            "CancelBatch in after_batch (train)",
            "CancelBatch in after_batch (valid)",
            "CancelBatch in begin_validate",
            "CancelBatch in after_epoch",
            "CancelEpoch in begin_fit",
            "CancelEpoch in begin_validate",
            "CancelEpoch in after_epoch",
        )
    },
    **{
        f"{system} {what}": LEAKED
        for system in ("05b", "09b")
        for what in (
            "CancelBatch in after_backward (train)",
            "CancelBatch in after_step (train)",
            "CancelEpoch in after_backward (train)",
            "CancelEpoch in after_step (train)",
        )
    },
    "05b CancelEpoch in begin_epoch": SKIPPED,
    "09b CancelEpoch in begin_epoch": SKIPPED,
}
DIFFERENCES = {name: why for name, why in DIFFERENCES.items() if name in SCENARIOS}


class Ran(NamedTuple):
    """What a fit of ours did, in the terms of the recordings."""

    events: list[Seen]
    losses: list[float]
    weights: list[list[float]]
    end: str
    error: BaseException | None
    learn: Learner


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The recordings were made on one thread: several add in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def batches(x: str, y: str) -> list[tuple[Tensor, Tensor]]:
    """Each batch owns its storage: slices of one tensor have another alignment, and other last bits."""
    size = SETUP["batch_size"]
    return [
        (torch.tensor(SETUP[x][i : i + size]), torch.tensor(SETUP[y][i : i + size]))
        for i in range(0, len(SETUP[x]), size)
    ]


def initial_model() -> nn.Module:
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    with torch.no_grad():
        for parameter, values in zip(model.parameters(), SETUP["initial_weights"], strict=True):
            parameter.copy_(torch.tensor(values).view_as(parameter))
    return model


def run(scenario: dict[str, Any], *, returned: bool = False) -> Ran:
    """The fit of a scenario; its exception is raised from the hook, or returned."""
    losses: list[float] = []

    def loss_func(pred: Tensor, yb: Tensor) -> Tensor:
        loss = F.cross_entropy(pred, yb)
        losses.append(loss.item())
        return loss

    what, _, place = scenario["name"].partition(" ")[2].partition(" in ")
    recorder, cbs = Recorder(), []
    if place:
        hook, _, phase = place.removesuffix(")").partition(" (")
        thing = KINDS[what]("the scenario's")
        act = answering(thing) if returned else raising(thing)
        first_epoch = None if hook in ("begin_fit", "after_fit") else 0
        cbs.append(At(hook, act, epoch=first_epoch, index=1 if phase else None, phase=phase or None))
    data = DataBunch(batches("x", "y"), batches("x_valid", "y_valid"))
    learn = Learner(initial_model(), data, loss_func, partial(SGD, lr=SETUP["lr"]), cbs=[recorder, *cbs])
    end, error = "completed", None
    try:
        outcome = learn.fit(2)
        assert isinstance(outcome, Cancelled if what == "CancelTrain" else Completed)
    except Exception as raised:  # noqa: BLE001  # how the fit ended is what is compared
        end, error = type(raised).__name__, raised
    return Ran(recorder.seen, losses, weights_of(learn.model), end, error, learn)


def weights_of(model: nn.Module) -> list[list[float]]:
    return [parameter.detach().flatten().tolist() for parameter in model.parameters()]


def comparable(events: list[Seen]) -> list[tuple[str, int | None, int | None, str | None]]:
    """Events in the terms of the originals, which have no after_validate."""
    return [
        (
            seen.hook,
            seen.epoch if seen.phase or seen.hook in ("begin_epoch", "begin_validate") else None,
            seen.index,
            seen.phase,
        )
        for seen in events
        if seen.hook != "after_validate"
    ]


def recorded(events: list[list[Any]]) -> list[tuple[str, int | None, int | None, str | None]]:
    """The original's events; of 09b's two begin_epoch, one. Its epoch at the other events is that of a counter."""
    found: list[tuple[str, int | None, int | None, str | None]] = []
    for hook, epoch, index, phase in events:
        event = (hook, epoch if phase or hook in ("begin_epoch", "begin_validate") else None, index, phase)
        if not (hook == "begin_epoch" and found and found[-1] == event):
            found.append(event)
    return found


class LeaveBatch(Exception):
    """What the original's CancelBatch was."""


class LeaveEpoch(Exception):
    """What the original's CancelEpoch was."""


class LeaveFit(Exception):
    """What the original's CancelTrain was."""


def by_hand(name: str, *, leak: bool = True) -> tuple[list[float], list[list[float]]]:
    """The losses and weights of the original's loop, without callbacks: it is left where the scenario's hook stood.

    Args:
        name: The scenario's.
        leak: Whether the gradients of a batch that was left stay, as they did in the original.
    """
    what, place = name.partition(" ")[2].split(" in ") if " in " in name else ("", "")
    thing = {"CancelBatch": LeaveBatch, "CancelEpoch": LeaveEpoch, "CancelTrain": LeaveFit}.get(what, ValueError)
    model, losses = initial_model(), []
    opt = SGD(model.parameters(), lr=SETUP["lr"])

    def at(hook: str, epoch: int = 0, index: int = 1, phase: str = "") -> None:
        here = f"{hook} ({phase})" if phase else hook
        if (epoch, index, here) == (0, 1, place):
            raise thing

    def one_pass(epoch: int, phase: str, data: list[tuple[Tensor, Tensor]]) -> None:
        with suppress(LeaveEpoch):
            for index, (xb, yb) in enumerate(data):
                where = (epoch, index, phase)
                try:
                    at("begin_batch", *where)
                    pred = model(xb)
                    at("after_pred", *where)
                    loss = F.cross_entropy(pred, yb)
                    losses.append(loss.item())
                    at("after_loss", *where)
                    if phase == "train":
                        loss.backward()
                        at("after_backward", *where)
                        opt.step()
                        at("after_step", *where)
                        opt.zero_grad()
                except (LeaveBatch, LeaveEpoch) as left:
                    if not leak:
                        opt.zero_grad()
                    if isinstance(left, LeaveEpoch):
                        raise
                finally:
                    at("after_batch", *where)

    with suppress(LeaveBatch, LeaveEpoch, LeaveFit, ValueError):
        at("begin_fit")
        for epoch in range(2):
            at("begin_epoch", epoch)
            one_pass(epoch, "train", batches("x", "y"))
            at("begin_validate", epoch)
            with torch.no_grad():
                one_pass(epoch, "valid", batches("x_valid", "y_valid"))
            at("after_epoch", epoch)
    return losses, weights_of(model)


def assert_recorded(ran: Ran, scenario: dict[str, Any]) -> None:
    """The recording's numbers; another processor's matrix products have other last bits, and two epochs carry them."""
    assert ran.losses == pytest.approx(scenario["losses"], rel=1e-6, abs=1e-6)
    for ours, theirs in zip(ran.weights, scenario["weights"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in DIFFERENCES])
def test_the_same_events_losses_and_weights_as_the_original(name: str) -> None:
    scenario = SCENARIOS[name]
    ran = run(scenario)
    assert ran.end == scenario["end"]
    assert comparable(ran.events) == recorded(scenario["events"])
    assert_recorded(ran, scenario)
    assert (ran.losses, ran.weights) == by_hand(name)


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in DIFFERENCES and "Cancel" in name])
def test_a_cancel_that_is_returned_does_what_a_raised_one_does(name: str) -> None:
    raised, returned = run(SCENARIOS[name]), run(SCENARIOS[name], returned=True)
    assert returned[:4] == raised[:4]


@pytest.mark.parametrize("name", [name for name, why in DIFFERENCES.items() if why == ESCAPED])
def test_a_cancel_that_escaped_from_the_original_is_a_hook_error_here(name: str) -> None:
    scenario = SCENARIOS[name]
    ran = run(scenario)
    assert scenario["end"] in ("CancelBatchException", "CancelEpochException")
    assert isinstance(ran.error, HookError)
    assert f"raised {name.split()[1]}; legal there is None or " in str(ran.error)
    assert comparable(ran.events) == recorded(scenario["events"]), "the fit ends at the same place"
    assert_recorded(ran, scenario)
    assert (ran.losses, ran.weights) == by_hand(name)


@pytest.mark.parametrize("name", [name for name, why in DIFFERENCES.items() if why == LEAKED])
def test_gradients_that_leaked_from_a_cancelled_batch_are_dropped_here(name: str) -> None:
    scenario = SCENARIOS[name]
    ran = run(scenario)
    assert ran.end == scenario["end"] == "completed"
    assert comparable(ran.events) == recorded(scenario["events"])
    assert (ran.losses, ran.weights) == by_hand(name, leak=False)
    leaking = by_hand(name, leak=True)
    assert ran.weights != leaking[1]
    assert_recorded(ran._replace(losses=leaking[0], weights=leaking[1]), scenario)  # the leak is all that differs


@pytest.mark.parametrize("name", [name for name, why in DIFFERENCES.items() if why == SKIPPED])
def test_a_cancelled_epoch_that_escaped_from_the_original_is_left_out_here(name: str) -> None:
    ran = run(SCENARIOS[name])
    plain = by_hand("05b plain")
    assert SCENARIOS[name]["end"] == "CancelEpochException"
    assert ran.end == "completed"
    hooks = [seen.hook for seen in ran.events]
    assert hooks[:4] == ["begin_fit", "begin_epoch", "after_cancel_epoch", "begin_epoch"]
    assert hooks.count("after_epoch") == 1
    assert len(ran.losses) == len(plain[0]) // 2
    assert ran.losses[:4] == plain[0][:4], "the second epoch trains as the first would have"


def test_every_recorded_scenario_is_run() -> None:
    assert len(SCENARIOS) == 58 + 29
    assert len(DIFFERENCES) == 21
