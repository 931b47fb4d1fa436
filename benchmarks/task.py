"""The one task that every loop here runs, and the figures that come of it.

An MLP 64-32-10 on the digits of scikit-learn: 45 batches of 32, collated beforehand, SGD, one thread. It is small on
purpose: a batch takes some 0.1 ms, so that what a loop adds can be seen.
"""

from __future__ import annotations

import gc
import json
import random
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parent.parent
BATCH_SIZE, N_BATCHES, LR = 32, 45, 0.1

Pair = tuple[Tensor, Tensor]
Weights = list[Tensor]
Arm = Callable[[int], Weights]
"""Trains a fresh model for so many epochs, and returns its weights."""


class Batches:
    """The training batches; it remembers when each pass over them began."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self.pairs = pairs
        self.begun: list[float] = []

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[Pair]:
        self.begun.append(time.perf_counter())
        return iter(self.pairs)

    def epoch_times(self) -> list[float]:
        """The time from each pass to the next one, in seconds a batch; the last pass has no end."""
        return [(end - begin) / len(self.pairs) for begin, end in pairwise(self.begun)]


def digits() -> Batches:
    """The batches, each with storage of its own, as a DataLoader makes them."""
    data = load_digits()
    xs = torch.tensor(data.data, dtype=torch.float32) / 16
    ys = torch.tensor(data.target)
    starts = range(0, N_BATCHES * BATCH_SIZE, BATCH_SIZE)
    return Batches([(xs[i : i + BATCH_SIZE].clone(), ys[i : i + BATCH_SIZE].clone()) for i in starts])


def mlp() -> nn.Sequential:
    """The model, with the same weights whenever it is made."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def sgd(params: Iterable[nn.Parameter]) -> torch.optim.SGD:
    """The optimizer."""
    return torch.optim.SGD(params, lr=LR)


def weights_of(model: nn.Module) -> Weights:
    """A copy of a model's weights."""
    return [param.detach().clone() for param in model.parameters()]


def bare(batches: Batches) -> Arm:
    """The loop that one writes by hand: what all others are compared to."""

    def run(n_epochs: int) -> Weights:
        model = mlp()
        opt = sgd(model.parameters())
        for _ in range(n_epochs):
            for xb, yb in batches:
                loss = F.cross_entropy(model(xb), yb)
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
                opt.step()
                opt.zero_grad()
        batches.begun.append(time.perf_counter())
        return weights_of(model)

    return run


def measure(
    arms: Mapping[str, Arm], batches: Batches, n_epochs: int, rounds: int, unequal: bool = False
) -> dict[str, float]:
    """Runs the arms in turns, in an order drawn anew for each round.

    Args:
        arms: What to run, by name.
        batches: What they run on.
        n_epochs: How many epochs each of them runs in a round.
        rounds: How many rounds, besides one to warm up.
        unequal: Whether the weights may differ in the end, in their last digits or altogether.

    Returns:
        The time of a batch for each arm, in seconds: the 20th percentile over the epochs of all rounds, which says
        more than their median where other programs are running.
    """
    times: dict[str, list[float]] = {name: [] for name in arms}
    names = list(arms)
    wanted = arms["bare"](n_epochs)
    for turn in range(rounds + 1):
        random.shuffle(names)
        for name in names:
            gc.collect()
            gc.disable()
            batches.begun.clear()
            weights = arms[name](n_epochs)
            gc.enable()
            if turn:
                times[name] += batches.epoch_times()
            if not unequal and not all(torch.equal(a, b) for a, b in zip(weights, wanted, strict=True)):
                raise AssertionError(f"{name} came to other weights than the bare loop")
    return {name: sorted(values)[len(values) // 5] for name, values in times.items()}


def in_processes(module: str, n: int, *args: str, python: str = sys.executable) -> list[dict[str, float]]:
    """What a module prints as JSON in each of several fresh processes, one after another."""
    results: list[dict[str, float]] = []
    for _ in range(n):
        done = subprocess.run([python, "-m", module, *args], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        results.append(json.loads(done.stdout.strip().splitlines()[-1]))
    return results


def ratios(results: Sequence[Mapping[str, float]], name: str) -> list[float]:
    """An arm's time over the bare loop's, in each process."""
    return [result[name] / result["bare"] for result in results]


def slopes(results: Sequence[Mapping[str, float]], few: str, many: str, n: int) -> list[float]:
    """What one more callback costs in a batch, in ns, in each process."""
    return [(result[many] - result[few]) / n * 1e9 for result in results]


def middle(values: Sequence[float], form: str) -> str:
    """The median of values, and their least and greatest, as text."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(field) for field in line) + " |" for line in lines)
