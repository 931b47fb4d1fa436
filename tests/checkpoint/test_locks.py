"""One fit at a time writes into a folder; whoever comes second is told who the first one is."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from killing import HERE, environment
from recording import At
from runs import run

from typedcb.callbacks import Checkpoint
from typedcb.errors import CheckpointWarning, CheckpointWriteError
from typedcb.locks import hold
from typedcb.store import steps


def test_a_second_process_is_refused_by_the_name_of_the_first_until_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, str(HERE / "writing.py"), "fitting", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "batch\n"
        learn = run(tmp_path)
        with pytest.raises(CheckpointWriteError, match=f"process {process.pid} on .*, since .*choose another folder"):
            learn.fit(1)
        process.send_signal(signal.SIGKILL)
    assert (tmp_path / ".writer.json").is_file(), "it has left its name"
    run(tmp_path).fit(1)
    assert len(steps(tmp_path)) == 1
    assert not (tmp_path / ".writer.json").exists()


def test_two_of_one_learner_are_refused_too(tmp_path: Path) -> None:
    learn = run(tmp_path)
    learn.add(Checkpoint, tmp_path, at_end=True)
    with pytest.raises(CheckpointWriteError, match="another fit of this process"):
        learn.fit(1)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"], "the refused one writes nothing, not even its end"
    learn.remove(learn.cbs[-1])
    learn.fit(1)
    assert len(steps(tmp_path)) == 1


def test_a_fit_inside_a_fit_needs_a_folder_of_its_own(tmp_path: Path) -> None:
    def inner(event: Any) -> None:
        if event.reached.index == 0:
            with pytest.raises(CheckpointWriteError, match="another fit of this process"):
                run(tmp_path).fit(1)

    run(tmp_path, cbs=(At("after_batch", inner),)).fit(1)
    assert len(steps(tmp_path)) == 1


def test_a_folder_is_free_again_however_a_fit_has_ended(tmp_path: Path) -> None:
    def fails(event: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(tmp_path, cbs=(At("after_batch", fails),)).fit(1)
    hold(tmp_path).release()


def test_a_child_that_outlives_its_parent_does_not_hold_the_folder(tmp_path: Path) -> None:
    """A loader's workers live for some seconds after the process that has made them was killed."""
    program = (
        "import os, pathlib, sys, time, typedcb.locks\n"
        "lock = typedcb.locks.hold(pathlib.Path(sys.argv[1]))\n"
        "if not os.fork(): print(os.getpid(), flush=True); os.close(1)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        with pytest.raises(CheckpointWriteError, match=f"process {process.pid}"):
            hold(tmp_path)
        process.kill()
    try:
        hold(tmp_path).release()
    finally:
        os.kill(child, signal.SIGKILL)


def test_who_cannot_be_named_is_another_process(tmp_path: Path) -> None:
    lock = hold(tmp_path)
    for text in (b"", b"[1]", b"\xff", b"{}"):
        (tmp_path / ".writer.json").write_bytes(text)
        with pytest.raises(
            CheckpointWriteError, match=re.escape(f"another process writes checkpoints into {tmp_path}")
        ):
            hold(tmp_path)
    lock.release()
    lock.release()


def test_where_there_are_no_locks_a_warning_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*args: Any, **kwargs: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("filelock.FileLock.acquire", none)
    with pytest.warns(CheckpointWarning, match="cannot be locked: .*Operation not supported"):
        run(tmp_path).fit(1)
    assert len(steps(tmp_path)) == 1


def test_to_hold_a_folder_takes_no_time(tmp_path: Path) -> None:
    lock = hold(tmp_path)
    begun = time.monotonic()
    with pytest.raises(CheckpointWriteError):
        hold(tmp_path)
    assert time.monotonic() - begun < 0.5, "nobody waits for the other one"
    lock.release()
