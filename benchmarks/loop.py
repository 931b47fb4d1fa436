"""What typedcb's loops cost over a loop written by hand, with and without callbacks."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from typedcb import AnyCallback, Cell, DataBunch, Learner, LossEvent, cell
from typedcb.loop import Loop

from .task import (
    Arm,
    Batches,
    Weights,
    bare,
    digits,
    in_processes,
    measure,
    middle,
    mlp,
    ratios,
    sgd,
    slopes,
    table,
    weights_of,
)

N_EPOCHS, ROUNDS, PROCESSES = 10, 15, 5

Callbacks = Callable[[], Sequence[AnyCallback]]


@dataclass(frozen=True)
class Nothing(AnyCallback):
    """Does nothing after the loss."""

    @override
    def after_loss(self, event: LossEvent) -> None:
        pass


@dataclass(frozen=True)
class Reads(AnyCallback):
    """Reads the loss and the batch's number."""

    index: Cell[int] = cell(0)

    @override
    def after_loss(self, event: LossEvent) -> None:
        _ = event.loss
        self.index.value = event.index


def learner(batches: Batches, callbacks: Callbacks) -> Arm:
    """`Learner.fit`."""

    def run(n_epochs: int) -> Weights:
        learn = Learner(mlp(), DataBunch[Tensor, Tensor](batches), F.cross_entropy, sgd, cbs=callbacks())
        learn.fit(n_epochs)
        batches.begun.append(perf_counter())
        return weights_of(learn.model)

    return run


def own_loop(batches: Batches, callbacks: Callbacks) -> Arm:
    """A loop of one's own."""

    def run(n_epochs: int) -> Weights:
        model = mlp()
        opt = sgd(model.parameters())
        loop = Loop[Tensor, Tensor, Tensor](callbacks())
        with loop.fit(n_epochs) as fit:
            for epoch in fit.epochs():
                for batch in epoch.train(batches):
                    out = batch.pred(model(batch.xb))
                    out.loss(F.cross_entropy(out.pred, out.yb)).backward().step(opt)
        batches.begun.append(perf_counter())
        return weights_of(model)

    return run


def several(kind: type[Nothing] | type[Reads]) -> Callable[[Batches], dict[str, Arm]]:
    """A learner with 5 callbacks of a kind, and one with 100."""

    def arms(batches: Batches) -> dict[str, Arm]:
        return {str(n): learner(batches, partial(_made, kind, n)) for n in (5, 100)}

    return arms


def _made(kind: type[Nothing] | type[Reads], n: int) -> Sequence[AnyCallback]:
    return [kind() for _ in range(n)]


GROUPS: dict[str, Callable[[Batches], dict[str, Arm]]] = {
    "the bare loop again": lambda batches: {"0": bare(batches)},
    "own loop, no callback": lambda batches: {"0": own_loop(batches, tuple)},
    "Learner, no callback": lambda batches: {"0": learner(batches, tuple)},
    "Learner, callbacks that do nothing": several(Nothing),
    "Learner, callbacks that read loss and index": several(Reads),
}
"""What runs in turns with the bare loop in a process of its own, as it would with its user."""


def main() -> None:
    """Prints the table."""
    rows: list[list[str]] = []
    times: list[float] = []
    for name in GROUPS:
        results = in_processes("benchmarks.loop", PROCESSES, name)
        times += [result["bare"] * 1e6 for result in results]
        for n in (n for n in results[0] if n != "bare"):
            added = middle([(result[n] - result["bare"]) * 1e6 for result in results], ".1f")
            more = middle(slopes(results, "5", "100", 95), ".0f") if n == "100" else ""
            rows.append([name, n, middle(ratios(results, n), ".3f"), added, more])
    head = ["loop", "callbacks", "ratio to the bare loop", "µs more a batch", "ns for one more callback"]
    print(f"The bare loop takes {middle(times, '.0f')} µs a batch.\n")
    print(table(head, rows))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        pairs = digits()
        print(json.dumps(measure({"bare": bare(pairs)} | GROUPS[sys.argv[1]](pairs), pairs, N_EPOCHS, ROUNDS)))
    else:
        main()
