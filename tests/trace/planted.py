"""A small fit that is traced, with one thing about it changed: what a diff has to find."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from recording import At, answering, raising
from torch import Tensor, nn
from torch.nn import functional as F

from typedcb import CancelBatch, CancelEpoch, CancelTrain, DataBunch, Learner, SkipBackward, SkipStep, SkipValidate
from typedcb.callbacks import LR, AvgStats, GradientClip, ParamScheduler, Recorder, SmoothLoss, Timer, accuracy
from typedcb.outcomes import SkipZeroGrad
from typedcb.trace import Trace

Batches = list[tuple[Tensor, Tensor]]
SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9)


def batches(n: int, seed: int) -> Batches:
    draw = torch.Generator().manual_seed(seed)
    return [(torch.randn(6, 4, generator=draw), torch.randint(0, 3, (6,), generator=draw)) for _ in range(n)]


def model(dropout: float = 0.2) -> nn.Sequential:
    layers = [nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3)]
    return nn.Sequential(*layers)


def constant(progress: float) -> float:
    return 0.1


def fit(
    path: Path,
    *,
    seed: int = 0,
    later_seed: int | None = None,
    n_epochs: int = 2,
    make: Callable[[], nn.Module] = model,
    init: Callable[[nn.Module], None] | None = None,
    opt: Any = SGD,
    loss_func: Any = F.cross_entropy,
    train: Callable[[Batches], Any] = lambda pairs: pairs,
    valid: Callable[[Batches], Any] = lambda pairs: pairs,
    beta: float = 0.9,
    clip: float = 1e6,
    schedule: Any = constant,
    swapped: bool = False,
    recorder: bool = True,
    at: tuple[Any, ...] = ("after_fit", answering(None)),
    more: Sequence[Any] = (),
    trace: dict[str, Any] | None = None,
) -> Learner[Any, Any, Any]:
    """Trains two epochs of 4 training and 2 validation batches, with a trace at `path`."""
    torch.manual_seed(seed)
    random.seed(seed)
    made = make()
    if init is not None:
        init(made)
    if later_seed is not None:
        torch.manual_seed(later_seed)
    stats, smooth = AvgStats(accuracy), SmoothLoss(beta)
    data: Any = DataBunch[Tensor, Tensor](train(batches(4, 1)), valid(batches(2, 2)))
    learn: Any = Learner(made, data, loss_func, opt, cbs=[smooth, stats] if swapped else [stats, smooth])
    learn.add(GradientClip, clip)
    if schedule is not None:
        learn.add(ParamScheduler, LR, schedule)
    if recorder:
        learn.add(Recorder)
    hook, act, *where = at
    act = act(learn) if getattr(act, "wants_learner", False) else act
    learn._attach((At(hook, act, *where), *more))
    learn.add(Trace, path, **(trace or {}))
    with suppress(ZeroDivisionError):
        learn.fit(n_epochs)
    return learn


def on_learner(act: Callable[[Any, Any], object]) -> Any:
    """An act that is given the learner, and the event."""

    def made(learn: Any) -> Callable[[Any], object]:
        return lambda event: act(learn, event)

    made.wants_learner = True  # type: ignore[attr-defined]
    return made


def flip(tensor: Tensor, place: int = 0) -> None:
    """Turns the last bit of an element over."""
    with torch.no_grad():
        bits = tensor.view(-1)[place : place + 1].clone().view(torch.int32) ^ 1
        tensor.view(-1)[place : place + 1].copy_(bits.view(torch.float32))


def flip_unseen(tensor: Tensor) -> None:
    """The same, past torch's count of changes."""
    flip(tensor.data)


def swap(place: int, other: int) -> Callable[[Batches], Batches]:
    def swapped(pairs: Batches) -> Batches:
        pairs[place], pairs[other] = pairs[other], pairs[place]
        return pairs

    return swapped


def changed(place: int, act: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Callable[[Batches], Batches]:
    def made(pairs: Batches) -> Batches:
        pairs[place] = act(*pairs[place])
        return pairs

    return made


def swap_samples(xb: Tensor, yb: Tensor) -> tuple[Tensor, Tensor]:
    order = [0, 2, 1, 3, 4, 5]
    return xb[order], yb[order]


def last_bit(xb: Tensor, yb: Tensor) -> tuple[Tensor, Tensor]:
    xb = xb.clone()
    flip(xb, 5)
    return xb, yb


class Lengthless:
    """A loader that does not know how many batches it gives."""

    def __init__(self, pairs: Batches) -> None:
        self.pairs = pairs

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self.pairs)


def longer(pairs: Batches) -> Lengthless:
    return Lengthless([*pairs, *batches(1, 9)])


def freeze_first(made: nn.Module) -> None:
    next(made.parameters()).requires_grad_(False)


def loss_doubled_in_validation(pred: Tensor, yb: Tensor) -> Tensor:
    return F.cross_entropy(pred, yb) * (1 if torch.is_grad_enabled() else 2)


def second_epoch(progress: float) -> float:
    return 0.1 if progress < 0.5 else 0.05


def scale(event: Any) -> None:
    event.xb.mul_(1.5)


def poke(learn: Any, event: Any) -> None:
    learn.get(SmoothLoss).count.value += 1


def scale_gradient(learn: Any, event: Any) -> None:
    learn.model[4].weight.grad.mul_(2)


def to_double(event: Any) -> Any:
    return event.with_pred(event.pred.double())


def draw(event: Any) -> None:
    torch.rand(())


def draw_python(event: Any) -> None:
    random.random()


def noisy(seed: int) -> Callable[[Any], Any]:
    generator = torch.Generator().manual_seed(seed)
    return lambda event: event.with_batch(event.xb + torch.randn(event.xb.shape, generator=generator), event.yb)


def eval_mode(learn: Any, event: Any) -> None:
    learn.model.eval()


def set_bias(made: nn.Module) -> None:
    flip(list(made.parameters())[1])


def set_weight(made: nn.Module) -> None:
    flip(next(made.parameters()), 3)


def set_buffer(made: nn.Module) -> None:
    flip(next(made.buffers()))


Expected = tuple[str, int | None, str | None, int | None, str | None, str]
"""The event's hook, epoch, phase and batch; after whose turn; and what differs, or how its name begins."""

CASES: dict[str, tuple[dict[str, Any], Expected]] = {
    "one weight's last bit at step 6": (
        {"at": ("after_step", on_learner(lambda learn, _: flip(learn.model[0].weight, 7)), 1, 2)},
        ("after_step", 1, "train", 2, "At", "weights:0.weight"),
    ),
    "one weight's last bit at the first step": (
        {"at": ("after_step", on_learner(lambda learn, _: flip(learn.model[4].bias)), 0, 0)},
        ("after_step", 0, "train", 0, "At", "weights:4.bias"),
    ),
    "one weight's last bit, past the count of changes": (
        {
            "at": ("after_loss", on_learner(lambda learn, _: flip_unseen(learn.model[4].weight)), 1, 1, "train"),
            "trace": {"thorough": True},
        },
        ("after_loss", 1, "train", 1, "At", "weights:4.weight"),
    ),
    "one weight's last bit, past the count, between two steps": (
        {"at": ("after_validate", on_learner(lambda learn, _: flip_unseen(learn.model[4].weight)), 0)},
        ("begin_epoch", 1, None, None, None, "weights:4.weight"),
    ),
    "one weight's last bit in the beginning": (
        {"init": set_weight},
        ("begin_fit", None, None, None, None, "weights:0.weight"),
    ),
    "one bias's last bit in the beginning": (
        {"init": set_bias},
        ("begin_fit", None, None, None, None, "weights:0.bias"),
    ),
    "one running mean's last bit": (
        {"init": set_buffer},
        ("begin_fit", None, None, None, None, "weights:1.running_mean"),
    ),
    "a running variance during validation": (
        {"at": ("begin_validate", on_learner(lambda learn, _: flip(learn.model[1].running_var)), 1)},
        ("begin_validate", 1, None, None, "At", "weights:1.running_var"),
    ),
    "two batches swapped": ({"train": swap(1, 2)}, ("begin_batch", 0, "train", 1, None, "fields:xb")),
    "two samples swapped within a batch": (
        {"train": changed(2, swap_samples)},
        ("begin_batch", 0, "train", 2, None, "fields:xb"),
    ),
    "two validation batches swapped": ({"valid": swap(0, 1)}, ("begin_batch", 0, "valid", 0, None, "fields:xb")),
    "one input's last bit": ({"train": changed(3, last_bit)}, ("begin_batch", 0, "train", 3, None, "fields:xb")),
    "one label": (
        {"train": changed(1, lambda xb, yb: (xb, (yb + (torch.arange(6) == 4)) % 3))},
        ("begin_batch", 0, "train", 1, None, "fields:yb"),
    ),
    "a sample less in the last batch": (
        {"train": changed(3, lambda xb, yb: (xb[:5], yb[:5]))},
        ("begin_batch", 0, "train", 3, None, "fields:xb"),
    ),
    "the seed": ({"seed": 1}, ("begin_fit", None, None, None, None, "weights:")),
    "the seed once the model was made": ({"later_seed": 5}, ("begin_fit", None, None, None, None, "random:torch")),
    "the share of dropout": ({"make": lambda: model(0.3)}, ("after_pred", 0, "train", 0, None, "fields:pred")),
    "no dropout": ({"make": lambda: model(0.0)}, ("after_pred", 0, "train", 0, None, "fields:pred")),
    "dropout left off in the second epoch": (
        {"at": ("begin_epoch", on_learner(eval_mode), 1)},
        ("after_pred", 1, "train", 0, None, "weights:1."),  # batch norm counts no more
    ),
    "the learning rate in the second epoch": (
        {"schedule": second_epoch},
        ("begin_batch", 1, "train", 0, "ParamScheduler", "hypers:lr"),
    ),
    "the learning rate from the beginning": (
        {"opt": partial(torch.optim.SGD, lr=0.2, momentum=0.9)},
        ("begin_fit", None, None, None, None, "hypers:lr"),
    ),
    "the momentum": (
        {"opt": partial(torch.optim.SGD, lr=0.1, momentum=0.8)},
        ("begin_fit", None, None, None, None, "hypers:momentum"),
    ),
    "another optimizer": (
        {"opt": partial(torch.optim.AdamW, lr=0.1)},
        ("begin_fit", None, None, None, None, "hypers:"),
    ),
    "a clip that bites": ({"clip": 0.01}, ("after_backward", 0, "train", 0, "GradientClip", "gradients:")),
    "one gradient changed": (
        {"at": ("after_backward", on_learner(scale_gradient), 0, 3)},
        ("after_backward", 0, "train", 3, "At", "gradients:4.weight"),
    ),
    "a frozen weight": ({"init": freeze_first}, ("after_backward", 0, "train", 0, None, "gradients:0.weight")),
    "a step skipped": (
        {"at": ("after_backward", answering(SkipStep()), 0, 1)},
        ("after_backward", 0, "train", 1, "At", "answer"),
    ),
    "a backward pass skipped": (
        {"at": ("after_loss", answering(SkipBackward()), 1, 0, "train")},
        ("after_loss", 1, "train", 0, "At", "answer"),
    ),
    "gradients that stay": (
        {"at": ("after_step", answering(SkipZeroGrad()), 0, 2)},
        ("after_step", 0, "train", 2, "At", "answer"),
    ),
    "a validation skipped": (
        {"at": ("begin_validate", answering(SkipValidate()), 0)},
        ("begin_validate", 0, None, None, "At", "answer"),
    ),
    "a batch cancelled": (
        {"at": ("begin_batch", answering(CancelBatch("enough")), 1, 1, "train")},
        ("begin_batch", 1, "train", 1, "At", "answer"),
    ),
    "an epoch cancelled": (
        {"at": ("after_batch", answering(CancelEpoch()), 0, 1, "train")},
        ("after_batch", 0, "train", 1, "At", "answer"),
    ),
    "a fit cancelled": (
        {"at": ("after_epoch", answering(CancelTrain()), 0)},
        ("after_epoch", 0, None, None, "At", "answer"),
    ),
    "an error": (
        {"at": ("after_pred", raising(ZeroDivisionError("by zero")), 1, 0, "valid")},
        ("after_pred", 1, "valid", 0, "At", "error"),
    ),
    "a setting that a cell shows": (
        {"beta": 0.8},
        ("after_loss", 0, "train", 0, "SmoothLoss", "cells:SmoothLoss.mean"),
    ),
    "a cell that another callback changes": (
        {"at": ("after_step", on_learner(poke), 1, 3)},
        ("after_step", 1, "train", 3, "At", "cells:SmoothLoss.count"),
    ),
    "an augmentation": (
        {"at": ("begin_batch", noisy(1), 0, 2, "train")},
        ("begin_batch", 0, "train", 2, "At", "answer"),
    ),
    "a batch changed in place": (
        {"at": ("begin_batch", scale, 0, 0, "valid")},
        ("begin_batch", 0, "valid", 0, "At", "fields:xb"),
    ),
    "a type": ({"at": ("after_pred", to_double, 0, 1, "train")}, ("after_pred", 0, "train", 1, "At", "answer")),
    "another loss in validation alone": (
        {"loss_func": loss_doubled_in_validation},
        ("after_loss", 0, "valid", 0, None, "fields:loss"),
    ),
    "a random number drawn": (
        {"at": ("after_batch", draw, 0, 2, "train")},
        ("after_batch", 0, "train", 2, "At", "random:torch"),
    ),
    "a random number of Python's drawn": (
        {"at": ("after_batch", draw_python, 0, 2, "train")},
        ("begin_batch", 0, "train", 3, None, "random:python"),
    ),
    "a callback that is missing": ({"recorder": False}, ("after_loss", 0, "train", 0, None, "turn")),
    "two callbacks in another order": ({"swapped": True}, ("after_loss", 0, "train", 0, None, "turn")),
    "one more callback": ({"more": (Timer(),)}, ("begin_fit", None, None, None, None, "turn")),
    "an epoch more": ({"n_epochs": 3}, ("begin_fit", None, None, None, None, "fields:n_epochs")),
}
"""What was changed, by name, with the arguments of `fit` for it, and where a diff has to find it."""
