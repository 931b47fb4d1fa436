"""TorchScheduler: the learning rates of torch's schedulers, driven by hand beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from recorded import Net, batches, flat, learner
from torch import Tensor, nn
from torch.optim import SGD, Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from typedcb import AnyCallback, BatchEvent, CancelBatch, Loop, SkipStep
from typedcb.callbacks import LR, Recorder, TorchScheduler

Factory = Callable[[Optimizer], LRScheduler]

FACTORIES: dict[str, Factory] = {
    "StepLR": partial(lr_scheduler.StepLR, step_size=3, gamma=0.5),
    "MultiStepLR": partial(lr_scheduler.MultiStepLR, milestones=[2, 5], gamma=0.1),
    "ExponentialLR": partial(lr_scheduler.ExponentialLR, gamma=0.9),
    "LinearLR": partial(lr_scheduler.LinearLR, total_iters=5),
    "LambdaLR": partial(lr_scheduler.LambdaLR, lr_lambda=lambda step: 1 / (1 + step)),
    "CosineAnnealingLR": partial(lr_scheduler.CosineAnnealingLR, T_max=8),
    "CosineAnnealingWarmRestarts": partial(lr_scheduler.CosineAnnealingWarmRestarts, T_0=3),
    "CyclicLR": partial(lr_scheduler.CyclicLR, base_lr=0.01, max_lr=0.1, step_size_up=2, cycle_momentum=False),
    "OneCycleLR": partial(lr_scheduler.OneCycleLR, max_lr=0.5, total_steps=9, cycle_momentum=False),
    "SequentialLR": lambda opt: lr_scheduler.SequentialLR(
        opt, [lr_scheduler.ConstantLR(opt, 0.1, 3), lr_scheduler.ExponentialLR(opt, 0.9)], milestones=[3]
    ),
}


def by_hand(factory: Factory, steps: int, *, lr: float = 0.1) -> list[float]:
    """The learning rates of a loop without callbacks, one a step."""
    opt = SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler, lrs = factory(opt), []
    for _ in range(steps):
        lrs.append(LR.read(opt.param_groups[0]))
        opt.step()
        scheduler.step()
    return lrs


def scheduled(factory: Factory, every: Any, *cbs: Any) -> tuple[Net, Recorder]:
    learn = learner(*cbs)
    learn.add(TorchScheduler, factory, every)
    return learn, learn.add(Recorder)


def lrs(recorder: Recorder) -> list[float]:
    return [lr for (lr,) in recorder.params]


@pytest.mark.parametrize("name", FACTORIES)
def test_by_batch_it_is_the_scheduler_driven_by_hand(name: str) -> None:
    learn, recorder = scheduled(FACTORIES[name], "batch")
    learn.fit(2)
    assert lrs(recorder) == by_hand(FACTORIES[name], 8)


@pytest.mark.parametrize("name", FACTORIES)
def test_by_epoch_it_is_the_scheduler_driven_by_hand(name: str) -> None:
    learn, recorder = scheduled(FACTORIES[name], "epoch")
    learn.fit(8)
    assert lrs(recorder) == [lr for lr in by_hand(FACTORIES[name], 8) for _ in range(4)]


@pytest.mark.parametrize("every", ["batch", "epoch"])
@pytest.mark.parametrize("name", FACTORIES)
def test_a_second_fit_runs_the_same_schedule_anew(name: str, every: Any) -> None:
    learn, recorder = scheduled(FACTORIES[name], every)
    learn.fit(2)
    first = lrs(recorder)
    assert learn.opt.param_groups[0]["lr"] == 0.1
    learn.fit(2)
    assert lrs(recorder) == first


def test_a_learning_rate_set_between_fits_is_where_the_next_begins() -> None:
    learn, recorder = scheduled(FACTORIES["LambdaLR"], "batch")
    learn.fit(1)
    learn.opt.param_groups[0]["lr"] = 0.6
    learn.fit(1)
    assert lrs(recorder) == pytest.approx([0.6, 0.3, 0.2, 0.15])


@dataclass(frozen=True)
class Refuse(AnyCallback):
    """Lets no step be taken in some batches."""

    answer: SkipStep | CancelBatch
    batches: tuple[tuple[int, int], ...]

    def after_backward(self, event: BatchEvent) -> SkipStep | CancelBatch | None:
        return self.answer if (event.epoch, event.index) in self.batches else None


@pytest.mark.parametrize("answer", [SkipStep(), CancelBatch()])
def test_a_batch_without_a_step_of_the_optimizer_does_not_count(answer: Any) -> None:
    learn, recorder = scheduled(FACTORIES["ExponentialLR"], "batch", Refuse(answer, ((0, 0), (0, 2))))
    learn.fit(1)
    by_step = by_hand(FACTORIES["ExponentialLR"], 3)
    assert lrs(recorder) == [by_step[0], by_step[0], by_step[1], by_step[1]]


def test_an_epoch_without_a_step_of_the_optimizer_does_not_count() -> None:
    refuse = Refuse(SkipStep(), tuple((0, index) for index in range(4)))
    learn, recorder = scheduled(FACTORIES["ExponentialLR"], "epoch", refuse)
    learn.fit(3)
    assert lrs(recorder)[::4] == [0.1, *by_hand(FACTORIES["ExponentialLR"], 2)]


@pytest.mark.parametrize("name", FACTORIES)
def test_a_fit_that_is_taken_up_goes_on_where_it_was(name: str) -> None:
    learn = learner()
    learn.opt.param_groups[0]["lr"] = 0.7  # whatever the schedule had come to
    schedule, seen = TorchScheduler(learn, FACTORIES[name], "epoch"), []
    with Loop[Tensor, Tensor, Tensor]([schedule]).fit(8, start_epoch=3) as fit:
        schedule.steps.value, schedule.base_lrs.value = 3, (0.1,)
        for epoch in fit.epochs():
            seen.append(LR.read(learn.opt.param_groups[0]))
            for batch in epoch.train(batches()[:1]):
                out = batch.pred(learn.model(batch.xb))
                out.loss(learn.loss_func(out.pred, batch.yb)).backward().step(learn.opt)
    assert seen == by_hand(FACTORIES[name], 8)[3:]


def test_two_side_by_side_multiply() -> None:
    learn, recorder = scheduled(FACTORIES["ExponentialLR"], "batch")
    learn.add(TorchScheduler, partial(lr_scheduler.ExponentialLR, gamma=0.5), "epoch")
    learn.fit(2)
    assert lrs(recorder)[4] == pytest.approx(0.1 * 0.9**4 * 0.5)
    assert learn.opt.param_groups[0]["lr"] == 0.1


def test_learning_rates_are_put_back_after_an_error() -> None:
    @dataclass(frozen=True)
    class Fail(AnyCallback):
        def after_epoch(self, event: object) -> None:
            raise RuntimeError("the test's")

    learn, _ = scheduled(FACTORIES["ExponentialLR"], "batch", Fail())
    with pytest.raises(RuntimeError, match="the test's"):
        learn.fit(1)
    assert learn.opt.param_groups[0]["lr"] == 0.1
    assert "initial_lr" not in learn.opt.param_groups[0]


def test_it_trains_as_torch_does_by_hand() -> None:
    learn, _ = scheduled(FACTORIES["StepLR"], "batch")
    plain = learner()
    learn.fit(2)
    scheduler = FACTORIES["StepLR"](plain.opt)
    for _ in range(2):
        for xb, yb in plain.data.train_dl:
            plain.loss_func(plain.model(xb), yb).backward()  # type: ignore[no-untyped-call]
            plain.opt.step()
            plain.opt.zero_grad()
            scheduler.step()
    assert flat(learn.model) == flat(plain.model)


PLATEAU = "cannot drive torch's ReduceLROnPlateau, .* use typedcb.callbacks.ReduceLROnPlateau"


@pytest.mark.parametrize(
    "factory", [lr_scheduler.ReduceLROnPlateau, partial(lr_scheduler.ReduceLROnPlateau, factor=0.5)]
)
def test_torchs_plateau_is_refused_at_once(factory: Any) -> None:
    with pytest.raises(TypeError, match=PLATEAU):
        learner().add(TorchScheduler, factory, "epoch")


def test_torchs_plateau_from_a_function_is_refused_when_the_fit_begins() -> None:
    def make(opt: Optimizer) -> LRScheduler:
        return lr_scheduler.ReduceLROnPlateau(opt)

    learn = learner()
    learn.add(TorchScheduler, make, "epoch")
    with pytest.raises(TypeError, match=PLATEAU):
        learn.fit(1)


def test_another_word_than_batch_or_epoch_is_refused() -> None:
    with pytest.raises(ValueError, match="""every is 'step', and has to be "batch" or "epoch\""""):
        learner().add(TorchScheduler, FACTORIES["StepLR"], "step")  # type: ignore[arg-type]
