"""Callbacks that look on: activations, CSV, TensorBoard, time, memory, profile; each against a reference of its own."""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

from typedcb import DataBunch, Learner
from typedcb.callbacks import (
    ActivationStats,
    AvgStats,
    CSVLogger,
    ForwardHooks,
    PeakMemory,
    Profiler,
    Recorder,
    TensorBoard,
    Timer,
    leaves,
)

Pair = tuple[Tensor, Tensor]
Net = Learner[Tensor, Tensor, Tensor, nn.Sequential]


def batches(number: int) -> list[Pair]:
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(6, 5, generator=generator), torch.arange(6) % 3) for _ in range(number)]


def learner(number: int = 4, loss: object = None) -> Net:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    return Learner(model, DataBunch(batches(number), batches(2)), F.cross_entropy, partial(SGD, lr=0.1))


def hooks_left(learn: Net) -> int:
    return sum(len(module._forward_hooks) for module in learn.model.modules())


def test_activation_stats_are_those_of_a_forward_pass_by_hand() -> None:
    learn = learner(number=1)
    with torch.no_grad():
        hidden = learn.model[0](batches(1)[0][0])
        outputs = [hidden, hidden.relu(), learn.model[2](hidden.relu())]
    stats = learn.add(ActivationStats)

    learn.fit(1)

    assert stats.means[0] == pytest.approx([float(out.mean()) for out in outputs])
    assert stats.stds[0] == pytest.approx([float(out.std(correction=0)) for out in outputs])
    assert stats.near_zeros[0] == pytest.approx([float((out.abs() <= 0.01).float().mean()) for out in outputs])


def test_activation_stats_look_at_training_batches_alone_and_begin_afresh_with_each_fit() -> None:
    learn = learner(number=4)
    stats = learn.add(ActivationStats, modules=(learn.model[2],))
    learn.fit(2)
    assert len(stats.means) == 8

    learn.fit(1)

    assert len(stats.means) == 4
    assert hooks_left(learn) == 0


def test_a_module_that_a_batch_does_not_use_has_nan() -> None:
    learn = learner(number=1)
    stats = learn.add(ActivationStats, modules=(learn.model[0], nn.Linear(1, 1)))

    learn.fit(1)

    assert math.isnan(stats.means[0][1])


@pytest.mark.parametrize("fails", [False, True])
def test_forward_hooks_are_called_in_a_fit_and_gone_after_it_also_after_an_error(fails: bool) -> None:
    learn = learner(number=3)
    seen: list[torch.Size] = []

    def look(module: nn.Module, output: object) -> None:
        assert isinstance(output, Tensor)
        seen.append(output.shape)
        if fails and len(seen) > 2:
            raise RuntimeError("enough")

    hooks = ForwardHooks((learn.model[1],), look)
    if fails:
        with pytest.raises(RuntimeError, match="enough"):
            learn.fit(1, cbs=[hooks])
    else:
        learn.fit(1, cbs=[hooks])

    assert seen == [torch.Size([6, 8])] * (3 if fails else 5)
    assert hooks_left(learn) == 0


def test_leaves_are_the_modules_that_hold_no_others() -> None:
    inner = nn.Sequential(nn.ReLU())
    model = nn.Sequential(nn.Linear(1, 1), inner)

    assert leaves(model) == (model[0], inner[0])


def test_the_csv_file_has_the_figures_of_each_epoch(tmp_path: Path) -> None:
    learn = learner()
    stats = AvgStats()
    rows: list[tuple[float, ...]] = []
    path = tmp_path / "fit.csv"
    for append in (False, True):
        logger = CSVLogger(stats, path, append=append)
        learn.fit(2, cbs=[stats, logger])
        rows.append(stats.row)

    with path.open(newline="") as file:
        header, *lines = csv.reader(file)
    assert header == ["epoch", "train_loss", "valid_loss"]
    assert [line[0] for line in lines] == ["0", "1", "0", "1"]
    assert tuple(map(float, lines[1][1:])) == rows[0]
    assert tuple(map(float, lines[3][1:])) == rows[1]


def test_a_csv_file_that_is_not_to_be_gone_on_with_is_replaced(tmp_path: Path) -> None:
    learn = learner()
    stats = AvgStats()
    path = tmp_path / "fit.csv"
    path.write_text("old")

    learn.fit(1, cbs=[stats, CSVLogger(stats, path)])

    assert path.read_text().splitlines()[0] == "epoch,train_loss,valid_loss"


def test_a_missing_folder_of_the_csv_file_is_an_error_before_training(tmp_path: Path) -> None:
    learn = learner()
    stats = AvgStats()
    before = learn.model[0].weight.clone()

    with pytest.raises(FileNotFoundError):
        learn.fit(1, cbs=[stats, CSVLogger(stats, tmp_path / "no" / "fit.csv")])

    assert torch.equal(before, learn.model[0].weight)


def test_tensorboard_holds_the_losses_that_were_computed(tmp_path: Path) -> None:
    learn = learner(number=4)
    stats = AvgStats()
    recorder = learn.add(Recorder)

    learn.fit(2, cbs=[stats, TensorBoard(learn, tmp_path, stats, every=2)])

    curves = EventAccumulator(str(tmp_path))
    curves.Reload()
    points = curves.Scalars("loss/batch")
    assert [point.step for point in points] == [0, 2, 4, 6]
    assert [point.value for point in points] == pytest.approx(recorder.losses.value[::2])
    assert [point.value for point in curves.Scalars("lr/group0")] == pytest.approx([0.1] * 4)
    assert curves.Scalars("epoch/valid_loss")[1].value == pytest.approx(stats.valid_loss.value)


def test_timer_tells_waiting_from_computing() -> None:
    class SlowLoader:
        def __iter__(self) -> Iterator[Pair]:
            for pair in batches(3):
                time.sleep(0.03)
                yield pair

    def slow_loss(pred: Tensor, yb: Tensor) -> Tensor:
        time.sleep(0.01)
        return F.cross_entropy(pred, yb)

    learn = Learner(nn.Linear(5, 3), DataBunch(SlowLoader()), slow_loss, partial(SGD, lr=0.1))
    timer = Timer()

    learn.fit(2, cbs=[timer])

    first = timer.epochs[0]
    assert len(timer.epochs) == 2
    assert first.batches == 3
    assert first.waiting >= 0.09
    assert first.computing >= 0.03
    assert first.whole >= first.waiting + first.computing


def test_peak_memory_is_at_least_what_the_process_holds() -> None:
    learn = learner()
    memory = learn.add(PeakMemory)
    ballast = torch.ones(8 * 1024 * 1024)

    learn.fit(2)

    assert len(memory.peaks) == 2
    assert memory.peaks[0] > ballast.numel() * ballast.element_size()


@pytest.mark.filterwarnings("ignore")  # the profiler's own
def test_the_profiler_writes_a_trace_for_each_round(tmp_path: Path) -> None:
    learn = learner(number=6)

    learn.fit(1, cbs=[profiler := Profiler(tmp_path / "traces", wait=1, warmup=1, active=1, rounds=2)])

    assert len(profiler.written.value) == 2
    trace = json.loads((tmp_path / "traces" / "round-0.json").read_text())
    assert any("addmm" in event.get("name", "") for event in trace["traceEvents"])
