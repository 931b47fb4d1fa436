"""What is Ignite's own: engines with other steps, accumulation, evaluators, and the ways in which a run stops."""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import dataclass
from functools import partial
from typing import Any, Optional

import pytest
import torch
from driving import Loader, driver
from five import TASK
from recording import At, Recorder, answering, raising
from test_grammar import assert_grammatical
from torch.optim import LBFGS

from typedcb import (
    AnyCallback,
    BeginBatch,
    CallbackError,
    CancelEpoch,
    Cancelled,
    CancelTrain,
    Cell,
    Completed,
    Failed,
    LoopError,
    cell,
)
from typedcb.callbacks import AvgStats, EarlyStopping, GradientClip, SmoothLoss


@pytest.fixture(autouse=True)
def _installed() -> None:
    driver("ignite")


def host(*callbacks: Any, **options: Any) -> Any:
    driver("ignite")
    return importlib.import_module("typedcb.interop.ignite").host(*callbacks, **options)


def engines(hosting: Any, **options: Any) -> Any:
    """A trainer, quiet."""
    model = TASK.model()
    trainer = hosting.trainer(model, TASK.opt(model.parameters()), TASK.loss, **options)
    trainer.logger.disabled = True
    return trainer


@dataclass(frozen=True)
class Doubles(AnyCallback):
    """Doubles each batch, and cancels none."""

    def begin_batch(self, event: Any, /) -> BeginBatch[Any, Any]:
        doubled: BeginBatch[Any, Any] = event.with_batch(event.xb * 2, event.yb)
        return doubled


@dataclass(frozen=True)
class Counts(AnyCallback):
    """Counts the epochs that have ended."""

    epochs: Cell[int] = cell(0)

    def after_epoch(self, event: object, /) -> None:
        self.epochs.value += 1


def test_an_engine_with_a_step_of_its_own_is_told_what_it_cannot_do() -> None:
    hosting = host(AvgStats())
    from ignite.engine import Engine  # noqa: PLC0415

    model = TASK.model()
    with pytest.raises(CallbackError) as refused:
        hosting.attach(Engine(lambda engine, batch: None), model, TASK.opt(model.parameters()))
    assert str(refused.value) == (
        "AvgStats.after_loss would never be called: Ignite's engine with a step function of its own has no such "
        "moment. It happens inside the engine's own step function: make the engine by hosted.trainer(...)."
    )
    with pytest.raises(CallbackError, match=r"GradientClip\.after_backward would never be called"):
        host(partial(GradientClip, clip=0.1)).attach(Engine(lambda engine, batch: None), model, None)


def test_an_engine_with_a_step_of_its_own_sees_the_batch_as_callbacks_left_it() -> None:
    hosting = host(Doubles())
    from ignite.engine import Engine  # noqa: PLC0415

    seen: list[Any] = []
    engine = Engine(lambda engine, batch: seen.append(batch[0]))
    engine.logger.disabled = True
    model = TASK.model()
    hosting.attach(engine, model, TASK.opt(model.parameters()))
    engine.run(Loader(TASK.train), max_epochs=1)
    assert all(torch.equal(mine, xb * 2) for mine, (xb, _) in zip(seen, TASK.train, strict=True))


@pytest.mark.parametrize("steps", [1, 2])
def test_accumulation_comes_to_what_ignites_own_comes_to(steps: int) -> None:
    one = driver("ignite")
    told = Recorder()
    bare = one.fit(TASK, None, gradient_accumulation_steps=steps)
    hosted = one.fit(TASK, one.hosting(told), gradient_accumulation_steps=steps)
    assert hosted.losses == bare.losses
    assert all(torch.equal(a, b) for a, b in zip(bare.weights, hosted.weights, strict=True))
    assert len(told.of("after_step")) == 15 // steps


def test_an_end_that_others_decide_on_is_a_cancel() -> None:
    hosting = host(told := Recorder())
    trainer = engines(hosting)
    from ignite.engine import Events  # noqa: PLC0415

    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=7), trainer.terminate)
    trainer.run(Loader(TASK.train), max_epochs=3)
    assert isinstance(hosting.outcome, Cancelled)
    assert "Ignite's engine was terminated" in str(hosting.outcome.cancel.reason)
    assert len(told.of("after_batch")) == 7


def test_a_run_that_is_interrupted_goes_on_in_the_same_fit() -> None:
    hosting = host(told := Recorder())
    trainer = engines(hosting)
    from ignite.engine import Events  # noqa: PLC0415

    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=7), trainer.interrupt)
    trainer.run(Loader(TASK.train), max_epochs=2)
    assert told.hooks.count("after_fit") == 0
    trainer.run(Loader(TASK.train), max_epochs=2)
    assert told.hooks.count("begin_fit") == told.hooks.count("after_fit") == 1
    assert len(told.of("after_batch")) == 10
    assert isinstance(hosting.outcome, Completed)


def test_a_run_of_iterations_knows_its_epochs() -> None:
    hosting = host(told := Recorder())
    engines(hosting).run(Loader(TASK.train), max_iters=7)
    assert told.events[0].n_epochs == 2
    assert len(told.of("after_batch")) == 7
    assert isinstance(hosting.outcome, Completed)


def test_a_second_run_goes_on_where_the_engine_is() -> None:
    hosting = host(told := Recorder())
    trainer = engines(hosting)
    trainer.run(Loader(TASK.train), max_epochs=1)
    trainer.run(Loader(TASK.train), max_epochs=3)
    assert [(event.start_epoch, event.n_epochs) for event in told.of("begin_fit")] == [(0, 1), (1, 3)]
    assert [event.epoch for event in told.of("after_epoch")] == [0, 1, 2]


def test_an_evaluator_outside_of_a_run_is_no_validation() -> None:
    hosting = host(told := Recorder())
    trainer = engines(hosting)
    evaluator = hosting.evaluator()
    evaluator.logger.disabled = True
    outputs: list[Any] = []
    from ignite.engine import Events  # noqa: PLC0415

    evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: outputs.append(engine.state.output))
    evaluator.run(Loader(TASK.valid))
    assert told.hooks == []
    assert [tuple(pred.shape) for pred, _ in outputs] == [(8, 3), (8, 3)]
    trainer.run(Loader(TASK.train), max_epochs=1)
    assert "begin_validate" not in told.hooks


def test_batches_go_to_the_device() -> None:
    hosting = host(told := Recorder())
    engines(hosting, device="cpu", non_blocking=True).run(Loader(TASK.train), max_epochs=1)
    assert {event.xb.device.type for event in told.of("begin_batch")} == {"cpu"}


def test_what_cannot_be_is_refused() -> None:
    hosting = host(SmoothLoss())
    model = TASK.model()
    with pytest.raises(LoopError, match=r"LBFGS\.step wants closure"):
        hosting.trainer(model, LBFGS(model.parameters()), TASK.loss)
    with pytest.raises(ValueError, match="gradient_accumulation_steps is 0"):
        engines(hosting, gradient_accumulation_steps=0)
    with pytest.raises(LoopError, match="make that first"):
        hosting.evaluator()
    engines(hosting)
    with pytest.raises(LoopError, match="have a trainer already"):
        engines(hosting)


def test_a_cancelled_fit_can_be_followed_by_another() -> None:
    hosting = host(told := Recorder(), At("begin_epoch", answering(CancelTrain("no more")), epoch=1))
    trainer = engines(hosting)
    trainer.run(Loader(TASK.train), max_epochs=3)
    assert isinstance(hosting.outcome, Cancelled)
    assert hosting.outcome.cancel.reason == "no more"
    assert len(told.of("after_batch")) == 5


@pytest.mark.parametrize("swallows", [True, False])
def test_an_error_that_a_handler_keeps_to_itself_has_failed_the_fit(swallows: bool) -> None:
    error = ValueError("oops")
    hosting = host(told := Recorder(), At("after_loss", raising(error), epoch=1, index=2))
    trainer = engines(hosting)
    from ignite.engine import Events  # noqa: PLC0415

    @trainer.on(Events.EXCEPTION_RAISED)  # type: ignore[untyped-decorator]
    def _handle(engine: Any, raised: BaseException) -> None:
        if not swallows:
            raise raised

    with contextlib.nullcontext() if swallows else pytest.raises(ValueError, match="oops"):
        trainer.run(Loader(TASK.train), max_epochs=3)
    assert told.hooks[-1] == "after_fit"
    assert isinstance(hosting.outcome, Failed)
    assert hosting.outcome.error is error


def test_an_epoch_that_others_end_without_its_completion_has_no_end() -> None:
    hosting = host(told := Recorder())
    trainer = engines(hosting)
    from ignite.engine import Events  # noqa: PLC0415

    trainer.add_event_handler(
        Events.ITERATION_COMPLETED(once=2), lambda: trainer.terminate_epoch(skip_epoch_completed=True)
    )
    trainer.run(Loader(TASK.train), max_epochs=2)
    assert [event.epoch for event in told.of("begin_epoch")] == [0, 1]
    assert [event.epoch for event in told.of("after_epoch")] == [1]
    assert len(told.of("after_batch")) == 7
    assert isinstance(hosting.outcome, Completed)


@pytest.mark.parametrize("deterministic", [True, False])
def test_an_engine_of_another_kind_trains_as_it_does_alone(
    deterministic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ignite.engine import DeterministicEngine, Engine  # noqa: PLC0415

    if not deterministic:  # the other way to run, without generators
        monkeypatch.setattr(Engine, "interrupt_resume_enabled", False)
    drawn: list[list[Any]] = []
    for hosted in (False, True):
        numbers: list[Any] = []
        kind = DeterministicEngine if deterministic else Engine
        engine = kind(lambda engine, batch, numbers=numbers: numbers.append(torch.rand(()).item()))
        engine.logger.disabled = True
        if hosted:
            model = TASK.model()
            host(Doubles()).attach(engine, model, TASK.opt(model.parameters()))
        torch.manual_seed(1)
        engine.run(Loader(TASK.train), max_epochs=2, **({"epoch_length": 5} if deterministic else {}))
        drawn.append(numbers)
    assert drawn[0] == drawn[1]


def test_over_several_processes_what_one_would_decide_alone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    driver("ignite")
    monkeypatch.setattr("typedcb.interop.ignite.callbacks.get_world_size", lambda: 2)
    engines(host(SmoothLoss())).run(Loader(TASK.train), max_epochs=1)
    stats = AvgStats()
    with pytest.raises(CallbackError, match=r"EarlyStopping\.after_epoch may answer CancelTrain.*several processes"):
        engines(host(stats, EarlyStopping(stats.valid_loss, mode="min", patience=1)))
    model = TASK.model()
    from ignite.engine import Engine  # noqa: PLC0415

    with pytest.raises(CallbackError, match=r"Stops\.begin_epoch may answer CancelEpoch.*over processes"):
        host(Stops()).attach(Engine(lambda engine, batch: None), model, TASK.opt(model.parameters()))


@dataclass(frozen=True)
class Stops(AnyCallback):
    def begin_epoch(self, event: object, /) -> Optional[CancelEpoch]:
        return None


def test_an_evaluation_before_the_first_epoch_or_after_the_last_is_no_validation() -> None:
    hosting = host(told := Recorder())
    trainer, evaluator = engines(hosting), hosting.evaluator()
    evaluator.logger.disabled = True
    runs: list[int] = []
    from ignite.engine import Events  # noqa: PLC0415

    evaluator.add_event_handler(Events.COMPLETED, lambda engine: runs.append(engine.state.iteration))
    for event in (Events.STARTED, Events.EPOCH_COMPLETED, Events.COMPLETED):
        trainer.add_event_handler(event, lambda: evaluator.run(Loader(TASK.valid)))
    trainer.run(Loader(TASK.train), max_epochs=2)
    assert [event.epoch for event in told.of("begin_validate")] == [0, 1]
    assert runs == [2, 2, 2, 2]
    assert_grammatical(told.seen)


def test_an_evaluation_after_a_fit_that_was_cancelled_runs_as_ignites_own() -> None:
    hosting = host(told := Recorder(), At("after_batch", answering(CancelTrain("enough")), epoch=0, index=2))
    trainer, evaluator = engines(hosting), hosting.evaluator()
    evaluator.logger.disabled = True
    runs: list[int] = []
    from ignite.engine import Events  # noqa: PLC0415

    evaluator.add_event_handler(Events.COMPLETED, lambda engine: runs.append(engine.state.iteration))
    trainer.add_event_handler(Events.COMPLETED, lambda: evaluator.run(Loader(TASK.valid)))
    trainer.run(Loader(TASK.train), max_epochs=2)
    assert runs == [2]
    assert told.of("begin_validate") == []


def test_a_validation_after_the_checkpoint_that_ended_its_epoch_is_refused(tmp_path: Any) -> None:
    hosting = host(SmoothLoss())
    trainer, evaluator = engines(hosting), hosting.evaluator()
    evaluator.logger.disabled = True
    from ignite.engine import Events  # noqa: PLC0415
    from ignite.handlers import Checkpoint, DiskSaver  # noqa: PLC0415

    saves = Checkpoint({"callbacks": hosting}, DiskSaver(str(tmp_path)))
    trainer.add_event_handler(Events.EPOCH_COMPLETED, saves)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(Loader(TASK.valid)))
    with pytest.raises(LoopError, match=r"epoch 0 has ended.*evaluator first, and the checkpoint after"):
        trainer.run(Loader(TASK.train), max_epochs=2)


def test_an_epoch_that_ignites_own_callbacks_save_and_stop_by_its_score_is_whole(tmp_path: Any) -> None:
    hosting = host(told := Counts(), stats := AvgStats())
    trainer, evaluator = engines(hosting), hosting.evaluator()
    evaluator.logger.disabled = True
    scores: list[float] = []
    from ignite.engine import Events  # noqa: PLC0415
    from ignite.handlers import EarlyStopping as Theirs  # noqa: PLC0415
    from ignite.handlers import ModelCheckpoint  # noqa: PLC0415

    def score(engine: Any) -> float:
        return -stats.valid_loss.value

    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(Loader(TASK.valid)))
    best = ModelCheckpoint(tmp_path / "best", n_saved=1, score_function=score, require_empty=False)
    latest = ModelCheckpoint(tmp_path / "latest", n_saved=1)
    evaluator.add_event_handler(Events.COMPLETED, lambda: scores.append(score(None)))
    evaluator.add_event_handler(Events.COMPLETED, best, {"model": TASK.model()})
    stops = Theirs(1, score, trainer, threshold=100.0)
    stops.logger.disabled = True
    evaluator.add_event_handler(Events.COMPLETED, stops)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, latest, {"callbacks": hosting, "trainer": trainer})
    trainer.run(Loader(TASK.train), max_epochs=5)
    assert isinstance(hosting.outcome, Cancelled)
    assert len(scores) == told.epochs.value == 2
    [file] = (tmp_path / "latest").iterdir()
    other = host(counted := Counts(), again := AvgStats())
    saved = torch.load(file, weights_only=True)
    other.load_state_dict(saved["callbacks"])
    going_on = engines(other)
    going_on.load_state_dict(saved["trainer"])
    going_on.run(Loader(TASK.train), max_epochs=3)
    assert again.valid_loss.value == -scores[-1]
    assert counted.epochs.value == 3, "two epochs had ended when it was saved"


@pytest.mark.parametrize("steps", [1, 2])
def test_gradients_that_were_left_before_a_run_are_dropped_as_ignite_drops_them(steps: int) -> None:
    hosting = host(SmoothLoss())
    from ignite.engine import create_supervised_trainer  # noqa: PLC0415

    weights: list[Any] = []
    for make in (create_supervised_trainer, hosting.trainer):
        model = TASK.model()
        trainer = make(model, TASK.opt(model.parameters()), TASK.loss, gradient_accumulation_steps=steps)
        trainer.logger.disabled = True
        for _ in range(2):  # five batches: half a step is left of the first run
            model(TASK.train[0][0]).sum().backward()
            trainer.run(Loader(TASK.train), max_epochs=1)
        weights.append([weight.tolist() for weight in model.parameters()])
    assert weights[0] == weights[1]


def test_a_run_that_begins_anew_after_an_interrupted_one_is_another_fit() -> None:
    hosting = host(told := Recorder())
    trainer = engines(hosting)
    from ignite.engine import Events  # noqa: PLC0415

    interrupts = trainer.add_event_handler(Events.ITERATION_COMPLETED(once=3), trainer.interrupt)
    trainer.run(Loader(TASK.train), max_epochs=2)
    interrupts.remove()
    trainer.state.max_epochs, trainer.state.epoch, trainer.state.iteration = None, 0, 0
    trainer.run(Loader(TASK.train), max_epochs=1)
    first, second = told.of("after_fit")
    assert "interrupted" in first.outcome.cancel.reason
    assert isinstance(second.outcome, Completed)


def test_callbacks_that_are_loaded_without_their_trainer_are_refused_in_a_run_that_begins_anew() -> None:
    saved = host(Counts())
    engines(saved).run(Loader(TASK.train), max_epochs=2)
    hosting = host(Counts())
    hosting.load_state_dict(saved.state_dict())
    with pytest.raises(LoopError, match=r"2 epochs had ended, and the fit begins with epoch 0.*the trainer's state"):
        engines(hosting).run(Loader(TASK.train), max_epochs=3)
