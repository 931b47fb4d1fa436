"""Old callbacks of lesson 04, of its Runner and of its CallbackHandler, unchanged, in a typed learner."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from interop_bases import HandlerBase, RunnerBase, course_hooks
from legacy_fits import (
    GOLDEN,
    IN_BATCH,
    IN_EPOCH,
    NB04,
    Clock,
    Fit,
    Position,
    Ran,
    assert_same,
    told_in_order,
    unfolded,
)

from typedcb.interop.legacy import LegacyWarning, handler04, runner04

ALL = {scenario["name"]: scenario for scenario in NB04["scenarios"]}
RUNNER = [name for name in ALL if name.startswith("runner/")]
HANDLER = [name for name in ALL if name.startswith("handler/")]
COURSE_04 = {scenario["name"]: scenario for scenario in json.loads((GOLDEN / "course_04.json").read_text())}

IDLE = "the original told nobody of the end of a fit whose last epoch was skipped: after_fit comes, with a warning"
NONE = "a hook that returned None trained nothing, in silence: None means go on, with a warning"

DIFFERENCES = {
    "handler/false@begin_epoch:1": IDLE,
    "handler/epochs=0": IDLE,
    "handler/none@begin_batch:*": NONE,
    "handler/none@begin_fit": NONE,
}
"""Where typedcb departs from the original under an old callback, and why."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The recordings were made on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


Act = Callable[[Any, str], object]


@course_hooks
class RunnerProbe(RunnerBase):
    """Writes all events down, and does one thing at one place."""

    def __init__(self, clock: Clock, act: Act, order: int = 0) -> None:
        self.clock, self.act, self._order = clock, act, order
        self.seen: list[Position] = []

    def at(self, hook: str) -> object:
        if hook == "begin_epoch":
            self.clock.epoch = self.epoch
        where = self.clock.at(hook)
        self.seen.append((where, hook))
        return self.act(self, f"{hook}:{where}")


class HandlerProbe(HandlerBase):
    """The same with the handler's hooks."""

    def __init__(self, clock: Clock, act: Act) -> None:
        self.clock, self.act = clock, act
        self.seen: list[Position] = []
        self.losses: list[float] = []

    def at(self, hook: str) -> object:
        where = self.clock.at(hook)
        self.seen.append((where, hook))
        return self.act(self, f"{hook}:{where}")

    def begin_fit(self, learn: Any) -> object:
        self.learn = learn
        return self.at("begin_fit")

    def begin_epoch(self, epoch: int) -> object:
        self.clock.epoch = epoch
        return self.at("begin_epoch")

    def begin_batch(self, xb: Any, yb: Any) -> object:
        assert (xb.shape, yb.shape) == ((6, 5), (6,))
        return self.at("begin_batch")

    def after_loss(self, loss: Any) -> object:
        self.losses.append(loss.item())
        return self.at("after_loss")

    def after_backward(self) -> object:
        return self.at("after_backward")

    def after_step(self) -> object:
        return self.at("after_step")

    def begin_validate(self) -> object:
        return self.at("begin_validate")

    def after_epoch(self) -> object:
        return self.at("after_epoch")

    def after_fit(self) -> object:
        return self.at("after_fit")


def act_of(action: dict[str, Any], mine: bool, otherwise: object) -> Act:
    """What a scenario's callback does: its action at its place, and `otherwise` elsewhere."""

    def act(probe: Any, here: str) -> object:
        hook, _, where = here.partition(":")
        if not mine or hook != action.get("hook") or action["at"] not in ("*", where):
            return otherwise
        if "raise" in action:
            raise ValueError("boom")
        if "set" in action:
            (probe.learn if isinstance(probe, HandlerBase) else probe.run).stop = True
        return action.get("return", otherwise)

    return act


def fit(scenario: dict[str, Any]) -> tuple[Ran, list[Any]]:
    """The scenario's fit, and its callbacks, in the order in which they are given."""
    here, action = Fit(initial=NB04["initial_weights"]), scenario.get("action", {})
    handler = scenario["name"].startswith("handler/")
    by = action.get("by", "first")
    probes: list[Any] = []
    for index, who in enumerate(("first", "second") if "by" in action else ("first",)):
        act = act_of(action, who == by, True if handler else None)
        order = action.get("orders", [action.get("_order", 0)] * 2)[index]
        probes.append(HandlerProbe(here.clock, act) if handler else RunnerProbe(here.clock, act, order))
    factory = handler04 if handler else runner04
    return here.run(partial(factory, callbacks=probes), epochs=scenario["epochs"]), probes


def assert_end(ran: Ran, scenario: dict[str, Any]) -> None:
    assert ran.end == scenario["end"].get("raised", "completed")
    losses = scenario["losses"]
    losses = NB04["losses"][losses] if isinstance(losses, str) else losses
    assert_same(ran, told_in_order(losses), NB04["weights"][scenario["weights"]])


@pytest.mark.parametrize("name", RUNNER)
def test_a_callback_of_the_runner_leads_to_the_same_events_losses_and_weights(name: str) -> None:
    scenario = ALL[name]
    ran, probes = fit(scenario)
    codes = NB04["codes"]["runner"]
    if "delivered_first" in scenario:
        for probe, key in zip(probes, ("delivered_first", "delivered_second"), strict=True):
            assert probe.seen == unfolded(scenario[key], codes)
    else:
        assert probes[0].seen == unfolded(scenario["fired"], codes)
    assert_end(ran, scenario)
    assert not ran.warned


@pytest.mark.parametrize("name", [name for name in HANDLER if name not in DIFFERENCES])
def test_a_callback_of_the_handler_leads_to_the_same_events_losses_and_weights(name: str) -> None:
    scenario = ALL[name]
    ran, probes = fit(scenario)
    codes = NB04["codes"]["handler"]
    for probe, key in zip(probes, ("delivered", "delivered_second"), strict=False):
        assert probe.seen == unfolded(scenario[key], codes)
    assert_end(ran, scenario)
    assert not ran.warned


@pytest.mark.parametrize("name", COURSE_04)
def test_the_other_recording_of_the_handler_agrees(name: str) -> None:
    scenario, here = COURSE_04[name], Fit()
    hook = scenario.get("hook", "")
    where = ""
    if hook in IN_BATCH:
        where = f"{scenario['epoch']}t{scenario['batch']}"
    elif hook in IN_EPOCH:
        where = str(scenario["epoch"])
    action = {"hook": hook, "at": where, **({"set": 1} if "stop" in name else {"return": False})} if hook else {}
    probe = HandlerProbe(here.clock, act_of(action, True, True))
    ran = here.run(partial(handler04, callbacks=probe))
    wanted = [
        (f"{epoch}{phase[0]}{batch}" if phase else str(epoch) if hook in IN_EPOCH else "", hook)
        for hook, epoch, batch, phase in scenario["events"]
    ]
    assert probe.seen == wanted
    assert probe.losses == pytest.approx(scenario["losses"], rel=1e-6, abs=1e-6), "validation losses are told to nobody"
    assert_same(ran, ran.losses, scenario["weights"])


@pytest.mark.parametrize("name", [name for name, why in DIFFERENCES.items() if why == IDLE])
def test_the_end_of_a_fit_is_told_although_its_last_epoch_was_skipped(name: str) -> None:
    ran, probes = fit(ALL[name])
    delivered = unfolded(ALL[name]["delivered"], NB04["codes"]["handler"])
    assert probes[0].seen == [*delivered, ("", "after_fit")]
    assert_end(ran, ALL[name])
    assert "HandlerProbe.after_fit is called, although no epoch was left" in ran.warned[0]


@pytest.mark.parametrize("name", [name for name, why in DIFFERENCES.items() if why == NONE])
def test_a_forgotten_return_goes_on_with_a_warning(name: str) -> None:
    ran, probes = fit(ALL[name])
    plain = ALL["handler/normal"]
    assert probes[0].seen == unfolded(plain["delivered"], NB04["codes"]["handler"])
    assert_end(ran, plain)
    assert "returned None, which the original took for False" in ran.warned[0]
    assert len(ran.warned) == 1


def test_a_stop_assigned_to_the_callback_itself_is_told() -> None:
    class Old(RunnerBase):
        def after_batch(self) -> None:
            self.stop = True

    ran = Fit().run(partial(runner04, callbacks=Old()))
    assert len(ran.losses) == 12
    assert "Old.after_batch assigned self.stop, which changes nothing" in ran.warned[0]


def test_a_misspelt_hook_of_the_handler_is_told() -> None:
    class Old(HandlerBase):
        def after_pred(self) -> bool:
            return True

        def begin_validation(self) -> bool:
            return True

    with pytest.warns(LegacyWarning) as caught:
        handler04(Fit().run(epochs=0).learn, Old())
    assert "Old.begin_validation is no hook; did you mean begin_validate?" in str(caught[0].message)


def test_every_recorded_scenario_is_run() -> None:
    assert (len(RUNNER), len(HANDLER), len(COURSE_04)) == (36, 34, 10)
