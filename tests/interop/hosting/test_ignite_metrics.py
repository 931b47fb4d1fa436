"""Ignite's own metrics beside callbacks that cancel batches."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from driving import Loader, driver
from five import TASK
from recording import At, answering

from typedcb import CancelBatch, CancelEpoch, SkipValidate

N = len(TASK.train)
N_VALID = len(TASK.valid)


@pytest.fixture(autouse=True)
def _installed() -> None:
    driver("ignite")


def engines(*callbacks: Any) -> tuple[Any, Any]:
    """A trainer and its evaluator, which runs as each epoch ends; both quiet."""
    from ignite.engine import Events  # noqa: PLC0415

    hosting = importlib.import_module("typedcb.interop.ignite").host(*callbacks)
    model = TASK.model()
    trainer = hosting.trainer(model, TASK.opt(model.parameters()), TASK.loss)
    evaluator = hosting.evaluator()
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(Loader(TASK.valid)))
    trainer.logger.disabled = evaluator.logger.disabled = True
    return trainer, evaluator


def metrics(name: str) -> Any:
    return getattr(importlib.import_module("ignite.metrics"), name)


def cancels(hook: str = "begin_batch", **where: Any) -> At:
    return At(hook, answering(CancelBatch("a test")), **where)


def outputs_of(engine: Any) -> list[Any]:
    """The outputs of an engine, of each batch."""
    from ignite.engine import Events  # noqa: PLC0415

    outputs: list[Any] = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: outputs.append(engine.state.output))
    return outputs


@pytest.mark.parametrize("hook", ["begin_batch", "after_pred", "after_loss", "after_backward", "after_step"])
@pytest.mark.parametrize("index", [0, 2, N - 1])
def test_a_batch_that_is_cancelled_is_counted_by_no_metric_of_ignites(hook: str, index: int) -> None:
    trainer, _ = engines(cancels(hook, index=index, phase="train"))
    metrics("Average")(output_transform=lambda loss: loss).attach(trainer, "average")
    metrics("RunningAverage")(output_transform=lambda loss: loss, alpha=0.5).attach(trainer, "running")
    outputs = outputs_of(trainer)
    trainer.run(Loader(TASK.train))
    assert len(outputs) == N, "all others hear of it"
    assert (outputs[index] is None) == (hook in ("begin_batch", "after_pred"))
    counted = [loss for i, loss in enumerate(outputs) if i != index]
    assert trainer.state.metrics["average"] == pytest.approx(sum(counted) / len(counted))
    running = counted[0]
    for loss in counted[1:]:
        running = 0.5 * running + 0.5 * loss
    assert trainer.state.metrics["running"] == pytest.approx(running)


@pytest.mark.parametrize("hook", ["begin_batch", "after_pred", "after_loss"])
@pytest.mark.parametrize("index", [0, N_VALID - 1])
def test_a_batch_that_is_cancelled_in_validation_is_counted_by_no_metric_of_ignites(hook: str, index: int) -> None:
    trainer, evaluator = engines(cancels(hook, index=index, phase="valid"))
    metrics("Loss")(TASK.loss).attach(evaluator, "loss")
    outputs = outputs_of(evaluator)
    trainer.run(Loader(TASK.train))
    assert len(outputs) == N_VALID
    counted = [parts for i, parts in enumerate(outputs) if i != index]
    samples = sum(len(yb) for _, yb in counted)
    expected = sum(float(TASK.loss(pred, yb)) * len(yb) for pred, yb in counted) / samples
    assert evaluator.state.metrics["loss"] == pytest.approx(expected)


@pytest.mark.parametrize("phase", ["train", "valid"])
def test_an_epoch_whose_batches_were_all_cancelled_leaves_the_metrics_as_they_were(phase: str) -> None:
    trainer, evaluator = engines(cancels(epoch=1, phase=phase))
    engine = trainer if phase == "train" else evaluator
    transform = (lambda loss: loss) if phase == "train" else (lambda parts: parts[0].mean().item())
    metrics("Average")(output_transform=transform).attach(engine, "average")
    from ignite.engine import Events  # noqa: PLC0415

    seen: list[float] = []
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: seen.append(engine.state.metrics["average"]))
    trainer.run(Loader(TASK.train), max_epochs=3)
    first, second, third = seen
    assert first == second != third


def test_a_validation_that_a_callback_skips_leaves_the_metrics_as_they_were() -> None:
    trainer, evaluator = engines(At("begin_validate", answering(SkipValidate()), epoch=1))
    metrics("Average")(output_transform=lambda parts: parts[0].mean().item()).attach(evaluator, "average")
    seen: list[float] = []
    from ignite.engine import Events  # noqa: PLC0415

    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: seen.append(evaluator.state.metrics["average"]))
    trainer.run(Loader(TASK.train), max_epochs=3)
    first, second, third = seen
    assert first == second != third


def test_a_first_epoch_whose_batches_were_all_cancelled_leaves_the_next_ones_metrics_whole() -> None:
    trainer, _ = engines(cancels(epoch=0, phase="train"))
    metrics("Average")(output_transform=lambda loss: loss).attach(trainer, "average")
    outputs = outputs_of(trainer)
    trainer.run(Loader(TASK.train), max_epochs=2)
    assert outputs[:N] == [None] * N
    assert trainer.state.metrics["average"] == pytest.approx(sum(outputs[N:]) / N)


def test_an_epoch_that_is_cancelled_with_its_first_batch_leaves_the_metrics_out() -> None:
    trainer, _ = engines(At("begin_batch", answering(CancelEpoch("a test")), epoch=0, phase="train"))
    metrics("Average")(output_transform=lambda loss: loss).attach(trainer, "average")
    outputs = outputs_of(trainer)
    trainer.run(Loader(TASK.train), max_epochs=2)
    assert len(outputs) == 1 + N
    assert trainer.state.metrics["average"] == pytest.approx(sum(outputs[1:]) / N)


def test_metrics_of_some_batches_and_stores_of_outputs_leave_a_cancelled_batch_out_too() -> None:
    trainer, _ = engines(cancels(index=1, phase="train"))
    store = importlib.import_module("ignite.handlers").EpochOutputStore()
    store.attach(trainer)
    every_second = importlib.import_module("ignite.metrics.metric").BatchFiltered(every=2)
    metrics("Average")(output_transform=lambda loss: loss).attach(trainer, "average", usage=every_second)
    outputs = outputs_of(trainer)
    trainer.run(Loader(TASK.train))
    counted = [outputs[i] for i in range(1, N, 2) if i != 1]
    assert trainer.state.metrics["average"] == pytest.approx(sum(counted) / len(counted))
    assert store.data == [loss for i, loss in enumerate(outputs) if i != 1]


def test_what_handlers_attach_and_detach_at_a_cancelled_batch_holds() -> None:
    from ignite.engine import Events  # noqa: PLC0415

    trainer, _ = engines(cancels(index=1, phase="train"))
    average = metrics("Average")(output_transform=lambda loss: loss)
    late: list[int] = []

    def change(engine: Any) -> None:
        if engine.state.iteration == 2:
            assert average.is_attached(engine)
            average.detach(engine)
            engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: late.append(engine.state.iteration))

    trainer.add_event_handler(Events.ITERATION_COMPLETED, change)
    average.attach(trainer, "average")
    running = metrics("RunningAverage")(output_transform=lambda loss: loss)
    running.attach(trainer, "running")
    trainer.run(Loader(TASK.train))
    assert "average" not in trainer.state.metrics
    assert late[-1] == N
    assert running.is_attached(trainer, usage="running_batch_wise")


def test_after_an_error_at_a_cancelled_batch_the_metrics_are_attached_as_before() -> None:
    from ignite.engine import Events  # noqa: PLC0415

    trainer, _ = engines(cancels(index=0, phase="train"))
    average = metrics("Average")(output_transform=lambda loss: loss)
    average.attach(trainer, "average")

    def fail() -> None:
        raise RuntimeError("a handler's own")

    trainer.add_event_handler(Events.ITERATION_COMPLETED, fail)
    handlers = vars(trainer)["_event_handlers"]
    before = list(handlers[Events.ITERATION_COMPLETED])
    with pytest.raises(RuntimeError, match="a handler's own"):
        trainer.run(Loader(TASK.train))
    assert handlers[Events.ITERATION_COMPLETED] == before
