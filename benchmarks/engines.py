"""What an engine costs over the same loop written by hand, on DistributedDataParallel and on fully_shard.

python -m benchmarks.engines

Every arm does the same work: the same samples on each rank, in the same order, loaded by the same code of torch, on
the same model; in the end all arms of a kind have the same weights, bit for bit, or the benchmark fails (accelerate
shuffles by itself, and loads a batch ahead). The arms run in turns, in short blocks, in one process group, so that what
else the machine does comes to all of them; and they do so in several process groups, in each of which the arms are made
in another order, since where in memory a model has come to lie is worth some hundredths too. Each process keeps to a
core of its own, so that none waits for the other one's threads. The model takes the times, as it is called: from the
first batch of an epoch to its last. A figure is the 20th percentile of all batches of a process group, and a ratio the
median over the groups. What a fit costs at its beginning and its end, and what lies between two epochs, is told apart.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch.distributed and torch.profiler are half without types

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from statistics import median
from time import perf_counter, process_time
from typing import Any, Callable, Final, Iterable, Iterator

import torch
import torch.distributed as dist
import torch.nn.functional as F
from attrs import define, field, frozen
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader, DistributedSampler, Sampler, TensorDataset
from typing_extensions import override

from typedcb import DataBunch, Learner
from typedcb.engines import FSDP, TorchEngine

from .task import middle, table

N_PROCESSES, BATCH, N_BATCHES, N_EPOCHS, WARM_UP = 2, 128, 12, 2, 3
STARTS, SECONDS, LR = 12, 10.0, 0.01
KINDS: Final = {"ddp": "DistributedDataParallel", "fsdp": "fully_shard"}
CLOCK, PROCESSOR = 0, 1

Pair = tuple[Tensor, ...]
Loader = DataLoader[Pair]
Moment = tuple[float, float]
"""By the clock, and of the processor's time that this process has used in all its threads; in seconds."""


def now() -> Moment:
    """This moment."""
    return perf_counter(), process_time()


def network() -> nn.Sequential:
    """A network whose batch takes some ten milliseconds, with the buffers of a batch norm."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2, padding=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 7 * 7, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def samples() -> TensorDataset:
    """What they train on: pictures of 28 by 28."""
    generator = torch.Generator().manual_seed(1)
    n = BATCH * N_BATCHES
    return TensorDataset(torch.randn(n, 1, 28, 28, generator=generator), torch.randint(10, (n,), generator=generator))


@define
class Clock:
    """Notes when a model is called."""

    noted: list[Moment] = field(factory=list)

    def __call__(self, module: object, args: object) -> None:
        """The model is called."""
        self.noted.append(now())


def timed() -> tuple[nn.Module, Clock]:
    """The network, and the clock of its calls."""
    model, clock = network(), Clock()
    model.register_forward_pre_hook(clock)
    return model, clock


class Halves(Sampler[int]):
    """The order of a DistributedSampler, put together again: the first half of each batch is what the first rank has.

    A DistributedSampler deals out single samples in turns, and an engine splits each batch in the middle. Both make
    the whole order where an epoch begins.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._epoch = 0

    @override
    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._epoch)
        self._epoch += 1
        order: list[int] = torch.randperm(self._n, generator=generator).tolist()
        batches = [order[start : start + BATCH] for start in range(0, self._n, BATCH)]
        return iter([one for batch in batches for rank in range(N_PROCESSES) for one in batch[rank::N_PROCESSES]])

    def __len__(self) -> int:
        return self._n


@frozen
class Arm:
    """A loop that trains."""

    run: Callable[[int], object]
    """Trains for so many epochs."""

    clock: Clock
    """When its model was called."""

    model: nn.Module
    """What it trains."""


def loop_of(
    model: nn.Module, sampler: DistributedSampler[Pair], dl: Iterable[Any], forward: Callable[[Tensor], Tensor]
) -> Callable[[int], None]:
    """The loop that is written by hand."""
    opt = SGD(model.parameters(), lr=LR)
    done = 0

    def run(n_epochs: int) -> None:
        nonlocal done
        model.train()
        for _ in range(n_epochs):
            sampler.set_epoch(done)
            done += 1
            for xb, yb in dl:
                F.cross_entropy(forward(xb), yb).backward()  # type: ignore[no-untyped-call]  # torch leaves it so
                opt.step()
                opt.zero_grad()

    return run


def by_hand(kind: str) -> Arm:
    """A loop on torch's own; each process has a batch of its own share's size."""
    (model, clock), data = timed(), samples()
    forward: nn.Module = model
    if kind == "ddp":
        forward = DistributedDataParallel(model)
    else:
        for unit in FSDP().units(model):
            fully_shard(unit)
        fully_shard(model)
    sampler: DistributedSampler[Pair] = DistributedSampler(data, shuffle=True, seed=0)
    dl: Loader = DataLoader(data, batch_size=BATCH // N_PROCESSES, sampler=sampler)
    return Arm(loop_of(model, sampler, dl, forward), clock, model)


def by_engine(engine: TorchEngine) -> Arm:
    """The same by a learner."""
    (model, clock), data = timed(), samples()
    dl: Loader = DataLoader(data, batch_size=BATCH, sampler=Halves(len(data)))
    learn = Learner(model, DataBunch(dl), F.cross_entropy, partial(SGD, lr=LR), engine=engine)
    return Arm(learn.fit, clock, model)


def by_accelerate() -> Arm:
    """The same by accelerate's own loop."""
    from accelerate import Accelerator  # noqa: PLC0415  # only this arm needs it

    accelerator = Accelerator(cpu=True)
    (module, clock), data = timed(), samples()
    dl: Loader = DataLoader(data, batch_size=BATCH // N_PROCESSES, shuffle=True)
    model, opt, mine = accelerator.prepare(module, SGD(module.parameters(), lr=LR), dl)

    def run(n_epochs: int) -> None:
        model.train()
        for _ in range(n_epochs):
            for xb, yb in mine:
                accelerator.backward(F.cross_entropy(model(xb), yb))
                opt.step()
                opt.zero_grad()

    return Arm(run, clock, module)


def arms_of(kind: str, engine: TorchEngine, start: int) -> dict[str, Arm]:
    """What runs in turns, made in another order with each start."""
    makers: dict[str, Callable[[], Arm]] = {
        "by hand": partial(by_hand, kind),
        "by hand again": partial(by_hand, kind),
        "Learner": partial(by_engine, engine),
    }
    if kind == "ddp" and find_spec("accelerate"):
        makers["accelerate's loop"] = by_accelerate
    names = list(makers)
    first = start % len(names)
    made = {name: makers[name]() for name in (*names[first:], *names[:first])}
    return {name: made[name] for name in names}


Block = dict[str, list[Moment]]
"""What each batch of a block took, what lies between its epochs, and what around its batches."""


def block(arm: Arm) -> Block:
    """Trains for a few epochs."""
    arm.clock.noted.clear()
    dist.barrier()
    begun = now()
    arm.run(N_EPOCHS)
    ended, noted = now(), arm.clock.noted
    assert len(noted) == N_EPOCHS * N_BATCHES, len(noted)
    epochs = [noted[i : i + N_BATCHES] for i in range(0, len(noted), N_BATCHES)]
    return {
        "batch": [_less(after, before) for epoch in epochs for before, after in pairwise(epoch)],
        "between": [_less(after[0], before[-1]) for before, after in pairwise(epochs)],
        "around": [_less(_less(ended, begun), _less(noted[-1], noted[0]))],
    }


def _less(one: Moment, other: Moment) -> Moment:
    return one[CLOCK] - other[CLOCK], one[PROCESSOR] - other[PROCESSOR]


def collectives(arm: Arm) -> dict[str, float]:
    """How many collectives of gloo an arm runs, by kind, in a batch of an epoch: in two epochs, less those of one."""
    counts: list[dict[str, int]] = []
    for n_epochs in (1, 2):
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            arm.run(n_epochs)
        events = seen.key_averages()
        counts.append({one.key: one.count for one in events if one.key.startswith("gloo:")})
    one, two = counts
    return {name.removeprefix("gloo:"): (two[name] - one.get(name, 0)) / N_BATCHES for name in two}


def calls(arm: Arm) -> float:
    """How many calls of functions, of Python's and of C's, an arm makes in a batch of an epoch, in this thread."""
    totals: list[int] = []
    for n_epochs in (1, 2):
        seen = 0

        def count(frame: object, event: str, arg: object) -> None:
            nonlocal seen
            seen += event in ("call", "c_call")

        sys.setprofile(count)
        arm.run(n_epochs)
        sys.setprofile(None)
        totals.append(seen)
    return (totals[1] - totals[0]) / N_BATCHES


def weights(model: nn.Module) -> Tensor:
    """All weights of a model, whole."""
    whole = [p.full_tensor() if isinstance(p, DTensor) else p for p in model.parameters()]
    return torch.cat([tensor.detach().flatten() for tensor in whole])


@define
class Measured:
    """What one process has measured of one kind."""

    blocks: dict[str, list[Block]]
    collectives: dict[str, dict[str, float]]
    calls: dict[str, float]


def measured(kind: str, engine: TorchEngine, start: int) -> Measured:
    """Runs the arms of a kind in turns, in an order that is drawn anew for each round, the same on all ranks."""
    arms = arms_of(kind, engine, start)
    found = Measured({name: [] for name in arms}, {}, {})
    order, drawn = list(arms), random.Random(start)
    for _ in range(WARM_UP):
        for arm in arms.values():
            arm.run(N_EPOCHS)
    begun = perf_counter()
    while max(engine.gather((round(perf_counter() - begun),)))[0] < SECONDS:
        drawn.shuffle(order)
        for name in order:
            found.blocks[name].append(block(arms[name]))
    for name, arm in arms.items() if not start else ():
        found.collectives[name], found.calls[name] = collectives(arm), calls(arm)
    wanted = weights(arms["by hand"].model)
    for name in ("by hand again", "Learner"):
        assert torch.equal(weights(arms[name].model), wanted), f"{name} has come to other weights than the loop by hand"
    return found


Start = list[Measured]
"""What each rank has measured in one process group."""


def over_ranks(ranks: Start, name: str, part: str, which: int) -> list[float]:
    """What each batch, or another part of a block, took on the mean of the ranks, in seconds."""
    each = [[moment[which] for block in rank.blocks[name] for moment in block[part]] for rank in ranks]
    return [sum(values) / len(ranks) for values in zip(*each, strict=True)]


def figure(ranks: Start, name: str, part: str, which: int) -> float:
    """What a batch, or another part of a block, takes: the 20th percentile, in seconds."""
    values = sorted(over_ranks(ranks, name, part, which))
    return values[len(values) // 5]


def figures(starts: list[Start], name: str, which: int) -> list[str]:
    """What a batch takes in ms, and its ratio to the loop by hand in the same process group."""
    took = [figure(ranks, name, "batch", which) for ranks in starts]
    bare = [figure(ranks, "by hand", "batch", which) for ranks in starts]
    return [f"{median(took) * 1e3:.2f}", middle([one / other for one, other in zip(took, bare, strict=True)], ".3f")]


def outside(starts: list[Start], name: str) -> list[str]:
    """What lies outside of the batches by the clock, in ms: around a fit, and between two epochs."""
    parts = [
        median(figure(ranks, name, part, CLOCK) - figure(ranks, name, "batch", CLOCK) for ranks in starts)
        for part in ("around", "between")
    ]
    return [f"{seconds * 1e3:.1f}" for seconds in parts]


def report(kind: str, starts: list[Start]) -> None:
    """Prints the tables of a kind."""
    counted, *_ = starts[0]
    blocks = sum(len(ranks[0].blocks["by hand"]) for ranks in starts)
    print(f"\n{KINDS[kind]}, {N_PROCESSES} processes, {len(starts)} starts, {blocks} blocks of each loop:\n")
    head = ["loop", "ms a batch", "over by hand", "processor's ms", "over by hand"]
    rows = [[name, *figures(starts, name, CLOCK), *figures(starts, name, PROCESSOR)] for name in counted.blocks]
    print(table(head, rows))
    head = ["loop", "calls a batch", "collectives a batch", "ms around a fit", "ms between epochs"]
    rows = []
    for name, collective in counted.collectives.items():
        made = ", ".join(f"{n:.2f} {what}" for what, n in collective.items() if n)
        rows.append([name, f"{counted.calls[name]:.0f}", made, *outside(starts, name)])
    print(f"\n{table(head, rows)}", flush=True)


def keep_to_a_core(number: int) -> None:
    """Has this process and its threads keep to a core of their own, where the system lets it and there are enough."""
    if sys.platform == "linux":
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) >= N_PROCESSES:
            os.sched_setaffinity(0, {cores[number]})


def rank(kind: str, start: str) -> None:
    """What each process does."""
    torch.set_num_threads(1)
    keep_to_a_core(int(os.environ["RANK"]))
    with TorchEngine(FSDP() if kind == "fsdp" else None) as engine:
        found = measured(kind, engine, int(start))
    print(json.dumps([found.blocks, found.collectives, found.calls]))


def started(kind: str, start: int) -> Start:
    """Starts the processes, and waits for what they have measured."""
    with socket.socket() as at:
        at.bind(("127.0.0.1", 0))
        port = str(at.getsockname()[1])
    place = {"WORLD_SIZE": str(N_PROCESSES), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.engines", kind, str(start)],
            env={**os.environ, **place, "RANK": str(number), "LOCAL_RANK": str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,  # torch's profiler says there that it begins and ends
            text=True,
        )
        for number in range(N_PROCESSES)
    ]
    found: Start = []
    for process in processes:
        out, said = process.communicate()
        if process.returncode:
            raise SystemExit(said)
        found.append(Measured(*json.loads(out.strip().splitlines()[-1])))
    return found


def main() -> None:
    """Prints the tables."""
    for kind in KINDS:
        report(kind, [started(kind, start) for start in range(STARTS)])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        rank(*sys.argv[1:])
    else:
        main()
