"""Programs that train until something stops them, for tests that stop them; each runs in a process of its own."""

# ruff: noqa: T201  # it is run as a program, and says what it does

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD
from torch.utils.data import DataLoader, Dataset

from typedcb import AnyCallback, DataBunch, Learner, Series, series
from typedcb.callbacks import AvgStats, Checkpoint, CSVLogger, Progress

PLACES = ("loader", "model", "loss", "hook", "valid", "after_fit")
"""Where a fit can be interrupted."""


def say(*words: object) -> None:
    print(*words, flush=True)


class Waits:
    """Says that it has been reached, once, and waits to be interrupted."""

    def __init__(self, place: str) -> None:
        self.place: str | None = place

    def at(self, place: str) -> None:
        if place == self.place:
            self.place = None
            say("at", place)
            for _ in range(2000):  # one long sleep would not end with a signal whose handler does not raise
                time.sleep(0.01)


class Samples(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, waits: Waits) -> None:
        self.waits = waits

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if index == 5:
            self.waits.at("loader")
        return torch.tensor([float(index)]), torch.ones(1)


class Net(nn.Linear):
    def __init__(self, waits: Waits) -> None:
        super().__init__(1, 1)
        self.waits = waits

    def forward(self, x: Tensor) -> Tensor:
        self.waits.at("model" if self.training else "valid")
        return super().forward(x)


@dataclass(frozen=True)
class InHooks(AnyCallback):
    """Waits in hooks, and says how the fit ended."""

    waits: Waits

    def after_step(self, event: Any) -> None:
        self.waits.at("hook")

    def after_fit(self, event: Any) -> None:
        say("after_fit", type(getattr(event.outcome, "error", None)).__name__)
        self.waits.at("after_fit")
        say("cleaned up")


@dataclass(frozen=True)
class Behind(AnyCallback):
    """Is told of the end as well, after the other."""

    def after_fit(self, event: Any) -> None:
        say("behind", type(event.outcome).__name__)


def learner(place: str, workers: int = 0) -> Learner[Any, Any, Any, Any]:
    waits = Waits(place)
    train_dl = DataLoader(Samples(waits), batch_size=2, num_workers=workers)

    def loss_func(pred: Tensor, yb: Tensor) -> Tensor:
        waits.at("loss")
        return F.mse_loss(pred, yb)

    cbs = [InHooks(waits), Behind()]
    return Learner(Net(waits), DataBunch(train_dl, train_dl), loss_func, partial(SGD, lr=0.001), cbs=cbs)


def every_place() -> None:
    """Fits one learner after the other, each to be interrupted at another place, and says what it raised."""
    for place in PLACES:
        try:
            learner(place).fit(1)
            say("ended")
        except BaseException as error:  # noqa: BLE001  # it says which
            say("raised", type(error).__name__, "|".join(getattr(error, "__notes__", [])))


def once(place: str) -> None:
    """Fits once, and says nothing of what is raised."""
    learner(place).fit(1)


def with_workers() -> None:
    """Fits with workers of a loader."""
    learner("hook", workers=2).fit(1)


def own_handler() -> None:
    """Has a handler of its own for SIGTERM, and fits on."""
    signal.signal(signal.SIGTERM, lambda number, frame: say("mine"))
    learn = learner("none")
    learn.fit(1, cbs=[_Terminates()])
    assert callable(signal.getsignal(signal.SIGTERM))
    os.kill(os.getpid(), signal.SIGTERM)


@dataclass(frozen=True)
class _Terminates(AnyCallback):
    def after_step(self, event: Any) -> None:
        if event.index == 1:
            os.kill(os.getpid(), signal.SIGTERM)


def forks(folder: str = "") -> None:
    """Forks in a hook; the child waits, and the parent says what ended it."""

    @dataclass(frozen=True)
    class Forks(AnyCallback):
        def after_step(self, event: Any) -> None:
            if event.index:
                return
            for number in (signal.SIGTERM, signal.SIGINT):
                child = os.fork()
                if not child:
                    signal.alarm(20)
                    os.kill(os.getpid(), number)
                    time.sleep(1)
                    os._exit(7)
                _, status = os.waitpid(child, 0)
                say("child", os.waitstatus_to_exitcode(status))

    learn = learner("none")
    if folder:
        learn.add(Checkpoint, Path(folder), at_end=True)
    learn.fit(1, cbs=[Forks()])


def exits(folder: str) -> None:
    """Leaves the interpreter while a thread fits, with a log and a display, and waits for something."""
    stats = AvgStats[Any, Any]()
    learn = learner("none")
    started = threading.Event()

    @dataclass(frozen=True)
    class Goes(AnyCallback):
        def after_epoch(self, event: Any) -> None:
            if event.epoch == 2:
                started.set()
                threading.Event().wait()  # a thread that is in torch's own code then would abort the process

    cbs = [stats, Progress(stats), CSVLogger(stats, Path(folder) / "log.csv"), Goes()]
    threading.Thread(target=lambda: learn.fit(100_000, cbs=cbs), daemon=True).start()
    started.wait(20)
    say("leaving")


def forever() -> None:
    """Fits until it is interrupted, wherever that is, and says whether all was ended and another fit can follow."""
    told = Counts()
    learn = learner("none")
    learn._attach((told,))
    raised = ""
    try:
        learn.fit(100_000)
    except BaseException as error:  # noqa: BLE001  # it says which
        raised = type(error).__name__
    assert told.begun == told.ended == 1, told
    assert told.batches in (0, 1), "a batch that it was told of is ended, or the interrupt came before it was told"
    learn.fit(1)
    assert told.begun == told.ended == 2
    say(raised, "in order")


@dataclass(frozen=True)
class Counts(AnyCallback):
    """Counts what begins and ends, in what no fit resets."""

    fits: Series[int] = series(reset="never")
    open: Series[int] = series(reset="never")

    @property
    def begun(self) -> int:
        return sum(sign > 0 for sign in self.fits)

    @property
    def ended(self) -> int:
        return sum(sign < 0 for sign in self.fits)

    @property
    def batches(self) -> int:
        return abs(sum(self.open))

    def begin_fit(self, event: Any) -> None:
        self.fits.append(1)
        if len(self.fits) == 1:
            say("begun")

    def begin_batch(self, event: Any) -> None:
        self.open.append(1)

    def after_batch(self, event: Any) -> None:
        self.open.append(-1)

    def after_fit(self, event: Any) -> None:
        self.fits.append(-1)


def unfinished() -> None:
    """Leaves the interpreter in the middle of a loop of its own, which is still held."""
    from typedcb import Loop  # noqa: PLC0415

    held = Loop[Any, Any, Any]([Behind()]).fit(2)
    held.__enter__()
    globals()["held"] = [held, iter(held.epochs())]
    epoch = next(globals()["held"][1])
    globals()["held"].append(epoch.train([(1, 2), (3, 4)]))
    next(globals()["held"][2])
    say("leaving")


def serve() -> list[str]:
    """Forks a process for each line of its input, and says its id and then how it ended; what the process is to run.

    To import torch takes seconds: this process does it once, computes nothing, and its forks go on from there.
    """
    SGD([nn.Parameter(torch.zeros(1))], lr=0.1)  # the first optimizer imports a lot more
    gc.freeze()  # or each fork would go through all of torch as it exits
    for line in sys.stdin:
        stdout, stderr, *program = json.loads(line)
        child = os.fork()
        if not child:
            for number, path in ((0, os.devnull), (1, stdout), (2, stderr)):
                opened = os.open(path, os.O_RDWR if number == 0 else os.O_WRONLY | os.O_CREAT)
                os.dup2(opened, number)
                os.close(opened)
            return program
        say(child)
        say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    return []


if __name__ == "__main__":
    if what := serve():
        globals()[what[0]](*what[1:])
