"""What is Hugging Face's own: its mixin, accumulation, models that compute their loss, and validations by steps."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from driving import driver
from driving_transformers import PAIRED, losses_of, trainer_of
from five import TASK
from recording import At, Recorder, answering
from torch import Tensor
from torch.optim import LBFGS

from typedcb import (
    AnyCallback,
    BatchError,
    CallbackError,
    CancelBatch,
    CancelEpoch,
    Cancelled,
    CancelTrain,
    Completed,
    LoopError,
    SkipStep,
    SkipValidate,
)
from typedcb.callbacks import AvgStats, SmoothLoss, accuracy
from typedcb.hosted import check_kind
from typedcb.interop.hosts import TRANSFORMERS_SEVERAL


@pytest.fixture(autouse=True)
def _installed() -> None:
    driver("transformers")


def adapter() -> Any:
    return importlib.import_module("typedcb.interop.transformers")


def host(*callbacks: Any, **options: Any) -> Any:
    return adapter().host(*callbacks, **{"batches": PAIRED, **options})


@dataclass(frozen=True)
class Ends(AnyCallback):
    def after_fit(self, event: object, /) -> None: ...


@dataclass(frozen=True)
class Skips(AnyCallback):
    def after_backward(self, event: object, /) -> SkipStep | None:
        return None


@pytest.mark.parametrize(("callback", "hook"), [(SmoothLoss(), "after_loss"), (Ends(), "after_fit")])
def test_a_trainer_without_the_mixin_is_refused_what_it_cannot_do(callback: Any, hook: str) -> None:
    trainer = trainer_of(TASK, host(callback), mixin=False)
    with pytest.raises(CallbackError, match=rf"{hook} would never be called: .*Train by TypedTrainer"):
        trainer.train()
    assert trainer.state.global_step == 0


def test_without_typed_callbacks_the_mixin_is_the_trainer_itself() -> None:
    first, second = trainer_of(TASK), trainer_of(TASK, mixin=False)
    first.train()
    second.train()
    assert losses_of(first) == losses_of(second)


@pytest.mark.parametrize("name", ["training_step", "prediction_step", "evaluation_loop", "_run_epoch"])
def test_a_step_that_hides_ours_is_refused(name: str) -> None:
    base = type("Mine", (adapter().TypedTrainer,), {name: lambda self, *args, **kwargs: None})
    with pytest.raises(CallbackError, match=rf"Quiet\.{name} hides that of TypedTrainer"):
        trainer_of(TASK, host(SmoothLoss()), base=base).train()


def test_two_hosts_in_one_trainer_are_refused() -> None:
    with pytest.raises(CallbackError, match=r"several host\(\.\.\.\)"):
        trainer_of(TASK, host(SmoothLoss()), host(SmoothLoss())).train()


def test_ways_to_train_that_have_no_place_for_callbacks_are_refused() -> None:
    with pytest.raises(LoopError, match=r"LBFGS\.step wants closure"):
        trainer_of(TASK.count(opt=LBFGS), host(SmoothLoss())).train()
    with pytest.raises(LoopError, match="auto_find_batch_size begins a fit again"):
        trainer_of(TASK, host(SmoothLoss()), auto_find_batch_size=True).train()


def test_over_several_processes_no_callback_decides_alone() -> None:
    with pytest.raises(CallbackError, match=r"may answer SkipStep.*The other processes would not hear of it"):
        check_kind(TRANSFORMERS_SEVERAL, Skips)


def test_a_trainer_that_goes_by_what_it_measures_skips_no_validation() -> None:
    @dataclass(frozen=True)
    class Lazy(AnyCallback):
        def begin_validate(self, event: object, /) -> SkipValidate | None:
            return None

    trainer = trainer_of(TASK, host(Lazy()), metric_for_best_model="loss")
    with pytest.raises(CallbackError, match=r"Lazy\.begin_validate may answer SkipValidate.*for metric_for_best_model"):
        trainer.train()
    trainer_of(TASK, host(Lazy())).train()


def test_accumulation_is_the_trainers_and_after_step_comes_with_real_steps() -> None:
    told = Recorder()
    bare, hosted = (trainer_of(TASK, *cbs, gradient_accumulation_steps=2) for cbs in ([], [host(told)]))
    bare.train()
    hosted.train()
    assert losses_of(hosted) == losses_of(bare)
    assert all(torch.equal(a, b) for a, b in zip(bare.model.parameters(), hosted.model.parameters(), strict=True))
    steps = [(event.epoch, event.index) for event in told.of("after_step")]
    assert steps == [(epoch, index) for epoch in range(3) for index in (1, 3, 4)]
    assert len(told.of("after_backward")) == 15
    train = [event.step for event in told.of("begin_batch") if event.phase == "train"]
    assert train == [0, 0, 1, 1, 2, 3, 3, 4, 4, 5, 6, 6, 7, 7, 8]


def test_a_skipped_step_leaves_clipping_and_the_schedule_alone() -> None:
    rates: list[float] = []
    grads: list[Tensor] = []

    def look(event: Any) -> SkipStep:
        weight = next(iter(trainer.model.parameters()))
        grads.append(weight.grad.clone())
        return SkipStep()

    hosting = host(At("after_backward", look, epoch=0, index=0), At("begin_batch", lambda e: rates.append(rate())))

    def rate() -> float:
        return float(trainer.optimizer.param_groups[0]["lr"])

    trainer = trainer_of(
        TASK.count(n_epochs=1, valid=[]), hosting, max_grad_norm=1e-3, lr_scheduler_type="linear"
    )  # the gradient that stays is the whole one
    trainer.train()
    assert rates == pytest.approx([0.1, 0.1, 0.08, 0.06, 0.04])
    assert grads[0].norm() > 2e-3


def test_a_validation_inside_an_epoch_stands_between_its_batches() -> None:
    told = Recorder()
    trainer_of(TASK.count(n_epochs=1), host(told), eval_strategy="steps", eval_steps=2).train()
    order = [
        f"{seen.hook} {seen.phase or ''}{'' if seen.index is None else seen.index}".strip()
        for seen in told.seen
        if seen.hook in ("begin_batch", "begin_validate", "after_validate", "after_epoch")
    ]
    one = ["begin_validate", "begin_batch valid0", "begin_batch valid1", "after_validate"]
    train = [f"begin_batch train{index}" for index in range(5)]
    assert order == [*train[:2], *one, *train[2:4], *one, train[4], *one, "after_epoch"]


def test_an_evaluation_before_the_first_epoch_and_one_after_the_fit_are_none_of_the_callbacks() -> None:
    told = Recorder()
    trainer = trainer_of(TASK, host(told), eval_on_start=True)
    trainer.train()
    assert told.hooks.count("begin_validate") == TASK.n_epochs
    before = len(told.hooks)
    assert trainer.evaluate()["eval_loss"] > 0
    assert len(told.hooks) == before


def test_an_evaluation_by_somebody_else_in_the_middle_of_a_fit_is_none_of_the_callbacks() -> None:
    transformers: Any = importlib.import_module("transformers")
    told = Recorder()

    class Looks(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            trainer.evaluate()

    bare = trainer_of(TASK)
    bare.train()
    trainer = trainer_of(TASK, Looks(), host(told))
    trainer.train()
    assert told.hooks.count("begin_validate") == TASK.n_epochs
    losses = [event.loss.item() for event in told.of("after_loss") if event.phase == "train"]
    assert losses == losses_of(bare)
    assert len(told.of("after_pred")) == 3 * 7


def test_what_a_model_returns_is_taken_apart() -> None:
    stats = AvgStats(accuracy)
    own, theirs = trainer_of(TASK, host(stats), own_loss=True), trainer_of(TASK)
    own.train()
    theirs.train()
    assert losses_of(own) == losses_of(theirs)
    assert stats.valid_loss.value == pytest.approx(own.state.log_history[-2]["eval_loss"])

    doubled = At("after_pred", lambda event: event.with_pred(event.pred * 2))
    with pytest.raises(CallbackError, match=r"At\.after_pred may answer AfterPred.*give the Trainer compute_loss_func"):
        trainer_of(TASK, host(doubled), own_loss=True).train()


def test_a_batch_or_an_output_of_another_shape_says_what_to_do() -> None:
    with pytest.raises(BatchError, match=r"a batch is a tuple without labels.*BatchFormat"):
        adapter().LABELLED.split((1, 2))
    assert adapter().LABELLED.split({"ids": 1, "labels": 2}) == ({"ids": 1}, 2)
    assert adapter().LABELLED.join({"ids": 1}, 3) == {"ids": 1, "labels": 3}
    with pytest.raises(LoopError, match=r"the model returns a list without logits.*OutputFormat"):
        adapter().LOGITS.take([1])
    assert adapter().LOGITS.put({"loss": 1, "logits": 2}, 3) == {"loss": 1, "logits": 3}


def test_a_validation_batch_without_a_loss_is_refused_where_somebody_listens() -> None:
    with pytest.raises(LoopError, match="prediction_step computed no loss by compute_loss"):
        trainer_of(TASK, host(AvgStats()), label_names=["nothing"]).train()
    trainer_of(TASK, host(SmoothLoss()), label_names=["nothing"]).train()  # it listens in training alone


def test_a_fit_of_steps_knows_its_epochs() -> None:
    told = Recorder()
    hosting = host(told)
    trainer_of(TASK, hosting, max_steps=7).train()
    assert told.events[0].n_epochs == 2
    assert len(told.of("after_step")) == 7
    assert isinstance(hosting.outcome, Completed)


def test_an_end_that_the_trainer_decides_on_is_a_cancel() -> None:
    transformers: Any = importlib.import_module("transformers")

    class Stops(transformers.TrainerCallback):  # type: ignore[misc]
        def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = True

    told = Recorder()
    hosting = host(told)
    trainer_of(TASK, Stops(), hosting).train()
    assert isinstance(hosting.outcome, Cancelled)
    assert "should_training_stop was set" in hosting.outcome.cancel.reason
    assert told.hooks.count("after_epoch") == 1


@pytest.mark.parametrize("epoch", [0, 2])
def test_an_epoch_that_is_left_out_has_no_batch_and_no_validation(epoch: int) -> None:
    told = Recorder()
    hosting = host(told, At("begin_epoch", answering(CancelEpoch()), epoch=epoch))
    trainer = trainer_of(TASK, hosting)
    trainer.train()
    assert trainer.state.global_step == 10
    assert isinstance(hosting.outcome, Completed)
    assert told.hooks.count("begin_validate") == 2


def test_a_cancelled_fit_does_not_validate() -> None:
    told = Recorder()
    hosting = host(told, At("after_batch", answering(CancelTrain("enough")), epoch=1, index=1, phase="train"))
    trainer = trainer_of(TASK, hosting)
    trainer.train()
    assert trainer.state.global_step == 7
    assert sum("eval_loss" in entry for entry in trainer.state.log_history) == 1


def test_the_trainer_and_its_parts_are_as_they_were_after_the_fit() -> None:
    trainer = trainer_of(TASK, host(At("begin_batch", answering(CancelBatch()), index=1)))
    trainer.train()
    assert "compute_loss" not in vars(trainer)
    assert "zero_grad" not in vars(trainer.model)
    assert not [name for name in vars(trainer) if name.startswith("_typedcb")]
    assert trainer.compute_loss_func.__name__ == "<lambda>"


WRAPPED = ("compute_loss", "training_step", "_prepare_inputs", "_clip_grad_norm")


def wrapped_in(callback: Any, task: Any = TASK) -> set[str]:
    """What of a Trainer and its optimizer is wrapped as a training batch ends."""
    transformers: Any = importlib.import_module("transformers")
    found: set[str] = set()

    class Looks(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            found.update(name for name in WRAPPED if name in vars(trainer))
            found.update({"zero_grad"} & set(vars(trainer.model)))
            if "typedcb" in trainer.optimizer.step.__code__.co_filename:  # torch's schedules wrap it too
                found.add("step")

    trainer = trainer_of(task, Looks(), host(callback))
    trainer.train()
    return found


@dataclass(frozen=True)
class Epochs(AnyCallback):
    def after_epoch(self, event: object, /) -> None: ...


@dataclass(frozen=True)
class Steps(AnyCallback):
    def after_step(self, event: object, /) -> None: ...


@dataclass(frozen=True)
class Raises(AnyCallback):
    """Cancels a batch in a way that no return type shows."""

    def after_loss(self, event: Any, /) -> None:
        if event.index == 1 and event.phase == "train":
            raise CancelBatch


def test_a_batch_goes_through_what_somebody_listens_to_and_through_no_more() -> None:
    assert wrapped_in(Epochs()) == set()
    assert wrapped_in(SmoothLoss()) == {"compute_loss"}
    assert wrapped_in(Skips()) == {"compute_loss", "training_step"}
    assert wrapped_in(Steps()) == {"compute_loss", "step"}
    assert wrapped_in(Raises()) == {"compute_loss", "step", "zero_grad", "_clip_grad_norm"}


@pytest.mark.parametrize("options", [{}, {"gradient_accumulation_steps": 2}])
def test_a_batch_that_is_cancelled_without_a_word_of_it_before_is_left_alone_too(options: Any) -> None:
    told = Recorder()
    silent, heard = (trainer_of(TASK, host(Raises(), *more), **options) for more in ((), (told,)))
    silent.train()
    heard.train()
    assert losses_of(silent) == losses_of(heard)
    assert all(torch.equal(a, b) for a, b in zip(silent.model.parameters(), heard.model.parameters(), strict=True))
    assert not {event.index for event in told.of("after_backward")} & {1}
    assert silent.optimizer.step_was_skipped is False
    if not options:
        assert losses_of(silent)[1] == 0


def test_a_training_step_behind_the_mixin_is_run_and_left_as_the_trainers_own() -> None:
    transformers: Any = importlib.import_module("transformers")
    ended: list[float] = []

    class Mine(transformers.Trainer):  # type: ignore[misc]
        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            loss = super().training_step(*args, **kwargs)
            ended.append(loss.item())
            return loss

    base = type("Typed", (adapter().TypedTrainer, Mine), {})
    mine, plain = trainer_of(TASK, host(Raises()), base=base), trainer_of(TASK, host(Raises()))
    mine.train()
    plain.train()
    assert losses_of(mine) == losses_of(plain)
    assert len(ended) == 15 - 3


def test_a_training_step_that_computes_no_loss_is_refused_where_somebody_listens() -> None:
    transformers: Any = importlib.import_module("transformers")

    class Mine(transformers.Trainer):  # type: ignore[misc]
        def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
            loss = TASK.loss(model(inputs["xb"]), inputs["labels"])
            loss.backward()
            return loss.detach()

    base = type("Typed", (adapter().TypedTrainer, Mine), {})
    with pytest.raises(LoopError, match="training_step computed no loss by compute_loss"):
        trainer_of(TASK, host(SmoothLoss()), base=base).train()
    trainer_of(TASK, host(Epochs()), base=base).train()


def test_a_typed_callback_that_is_not_hosted_is_refused_where_it_is_handed_over() -> None:
    says = (
        r"SmoothLoss is a typed callback, and the Trainer has callbacks of its own: host it, by callbacks=\[host\(Smoo"
    )
    with pytest.raises(CallbackError, match=says):
        trainer_of(TASK, SmoothLoss())
    with pytest.raises(CallbackError, match=says):
        trainer_of(TASK).add_callback(SmoothLoss())
