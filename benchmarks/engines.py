"""What an engine costs over a loop on DistributedDataParallel written by hand, and accelerate's bare loop beside it.

python -m benchmarks.engines
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from functools import partial
from statistics import median
from time import perf_counter, process_time
from typing import Callable

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from typedcb import DataBunch, Learner
from typedcb.engines import TorchEngine

N_PROCESSES, ROUNDS, BATCH, N_BATCHES = 2, 24, 128, 20


def network() -> nn.Sequential:
    """A network whose batch takes a few milliseconds."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))


def samples() -> TensorDataset:
    """What they train on."""
    generator = torch.Generator().manual_seed(1)
    n = BATCH * N_BATCHES
    return TensorDataset(torch.randn(n, 784, generator=generator), torch.randint(10, (n,), generator=generator))


def by_hand() -> Callable[[], None]:
    """A loop on DistributedDataParallel; each process has a batch of its own share's size."""
    model = DistributedDataParallel(network())
    opt = SGD(model.parameters(), lr=0.01)
    data = samples()
    dl: DataLoader[tuple[Tensor, ...]] = DataLoader(
        data, batch_size=BATCH // N_PROCESSES, sampler=DistributedSampler(data, shuffle=True)
    )

    def epoch() -> None:
        model.train()
        for xb, yb in dl:
            F.cross_entropy(model(xb), yb).backward()
            opt.step()
            opt.zero_grad()

    return epoch


def by_engine(engine: TorchEngine) -> Callable[[], None]:
    """The same by a learner."""
    dl: DataLoader[tuple[Tensor, ...]] = DataLoader(samples(), batch_size=BATCH, shuffle=True)
    learn = Learner(network(), DataBunch(dl), F.cross_entropy, partial(SGD, lr=0.01), engine=engine)
    return lambda: learn.fit(1) and None


def by_accelerate() -> Callable[[], None]:
    """The same by accelerate's own loop."""
    from accelerate import Accelerator  # noqa: PLC0415  # only this arm needs it

    accelerator = Accelerator(cpu=True)
    dl: DataLoader[tuple[Tensor, ...]] = DataLoader(samples(), batch_size=BATCH // N_PROCESSES, shuffle=True)
    module = network()
    model, opt, mine = accelerator.prepare(module, SGD(module.parameters(), lr=0.01), dl)

    def epoch() -> None:
        model.train()
        for xb, yb in mine:
            accelerator.backward(F.cross_entropy(model(xb), yb))
            opt.step()
            opt.zero_grad()

    return epoch


def measured() -> dict[str, list[tuple[float, float]]]:
    """Seconds a batch of each arm, in alternation, by the clock and of the processor; all begin each together."""
    torch.set_num_threads(1)
    engine = TorchEngine()
    arms = {
        "by hand": by_hand(),
        "by hand again": by_hand(),
        "typedcb": by_engine(engine),
        "accelerate": by_accelerate(),
    }
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in arms}
    for number in range(ROUNDS + 3):
        order = list(arms) if number % 2 else list(reversed(arms))
        for name in order:
            dist.barrier()
            begun, worked = perf_counter(), process_time()
            arms[name]()
            if number >= 3:
                took[name].append(((perf_counter() - begun) / N_BATCHES, (process_time() - worked) / N_BATCHES))
    return took


def main() -> None:
    """Starts the processes, and prints the table."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    place = {"WORLD_SIZE": str(N_PROCESSES), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.engines", "rank"],
            env={**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(N_PROCESSES)
    ]
    outs = [process.communicate()[0] for process in processes]
    took: dict[str, list[tuple[float, float]]] = json.loads(outs[0].strip().splitlines()[-1])
    print("| loop | ms a batch | over the loop by hand | processor's ms a batch | over the loop by hand |")
    print("| --- | ---: | --- | ---: | --- |")
    for name, times in took.items():
        cells = [name]
        for clock in (0, 1):
            pairs = sorted(one[clock] / bare[clock] for one, bare in zip(times, took["by hand"], strict=True))
            low, high = pairs[len(pairs) // 4], pairs[3 * len(pairs) // 4]
            cells += [
                f"{median(one[clock] for one in times) * 1e3:.2f}",
                f"{median(pairs):.3f} ({low:.3f} to {high:.3f})",
            ]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    if sys.argv[1:] == ["rank"]:
        print(json.dumps(measured()))
    else:
        main()
