"""What the tests of XLA run, each program in a process of its own, on torch_xla's devices that are CPUs.

torch_xla has all such devices in one process, and the ranks of torch_xla.launch are threads there. Two ranks are two
such threads, made to look to typedcb like processes: torch.distributed, which is one for a process, becomes one for a
thread, and so do a counter and a lock. What the ranks compute and sum up goes through XLA's own collectives.

A graph with a collective is compiled once for both ranks there, and each waits for the other with the one it has: ranks
whose graphs differ, or that ask in another order, do not come together, and torch_xla ends the process after 10 s.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Optional

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from typedcb import AnyCallback, DataBunch, EngineError, Learner, LossEvent, Series, series
from typedcb.callbacks import (
    LR,
    AvgStats,
    Checkpoint,
    EarlyStopping,
    GradientAccumulation,
    GradientClip,
    ParamScheduler,
    SmoothLoss,
    accuracy,
)
from typedcb.engines import AccelerateEngine

SAMPLES = torch.randn(51, 6, generator=torch.Generator().manual_seed(1))
CLASSES = SAMPLES[:, :3].argmax(1)

MAKING = threading.Lock()
"""Held while weights are drawn: ranks that are threads draw from one generator."""


class Tied(nn.Module):
    """A model that has one of its weights twice, and others of one shape."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6))
        self.layers[2].weight = self.layers[1].weight

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return x[:, :3]


@dataclass(frozen=True)
class Watches(AnyCallback):
    """The gradients that callbacks see, and how many graphs have been compiled until the end of each epoch."""

    phases: ClassVar = ("train",)

    learn: Any
    seen: Series[tuple[float, ...]] = series(saved=False)
    compiled: Series[int] = series(saved=False)

    def after_backward(self, event: Any) -> None:
        grads = [p.grad.flatten() for p in self.learn.model.parameters() if p.grad is not None]
        self.seen.append(tuple(torch.cat(grads).tolist()))

    def after_epoch(self, event: Any) -> None:
        self.compiled.append(compiled())


@dataclass(frozen=True)
class Reads(AnyCallback):
    """Has the main rank alone compute what the others leave for later."""

    ranks: ClassVar = "main"

    losses: Series[float] = series(saved=False)

    def after_loss(self, event: LossEvent) -> None:
        self.losses.append(float(event.loss.detach()))


def compiled() -> int:
    import torch_xla.debug.metrics as metrics  # noqa: PLC0415  # the tests that skip these import this file nowhere

    data = metrics.metric_data("CompileTime")
    return 0 if data is None else int(data[0])


def learner(engine: Optional[AccelerateEngine], *cbs: Any, cb_funcs: Any = ()) -> Learner[Tensor, Tensor, Tensor]:
    with MAKING:
        torch.manual_seed(3)
        model = Tied()
    if engine is not None and engine.rank:  # what the first rank has is what all begin with
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(float(engine.rank))
    order = torch.Generator().manual_seed(5)
    train = DataLoader(TensorDataset(SAMPLES, CLASSES), batch_size=10, shuffle=True, generator=order)
    valid = DataLoader(TensorDataset(SAMPLES[:33], CLASSES[:33]), batch_size=8)
    opt = partial(torch.optim.SGD, lr=0.5, momentum=0.9)
    bunch: DataBunch[Tensor, Tensor] = DataBunch(train, valid)
    return Learner(model, bunch, F.cross_entropy, opt, cbs=list(cbs), cb_funcs=list(cb_funcs), engine=engine)


def weights(learn: Learner[Any, Any, Any]) -> list[float]:
    return torch.cat([parameter.detach().flatten().cpu() for parameter in learn.model.parameters()]).tolist()


def fitted(engine: Optional[AccelerateEngine], folder: Path, resume: Optional[Path] = None) -> dict[str, Any]:
    """A fit with much of what there is, until EarlyStopping ends it."""
    stats, smooth = AvgStats(accuracy), SmoothLoss(0.5)
    made = [
        Watches,
        partial(GradientClip, clip=0.3),
        partial(ParamScheduler, param=LR, schedule=lambda position: 0.5 - position),
        partial(Checkpoint, folder=folder, every_steps=4, keep_last=9),
    ]
    stopping = EarlyStopping(stats.valid_loss, mode="min", patience=3, min_delta=1e3)
    learn = learner(engine, stats, smooth, Reads(), stopping, cb_funcs=made)
    outcome = learn.fit(9, resume=resume)
    watches = learn.get(Watches)
    return {
        "outcome": str(outcome),
        "tied": learn.model.layers[2].weight is learn.model.layers[1].weight,
        "saved": sorted(path.name for path in folder.iterdir() if path.is_dir()),
        "row": stats.row,
        "train": stats.train_metrics.value,
        "smooth": smooth.value,
        "validate": learn.validate(),
        "weights": weights(learn),
        "seen": list(watches.seen),
        "compiled": list(watches.compiled),
    }


def accumulated(engine: Optional[AccelerateEngine]) -> list[float]:
    learn = learner(engine, cb_funcs=[partial(GradientAccumulation, n=2)])
    learn.fit(2)
    return weights(learn)


def loaded(engine: Optional[AccelerateEngine], path: Path) -> list[float]:
    learn = learner(engine, AvgStats(accuracy))
    learn.load(path, {"SmoothLoss": "reset", "EarlyStopping": "reset"})
    return [*weights(learn), *momenta(learn)]


def momenta(learn: Learner[Any, Any, Any]) -> list[float]:
    states = [learn.opt.state[parameter]["momentum_buffer"] for parameter in learn.model.parameters()]
    return torch.cat([state.flatten().cpu() for state in states]).tolist()


def engine_of(n: int, **settings: Any) -> AccelerateEngine:
    from accelerate import Accelerator  # noqa: PLC0415  # as said
    from accelerate.state import AcceleratorState  # noqa: PLC0415  # as said
    from accelerate.utils import GradScalerKwargs  # noqa: PLC0415  # as said

    AcceleratorState._reset_state()
    scale = GradScalerKwargs(
        init_scale=2.0**10
    )  # by which no gradient overflows here, of a batch of one sample neither
    return AccelerateEngine(Accelerator(kwargs_handlers=[scale], **settings), processes=n, timeout=30)


def all_of(engine: AccelerateEngine, folder: Path) -> dict[str, Any]:
    whole = fitted(engine, folder / "whole")
    again = fitted(engine, folder / "again", folder / "whole" / "step-00000008")
    halves = {name: engine_of(engine.world_size, mixed_precision=name) for name in ("bf16", "fp16")}
    return {
        "device": engine._accelerator.device.type,
        "whole": whole,
        "again": again,
        "accumulated": accumulated(engine),
        "loaded": loaded(engine, folder / "whole" / "step-00000008"),
        "halves": {name: accumulated(half) for name, half in halves.items()},
    }


def plain(folder: Path, saved: Path) -> dict[str, Any]:
    """The same without any engine, on the CPU."""
    return {
        "whole": fitted(None, folder),
        "accumulated": accumulated(None),
        "loaded": loaded(None, saved / "whole" / "step-00000008"),
    }


def one(folder: Path) -> dict[str, Any]:
    engine = engine_of(1)
    return {"ranks": [all_of(engine, folder / "xla")], "plain": plain(folder / "plain", folder / "xla")}


def two(folder: Path) -> dict[str, Any]:
    found: dict[int, dict[str, Any]] = {}
    refused: list[str] = []

    def rank(number: int) -> None:
        if number == 0:
            try:
                engine_of(2)
            except EngineError as error:
                refused.append(str(error))
        with_one_device.wait(30)
        found[number] = all_of(engine_of(2), folder / "xla")

    with_one_device = threading.Barrier(2, _one_device)
    on_threads(rank)
    return {
        "ranks": [found[0], found[1]],
        "plain": plain(folder / "plain", folder / "xla"),
        "refused": refused[0],
    }


def on_threads(do: Callable[[int], None]) -> None:
    """Runs ranks as torch_xla.launch does, in this process; an error of one ends the process."""
    import torch.distributed as dist  # noqa: PLC0415  # as said
    import torch_xla.runtime as runtime  # noqa: PLC0415  # as said
    from torch.testing._internal.distributed.multi_threaded_pg import _install_threaded_pg  # noqa: PLC0415  # as said
    from torch_xla._internal import pjrt  # noqa: PLC0415  # as said

    import typedcb.loop  # noqa: PLC0415  # as said
    from typedcb.engines import processes  # noqa: PLC0415  # as said

    _install_threaded_pg()
    torch._C._distributed_c10d._set_thread_isolation_mode(True)
    processes._NUMBERS = Numbers()  # type: ignore[misc,assignment]  # one for each thread
    typedcb.loop._STARTING = nullcontext()  # type: ignore[misc,assignment]  # as said
    _compile_once()
    store = dist.HashStore()

    def guarded() -> None:
        try:
            number = runtime.global_ordinal()
            dist.init_process_group("gloo", store=store, rank=number, world_size=2)
            do(number)
        except BaseException as error:  # noqa: BLE001  # the other rank would wait for this one
            sys.excepthook(type(error), error, error.__traceback__)
            sys.stderr.flush()
            os._exit(1)

    pjrt._run_thread_per_device(0, 1, guarded, pjrt.initialize_multiprocess)


class Numbers(threading.local):
    """A counter for each thread."""

    def __init__(self) -> None:
        self.count = itertools.count()

    def __next__(self) -> int:
        return next(self.count)


def _compile_once() -> None:
    """Has one thread at a time compile, so that the other finds the same graph compiled."""
    import torch_xla  # noqa: PLC0415  # as said
    import torch_xla.core.xla_model as model  # noqa: PLC0415  # as said

    sync, lock = torch_xla.sync, threading.Lock()

    def locked(*args: Any, **kwargs: Any) -> None:
        model.wait_device_ops(model.xla_real_devices([torch_xla.device()]))  # what runs may wait for the other rank
        with lock:
            sync(*args, **kwargs)

    torch_xla.sync = locked


def _one_device() -> None:
    import torch_xla  # noqa: PLC0415  # as said

    torch_xla.device_count = lambda: 1


if __name__ == "__main__":
    programs: dict[str, Callable[[Path], dict[str, Any]]] = {"one": one, "two": two}
    print(json.dumps(programs[sys.argv[1]](Path(sys.argv[2]))))  # noqa: T201  # what the tests read
