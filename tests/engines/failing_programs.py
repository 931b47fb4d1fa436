"""Ways for one rank to fail, each in processes of its own; a program is named for what goes wrong on the last rank."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Optional

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from typedcb import AnyCallback, DataBunch, EngineError, Learner, Loop
from typedcb.engines import DDP, FSDP, TorchEngine

SAMPLES = torch.randn(48, 6, generator=torch.Generator().manual_seed(1))
CLASSES = SAMPLES[:, :3].argmax(1)


def last(engine: Any) -> bool:
    """Whether this is the rank that fails."""
    return bool(engine.rank == engine.world_size - 1)


@dataclass(frozen=True)
class Does(AnyCallback):
    """Does something in one hook, in the middle of the first epoch where that has batches."""

    hook: str
    act: Callable[[], None]

    def _do(self, hook: str) -> None:
        if hook == self.hook:
            self.act()

    def begin_fit(self, event: Any) -> None:
        self._do("begin_fit")

    def after_loss(self, event: Any) -> None:
        if event.step == 3:
            self._do("after_loss")

    def after_fit(self, event: Any) -> None:
        self._do("after_fit")


def nothing() -> None:
    """Does nothing."""


def send(number: int) -> None:
    """Sends this process a signal, which takes effect before it does anything else."""
    os.kill(os.getpid(), number)
    time.sleep(0.2)


def error(words: str) -> None:
    """Fails."""
    raise ValueError(words)


class Stream(IterableDataset[Any]):
    """Samples of which nobody knows how many there are."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(zip(SAMPLES[: self.n], CLASSES[: self.n], strict=True))


class Broken(Dataset[Any]):
    """Samples one of which cannot be read."""

    def __init__(self, broken: bool) -> None:
        self.broken = broken

    def __len__(self) -> int:
        return len(SAMPLES)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if self.broken and index == 22:
            raise ValueError("no such picture")
        return SAMPLES[index], CLASSES[index]


def net(width: int = 8) -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, width), nn.BatchNorm1d(width), nn.Linear(width, 3))


def fit(engine: Any, *cbs: AnyCallback, train: Any = None, epochs: int = 2) -> None:
    train = DataLoader(TensorDataset(SAMPLES, CLASSES), batch_size=8) if train is None else train
    sgd = partial(torch.optim.SGD, lr=0.1)
    learn: Any = Learner(net(), DataBunch(train), F.cross_entropy, sgd, cbs=list(cbs), engine=engine)
    learn.fit(epochs)


def hook(
    name: str, others: Callable[[], None], failing: Callable[[], None], first: Optional[Callable[[], None]] = None
) -> None:
    """Does one thing on the last rank, and another on the others, in a hook; and a third one on the first."""
    with TorchEngine(timeout=60) as engine:
        of_first = others if first is None else first
        fit(engine, Does(name, failing if last(engine) else of_first if engine.rank == 0 else others))


def stream(valid: bool) -> None:
    """The last rank has fewer batches, of loaders that do not know how many."""
    with TorchEngine(timeout=60) as engine:
        loader: Any = DataLoader(Stream(40 if last(engine) else 48), batch_size=8)
        train: Any = DataLoader(Stream(48), batch_size=8) if valid else loader
        data: Any = DataBunch(train, loader) if valid else DataBunch(train)
        sgd = partial(torch.optim.SGD, lr=0.1)
        learn: Any = Learner(net(), data, F.cross_entropy, sgd, engine=engine)
        learn.fit(2)


def own_loop() -> None:
    """The last rank has fewer batches in a loop of one's own, of a list, which knows how many."""
    with TorchEngine(timeout=60) as engine:
        model = net()
        engine.prepare(model, None)
        opt = torch.optim.SGD(model.parameters(), lr=0.1)
        loop: Loop[Any, Any, Any] = Loop(engine=engine)
        n = 40 if last(engine) else 48
        pairs = [(SAMPLES[at : at + 8], CLASSES[at : at + 8]) for at in range(0, n, 8)]
        train_dl = engine.split("train_dl", pairs)
        with engine.running(), loop.fit(2) as run:
            for epoch in run.epochs():
                for batch in epoch.train(train_dl):
                    out = batch.pred(engine.forward(model)(batch.xb))
                    out.loss(F.cross_entropy(out.pred, batch.yb)).backward().step(opt)


def late() -> None:
    """The last rank takes longer for a batch than the others wait."""
    with TorchEngine(timeout=8) as engine:
        fit(engine, Does("after_loss", partial(time.sleep, 20) if last(engine) else nothing))


def long() -> None:
    """Nothing goes wrong, until somebody ends the processes."""
    with TorchEngine(timeout=60) as engine:
        engine.exchange("all are there")
        print("begun", flush=True)  # noqa: T201  # what the test waits for
        fit(engine, Does("after_loss", nothing), epochs=100_000)


def broken_worker() -> None:
    """A sample cannot be read, in a process of the loader's."""
    with TorchEngine(timeout=60) as engine:
        fit(engine, train=DataLoader(Broken(last(engine)), batch_size=8, num_workers=1))


def another(kind: str) -> nn.Module:
    """A model that differs from those of the other ranks in something."""
    if kind == "shape":
        return net(9)
    if kind == "more":
        return nn.Sequential(*net(), nn.Linear(3, 3))
    model = net()
    if kind == "dtype":
        model[2].double()
    elif kind == "buffer":
        model[1].register_buffer("seen", torch.zeros(2))
    elif kind == "frozen":
        model[0].requires_grad_(False)
    return model


def models() -> None:
    """The last rank has another model: what each engine says of each way to differ."""
    from accelerate import Accelerator  # noqa: PLC0415  # the other programs need none of it

    from typedcb.engines import AccelerateEngine  # noqa: PLC0415  # as said

    n = int(os.environ["WORLD_SIZE"])
    found: dict[str, str] = {}
    with TorchEngine(DDP(), timeout=60) as ddp, TorchEngine(FSDP(), timeout=60) as fsdp:
        by_accelerate = AccelerateEngine(Accelerator(cpu=True), processes=n, timeout=60)
        for name, engine in {"ddp": ddp, "fsdp": fsdp, "accelerate": by_accelerate}.items():
            for kind in ("shape", "more", "dtype", "buffer", "frozen"):
                try:
                    engine.prepare(another(kind) if last(engine) else net(), None)
                except EngineError as refused:
                    found[f"{name} {kind}"] = str(refused)
        fit(ddp)  # the processes are none the worse for it
    print(json.dumps(found))  # noqa: T201  # what the tests read


PROGRAMS: dict[str, Callable[[], None]] = {
    "sigterm": partial(hook, "after_loss", nothing, partial(send, signal.SIGTERM)),
    "sigterm all": partial(hook, "after_loss", partial(send, signal.SIGTERM), partial(send, signal.SIGTERM)),
    "killed": partial(hook, "after_loss", nothing, partial(send, signal.SIGKILL)),
    "interrupt": partial(hook, "after_loss", nothing, partial(send, signal.SIGINT)),
    "interrupt all": partial(hook, "after_loss", partial(send, signal.SIGINT), partial(send, signal.SIGINT)),
    "exit": partial(hook, "after_loss", nothing, partial(sys.exit, 3)),
    "first exit": partial(hook, "after_loss", nothing, nothing, partial(sys.exit, 3)),
    "first error": partial(hook, "after_loss", nothing, nothing, partial(error, "bad luck")),
    "os exit": partial(hook, "after_loss", nothing, partial(os._exit, 4)),
    "both": partial(hook, "after_loss", partial(error, "one"), partial(error, "other")),
    "begin_fit": partial(hook, "begin_fit", nothing, partial(error, "bad luck")),
    "after_fit": partial(hook, "after_fit", nothing, partial(error, "bad luck")),
    "begin_fit exit": partial(hook, "begin_fit", nothing, partial(sys.exit, 3)),
    "after_fit exit": partial(hook, "after_fit", nothing, partial(sys.exit, 3)),
    "begin_fit killed": partial(hook, "begin_fit", nothing, partial(send, signal.SIGKILL)),
    "worker": broken_worker,
    "stream": partial(stream, False),
    "valid stream": partial(stream, True),
    "own loop": own_loop,
    "late": late,
    "long": long,
    "models": models,
}

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever starts this may have it ignored
    torch.manual_seed(0)
    PROGRAMS[sys.argv[1]]()
