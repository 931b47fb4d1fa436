"""What is Keras's own: its mixin, accumulation, learning rates, and epochs that are cut short."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from functools import partial, partialmethod
from typing import Any

import pytest
import torch
from driving import driver
from driving_keras import loader_of, model_of
from five import TASK, Five
from recording import At, Recorder, answering, raising

from typedcb import AnyCallback, CallbackError, CancelBatch, CancelEpoch, Cancelled, Completed, LoopError, SkipValidate
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


@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept")  # what numpy has to say of TerminateOnNaN
@pytest.mark.parametrize("first", ["it", "typed callbacks"])
def test_an_end_that_keras_decides_on_in_the_batch_in_which_an_epoch_is_cut_short_stays(first: str) -> None:
    keras: Any = importlib.import_module("keras")
    data = DATA.copy()
    data[7] = float("nan")
    hosting = host(told := Recorder(), At("after_batch", answering(CancelEpoch()), index=1, phase="train"))
    both = [keras.callbacks.TerminateOnNaN(), hosting]
    dense().fit(
        data, TARGETS, batch_size=5, epochs=3, verbose=0, shuffle=False,
        callbacks=both if first == "it" else both[::-1],
    )  # fmt: skip
    assert isinstance(hosting.outcome, Cancelled)
    assert "stop_training was set" in hosting.outcome.cancel.reason
    assert [event.epoch for event in told.of("begin_epoch")] == [0]


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


# ------------------------------------------------------------------------------------------ what else Keras's fit takes


def dense(outputs: int = 1, **compiled: Any) -> Any:
    """A small model of Keras's own layers, of the functional kind."""
    keras: Any = importlib.import_module("keras")
    typed: Any = importlib.import_module("typedcb.interop.keras").TypedModel
    keras.utils.set_random_seed(3)
    start = keras.layers.Input((4,))
    ends = [keras.layers.Dense(3, name=f"end{place}")(start) for place in range(outputs)]
    kind = type("Functional", (typed, keras.Model), {}) if compiled.pop("mixin", True) else keras.Model
    net = kind(start, ends if outputs > 1 else ends[0])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(**{"optimizer": keras.optimizers.SGD(0.1), "loss": [loss] * outputs, **compiled})
    return net


DATA = torch.randn(20, 4, generator=torch.Generator().manual_seed(5)).numpy()
TARGETS = torch.arange(20).remainder(3).numpy()

WAYS: dict[str, dict[str, Any]] = {
    "plainly": {},
    "class weights": {"class_weight": {0: 1.0, 1: 5.0, 2: 0.5}},
    "sample weights": {"sample_weight": torch.linspace(0, 2, 20).numpy()},
    "several outputs": {"outputs": 2},
    "run eagerly": {"run_eagerly": True},
    "a validation now and then": {"validation_freq": 2, "epochs": 4},
    "a validation split": {"validation_data": None, "validation_split": 0.25},
    "steps": {"steps_per_epoch": 2, "validation_steps": 1},
    "clipped": {"clip": True},
}


@pytest.mark.parametrize("how", WAYS)
def test_a_hosted_fit_comes_to_what_keras_own_comes_to(how: str) -> None:
    keras: Any = importlib.import_module("keras")
    told = Recorder()
    histories: list[Any] = []
    for callbacks in ([], [host(told)]):
        given: dict[str, Any] = {"epochs": 2, "validation_data": (DATA[:6], TARGETS[:6]), **WAYS[how]}
        n = given.pop("outputs", 1)
        own: dict[str, Any] = {"run_eagerly": True} if given.pop("run_eagerly", False) else {}
        if given.pop("clip", False):
            own["optimizer"] = keras.optimizers.SGD(0.1, momentum=0.9, global_clipnorm=0.1, use_ema=True)
        several: dict[str, Any] = {"y": [TARGETS, TARGETS], "validation_data": None} if n > 1 else {"y": TARGETS}
        net = dense(n, mixin=bool(callbacks), **own)
        settings: Any = {"batch_size": 5, "verbose": 0, "shuffle": False, **given, **several}
        histories.append(net.fit(DATA, callbacks=callbacks, **settings).history)
    assert histories[0] == histories[1]
    losses = [event.loss.item() for event in told.of("after_loss") if event.phase == "train" and event.epoch == 0]
    assert sum(losses) / len(losses) == pytest.approx(float(histories[0]["loss"][0]), rel=1e-5)
    if how == "a validation now and then":
        assert [event.epoch for event in told.of("after_validate")] == [1, 3]


def test_a_model_of_the_mixin_alone_is_refused_when_the_class_is_made() -> None:
    typed: Any = importlib.import_module("typedcb.interop.keras").TypedModel
    with pytest.raises(
        CallbackError, match=r"Net derives from TypedModel alone.*class Net\(TypedModel, keras\.Model\)"
    ):
        type("Net", (typed,), {})


def test_functional_and_sequential_models_with_the_mixin_stand_beside_each_other() -> None:
    keras: Any = importlib.import_module("keras")
    typed: Any = importlib.import_module("typedcb.interop.keras").TypedModel
    dense()  # Keras puts a class of its own among the bases of a functional model's
    net = type("Net", (typed, keras.Sequential), {})([keras.layers.Dense(3)])
    net.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), optimizer="sgd")
    net.fit(DATA, TARGETS, verbose=0, callbacks=[host(told := Recorder())])
    assert told.hooks[-1] == "after_fit"
    assert net(DATA).shape == (20, 3)


@pytest.mark.parametrize("name", ["train_step", "test_step"])
def test_a_step_that_the_mixin_would_hide_is_refused(name: str) -> None:
    keras: Any = importlib.import_module("keras")
    typed: Any = importlib.import_module("typedcb.interop.keras").TypedModel
    theirs = type("Theirs", (keras.Sequential,), {name: lambda self, data: {}})
    net = type("Net", (typed, theirs), {})([keras.layers.Dense(3)])
    net.compile(loss="mse", jit_compile=False)
    with pytest.raises(CallbackError, match=rf"Theirs\.{name} would never be called.*into call or compute_loss"):
        net.fit(DATA, TARGETS, verbose=0, callbacks=[host(SmoothLoss())])


def test_what_a_callback_of_keras_evaluates_or_trains_besides_is_keras_own() -> None:
    keras: Any = importlib.import_module("keras")
    found: list[Any] = []

    def beside(epoch: int, logs: Any) -> None:
        net.stop_evaluating = False
        found.append(net.evaluate(DATA, TARGETS, verbose=0))
        found.append(net.test_on_batch(DATA, TARGETS))
        found.append(net.train_on_batch(DATA, TARGETS))
        net.fit(DATA, TARGETS, verbose=0, shuffle=False)
        net.stop_training = False

    results: list[list[Any]] = []
    told = Recorder()
    for callbacks in ([], [host(told)]):
        found.clear()
        net = dense(mixin=bool(callbacks))
        besides = keras.callbacks.LambdaCallback(on_epoch_end=beside)
        net.fit(DATA, TARGETS, epochs=2, batch_size=10, verbose=0, shuffle=False, callbacks=[*callbacks, besides])
        results.append([*found, *[weight.tolist() for weight in net.parameters()]])
    assert results[0] == results[1]
    assert len(told.of("after_batch")) == 4


def test_several_steps_in_one_are_keras_own_refusal() -> None:
    net = dense(steps_per_execution=2)
    with pytest.raises(ValueError, match="steps_per_execution"):
        net.fit(DATA, TARGETS, batch_size=5, verbose=0, callbacks=[host(told := Recorder())])
    assert told.hooks == []


# --------------------------------------------------------------------------------------------------- several processes


@pytest.mark.parametrize("mixin", [True, False])
def test_several_processes_are_refused(mixin: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    net, losses = plain(mixin=mixin)
    with pytest.raises(LoopError, match="averages nothing over processes: each of these 2 would train a model of its"):
        fit(net, host(Recorder() if mixin else Looks()))
    assert losses == []


@dataclass(frozen=True)
class Looks(AnyCallback):
    def after_epoch(self, event: object, /) -> None: ...


def test_variables_that_keras_lays_out_over_devices_are_refused() -> None:
    keras: Any = importlib.import_module("keras")
    net, losses = plain()
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=["cpu:0"]))
    try:
        with pytest.raises(LoopError, match=r"keras\.distribution lays the variables out over devices"):
            fit(net, host(SmoothLoss()))
    finally:
        keras.distribution.set_distribution(None)
    assert losses == []


def test_a_plain_model_knows_the_epoch_that_it_begins_with() -> None:
    begun: list[Any] = []
    net, _ = plain(mixin=False)
    fit(net, host(Begins(begun)), initial_epoch=2)
    assert [event.start_epoch for event in begun] == [2]


@dataclass(frozen=True)
class Begins(AnyCallback):
    begun: Any

    def begin_fit(self, event: object, /) -> None:
        self.begun.append(event)


# ---------------------------------------------------------------------------------------- beside Keras's own callbacks


@pytest.mark.parametrize(
    ("hook", "answer", "phase", "left"),
    [
        ("begin_validate", SkipValidate(), None, {"loss", "accuracy"}),
        ("begin_batch", CancelBatch(), "valid", {"loss", "accuracy"}),
        ("begin_batch", CancelBatch(), "train", {"val_loss", "val_accuracy"}),
        ("begin_epoch", CancelEpoch(), None, set()),
    ],
)
def test_a_pass_that_was_left_out_has_no_figures_instead_of_zeros(
    hook: str, answer: object, phase: str | None, left: set[str]
) -> None:
    keras: Any = importlib.import_module("keras")
    told: list[Any] = []
    looks = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: told.append(set(logs)))
    net = dense(metrics=["accuracy"])
    history = net.fit(
        DATA, TARGETS, batch_size=5, epochs=3, verbose=0, shuffle=False, validation_data=(DATA, TARGETS),
        callbacks=[host(At(hook, answering(answer), epoch=1, phase=phase)), looks],
    ).history  # fmt: skip
    everything = {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert told == [everything, left, everything]
    assert 0.0 not in [*history["loss"], *history["val_loss"]]
    assert isinstance(net.get_metrics_result()["loss"], (float, torch.Tensor)), "outside of a fit they are Keras's own"


def test_an_epoch_that_was_not_validated_is_not_the_best(tmp_path: Any) -> None:
    keras: Any = importlib.import_module("keras")
    saves = keras.callbacks.ModelCheckpoint(
        f"{tmp_path}/{{epoch}}.weights.h5", save_best_only=True, save_weights_only=True
    )
    skips = host(At("begin_validate", answering(SkipValidate()), epoch=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras says that there is no val_loss to go by, and numpy what Keras hands it
        dense().fit(
            DATA, TARGETS, epochs=2, verbose=0, validation_data=(DATA, TARGETS), callbacks=[skips, saves]
        )  # fmt: skip
    assert "2.weights.h5" in [path.name for path in tmp_path.iterdir()], "a loss of 0 would have been the best"


def test_a_model_that_is_frozen_is_measured_as_keras_measures_it() -> None:
    keras: Any = importlib.import_module("keras")
    histories: list[Any] = []
    told = Recorder()
    for callbacks in ([], [host(told)]):
        net = dense(mixin=bool(callbacks))
        net.trainable = False
        net.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")  # numpy has something to say of what Keras hands it, too
            histories.append(net.fit(DATA, TARGETS, verbose=0, shuffle=False, callbacks=callbacks).history)
        assert any("does not have any trainable weights" in str(warning.message) for warning in caught)
    assert histories[0] == histories[1]
    assert told.hooks[2:6] == ["begin_batch", "after_pred", "after_loss", "after_batch"]


def test_a_typed_callback_that_is_not_hosted_is_refused_with_the_way_out() -> None:
    with pytest.raises(CallbackError, match=r"SmoothLoss is a typed callback.*callbacks=\[host\(SmoothLoss"):
        dense().fit(DATA, TARGETS, verbose=0, callbacks=[SmoothLoss()])
