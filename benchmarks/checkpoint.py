"""What an asynchronous checkpoint every epoch costs: of the run's time, and of the time that training stands still.

A fit with a `Checkpoint` and two without run in turns, in one process, in an order drawn anew for each round; the
figures are medians over the rounds, so that what else the machine does falls on all. How the two without differ is what
noise alone comes to. Each task has a time of its own, and one round at least; its row is printed when it is over. The
second table has what the parts of a checkpoint cost. It takes five minutes on two cores.
"""

from __future__ import annotations

import gc
import os
import random
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Callable, ClassVar

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from typedcb import AfterEpoch, AnyCallback, BeginEpoch, Cell, DataBunch, Learner, cell
from typedcb.callbacks import Checkpoint
from typedcb.demo import digits, small_cnn
from typedcb.state import captured
from typedcb.store import Draft, clean, draft, steps, verify, write
from typedcb.store.checksums import checksum

from .task import table

ROUNDS = 9


@attrs.frozen
class Task:
    """What is trained."""

    name: str
    """What the table calls it."""

    model: Callable[[], nn.Module]
    """Makes the model."""

    data: Callable[[], DataBunch[Tensor, Tensor]]
    """Makes the data."""

    opt: Callable[..., torch.optim.Optimizer]
    """Makes the optimizer."""

    n_epochs: int
    """How many epochs a fit has."""

    seconds: float
    """How long all its rounds may take."""


@attrs.frozen
class StandsStill(AnyCallback):
    """Measures how long the callbacks that run after it hold an epoch's end up, a checkpoint among them."""

    order: ClassVar[int] = 9_999

    ended: Cell[float] = cell(0.0, saved=False)
    """When the last epoch had ended."""

    seconds: Cell[tuple[float, ...]] = cell((), saved=False)
    """How long each epoch's end was held up."""

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        """Starts the clock."""
        self.ended.value = perf_counter()

    @override
    def begin_epoch(self, event: BeginEpoch) -> None:
        """Reads it."""
        if event.epoch:
            self.seconds.value += (perf_counter() - self.ended.value,)


def images(n: int, batch_size: int) -> DataBunch[Tensor, Tensor]:
    """Random images of 32 x 32 pixels in three colours, in batches, eight of which come again and again."""
    made = torch.Generator().manual_seed(0)
    pairs = [
        (torch.randn(batch_size, 3, 32, 32, generator=made), torch.randint(10, (batch_size,), generator=made))
        for _ in range(8)
    ]
    return DataBunch([pairs[number % 8] for number in range(n)])


def wide_cnn() -> nn.Module:
    """A residual-free convolutional network of some 9 million weights, 36 MB."""

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]

    convolutions = [*block(3, 64), *block(64, 256), *block(256, 512), *block(512, 1024)]
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(1024 * 4, 768), nn.ReLU(), nn.Linear(768, 10))


ADAMW = partial(torch.optim.AdamW, lr=0.001)
TASKS = (
    Task("the demo's network", small_cnn, lambda: digits()[0], ADAMW, 3, 60.0),
    Task("9 million weights, AdamW, short epochs", wide_cnn, lambda: images(24, 32), ADAMW, 5, 120.0),
    Task("the same, longer epochs", wide_cnn, lambda: images(120, 32), ADAMW, 3, 130.0),
)
"""An epoch of such a network takes minutes as a rule: ten seconds are few, and two seconds a stress."""


@attrs.frozen
class Cost:
    """What a fit took, in seconds."""

    wall: float
    """By the clock."""

    cpu: float
    """Of processor time, all threads together."""

    held: tuple[float, ...]
    """How long training stood still at each epoch's end."""


def one_fit(task: Task, data: DataBunch[Tensor, Tensor], folder: Path | None) -> Cost:
    """Trains with a checkpoint at each epoch, or without."""
    torch.manual_seed(0)
    learn: Learner[Any, Any, Any, Any] = Learner(task.model(), data, F.cross_entropy, task.opt)
    stands = StandsStill()
    more: list[Callable[..., AnyCallback]] = []
    if folder is not None:
        more = [partial(Checkpoint, folder=folder, keep_last=2, asynchronous=True)]
    gc.collect()
    begun, cpu = perf_counter(), process_time()
    learn.fit(task.n_epochs, cbs=[stands], cb_funcs=more)
    return Cost(perf_counter() - begun, process_time() - cpu, stands.seconds.value)


def stepped(task: Task) -> Learner[Any, Any, Any, Any]:
    """A learner between two batches: the optimizer has its state, and there are no gradients."""
    torch.manual_seed(0)
    data = task.data()
    learn: Learner[Any, Any, Any, Any] = Learner(task.model(), data, F.cross_entropy, task.opt)
    xb, yb = next(iter(data.train_dl))
    F.cross_entropy(learn.model(xb), yb).backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
    learn.opt.step()
    learn.opt.zero_grad()
    return learn


def parts(task: Task) -> list[list[str]]:
    """What each part of a checkpoint takes of the processor's time, on one thread."""
    learn = stepped(task)
    content = draft(captured(learn), copy=True)
    tensors, memory = bare(content)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        written = (folder / f"step-{number:08d}" for number in range(99))

        def all_of_it() -> None:
            now = write(next(written), content)
            clean(folder, 2, None, now)

        def stand_still() -> None:
            draft(captured(learn), copy=True, into=content)

        def hashed() -> None:
            digest = checksum()
            for chunk in content.chunks():
                digest.update(chunk)

        return [
            ["copying the tensors alone", cpu(lambda: copy(tensors, memory))],
            ["all that training stands still for", cpu(stand_still)],
            ["the checksum", cpu(hashed)],
            ["all that the thread does, the checksum and removing older ones too", cpu(all_of_it)],
            ["reading and verifying it, as a fit that is taken up does", cpu(lambda: verify(steps(folder)[-1]))],
        ]


def bare(content: Draft) -> tuple[list[Tensor], list[Tensor]]:
    """The tensors of a checkpoint, and memory for them that was used before."""
    tensors = [tensor.clone() for tensor in content.tensors.values()]
    return tensors, [torch.ones_like(tensor) for tensor in tensors]


def copy(tensors: list[Tensor], memory: list[Tensor]) -> None:
    """Copies tensors, and does nothing else."""
    for into, tensor in zip(memory, tensors, strict=True):
        into.copy_(tensor)


def cpu(run: Callable[[], object]) -> str:
    """The processor's time that something takes, in milliseconds: the median of nine, the least and the greatest."""
    run()
    times: list[float] = []
    for _ in range(9):
        begun = process_time()
        run()
        times.append(1e3 * (process_time() - begun))
    return f"{statistics.median(times):.0f} ({min(times):.0f} to {max(times):.0f})"


def copying(task: Task) -> tuple[float, float]:
    """The seconds that it takes to copy a state's tensors into memory that was used before, and their megabytes."""
    tensors, memory = bare(draft(captured(stepped(task)), copy=True))
    times: list[float] = []
    for _ in range(9):
        begun = perf_counter()
        copy(tensors, memory)
        times.append(perf_counter() - begun)
    return statistics.median(times), sum(tensor.nbytes for tensor in tensors) / 1e6


def measured(task: Task, rounds: int) -> list[str]:
    """A row of the table."""
    data = task.data()
    begun = perf_counter()
    found: list[tuple[Cost, Cost, Cost]] = []
    longest = 0.0
    while not found or (len(found) < rounds and perf_counter() - begun + longest < task.seconds):
        costs: dict[int, Cost] = {}
        for arm in random.sample(range(3), 3):
            with tempfile.TemporaryDirectory() as name:
                costs[arm] = one_fit(task, data, None if arm else Path(name))
        found.append((costs[0], costs[1], costs[2]))
        longest = max(longest, sum(cost.wall for cost in costs.values()))
    copied, megabytes = copying(task)
    held = [1e3 * seconds for saving, _, _ in found for seconds in saving.held]
    return [
        task.name,
        f"{len(found)}",
        f"{megabytes:.1f}",
        f"{statistics.median(alone.wall for _, alone, _ in found) / task.n_epochs:.1f}",
        percent([saving.wall / alone.wall - 1 for saving, alone, _ in found]),
        percent([again.wall / alone.wall - 1 for _, alone, again in found]),
        milliseconds([1e3 * (saving.cpu - alone.cpu) / task.n_epochs for saving, alone, _ in found]),
        milliseconds(held),
        f"{copied * 1e3:.1f}",
    ]


def percent(parts: list[float]) -> str:
    """The median of parts of one, and their least and greatest, as text."""
    return f"{statistics.median(parts):.1%} ({min(parts):.1%} to {max(parts):.1%})"


def milliseconds(times: list[float]) -> str:
    """The median of times, and their quartiles, as text."""
    low, middle, high = statistics.quantiles(times, n=4) if len(times) > 1 else times * 3
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def main() -> None:
    """Prints the table; the greatest number of rounds may be given."""
    torch.set_num_threads(os.cpu_count() or 1)  # as with its user: the thread that writes has no processor to itself
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else ROUNDS
    head = [
        *("trained", "rounds", "MB a checkpoint", "s an epoch", "more time", "more time of one without"),
        *("ms of processor time a checkpoint", "ms that training stands still", "ms to copy alone"),
    ]
    print(table(head, []), flush=True)
    for task in TASKS:
        print("| " + " | ".join(measured(task, rounds)) + " |", flush=True)
    torch.set_num_threads(1)
    print("\n" + table([f"part of a checkpoint: {TASKS[1].name}", "ms of processor time"], parts(TASKS[1])))


if __name__ == "__main__":
    main()
