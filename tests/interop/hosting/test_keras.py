"""What is Keras's own: its mixin, accumulation, learning rates, and epochs that are cut short."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import partial, partialmethod
from typing import Any

import pytest
import torch
from driving import driver
from driving_keras import loader_of, model_of
from five import TASK, Five
from recording import At, Recorder, answering, raising

from typedcb import AnyCallback, CallbackError, CancelEpoch, Cancelled, Completed, LoopError
from typedcb.callbacks import LR, ParamScheduler, SmoothLoss, linear


@pytest.fixture(autouse=True)
def _installed() -> None:
    driver("keras")


def host(*callbacks: Any, **options: Any) -> Any:
    return importlib.import_module("typedcb.interop.keras").host(*callbacks, **options)


def fit(net: Any, *callbacks: Any, epochs: int = 3, valid: bool = True, **options: Any) -> Any:
    data = loader_of(TASK.valid) if valid else None
    return net.fit(
        loader_of(TASK.train), epochs=epochs, verbose=0, shuffle=False, validation_data=data,
        callbacks=list(callbacks), **options,
    )  # fmt: skip


def plain(**options: Any) -> tuple[Any, list[float]]:
    losses: list[float] = []
    return model_of(driver("keras").task(TASK), losses, **options), losses


@dataclass(frozen=True)
class Ends(AnyCallback):
    def after_fit(self, event: object, /) -> None: ...


@pytest.mark.parametrize(("callback", "hook"), [(SmoothLoss(), "after_loss"), (Ends(), "after_fit")])
def test_a_model_without_the_mixin_is_refused_what_it_cannot_do(callback: Any, hook: str) -> None:
    net, losses = plain(mixin=False)
    with pytest.raises(CallbackError, match=rf"{hook} would never be called: .*TypedModel"):
        fit(net, host(callback))
    assert losses == []


def test_without_typed_callbacks_the_mixin_is_the_model_itself() -> None:
    (first, ours), (second, theirs) = plain(), plain(mixin=False)
    fit(first)
    fit(second)
    assert ours == theirs


@pytest.mark.parametrize("name", ["fit", "train_step", "test_step"])
def test_a_step_that_hides_ours_is_refused(name: str) -> None:
    net, _ = plain()
    own = getattr(type(net), name)
    net.__class__ = type("Mine", (type(net),), {name: partialmethod(own)})
    with pytest.raises(CallbackError, match=rf"Mine\.{name} hides that of TypedModel"):
        fit(net, host(SmoothLoss()))


def test_two_hosts_in_one_fit_are_refused() -> None:
    with pytest.raises(CallbackError, match=r"several host\(\.\.\.\)"):
        fit(plain()[0], host(SmoothLoss()), host(SmoothLoss()))


def test_ways_to_train_that_have_no_place_for_callbacks_are_refused() -> None:
    keras: Any = importlib.import_module("keras")
    with pytest.raises(LoopError, match="a compiled step tells nobody"):
        fit(plain(jit_compile=True)[0], host(SmoothLoss()))
    with pytest.raises(LoopError, match="scales the loss"):
        fit(plain(optimizer=keras.optimizers.SGD(0.1, loss_scale_factor=8.0))[0], host(SmoothLoss()))


def test_accumulation_is_keras_own_and_after_step_comes_with_real_steps() -> None:
    keras: Any = importlib.import_module("keras")
    told = Recorder()
    runs = [plain(optimizer=keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)) for _ in range(2)]
    fit(runs[0][0], epochs=2)
    fit(runs[1][0], host(told), epochs=2)
    assert runs[0][1] == runs[1][1]
    assert [(event.epoch, event.index) for event in told.of("after_step")] == [(0, 1), (0, 3), (1, 0), (1, 2), (1, 4)]


def test_a_learning_rate_that_a_callback_sets_is_keras_own() -> None:
    rates: list[float] = []
    net, _ = plain()
    schedule = partial(ParamScheduler, param=LR, schedule=linear(0.5, 0.1))
    fit(net, host(schedule, At("after_step", lambda event: rates.append(float(net.optimizer.learning_rate)))), epochs=1)
    assert rates[0] == pytest.approx(0.5)
    assert rates == sorted(rates, reverse=True)


def test_an_epoch_that_was_cut_short_is_validated_and_the_next_one_runs() -> None:
    told = Recorder()
    hosting = host(
        told,
        At("after_batch", answering(CancelEpoch()), epoch=0, index=1, phase="train"),
        At("begin_epoch", answering(CancelEpoch()), epoch=1),
    )
    fit(plain()[0], hosting)
    assert [event.epoch for event in told.of("begin_batch") if event.phase == "train"] == [0] * 2 + [2] * 5
    assert [event.epoch for event in told.of("after_validate")] == [0, 2]
    assert isinstance(hosting.outcome, Completed)


def test_an_end_that_keras_decides_on_is_a_cancel() -> None:
    keras: Any = importlib.import_module("keras")
    stops = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(net, "stop_training", True))
    net, _ = plain()
    hosting = host(told := Recorder())
    fit(net, hosting, stops)
    assert isinstance(hosting.outcome, Cancelled)
    assert "stop_training was set" in hosting.outcome.cancel.reason
    assert told.hooks.count("begin_epoch") == 1


def test_an_evaluation_outside_of_a_fit_is_none_of_the_callbacks() -> None:
    hosting = host(told := Recorder())
    net, _ = plain()
    net.evaluate(loader_of(TASK.valid), verbose=0, callbacks=[hosting])
    assert told.hooks == []


class Oops(Exception):
    """What interrupts."""


def test_a_fit_is_taken_up_with_what_was_saved(tmp_path: Any) -> None:
    keras: Any = importlib.import_module("keras")
    straight, first, again = Five(), Five(), Five()
    fit(plain()[0], host(*straight.hostable))

    hosting = host(*first.hostable, At("begin_epoch", raising(Oops()), epoch=2))
    net, _ = plain()
    saves = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: torch.save((list(net.parameters()), hosting.state_dict()), tmp_path / "saved")
    )
    with pytest.raises(Oops):
        fit(net, hosting, saves)

    weights, cells = torch.load(tmp_path / "saved", weights_only=True)
    second, _ = plain()
    with torch.no_grad():
        for weight, saved in zip(second.parameters(), weights, strict=True):
            weight.copy_(saved)
    hosted = host(*again.hostable)
    hosted.load_state_dict(cells)
    fit(second, hosted, initial_epoch=2)
    assert again.measured == straight.measured
