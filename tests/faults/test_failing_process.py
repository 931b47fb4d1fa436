"""Section F: Ctrl-C, SIGTERM, forks, memory that runs out, another fit, clocks, and the interpreter's end."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from interrupted import PLACES
from interrupting import interrupt, start
from recording import At, Recorder, raising
from tiny import Weight, learner, pairs, total
from torch import Tensor
from torch.optim import SGD

import typedcb
from typedcb import Completed, DataBunch, Failed, Learner
from typedcb.callbacks import Checkpoint, Progress, Timer
from typedcb.callbacks import checkpoint as checkpoint_module
from typedcb.store import latest, read, steps

HERE = Path(__file__).parent


class Process:
    """A program of `interrupted.py` under way."""

    def __init__(self, server: subprocess.Popen[str], folder: Path, program: tuple[str, ...]) -> None:
        self._server = server
        self._errors = folder / "stderr"
        self._errors.touch()
        os.mkfifo(folder / "stdout")
        assert server.stdin is not None
        server.stdin.write(json.dumps([str(folder / "stdout"), str(self._errors), *program]) + "\n")
        server.stdin.flush()
        self.pid = self._told()
        self.stdout = (folder / "stdout").open(encoding="utf-8")
        self.returncode: int | None = None

    def _told(self) -> int:
        assert self._server.stdout is not None
        return int(self._server.stdout.readline())

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def lines_to(self, *ends: str) -> list[str]:
        """What it says up to a line with one of these beginnings."""
        lines: list[str] = []
        for said in self.stdout:
            lines.append(said.strip())
            if said.startswith(ends):
                return lines
        raise AssertionError(f"it never said {ends}, but {lines}: {self._errors.read_text()}")

    def rest(self) -> tuple[list[str], str]:
        """What it says until its end, and its complaints."""
        lines = self.stdout.read().splitlines()
        self.returncode = self._told()
        return lines, self._errors.read_text()


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    with start() as process:
        yield process
        process.kill()


@pytest.fixture
def running(server: subprocess.Popen[str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    @contextmanager
    def begin(*program: str) -> Iterator[Process]:
        process = Process(server, tmp_path_factory.mktemp("process"), program)
        watchdog = threading.Timer(60, os.kill, (process.pid, signal.SIGKILL))
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            if process.returncode is None:
                os.kill(process.pid, signal.SIGKILL)
                process.rest()
            process.stdout.close()

    return begin


# ------------------------------------------------------------------------------------------------------- F1, F2: Ctrl-C


def test_ctrl_c_anywhere_ends_the_fit_with_after_fit_and_goes_on_to_the_caller(running: Any) -> None:
    with running("every_place") as process:
        for place in PLACES:
            process.lines_to(f"at {place}")
            process.send_signal(signal.SIGINT)
            told = process.lines_to("raised", "ended")
            assert told[-1].startswith("raised KeyboardInterrupt typedcb: in "), (place, told)
            assert ("behind Completed" if place == "after_fit" else "behind Failed") in told
            assert (place == "after_fit") or "after_fit KeyboardInterrupt" in told
        process.rest()
    assert process.returncode == 0


def test_ctrl_c_ends_the_process_and_its_traceback_says_where_it_was(running: Any) -> None:
    with running("once", "hook") as process:
        process.lines_to("at hook")
        process.send_signal(signal.SIGINT)
        out, err = process.rest()
    assert process.returncode != 0
    assert out == ["after_fit KeyboardInterrupt", "cleaned up", "behind Failed"]
    assert "typedcb: in InHooks.after_step, epoch 0, batch 0, train" in err


def test_an_interrupt_at_any_moment_ends_the_fit_in_order_and_another_may_follow(server: Any) -> None:
    assert interrupt(server, 4, seed=1).total() == 4


def test_an_interrupt_where_no_grad_ends_leaves_gradients_enabled(monkeypatch: pytest.MonkeyPatch) -> None:
    original = torch.no_grad.__exit__

    def interrupted(self: torch.no_grad, *args: Any) -> None:
        monkeypatch.setattr(torch.no_grad, "__exit__", original)
        raise KeyboardInterrupt

    learn = learner()
    monkeypatch.setattr(torch.no_grad, "__exit__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        learn.fit(1)
    assert torch.is_grad_enabled()
    learn.fit(1)


def test_a_second_ctrl_c_is_obeyed_at_once() -> None:
    clean = Recorder()
    presses = At("after_fit", raising(KeyboardInterrupt("second")))
    with pytest.raises(KeyboardInterrupt) as caught:
        learner(presses, At("after_step", raising(KeyboardInterrupt("first"))), _last(clean)).fit(1)
    assert type(caught.value) is KeyboardInterrupt
    assert caught.value.args == ("second",), "the callbacks behind are not asked to clean up"
    assert clean.hooks == []


def _last(clean: Recorder) -> At:
    """Notes that it was told of the end, behind all others."""
    return At("after_fit", lambda event: clean.decide("after_fit", event))


def test_a_second_ctrl_c_in_after_batch_leaves_the_rest_of_the_cleaning_up_out() -> None:
    clean = Recorder()
    presses = At("after_batch", raising(KeyboardInterrupt("second")))
    with pytest.raises(KeyboardInterrupt, match="second"):
        learner(presses, At("after_step", raising(KeyboardInterrupt("first"))), _last(clean)).fit(1)
    assert clean.hooks == []


def test_the_first_ctrl_c_in_cleaning_up_keeps_nobody_from_it() -> None:
    clean = Recorder()
    with pytest.raises(KeyboardInterrupt):
        learner(At("after_fit", raising(KeyboardInterrupt())), _last(clean)).fit(1)
    assert clean.hooks == ["after_fit"]


# --------------------------------------------------------------------------------------- F3, F4, F5, F6: SIGTERM, forks


def test_sigterm_ends_a_fit_with_after_fit_and_the_process_with_143(running: Any) -> None:
    with running("once", "model") as process:
        process.lines_to("at model")
        process.send_signal(signal.SIGTERM)
        out, err = process.rest()
    assert process.returncode == 143, err
    assert out == ["after_fit SystemExit", "cleaned up", "behind Failed"]


def test_a_second_sigterm_ends_the_process_at_once(running: Any) -> None:
    with running("every_place") as process:  # it catches whatever a fit raises
        process.lines_to("at loader")
        process.send_signal(signal.SIGTERM)
        process.lines_to("at model")
        process.send_signal(signal.SIGTERM)
        process.lines_to("at loss")
    with running("once", "after_fit") as process:
        process.lines_to("at after_fit")
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        process.rest()
    assert process.returncode in (143, -signal.SIGTERM)


def test_the_meaning_of_sigterm_comes_back_with_the_end_of_the_fit() -> None:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    during: list[object] = []
    look = At("after_step", lambda event: during.append(signal.getsignal(signal.SIGTERM)))
    learner(look).fit(1)
    assert all(callable(handler) for handler in during)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with pytest.raises(ZeroDivisionError):
        learner(look, At("after_loss", raising(ZeroDivisionError()))).fit(1)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_handler_of_the_program_s_own_is_called_and_stays(running: Any) -> None:
    with running("own_handler") as process:
        out, err = process.rest()
    assert process.returncode == 0, err
    assert out.count("mine") == 2, "once in the fit, which goes on, and once after it"
    assert "behind Completed" in out


def test_with_at_end_the_program_s_handler_gets_the_second_signal_and_comes_back(tmp_path: Path) -> None:
    heard: list[int] = []

    def mine(number: int, frame: object) -> None:
        heard.append(number)

    def twice(event: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == [], "the first one waits for the end of the batch"
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, mine)
    try:
        learn = learner(At("after_step", twice, index=1), n_train=4, lr=0.001)
        learn.add(Checkpoint, tmp_path, at_end=True)
        with pytest.raises(SystemExit):
            learn.fit(1)
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]
    assert read(latest(tmp_path)).tree["fit"]["steps"] == 2


def test_sigterm_in_the_middle_of_a_save_takes_effect_when_the_save_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = checkpoint_module._write

    def interrupted(*args: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        original(*args)

    learn = learner(n_train=5, n_valid=0, lr=0.001)
    learn.add(Checkpoint, tmp_path, every_steps=2, at_end=True)
    monkeypatch.setattr(checkpoint_module, "_write", interrupted)
    with pytest.raises(SystemExit) as ended:
        learn.fit(1)
    assert ended.value.code == 143
    assert read(latest(tmp_path)).tree["fit"]["steps"] in (2, 3)
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".tmp")] == []


def test_sigterm_in_the_middle_of_a_save_leaves_no_half_of_one_where_nobody_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = os.replace
    calls: list[object] = []

    def terminated(*args: Any, **kwargs: Any) -> None:
        calls.append(args)
        os.kill(os.getpid(), signal.SIGTERM)
        original(*args, **kwargs)

    learn = learner(n_train=4, n_valid=0, lr=0.001)
    learn.add(Checkpoint, tmp_path, every_steps=1, on_error="warn")
    learn.fit(1)
    whole = [path.name for path in steps(tmp_path)]
    for name in ("rename", "replace"):
        monkeypatch.setattr(os, name, terminated)
    with pytest.raises(SystemExit) as ended:
        learn.fit(2)
    monkeypatch.undo()
    assert calls
    assert ended.value.code == 143
    for path in steps(tmp_path):
        read(path)
    assert set(whole[1:]) <= {path.name for path in steps(tmp_path)}


@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_forked_process_is_ended_by_signals_as_ever(running: Any, checkpoint: bool, tmp_path: Path) -> None:
    with running("forks", *([str(tmp_path)] if checkpoint else [])) as process:
        out, err = process.rest()
    assert process.returncode == 0, err
    codes = [line for line in out if line.startswith("child")]
    assert codes[0] == f"child {-signal.SIGTERM}"
    assert out.count("behind Completed") == 1, "no child has told callbacks of an end"


def test_ctrl_c_leaves_no_worker_behind(running: Any) -> None:
    with running("with_workers") as process:
        process.lines_to("at hook")
        with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
            workers = [int(pid) for pid in file.read().split()]
        process.send_signal(signal.SIGINT)
        process.rest()
    assert len(workers) >= 2
    limit = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < limit:
        time.sleep(0.02)
    assert [pid for pid in workers if Path(f"/proc/{pid}").exists()] == []


# -------------------------------------------------------------------------------------------------- F7: memory runs out


def cpu_out_of_memory() -> Tensor:
    return torch.empty(2**60, dtype=torch.uint8)


def raised(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize(
    "fail",
    [cpu_out_of_memory, partial(raised, torch.OutOfMemoryError("CUDA out of memory")), partial(raised, MemoryError())],
    ids=["CPU", "CUDA", "Python"],
)
def test_memory_that_runs_out_is_told_with_the_shapes_of_the_batch(fail: Any) -> None:
    recorder = Recorder()
    xb = {"picture": torch.ones(2, 3, 4), "size": (torch.ones(2, dtype=torch.long), "cm")}
    data = DataBunch[Any, Any]([(xb, torch.ones(2))])

    class Net(Weight):
        def forward(self, xb: Any) -> Tensor:
            return self.w * xb["picture"]

    learn: Any = Learner(Net(), data, lambda pred, yb: fail(), partial(SGD, lr=0.1), cbs=[recorder])
    with pytest.raises((RuntimeError, MemoryError)) as failed:
        learn.fit(1)
    assert failed.value.__notes__ == [
        "typedcb: in epoch 0, batch 0, train",
        "typedcb: the batch was xb = {'picture': float32 [2, 3, 4], 'size': (int64 [2], str)}, yb = float32 [2]",
    ]
    assert recorder.hooks[-2:] == ["after_batch", "after_fit"]


def test_a_smaller_batch_may_be_tried_after_memory_ran_out() -> None:
    tried: list[int] = []

    def loss_func(pred: Tensor, yb: Tensor) -> Tensor:
        tried.append(len(pred))
        return cpu_out_of_memory() if len(pred) > 2 else total(pred, yb)

    size = 8
    while True:
        data = DataBunch([(torch.ones(size), torch.ones(size))] * 2)
        learn: Any = Learner(Weight(), data, loss_func, partial(SGD, lr=0.1))
        try:
            learn.fit(1)
            break
        except RuntimeError:
            size //= 2
    assert tried == [8, 4, 2, 2]


# -------------------------------------------------------------------------------------------------- F8, F9: another fit


@pytest.mark.parametrize("error", [None, ZeroDivisionError(), KeyboardInterrupt(), SystemExit(1)], ids=repr)
def test_another_fit_runs_all_the_epochs_that_it_is_asked_for(error: BaseException | None) -> None:
    learn = learner(n_train=3, lr=0.001)
    if error is None:
        learn.fit(2)
    else:
        with pytest.raises(type(error)):
            learn.fit(2, cbs=[At("after_loss", raising(error), epoch=1, index=1)])
    recorder = Recorder()
    assert isinstance(learn.fit(2, cbs=[recorder]), Completed)
    assert recorder.hooks.count("after_step") == 6
    assert [event.epoch for event in recorder.of("after_epoch")] == [0, 1]


# ---------------------------------------------------------------------------------------------------------- F11: clocks


SAYS_WHEN = {"header.py"}
"""What tells the time of day, and takes no difference: a trace says when it began."""


def test_nothing_measures_by_a_clock_that_can_be_set() -> None:
    found = [
        path.name
        for path in Path(typedcb.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("time", "time_ns", "now", "utcnow", "today")
        if isinstance(node.value, (ast.Name, ast.Attribute)) and _names_a_clock(node.value)
    ]
    assert set(found) == SAYS_WHEN


def _names_a_clock(node: ast.Name | ast.Attribute) -> bool:
    return (node.id if isinstance(node, ast.Name) else node.attr) in ("time", "datetime", "date")


def test_a_clock_that_is_set_back_in_a_fit_changes_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 3600)
    timer, progress = Timer(), Progress()
    learn = learner(timer, progress, lr=0.001)
    learn.add(Checkpoint, tmp_path, every_seconds=3000.0, every_epochs=None)
    learn.fit(2)
    assert all(0 <= epoch.waiting <= epoch.whole < 60 and epoch.computing >= 0 for epoch in timer.epochs)
    assert all(0 <= seconds < 60 for *_, seconds in progress.rows)
    assert len(steps(tmp_path)) == 0


def test_a_counter_of_steps_has_no_end() -> None:
    from typedcb import Loop  # noqa: PLC0415
    from typedcb.position import Position, Resumption  # noqa: PLC0415

    recorder = Recorder()
    resume = Resumption(Position(0, "train", 0, 2**63 - 1), lambda: None, lambda: 0, lambda: None)
    model = Weight()
    opt = SGD(model.parameters(), lr=0.001)
    with Loop[Any, Any, Any]([recorder]).fit(1, resume=resume) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(pairs(2)):
                batch.pred(model(batch.xb)).loss(total(model(batch.xb), batch.yb)).backward().step(opt)
    assert [event.step for event in recorder.of("after_step")] == [2**63 - 1, 2**63]


# ------------------------------------------------------------------------------------------- F12: the interpreter's end


def test_an_interpreter_that_exits_while_a_thread_fits_says_nothing_and_loses_no_line(
    running: Any, tmp_path: Path
) -> None:
    with running("exits", str(tmp_path)) as process:
        out, err = process.rest()
    assert process.returncode == 0
    assert err == ""
    assert out[-1] == "leaving"
    assert [line.split(",")[0] for line in (tmp_path / "log.csv").read_text().splitlines()] == ["epoch", "0", "1"]


def test_an_interpreter_that_exits_in_the_middle_of_a_loop_says_nothing(running: Any) -> None:
    with running("unfinished") as process:
        out, err = process.rest()
    assert (process.returncode, out, err) == (0, ["leaving"], "")


def test_a_fit_that_is_left_by_an_exit_is_ended() -> None:
    recorder = Recorder()
    with pytest.raises(SystemExit):
        learner(recorder, At("after_step", lambda event: sys.exit(3))).fit(1)
    assert isinstance(recorder.events[-1].outcome, Failed)
