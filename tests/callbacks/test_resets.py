"""Every ready-made callback begins each fit afresh, two of a class keep their own, and none is left out here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR
from typing_extensions import override

import typedcb.callbacks as ready_made
from typedcb import AnyCallback, BeginFit, Callback, Cell, DataBunch, Learner, Series, cell
from typedcb.callbacks import LR, AvgStats, SmoothLoss, accuracy, linear
from typedcb.dependencies import own_states

Net = Learner[Tensor, Tensor, Tensor, nn.Sequential]
Needed = tuple[AvgStats[Any, Any], SmoothLoss]

MAKE: dict[str, Callable[[Net, Needed, Path], Callback[Any, Any, Any]]] = {
    "ActivationStats": lambda learn, needed, folder: ready_made.ActivationStats(learn),
    "AvgStats": lambda learn, needed, folder: AvgStats(accuracy),
    "BatchTransform": lambda learn, needed, folder: ready_made.BatchTransform(lambda xb, yb: (xb, yb)),
    "CSVLogger": lambda learn, needed, folder: ready_made.CSVLogger(needed[0], folder / f"{id(learn)}.csv"),
    "CheckFinite": lambda learn, needed, folder: ready_made.CheckFinite(learn),
    "Checkpoint": lambda learn, needed, folder: ready_made.Checkpoint(learn, folder / "checkpoints", every_epochs=1),
    "EMA": lambda learn, needed, folder: ready_made.EMA(learn),
    "EarlyStopping": lambda learn, needed, folder: ready_made.EarlyStopping(needed[0].valid_loss, "min"),
    "ForwardHooks": lambda learn, needed, folder: ready_made.ForwardHooks((learn.model[0],), lambda module, out: None),
    "Freeze": lambda learn, needed, folder: ready_made.Freeze(learn, 0),
    "GradientAccumulation": lambda learn, needed, folder: ready_made.GradientAccumulation(learn, 2),
    "GradientClip": lambda learn, needed, folder: ready_made.GradientClip(learn, 1.0),
    "LRFinder": lambda learn, needed, folder: ready_made.LRFinder(learn, needed[1], n_batches=5),
    "LabelSmoothing": lambda learn, needed, folder: ready_made.LabelSmoothing(),
    "MixUp": lambda learn, needed, folder: ready_made.MixUp(partial(F.cross_entropy, reduction="none")),
    "MixedPrecision": lambda learn, needed, folder: ready_made.MixedPrecision(learn, torch.float16),
    "OneCycle": lambda learn, needed, folder: ready_made.OneCycle(learn, 0.1),
    "ParamScheduler": lambda learn, needed, folder: ready_made.ParamScheduler(learn, LR, linear(0.1, 0.0)),
    "PeakMemory": lambda learn, needed, folder: ready_made.PeakMemory(learn),
    "Profiler": lambda learn, needed, folder: ready_made.Profiler(folder / "traces", wait=0, warmup=1, active=1),
    "Progress": lambda learn, needed, folder: ready_made.Progress(*needed),
    "Recorder": lambda learn, needed, folder: ready_made.Recorder(learn),
    "ReduceLROnPlateau": lambda learn, needed, folder: ready_made.ReduceLROnPlateau(
        learn, needed[0].valid_loss, "min", patience=1
    ),
    "SaveBest": lambda learn, needed, folder: ready_made.SaveBest(learn, needed[0].valid_loss, "min"),
    "SmoothGradNorm": lambda learn, needed, folder: ready_made.SmoothGradNorm(learn),
    "SmoothLoss": lambda learn, needed, folder: SmoothLoss(),
    "StopAfterNBatches": lambda learn, needed, folder: ready_made.StopAfterNBatches(3),
    "TensorBoard": lambda learn, needed, folder: ready_made.TensorBoard(learn, folder / "tb"),
    "TerminateOnNaN": lambda learn, needed, folder: ready_made.TerminateOnNaN(),
    "Timer": lambda learn, needed, folder: ready_made.Timer(),
    "ToDevice": lambda learn, needed, folder: ready_made.ToDevice("cpu"),
    "TorchScheduler": lambda learn, needed, folder: ready_made.TorchScheduler(
        learn, partial(StepLR, step_size=1), "epoch"
    ),
    "Unfreeze": lambda learn, needed, folder: ready_made.Unfreeze(learn, 0),
}


@dataclass(frozen=True)
class LooksFirst(AnyCallback):
    """Looks at another callback's state before anybody's begin_fit."""

    order = -100_000  # type: ignore[misc]  # a ClassVar of the base
    of: Callable[[], dict[str, Any]]
    seen: Cell[tuple[tuple[str, bool], ...]] = cell((), reset="never")

    @override
    def begin_fit(self, event: BeginFit) -> None:
        self.seen.value = tuple((name, is_initial(state)) for name, state in self.of().items())


def is_initial(state: Cell[Any] | Series[Any]) -> bool:
    if isinstance(state, Series):
        return len(state) == 0
    if isinstance(state.initial, torch.Tensor):  # of which each reset hands out a copy
        return torch.equal(state.value, state.initial)
    return state.value is state.initial


def learner() -> Net:
    torch.manual_seed(0)
    data = [(torch.randn(6, 5), torch.arange(6) % 3) for _ in range(6)]
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    return Learner(model, DataBunch(data, data), F.cross_entropy, partial(SGD, lr=0.1, momentum=0.9))


def test_every_ready_made_callback_is_tested_here() -> None:
    classes = {name for name, kind in vars(ready_made).items() if inspect.isclass(kind) and issubclass(kind, Callback)}

    assert set(MAKE) == classes


@pytest.mark.filterwarnings("ignore")  # torch's profiler and schedulers have things to say
@pytest.mark.parametrize("name", MAKE)
def test_it_begins_a_second_fit_as_it_began_the_first(name: str, tmp_path: Path) -> None:
    learn = learner()
    needed = (AvgStats(accuracy), SmoothLoss())
    callback = MAKE[name](learn, needed, tmp_path)
    looks = LooksFirst(lambda: dict(own_states(callback)))
    with learn.added(*needed, callback, looks):
        learn.fit(2)
        learn.fit(1)

    assert len(looks.seen.value) == len(own_states(callback))
    assert all(initial for _, initial in looks.seen.value), looks.seen.value


@pytest.mark.parametrize("name", MAKE)
def test_two_of_a_class_share_no_state(name: str, tmp_path: Path) -> None:
    learn = learner()
    needed = (AvgStats(accuracy), SmoothLoss())
    one, two = (own_states(MAKE[name](learn, needed, tmp_path)) for _ in range(2))

    assert one.keys() == two.keys()
    assert not {id(state) for state in one.values()} & {id(state) for state in two.values()}
