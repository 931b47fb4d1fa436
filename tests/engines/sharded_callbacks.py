"""What callbacks come to that read and change weights, gradients and an optimizer, of a model in shards and of a whole.

All of it is computed in double precision, where a rounding is far below what a wrong share or a stale weight makes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Optional

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn import functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader, TensorDataset

from typedcb import DataBunch, Learner
from typedcb.callbacks import (
    EMA,
    WEIGHT_DECAY,
    AvgStats,
    Checkpoint,
    GradientAccumulation,
    GradientClip,
    LRFinder,
    OneCycle,
    ParamScheduler,
    Recorder,
    ReduceLROnPlateau,
    SaveBest,
    SmoothGradNorm,
    SmoothLoss,
    TorchScheduler,
    accuracy,
    linear,
)

SAMPLES = torch.randn(23, 6, generator=torch.Generator().manual_seed(1)).double()
CLASSES = SAMPLES[:, :3].argmax(1)
SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
ADAM = partial(torch.optim.AdamW, lr=0.05)


class Keeps(nn.Linear):
    """A layer with more in its state than tensors."""

    def __init__(self) -> None:
        super().__init__(8, 8)
        self.kept = "it"

    def get_extra_state(self) -> str:
        return self.kept

    def set_extra_state(self, state: str) -> None:
        self.kept = state


class Net(nn.Module):
    """Has a parameter of its own, which stays gathered after a validation; a layer in two places; tied weights."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.shift = nn.Parameter(torch.randn(3))
        self.register_buffer("scale", torch.ones(3))
        self.register_buffer("passing", torch.zeros(2), persistent=False)
        twice = nn.Linear(8, 8)
        self.body = nn.Sequential(nn.Linear(6, 8), twice, nn.Tanh(), twice, Keeps(), nn.Linear(8, 8))
        self.body[5].weight = self.body[4].weight
        self.head = nn.Linear(8, 3)

    def forward(self, xb: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(xb)) * self.scale + self.shift
        return out


def learner(engine: Any, opt: Any, *cbs: Any, batch_size: int = 10) -> Learner[Tensor, Tensor, Tensor]:
    """A learner that draws the same batches on any number of ranks, which cannot share all of them evenly."""
    order = torch.Generator().manual_seed(5)
    train = DataLoader(TensorDataset(SAMPLES, CLASSES), batch_size, shuffle=True, generator=order)
    valid = DataLoader(TensorDataset(SAMPLES[:9], CLASSES[:9]), batch_size=8)
    return Learner(Net().double(), DataBunch(train, valid), F.cross_entropy, opt, cbs=list(cbs), engine=engine)


def numbers(state: dict[str, Any]) -> list[float]:
    """All tensors of a state, whole, to the bit."""
    tensors = [value for _, value in sorted(state.items()) if isinstance(value, Tensor)]
    whole = [value.full_tensor() if isinstance(value, DTensor) else value for value in tensors]
    return torch.cat([value.detach().double().flatten() for value in whole]).tolist()


def moments(learn: Learner[Any, Any, Any]) -> list[float]:
    """All that an optimizer keeps of its parameters."""
    states = [learn.opt.state[parameter] for parameter in learn.model.parameters()]
    return [number for state in states for number in numbers(state)]


Figures = Callable[[], Sequence[float]]


def by_norm(learn: Any, stats: Any) -> Figures:
    before = learn.add(SmoothGradNorm, beta=0.5)
    learn.add(GradientClip, clip=0.05)
    after = learn.add(SmoothGradNorm, beta=0.5)
    return lambda: [before.value, after.value]


def by_value(learn: Any, stats: Any) -> Figures:
    learn.add(GradientClip, clip=0.01, by="value")
    return list


def gathered(learn: Any, stats: Any) -> Figures:
    """Clips where backward leaves the whole parameters in the model."""
    if hasattr(learn.model, "set_reshard_after_backward"):
        learn.model.set_reshard_after_backward(False)
    learn.add(GradientClip, clip=0.05)
    return list


def accumulated(learn: Any, stats: Any) -> Figures:
    learn.add(GradientAccumulation, n=2)
    learn.add(GradientClip, clip=0.05)
    return list


def scheduled(learn: Any, stats: Any) -> Figures:
    learn.add(OneCycle, highest=0.3)
    learn.add(ParamScheduler, WEIGHT_DECAY, linear(0.1, 0.0))
    return list


def recorded(learn: Any, stats: Any) -> Figures:
    """The losses of batches, and the learning rates of a scheduler of torch."""
    learn.add(TorchScheduler, factory=partial(CosineAnnealingLR, T_max=6), every="batch")
    recorder = learn.add(Recorder)
    smooth = learn.add(lambda _: SmoothLoss(0.5))
    return lambda: [*recorder.losses, *(lr for (lr,) in recorder.params), smooth.value]


def on_a_plateau(learn: Any, stats: Any) -> Figures:
    learn.add(ReduceLROnPlateau, monitor=stats.valid_loss, mode="min", patience=1, min_delta=0.05)
    return lambda: [group["lr"] for group in learn.opt.param_groups]


def best(learn: Any, stats: Any) -> Figures:
    """The weights of the epoch before the last, restored, and kept in both ways."""
    monitor = stats.valid(accuracy)
    kept = [learn.add(SaveBest, monitor=monitor, mode="max", on_cpu=on_cpu) for on_cpu in (True, False)]

    def found() -> Sequence[float]:
        copies = [number for one in kept for number in numbers(dict(one.weights.value))]
        assert numbers(learn.model.state_dict()) * 2 == copies
        return [*(number for one in kept for number in (one.best.value, one.epoch.value)), *copies, learn.validate()]

    return found


def sought(learn: Any, stats: Any) -> Figures:
    """A learning rate, between two fits of which the second is as if there had been no search."""
    learn.fit(1)
    before = [numbers(learn.model.state_dict()), moments(learn)]
    smooth = SmoothLoss()
    finder = LRFinder(learn, smooth, n_batches=12)
    learn.fit(4, cbs=[smooth, finder])
    assert [numbers(learn.model.state_dict()), moments(learn)] == before
    return lambda: [*finder.lrs, *finder.losses, *finder.smooth_losses, finder.suggestion()]


def averaged(learn: Any, stats: Any) -> Figures:
    """A mean of the weights, which validations run on; one before the fit leaves parameters gathered."""
    before = learn.validate()
    return partial(of_average, learn, learn.add(EMA, decay=0.8), before)


def of_average(learn: Any, ema: Any, *more: float) -> list[float]:
    """What an average holds, and what a model is worth that it is copied to."""
    trained, means = numbers(learn.model.state_dict()), numbers(ema.averaged.value.module.state_dict())
    plain = Net().double()
    ema.copy_to(plain)
    ema.copy_to(learn.model)
    assert means == numbers(learn.model.state_dict()) == numbers(plain.state_dict())
    return [*more, *trained, *means, learn.validate(), int(ema.averaged.value.n_averaged)]


CASES: dict[str, tuple[Any, Callable[[Any, Any], Figures], int]] = {
    "clipped by norm": (SGD, by_norm, 2),
    "clipped by value": (SGD, by_value, 2),
    "clipped where gathered": (SGD, gathered, 2),
    "clipped by norm for AdamW": (ADAM, by_norm, 2),
    "accumulated and clipped": (SGD, accumulated, 2),
    "scheduled": (SGD, scheduled, 2),
    "recorded": (SGD, recorded, 2),
    "on a plateau": (SGD, on_a_plateau, 3),
    "best": (partial(ADAM, lr=0.1), best, 3),
    "sought": (ADAM, sought, 1),
    "averaged": (SGD, averaged, 2),
}


def callbacks(engine: Any) -> dict[str, list[float]]:
    """What each case comes to: its own figures, those of the last epoch, the weights and the optimizer's state."""
    found: dict[str, list[float]] = {}
    for name, (opt, attach, n_epochs) in CASES.items():
        stats = AvgStats(accuracy)
        learn = learner(engine, opt, stats)
        figures = attach(learn, stats)
        learn.fit(n_epochs)
        own = [*stats.row, *numbers(learn.model.state_dict()), *moments(learn)]
        found[name] = [*map(float, figures()), *own]
    return found


def averages(sharding: Any, folder: Path, others: Sequence[int]) -> dict[str, Any]:
    """An average that is saved by these ranks, and one that is taken up and loaded from what others have saved.

    Args:
        sharding: The engine.
        folder: Where the checkpoints of each number of ranks are.
        others: Whose checkpoints to read, by their number of ranks.
    """
    n = sharding.world_size
    found: dict[str, Any] = {"whole": average(sharding, folder / str(n))}
    for saved_by in others:
        saves = folder / str(saved_by)
        found[f"again from {saved_by}"] = average(sharding, None, saves / "step-00000004")
        found[f"loaded from {saved_by}"] = loaded(sharding, saves / "step-00000006")
        if n == 1:
            found[f"loaded from {saved_by} without an engine"] = loaded(None, saves / "step-00000006")
            found[f"again from {saved_by} without an engine"] = average(None, None, saves / "step-00000004")
    return found


def average(engine: Any, saves: Optional[Path] = None, resume: Optional[Path] = None) -> list[float]:
    learn = learner(engine, SGD)
    ema = learn.add(EMA, decay=0.8)
    if saves is not None:
        learn.add(Checkpoint, folder=saves, every_steps=4, keep_last=9)
    learn.fit(2, resume=resume)
    return of_average(learn, ema)


def loaded(engine: Any, path: Path) -> list[float]:
    learn = learner(engine, SGD)
    ema = learn.add(EMA, decay=0.8)
    learn.load(path)
    return of_average(learn, ema)
