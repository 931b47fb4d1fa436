"""What is Lightning's own: its modules, accumulation, validations inside an epoch, and the ways in which it stops."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, ClassVar

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
    CancelBatch,
    CancelEpoch,
    Cancelled,
    CancelTrain,
    Cell,
    Completed,
    LoopError,
    Phase,
    SkipStep,
    cell,
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
        (lambda: module(configure_optimizers=lambda self: LBFGS(self.parameters())), r"LBFGS\.step wants closure"),
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


HOOKS = (
    "on_train_batch_start", "on_before_zero_grad", "on_before_backward", "on_after_backward",
    "on_before_optimizer_step", "on_train_batch_end", "on_validation_batch_start", "on_validation_batch_end",
)  # fmt: skip


@dataclass(frozen=True)
class Taken(AnyCallback):
    """Writes down which of Lightning's hooks are taken, in the fourth batch."""

    phases: ClassVar[tuple[Phase, ...]] = ("train",)

    hosting: Any  # called for what hosts it
    taken: Cell[tuple[str, ...]] = cell(())

    def after_loss(self, event: Any, /) -> None:
        if event.index == 3:
            self.taken.value = tuple(name for name in HOOKS if getattr(self.hosting(), name) is not None)


def test_a_hook_of_lightnings_that_nobody_needs_is_passed_over_while_the_fit_runs() -> None:
    def run_with(*others: Any) -> list[str]:
        hosting = host(Taken(lambda: hosting), *others)
        run(module(), hosting, valid=False)
        assert all(callable(getattr(hosting, name)) for name in HOOKS), "afterwards all are there"
        return list(hosting.get(Taken).taken.value)

    assert run_with() == []
    assert run_with(partial(GradientClip, clip=0.1)) == ["on_before_optimizer_step"]
    every = ["on_train_batch_start", "on_before_optimizer_step", "on_train_batch_end"]
    assert run_with(Recorder()) == [*every, "on_validation_batch_start", "on_validation_batch_end"]
    assert run_with(At("begin_batch", answering(CancelBatch()), index=1)) == run_with(Recorder())


def test_where_nobody_listens_to_batches_the_steps_are_the_modules_own() -> None:
    def training_step(self: Any, batch: Any, batch_idx: int) -> Tensor:
        assert not {"training_step", "optimizer_step", "forward", "validation_step"} & set(vars(self))
        return F.cross_entropy(self.net(batch[0]), batch[1])  # no call of self, and nobody asks for one

    ends = Epochs()
    hosting = host(ends)
    run(module(training_step=training_step), hosting, max_epochs=2)
    assert ends.ended.value == 2
    assert (
        hosting.state_dict()["typedcb"].startswith('["dict",[["steps",10]')
        or '"steps",10' in hosting.state_dict()["typedcb"]
    )


@dataclass(frozen=True)
class Epochs(AnyCallback):
    ended: Cell[int] = cell(0)

    def after_epoch(self, event: object, /) -> None:
        self.ended.value += 1


@pytest.mark.parametrize("callback", [Epochs, SmoothLoss])
def test_an_error_has_its_place_whatever_is_listened_to(callback: Any) -> None:
    def training_step(self: Any, batch: Any, batch_idx: int) -> Tensor:
        if batch_idx == 3:
            raise ValueError("in the step")
        return F.cross_entropy(self(batch[0]), batch[1])

    with pytest.raises(ValueError, match="in the step") as raised:
        run(module(training_step=training_step), host(callback()), valid=False)
    assert raised.value.__notes__ == ["typedcb: in epoch 0, batch 3, train"]

    class Broken(Loader):
        def __iter__(self) -> Any:
            yield TASK.train[0]
            raise ValueError("in the loader")

    with pytest.raises(ValueError, match="in the loader") as raised:
        run(module(), host(callback()), valid=False, train=Broken(TASK.train))
    assert not hasattr(raised.value, "__notes__"), "between two batches is in none"


@pytest.mark.parametrize("callback", [SmoothLoss, Recorder])
def test_the_modules_own_hooks_are_called(callback: Any) -> None:
    called: list[Any] = []

    def on_train_batch_start(self: Any, batch: Any, batch_idx: int) -> int:
        called.append(("start", batch_idx))
        return -1 if self.current_epoch == 0 and batch_idx == 2 else 0  # by which Lightning ends the epoch

    def on_train_batch_end(self: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        called.append(("end", batch_idx))

    def on_after_backward(self: Any) -> None:
        called.append("backward")

    def on_validation_batch_end(self: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        called.append(("validated", batch_idx))

    made = module(
        on_train_batch_start=on_train_batch_start,
        on_train_batch_end=on_train_batch_end,
        on_after_backward=on_after_backward,
        on_validation_batch_end=on_validation_batch_end,
    )
    run(made, host(callback()), num_sanity_val_steps=0, max_epochs=2)
    batches = [[("start", index), "backward", ("end", index)] for index in range(len(TASK.train))]
    assert called == [*chain(*batches[:2]), ("start", 2), *chain(*batches), ("validated", 0), ("validated", 1)]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_batchs_end_tells_how_far_it_came_though_nobody_listened_to_backward(accumulate: int) -> None:
    reached: list[str] = []

    @dataclass(frozen=True)
    class Ends(AnyCallback):
        def after_batch(self, event: Any, /) -> None:
            reached.append(type(event.reached).__name__)

    class Breaks(SGD):
        def step(self, closure: Any = None) -> Any:
            closure()
            raise ValueError("in the step")

    with pytest.raises(ValueError, match="in the step"):
        run(
            module(configure_optimizers=lambda self: Breaks(self.parameters(), lr=0.1)), host(Ends()), valid=False,
            accumulate_grad_batches=accumulate,
        )  # fmt: skip
    assert reached == ["AfterBackward"] * accumulate
    reached.clear()
    run(module(), host(Ends()), valid=False)
    assert reached == ["AfterStep"] * len(TASK.train)


def test_a_step_that_returns_none_changes_nothing() -> None:
    def training_step(self: Any, batch: Any, batch_idx: int) -> Any:
        loss = F.cross_entropy(self(batch[0]), batch[1])
        return None if batch_idx % 2 else loss

    told = Recorder()
    bare, hosted = module(training_step=training_step), module(training_step=training_step)
    run(bare, valid=False)
    smooth = SmoothLoss()
    run(hosted, host(smooth), valid=False)
    assert smooth.count.value == 3
    assert all(torch.equal(one, other) for one, other in zip(bare.parameters(), hosted.parameters(), strict=True))
    run(module(training_step=training_step), host(told), valid=False)
    assert [event.index for event in told.of("after_step")] == [0, 2, 4]


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
