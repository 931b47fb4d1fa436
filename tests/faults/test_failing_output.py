"""Section F: what is shown or logged cannot be written; the fit goes on, says so once, and is not harmed."""

from __future__ import annotations

import io
import os
import sys
import threading
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from recording import At
from tiny import learner

from typedcb import Completed, LogWarning
from typedcb.callbacks import AvgStats, CSVLogger, Progress, TensorBoard

FULL = Path("/dev/full")
"""A device on which no space is ever left."""


class Terminal(io.StringIO):
    """A terminal that breaks after so many writes, or is closed."""

    def __init__(self, after: int, error: type[Exception] | None) -> None:
        super().__init__()
        self.left, self.error = after, error

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.left -= 1
        if self.left < 0:
            if self.error is None:
                self.close()
            else:
                raise self.error(5, "Input/output error")
        return super().write(text)


class Plain(Terminal):
    def isatty(self) -> bool:
        return False


def fit(*cbs: Any) -> Any:
    """A fit that is warned of something once, and is complete all the same."""
    stats = AvgStats[Any, Any]()
    with pytest.warns(LogWarning) as warned:
        learn = learner(stats, *(make(stats) for make in cbs), lr=0.001)
        assert isinstance(learn.fit(4), Completed)
    assert len(warned) == 1
    expected = learner(lr=0.001)
    expected.fit(4)
    assert learn.model.w.item() == expected.model.w.item()
    return str(warned[0].message)


@pytest.mark.parametrize("error", [BrokenPipeError, OSError, None], ids=["broken", "error", "closed"])
@pytest.mark.parametrize("after", [0, 1, 3])
@pytest.mark.parametrize("kind", [Terminal, Plain])
def test_progress_that_can_no_longer_be_shown_turns_itself_off(
    kind: type[Terminal], after: int, error: type[Exception] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", kind(after, error))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("typedcb.callbacks.display._REDRAW_SECONDS", 0.0)
    message = fit(Progress)
    monkeypatch.undo()
    assert message.startswith("the progress could not be written (")


def test_a_real_pipe_that_nobody_reads_any_more_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stdout = os.fdopen(writing, "w", buffering=1)
    monkeypatch.setattr(sys, "stdout", stdout)
    assert "nobody reads the output any more" in fit(Progress)
    monkeypatch.undo()
    with pytest.raises(BrokenPipeError):  # what is in its buffer can never be written
        stdout.close()


def test_an_error_of_progress_that_is_not_the_stream_s_is_raised(capsys: pytest.CaptureFixture[str]) -> None:
    class Wrong:
        header = ("a", "b")
        row = (1.0,)

    with pytest.raises(ValueError, match="zip"):
        learner(Progress(Wrong())).fit(1)
    assert capsys.readouterr().out


def broken_csv(stats: Any, **settings: Any) -> tuple[CSVLogger, At]:
    """A log whose disk is full after its first epoch."""
    logger = CSVLogger(stats, Path(os.devnull), **settings)

    def fill(event: Any) -> None:
        file, logger.file.value = logger.file.value, FULL.open("w", encoding="utf-8")
        assert file is not None
        file.close()

    return logger, At("after_epoch", fill, epoch=0)


@pytest.mark.skipif(not FULL.exists(), reason="this system has no device that is always full")
def test_a_log_whose_disk_is_full_is_warned_of_once_or_ends_the_fit_by_choice() -> None:
    stats = AvgStats[Any, Any]()
    logger, fill = broken_csv(stats)
    with pytest.warns(LogWarning, match=r"a line of /dev/null could not be written \(.*No space left") as warned:
        assert isinstance(learner(stats, fill, logger, lr=0.001).fit(4), Completed)
    assert len(warned) == 1

    logger, fill = broken_csv(stats := AvgStats[Any, Any](), on_error="raise")
    with pytest.raises(OSError, match="No space left") as failed:
        learner(stats, fill, logger, lr=0.001).fit(4)
    assert failed.value.__notes__[:1] == ["a line of /dev/null could not be written"]
    assert "in CSVLogger.after_epoch, epoch 0" in failed.value.__notes__[1]


class FullWriter:
    """A writer of TensorBoard whose thread has met a full disk."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        raise OSError(28, "No space left on device")

    def close(self) -> None:
        raise OSError(28, "No space left on device")


def replaced(board: Callable[[], TensorBoard]) -> Callable[[Any], None]:
    def fill(event: Any) -> None:
        writer, board().writer.value = board().writer.value, FullWriter()
        assert writer is not None
        writer.close()

    return fill


def test_tensorboard_without_a_disk_is_warned_of_once_or_ends_the_fit_by_choice(tmp_path: Path) -> None:
    for on_error in ("warn", "raise"):
        made: list[TensorBoard] = []
        fill = replaced(partial(made.__getitem__, 0))
        learn = learner(At("begin_batch", fill, epoch=1, index=0, phase="train"), lr=0.01)
        made.append(learn.add(TensorBoard, tmp_path / on_error, every=1, on_error=on_error))
        if on_error == "warn":
            with pytest.warns(LogWarning, match="TensorBoard's file in .* could not be written") as warned:
                assert isinstance(learn.fit(3), Completed)
            assert len(warned) == 1
        else:
            with pytest.raises(OSError, match="No space left"):
                learn.fit(3)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_tensorboard_on_a_disk_that_is_really_full_does_no_harm(tmp_path: Path, full_disk: Callable[[], Path]) -> None:
    folder = full_disk()
    learn = learner(lr=0.001, n_train=200)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        board = learn.add(TensorBoard, folder, every=1)
        before = threading.active_count()
        assert isinstance(learn.fit(10), Completed)
    assert [w for w in warned if w.category is LogWarning]
    assert threading.active_count() <= before
    assert board.writer.value is None


@pytest.mark.parametrize("make", [CSVLogger, TensorBoard])
def test_another_word_than_warn_or_raise_is_refused(make: Any, tmp_path: Path) -> None:
    owner: Any = AvgStats() if make is CSVLogger else learner()
    with pytest.raises(ValueError, match='"warn" or "raise"'):
        make(owner, tmp_path / "x", on_error="ignore")
