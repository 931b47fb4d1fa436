"""Progress: plain lines without a terminal, a live table on one."""

from __future__ import annotations

import atexit
import io
import sys
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

from typedcb import DataBunch, Learner
from typedcb.callbacks import AvgStats, EarlyStopping, Progress, SmoothLoss, accuracy
from typedcb.callbacks.display import open_display

SHOW_CURSOR = "\x1b[?25h"

BATCHES: list[tuple[Tensor, Tensor]] = [(torch.ones(4, 2), torch.zeros(4, dtype=torch.long)) for _ in range(3)]


def fit(epochs: int, stats: AvgStats[Tensor, Tensor], progress: Progress, *more: EarlyStopping) -> None:
    smooth = [progress.smooth] if progress.smooth else []
    model = nn.Linear(2, 3)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    data = DataBunch(BATCHES, BATCHES)
    Learner(model, data, F.cross_entropy, partial(SGD, lr=0.0), cbs=[progress, stats, *smooth, *more]).fit(epochs)


def test_without_a_terminal_each_epoch_is_one_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    stats = AvgStats(accuracy)

    fit(2, stats, Progress(stats))

    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["epoch", "train_loss", "valid_loss", "accuracy", "seconds"]
    assert [line.split()[:4] for line in lines] == [
        ["0", "1.0986", "1.0986", "1.0000"],
        ["1", "1.0986", "1.0986", "1.0000"],
    ]


def test_a_fit_that_is_cancelled_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    stats = AvgStats(accuracy)

    fit(9, stats, Progress(stats), EarlyStopping(stats.valid_loss, mode="min", patience=2))

    assert "stopped: no improvement on 1.09861 for 2 epochs" in capsys.readouterr().out


def test_the_table_is_kept_and_begins_afresh_with_each_fit(capsys: pytest.CaptureFixture[str]) -> None:
    stats = AvgStats(accuracy)
    progress = Progress(stats)
    learn = Learner(
        nn.Linear(2, 3), DataBunch(BATCHES, BATCHES), F.cross_entropy, partial(SGD, lr=0.1), cbs=[stats, progress]
    )
    learn.fit(3)
    assert len(progress.rows) == 3

    learn.fit(1)

    assert len(progress.rows) == 1
    assert progress.rows[0][:3] == stats.row
    assert progress.display.value is None


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_there_is_a_bar_and_then_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("typedcb.callbacks.display._REDRAW_SECONDS", 0.0)
    stats, smooth = AvgStats(accuracy), SmoothLoss()

    fit(2, stats, Progress(stats, smooth))

    shown = screen.getvalue()
    assert "3/3" in shown
    assert "loss 1.0986" in shown
    assert "valid_loss" in shown


def test_the_display_is_closed_after_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()

    def broken(pred: Tensor, yb: Tensor) -> Tensor:
        raise RuntimeError("no loss today")

    learn = Learner(nn.Linear(2, 3), DataBunch(BATCHES), broken, partial(SGD, lr=0.1), cbs=[progress])
    with pytest.raises(RuntimeError, match="no loss today"):
        learn.fit(1)

    assert progress.display.value is None


def test_the_display_is_closed_when_the_interpreter_exits(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setenv("TERM", "xterm-256color")
    at_exit: list[object] = []
    monkeypatch.setattr(atexit, "register", at_exit.append)
    monkeypatch.setattr(atexit, "unregister", at_exit.remove)
    display = open_display(("epoch", "seconds"), 2, screen)
    assert screen.getvalue().count(SHOW_CURSOR) == 0

    [close] = at_exit
    assert callable(close)
    close()
    assert screen.getvalue().endswith(SHOW_CURSOR)

    display.close()
    assert at_exit == [], "a fit that has ended leaves nothing to be done"
