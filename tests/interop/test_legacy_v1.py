"""Old callbacks of fastai v1, unchanged, in a typed learner."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from interop_bases import V1_HOOKS, V1Base, V1LearnerBase, v1_hooks
from legacy_fits import GOLDEN, Fit, Ran, assert_same

from typedcb import Cancelled, HookError
from typedcb.interop.legacy import LegacyWarning, v1

RECORDED = json.loads((GOLDEN / "fastai_v1.json").read_text())
SCENARIOS = {scenario["name"]: scenario for scenario in RECORDED["scenarios"]}

DIFFERENCES = {
    "unknown key": "the original raised a bare Exception: here it is a HookError that names callback and hook"
}
"""Where typedcb departs from the original under an old callback, and why."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The recordings were made on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


Act = Callable[[str, dict[str, Any]], object]


@v1_hooks
class Probe(V1Base):
    """Writes all events down, with what the state held, and answers by a function."""

    def __init__(self, act: Act = lambda hook, state: None) -> None:
        self.act = act
        self.seen: list[list[Any]] = []
        self.keys: dict[str, list[str]] = {}
        self.losses: list[float] = []
        self.smooth: list[float] = []
        self.validation: list[float] = []

    def at(self, hook: str, state: dict[str, Any]) -> object:
        in_batch = hook in V1_HOOKS[2:8]
        phase = ("train" if state["train"] else "valid") if in_batch else None
        self.seen.append([hook, state["epoch"], state["num_batch"] if phase == "train" else None, phase])
        self.keys.setdefault(hook, sorted(state))
        if hook == "backward_begin":
            self.losses.append(state["last_loss"].item())
            self.smooth.append(float(state["smooth_loss"]))
        if hook == "epoch_end" and state["last_metrics"] != [None]:
            self.validation.append(state["last_metrics"][0])
        return self.act(hook, state)


def at(hook: str, answer: dict[str, Any], batch: int | None = None) -> Act:
    """Answers at a hook of epoch 0, in one batch of it where one is named."""

    def act(here: str, state: dict[str, Any]) -> object:
        return answer if (here, state["epoch"]) == (hook, 0) and batch in (None, state["num_batch"]) else None

    return act


def nothing(hook: str, state: dict[str, Any]) -> object:
    return None


def squeeze(hook: str, state: dict[str, Any]) -> object:
    return {"last_input": state["last_input"].squeeze(0)} if hook == "batch_begin" else None


def double(hook: str, state: dict[str, Any]) -> object:
    return {"last_loss": state["last_loss"] * 2} if hook == "backward_begin" else None


ACTS: dict[str, Act] = {
    "plain": nothing,
    "skip_bwd": at("backward_begin", {"skip_bwd": True}, 1),
    "skip_step": at("backward_end", {"skip_step": True}, 1),
    "skip_zero": at("step_end", {"skip_zero": True}, 1),
    "stop_epoch": at("batch_end", {"stop_epoch": True}, 1),
    "stop_training": at("epoch_end", {"stop_training": True}),
    "skip_validate": at("epoch_begin", {"skip_validate": True}),
    "squeeze": squeeze,
    "last_loss": double,
    "unknown key": at("batch_begin", {"lost_input": 1}),
    "known key, wrong event": at("epoch_end", {"skip_step": True}),
}

WARNED = {
    "skip_validate": "Probe.on_epoch_begin returned 'skip_validate', which holds for the rest of the fit",
    "known key, wrong event": "Probe.on_epoch_end returned 'skip_step', which is taken there and does "
    "nothing, as in v1: on_batch_begin or on_loss_begin or on_backward_begin or on_backward_end heeds it.",
}


def fit(name: str, **kwargs: Any) -> tuple[Ran, Probe]:
    probe = Probe(ACTS[name])
    return Fit(lead=name == "squeeze").run(partial(v1, callbacks=probe), **kwargs), probe


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in DIFFERENCES])
def test_an_old_callback_leads_to_the_same_events_losses_and_weights_as_in_the_original(name: str) -> None:
    scenario = SCENARIOS[name]
    ran, probe = fit(name)
    assert ran.end == scenario["end"]
    assert probe.seen == scenario["events"]
    close = partial(pytest.approx, rel=1e-6, abs=1e-6)
    assert probe.losses == close(scenario["losses"])
    assert probe.smooth == close(scenario["smooth_losses"])
    assert probe.validation == close([loss for loss in scenario["validation_losses"] if loss is not None])
    assert_same(ran, ran.losses, scenario["weights"])
    assert len(ran.warned) == (name in WARNED)
    assert name not in WARNED or ran.warned[0].startswith(WARNED[name])


def test_an_unknown_key_is_an_error_that_names_callback_and_hook() -> None:
    ran, probe = fit("unknown key")
    assert isinstance(ran.error, HookError)
    assert "Probe.on_batch_begin returned 'lost_input', which isn't a valid key in the state" in str(ran.error)
    assert probe.seen == SCENARIOS["unknown key"]["events"]


def test_the_keyword_arguments_are_those_of_v1_at_each_moment() -> None:
    _, probe = fit("plain")
    assert probe.keys == RECORDED["state_keys_at_each_event"]


def test_every_recorded_scenario_is_run() -> None:
    assert set(ACTS) == set(SCENARIOS)


def test_a_skipped_backward_steps_by_momentum_alone_when_gradients_are_zeroes() -> None:
    ran, probe = fit("skip_bwd", momentum=0.9)
    plain, _ = fit("plain", momentum=0.9)
    assert ran.weights != plain.weights
    assert probe.seen == SCENARIOS["skip_bwd"]["events"], "the step and its end come all the same"


def test_gradients_of_two_batches_are_added_up_by_both_skips() -> None:
    def every_second(hook: str, state: dict[str, Any]) -> object:
        return {"skip_step": True, "skip_zero": True} if hook == "backward_end" and not state["iteration"] % 2 else None

    ran = Fit().run(partial(v1, callbacks=Probe(every_second)), epochs=1)
    bare = Fit().run(epochs=1)
    assert ran.losses[0] == bare.losses[0]
    assert ran.losses[1] != bare.losses[1], "no step came before"
    assert not ran.warned


def test_a_learner_callback_is_made_with_the_learner_and_sets_its_rates() -> None:
    class Schedule(V1LearnerBase):
        def __init__(self, learn: Any, lr: float) -> None:
            super().__init__(learn)
            self.lr = lr

        def on_train_begin(self, **kwargs: Any) -> None:
            self.learn.opt.lr = self.lr
            self.learn.opt.mom = 0.5
            self.learn.opt.wd = 0.25

    learn = Fit().run(epochs=0).learn
    learn.add(v1, [partial(Schedule, lr=0.3)])
    learn.fit(1)
    group = learn.opt.param_groups[0]
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.3, 0.5, 0.25)


def test_they_run_by_order_and_each_sees_what_those_before_have_changed() -> None:
    seen: list[tuple[str, float]] = []

    class First(V1Base):
        _order = -5

        def on_batch_begin(self, last_input: Any, **kwargs: Any) -> dict[str, Any]:
            seen.append(("first", float(last_input.mean())))
            return {"last_input": last_input * 0 + 7}

    class Second(V1Base):
        def on_batch_begin(self, last_input: Any, last_target: Any, train: bool, **kwargs: Any) -> None:
            seen.append(("second", float(last_input.mean())))

    Fit().run(partial(v1, callbacks=[Second(), First()]), epochs=1)
    assert [who for who, _ in seen[:2]] == ["first", "second"]
    assert seen[1] == ("second", 7.0)


def test_the_last_one_decides_and_is_told_when_it_takes_a_flag_back() -> None:
    ask = Probe(at("batch_end", {"stop_epoch": True}))
    revoke = Probe(at("batch_end", {"stop_epoch": False}))
    ran = Fit().run(partial(v1, callbacks=[ask, revoke]), epochs=1)
    assert len(ran.losses) == 6
    assert "returned 'stop_epoch': False and so took back what another callback had asked for" in ran.warned[0]


@pytest.mark.parametrize("answer", [True, False, 0, []])
def test_what_is_no_dict_is_an_error_that_says_so(answer: object) -> None:
    ran = Fit().run(partial(v1, callbacks=Probe(lambda hook, state: answer if hook == "epoch_begin" else None)))
    assert isinstance(ran.error, HookError)
    assert "a hook of v1 returns None or a dict of what it changes" in str(ran.error)


def raising(hook: str) -> Act:
    def act(here: str, state: dict[str, Any]) -> object:
        if here == hook:
            raise ValueError("boom")
        return None

    return act


def test_train_end_is_told_of_the_error() -> None:
    told: list[object] = []

    def act(hook: str, state: dict[str, Any]) -> object:
        if hook == "train_end":
            told.append(state["exception"])
        return raising("backward_end")(hook, state)

    probe = Probe(act)
    ran = Fit().run(partial(v1, callbacks=probe))
    assert told == [ran.error]
    assert [event[0] for event in probe.seen[-2:]] == ["backward_end", "train_end"], "and no batch_end, as in v1"


def test_train_end_is_told_of_a_keyboard_interrupt() -> None:
    told: list[object] = []

    class Old(V1Base):
        def on_batch_end(self, **kwargs: Any) -> None:
            raise KeyboardInterrupt

        def on_train_end(self, exception: object, **kwargs: Any) -> None:
            told.append(exception)

    learn = Fit().run(epochs=0).learn
    learn.add(v1, Old())
    with pytest.raises(KeyboardInterrupt):
        learn.fit(1)
    assert isinstance(told[0], KeyboardInterrupt)


def test_a_counter_that_is_set_is_ignored_with_a_warning() -> None:
    ran = Fit().run(partial(v1, callbacks=Probe(at("train_begin", {"epoch": 1}))))
    assert len(ran.losses) == 12
    assert "returned 'epoch', which is taken there and does nothing, as in v1: no hook heeds it" in ran.warned[0]


def test_train_end_comes_to_those_whose_train_begin_came() -> None:
    before, broken, after = Probe(), Probe(raising("train_begin")), Probe()
    Fit().run(partial(v1, callbacks=[before, broken, after]))
    assert [[event[0] for event in probe.seen] for probe in (before, broken, after)] == [
        ["train_begin", "train_end"],
        ["train_begin"],
        [],
    ]


def test_one_callbacks_error_in_train_end_keeps_no_other_from_its_own() -> None:
    broken, other = Probe(raising("train_end")), Probe()
    ran = Fit().run(partial(v1, callbacks=[broken, other]), epochs=1)
    assert isinstance(ran.error, ValueError)
    assert other.seen[-1][0] == "train_end"


def test_stop_training_is_a_cancelled_fit() -> None:
    ran, _ = fit("stop_training")
    assert isinstance(ran.outcome, Cancelled)
    assert ran.outcome.cancel.reason == "stop_training"


def test_stop_epoch_in_validation_cuts_its_mean() -> None:
    def act(hook: str, state: dict[str, Any]) -> object:
        return {"stop_epoch": True} if hook == "batch_end" and not state["train"] else None

    probe = Probe(act)
    ran = Fit().run(partial(v1, callbacks=probe), epochs=1)
    assert probe.validation == [pytest.approx(ran.losses[-1])]
    assert len(ran.losses) == 5


def test_a_misspelt_hook_is_told_when_the_callback_is_added() -> None:
    class Old(V1Base):
        def on_batch_ended(self, **kwargs: Any) -> None: ...

    with pytest.warns(LegacyWarning, match="Old.on_batch_ended is no hook of v1, .* did you mean on_batch_end?"):
        v1(Fit().run(epochs=0).learn, Old())


def test_what_the_learner_does_not_have_is_said_with_what_it_has() -> None:
    class Old(V1LearnerBase):
        def on_train_begin(self, **kwargs: Any) -> None:
            self.learn.recorder.silent = True

    ran = Fit().run(partial(v1, callbacks=Old))
    assert isinstance(ran.error, AttributeError)
    assert "'recorder' is not there: a typed learner stands in" in str(ran.error)
