"""What a trace of the demo's fit costs: with everything in it, with parts of it, and with none.

The fits of a round run one after another in an order drawn anew, each from the same weights, data and random numbers;
what is told is the median of the ratios within a round. It is the processor's time on one thread that is measured, so
that other programs disturb it little.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from typedcb import Learner
from typedcb.callbacks import LR, AvgStats, GradientClip, ParamScheduler, Recorder, SmoothLoss, accuracy, one_cycle
from typedcb.demo import RandomShift, Standardize, digits, small_cnn
from typedcb.trace import Trace, read

from .task import in_processes, table

PROCESSES, ROUNDS = 3, 5

ARMS: dict[str, Any] = {
    "no trace": None,
    "no trace, once more": None,
    "everything": {},
    "no hashes of tensors": {"hashes": False},
    "no statistics": {"stats": False},
    "every 10th batch": {"every_batches": 10},
    "events and times alone": {"fields": (), "watch": ()},
    "the loss and the cells": {"fields": ("loss",), "watch": ("cells",)},
    "every weight after every turn": {"thorough": True},
}


class Demo:
    """The demo's fit, of one epoch."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.data, self.mean, self.std = digits()
        self.path = Path(tempfile.mkdtemp()) / "fit.trace"

    def seconds(self, options: Any) -> float:
        """What an epoch takes, of the processor's time."""
        torch.manual_seed(0)
        smooth, stats = SmoothLoss(beta=0.9), AvgStats(accuracy)
        factories: list[Any] = [
            partial(GradientClip, clip=1.0),
            partial(ParamScheduler, param=LR, schedule=one_cycle(0.01)),
        ]
        if options is not None:
            factories.append(partial(Trace, path=self.path, **options))
        learn = Learner(
            small_cnn(),
            self.data,
            nn.CrossEntropyLoss(),
            partial(torch.optim.AdamW, lr=0.01),
            cbs=[RandomShift(), Standardize(self.mean, self.std), smooth, stats],
            cb_funcs=[*factories, Recorder],
        )
        begun = time.process_time()
        learn.fit(1)
        return time.process_time() - begun


def work() -> None:
    """Measures in this process, and prints the figures as JSON."""
    demo = Demo()
    demo.seconds(None)
    found: dict[str, list[float]] = {name: [] for name in ARMS}
    seconds: list[float] = []
    for _ in range(ROUNDS):
        names = list(ARMS)
        random.shuffle(names)
        times = {name: demo.seconds(ARMS[name]) for name in names}
        seconds.append(times["no trace"])
        for name in names:
            found[name].append(times[name] / times["no trace"])
    demo.seconds(ARMS["everything"])
    sizes = {"events": float(len(read(demo.path).runs[0].events)), "bytes": float(demo.path.stat().st_size)}
    medians = {name: statistics.median(ratios) for name, ratios in found.items()}
    print(json.dumps({**medians, **sizes, "seconds": statistics.median(seconds)}))


def main() -> None:
    """Prints the table."""
    results = in_processes("benchmarks.trace", PROCESSES, "work")
    rows = []
    for name in list(ARMS)[1:]:
        ratios = [result[name] for result in results]
        rows.append([name, f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"])
    print(table(["the demo's fit with", "ratio to the fit without a trace"], rows))
    one = results[0]
    print(f"\nAn epoch takes {one['seconds']:.2f} s, and has {one['events']:.0f} events: {one['bytes'] / 1e3:.0f} kB.")


if __name__ == "__main__":
    work() if "work" in sys.argv else main()
