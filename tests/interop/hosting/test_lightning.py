"""What is Lightning's own: its modules, accumulation, validations inside an epoch, and the ways in which it stops."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from driving import Loader, driver
from driving_lightning import module_of, trainer_of
from five import TASK
from recording import At, Recorder, answering
from torch import Tensor, nn
from torch.optim import LBFGS, SGD

from typedcb import (
    AfterLoss,
    AnyCallback,
    CallbackError,
    CancelEpoch,
    Cancelled,
    CancelTrain,
    Completed,
    LoopError,
    SkipStep,
)
from typedcb.callbacks import AvgStats, GradientClip, SmoothLoss
from typedcb.hosted import check_kind
from typedcb.interop.hosting import BatchFormat
from typedcb.interop.hosts import LIGHTNING_SCALED, LIGHTNING_SEVERAL


@pytest.fixture(autouse=True)
def _installed() -> None:
    driver("lightning")


def host(*callbacks: Any, **options: Any) -> Any:
    driver("lightning")
    return importlib.import_module("typedcb.interop.lightning").host(*callbacks, **options)


def run(module: Any, *callbacks: Any, valid: bool = True, train: Any = None, **options: Any) -> Any:
    """Fits a module, and gives its trainer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = trainer_of(options.pop("max_epochs", 1), *callbacks, **options)
        trainer.fit(module, Loader(TASK.train) if train is None else train, Loader(TASK.valid) if valid else None)
    return trainer


def module(**methods: Any) -> Any:
    """A LightningModule with other methods."""
    made = module_of(TASK, [])
    made.__class__ = type("Mine", (type(made),), methods)
    return made


def test_a_step_that_does_not_call_the_module_is_refused_with_the_way_out() -> None:
    def training_step(self: Any, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self.net(batch[0]), batch[1])

    with pytest.raises(LoopError, match=r"the step did not call the LightningModule itself, self\(xb\).*forward="):
        run(module(training_step=training_step), host(SmoothLoss()), valid=False)
    told = Recorder()
    run(module(training_step=training_step), host(told, forward=lambda mine: mine.net), valid=False)
    assert len(told.of("after_pred")) == len(TASK.train)


def test_a_step_that_calls_the_module_twice_is_refused() -> None:
    def training_step(self: Any, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch[0]) + self(batch[0]), batch[1])

    with pytest.raises(LoopError, match="called the module that predicts 2 times, and a batch has one prediction"):
        run(module(training_step=training_step), host(SmoothLoss()), valid=False)


def test_a_step_may_return_a_dict() -> None:
    def training_step(self: Any, batch: Any, batch_idx: int) -> dict[str, Any]:
        return {"loss": F.cross_entropy(self(batch[0]), batch[1]), "extra": 1}

    outputs: list[Any] = []
    ends = importlib.import_module("lightning") if driver("lightning") else None
    kept = type(
        "Keeps", (ends.Callback,), {"on_train_batch_end": lambda self, t, m, outs, *rest: outputs.append(outs)}
    )()  # type: ignore[union-attr]
    scaled = At("after_loss", lambda event: event.with_loss(event.loss * 0))
    run(module(training_step=training_step), host(scaled), kept, valid=False)
    assert {float(one["loss"]) for one in outputs} == {0.0}
    assert {one["extra"] for one in outputs} == {1}


def test_a_validation_without_a_loss_is_refused_where_somebody_listens() -> None:
    def validation_step(self: Any, batch: Any, batch_idx: int) -> None:
        self(batch[0])

    with pytest.raises(LoopError, match="validation_step returns no loss, and callbacks listen to after_loss"):
        run(module(validation_step=validation_step), host(AvgStats()))
    told = Recorder()

    @dataclass(frozen=True)
    class Preds(AnyCallback):
        def after_batch(self, event: Any, /) -> None:
            told.told.append((event, event))

    run(module(validation_step=validation_step), host(Preds()))
    reached = [type(event.reached).__name__ for event, _ in told.told]
    assert reached == ["AfterStep"] * len(TASK.train) + ["AfterPred"] * len(TASK.valid)


def by_hand(made: Any) -> Any:
    made.automatic_optimization = False
    return made


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: by_hand(module()), "Mine optimizes by hand"),
        (lambda: module(training_step=lambda self, dataloader_iter: None), "training_step takes dataloader_iter"),
        (lambda: module(configure_optimizers=lambda self: LBFGS(self.parameters())), "LBFGS runs a batch several"),
    ],
)
def test_ways_to_train_that_have_no_place_for_callbacks_are_refused(make: Any, words: str) -> None:
    driver("lightning")
    with pytest.raises(LoopError, match=words):
        run(make(), host(SmoothLoss()), valid=False)


def test_over_several_processes_no_callback_decides_alone() -> None:
    check_kind(LIGHTNING_SEVERAL, GradientClip)
    with pytest.raises(CallbackError, match=r"may answer SkipStep.*The other processes would not hear of it"):
        check_kind(LIGHTNING_SEVERAL, Skips)
    with pytest.raises(CallbackError, match="Its scaler has no way back"):
        check_kind(LIGHTNING_SCALED, Skips)


@dataclass(frozen=True)
class Skips(AnyCallback):
    def after_backward(self, event: object, /) -> SkipStep | None:
        return None


def test_batches_of_another_shape_are_taken_apart_and_put_together() -> None:
    def training_step(self: Any, batch: Any, batch_idx: int) -> Tensor:
        seen.append(batch["x"])
        return F.cross_entropy(self(batch["x"]), batch["y"])

    seen: list[Tensor] = []
    dicts: Any = Loader([{"x": xb, "y": yb} for xb, yb in TASK.train])  # type: ignore[misc]
    double = At("begin_batch", lambda event: event.with_batch(event.xb * 2, event.yb))
    layout: Any = BatchFormat(lambda batch: (batch["x"], batch["y"]), lambda xb, yb: {"x": xb, "y": yb})
    run(module(training_step=training_step), host(double, batches=layout), valid=False, train=dicts)
    assert all(torch.equal(mine, xb * 2) for mine, (xb, _) in zip(seen, TASK.train, strict=True))


def test_accumulation_is_lightnings_and_after_step_comes_with_real_steps() -> None:
    told, losses = Recorder(), []
    first = module_of(TASK, losses)
    driver("lightning")
    run(first, accumulate_grad_batches=2, max_epochs=2)
    bare = list(losses)
    losses.clear()
    second = module_of(TASK, losses)
    run(second, host(told), accumulate_grad_batches=2, max_epochs=2)
    assert losses == bare
    assert all(torch.equal(one, other) for one, other in zip(first.parameters(), second.parameters(), strict=True))
    assert [(event.epoch, event.index) for event in told.of("after_step")] == [
        (epoch, index) for epoch in (0, 1) for index in (1, 3, 4)
    ]
    assert len(told.of("after_backward")) == 10
    assert [event.step for event in told.of("begin_batch") if event.phase == "train"] == [0, 0, 1, 1, 2, 3, 3, 4, 4, 5]


def test_a_validation_inside_an_epoch_stands_between_its_batches() -> None:
    told = Recorder()
    run(module(), host(told), val_check_interval=2)
    order = [
        f"{seen.hook} {seen.phase or ''}{'' if seen.index is None else seen.index}".strip()
        for seen in told.seen
        if seen.hook in ("begin_batch", "begin_validate", "after_validate", "after_epoch")
    ]
    one = ["begin_validate", "begin_batch valid0", "begin_batch valid1", "after_validate"]
    train = [f"begin_batch train{index}" for index in range(5)]
    assert order == [*train[:2], *one, *train[2:4], *one, train[4], "after_epoch"]


def test_the_sanity_check_is_no_validation() -> None:
    told = Recorder()
    run(module(), host(told), num_sanity_val_steps=2)
    assert told.hooks[0] == "begin_fit"
    assert told.hooks.count("begin_validate") == 1


def test_an_end_that_lightning_decides_on_is_a_cancel() -> None:
    driver("lightning")
    base: Any = importlib.import_module("lightning").Callback
    stops = type(
        "Stops", (base,), {"on_train_epoch_end": lambda self, trainer, mine: setattr(trainer, "should_stop", True)}
    )()
    told = Recorder()
    hosting = host(told)
    run(module(), hosting, stops, max_epochs=3)
    assert isinstance(hosting.outcome, Cancelled)
    assert "Lightning ended the fit early" in str(hosting.outcome.cancel.reason)
    assert told.hooks.count("begin_epoch") == 1


def test_a_fit_of_steps_knows_its_epochs() -> None:
    told = Recorder()
    hosting = host(told)
    run(module(), hosting, max_epochs=-1, max_steps=7, valid=False)
    assert told.events[0].n_epochs == 2
    assert len(told.of("after_step")) == 7
    assert isinstance(hosting.outcome, Completed)
    with pytest.raises(LoopError, match="knows how long its fit is to be: give the Trainer max_epochs"):
        run(module(), host(Recorder()), max_epochs=-1, max_time="00:00:00:01", valid=False)


def test_a_cancelled_fit_ends_where_min_epochs_would_go_on() -> None:
    told = Recorder()
    hosting = host(told, At("after_batch", answering(CancelTrain("enough")), epoch=0, index=1, phase="train"))
    trainer = run(module(), hosting, max_epochs=4, min_epochs=3)
    assert isinstance(hosting.outcome, Cancelled)
    assert told.hooks.count("begin_batch") == 2
    assert trainer.global_step == 2


def test_an_epoch_that_was_cut_short_is_validated_and_the_settings_are_as_they_were() -> None:
    told = Recorder()
    hosting = host(told, At("after_batch", answering(CancelEpoch()), epoch=0, index=1, phase="train"))
    trainer = run(module(), hosting, max_epochs=2, min_epochs=2)
    counts = [event.epoch for event in told.of("begin_batch") if event.phase == "train"]
    assert counts == [0] * 2 + [1] * 5
    assert [event.epoch for event in told.of("after_validate")] == [0, 1]
    assert trainer.val_check_batch == len(TASK.train)
    assert trainer.limit_val_batches == 1.0


def test_the_module_is_as_it_was_after_the_fit() -> None:
    made = module()
    before = dict(vars(made))
    run(made, host(SmoothLoss()))
    assert not {name for name in vars(made) if name.endswith(("_step", "_grad", "forward"))} - set(before)
    assert "training_step" not in vars(made)


def test_gradients_are_not_kept_where_nobody_asks() -> None:
    class Counts(SGD):
        zeroed = 0

        def zero_grad(self, set_to_none: bool = True) -> None:
            Counts.zeroed += 1
            super().zero_grad(set_to_none)

    made = module(configure_optimizers=lambda self: Counts(self.parameters(), lr=0.1))
    run(made, host(SmoothLoss()), valid=False)
    assert Counts.zeroed == len(TASK.train)


def test_a_validation_outside_of_a_fit_is_none_of_the_callbacks() -> None:
    told = Recorder()
    hosting = host(told)
    driver("lightning")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer_of(1, hosting).validate(module(), Loader(TASK.valid), verbose=False)
    assert told.hooks == []


def test_a_loss_that_is_replaced_is_what_backward_runs_on() -> None:
    seen: list[Tensor] = []

    def zero(event: AfterLoss[Any, Any, Any]) -> Any:
        return event.with_loss(event.loss * 0)

    made: nn.Module = module()
    before = [weight.detach().clone() for weight in made.parameters()]
    run(made, host(At("after_loss", zero), At("after_backward", lambda event: seen.append(event.loss))), valid=False)
    assert all(torch.equal(one, other) for one, other in zip(before, made.parameters(), strict=True))
    assert {float(loss) for loss in seen} == {0.0}
