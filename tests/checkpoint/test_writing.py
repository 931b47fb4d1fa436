"""Checkpoints are whole or not there, whatever happens to the process, the disk and the folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from killing import HERE, environment, kill, kill_training
from recording import At, raising
from runs import differing, everything, run
from torch import nn
from torch.nn import functional as F

from typedcb import Cancelled, CancelTrain, DataBunch, Learner
from typedcb.callbacks import AvgStats, Checkpoint, SmoothLoss
from typedcb.errors import CheckpointError, CheckpointWarning, CheckpointWriteError
from typedcb.store import clean, draft, latest, next_name, read, steps, write
from typedcb.store.direct import DirectFile


def start(what: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(HERE / "writing.py"), what, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())


def test_whoever_is_killed_leaves_every_checkpoint_whole() -> None:
    written, _ = kill(2)
    assert written >= 4


def test_training_that_is_killed_comes_to_the_same_in_the_end() -> None:
    assert kill_training(2, seed=3) == 2


def test_a_full_disk_leaves_what_was_there_and_says_so(tmp_path: Path) -> None:
    with start("full", tmp_path) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out.count("refused")) == (0, 3), out + err
    assert "step-00000002 could not be written" in out
    assert "MB are free there" in out
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    read(tmp_path / "step-00000001")


def test_a_folder_that_cannot_be_written_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/typedcb")):
        learn = run(folder)
        before = learn.model[0].weight.clone()
        with pytest.raises(CheckpointWriteError, match="cannot be written into"):
            learn.fit(1)
        assert torch.equal(learn.model[0].weight, before)


def test_a_folder_that_is_missing_is_made(tmp_path: Path) -> None:
    run(tmp_path / "a" / "b").fit(1)
    assert len(steps(tmp_path / "a" / "b")) == 1


# a library that torch imports as the process ends, where it is installed, has Python exit by 1 after Ctrl-C
@pytest.mark.parametrize(("number", "codes"), [(signal.SIGINT, (-signal.SIGINT, 1)), (signal.SIGTERM, (143,))])
def test_a_signal_ends_the_fit_after_a_last_checkpoint(
    tmp_path: Path, number: signal.Signals, codes: tuple[int, ...]
) -> None:
    with start("fitting", tmp_path) as process:
        assert process.stdout is not None
        for _ in range(3):
            assert process.stdout.readline() == "batch\n"
        process.send_signal(number)
        out = process.stdout.read()
        err = process.stderr.read() if process.stderr else ""
    assert process.returncode in codes
    assert ("KeyboardInterrupt" in err) == (number == signal.SIGINT)
    assert out.endswith("after_fit Failed\n")
    position = read(latest(tmp_path)).tree["fit"]
    assert position["done"] == position["steps"] == out.count("batch") + 3


def small(*cbs: Any, n: int = 4) -> Learner[Any, Any, Any, Any]:
    x = torch.linspace(-1, 1, 8).reshape(-1, 1)
    data = DataBunch([(x, x)] * n, [(x, x)])
    return Learner(nn.Linear(1, 1), data, F.mse_loss, partial(torch.optim.SGD, lr=0.1), cbs=list(cbs))


def test_a_signal_after_the_last_batch_is_not_lost(tmp_path: Path) -> None:
    learn = small(At("after_fit", lambda _: os.kill(os.getpid(), signal.SIGINT)))
    learn.add(Checkpoint, tmp_path, at_end=True)
    with pytest.raises(BaseException) as caught:
        learn.fit(1)
    assert isinstance(caught.value, KeyboardInterrupt)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_cancelled_fit_leaves_a_last_checkpoint(tmp_path: Path) -> None:
    def stop(event: Any) -> CancelTrain | None:
        return CancelTrain("enough") if event.reached.index == 1 else None

    learn = small(At("after_batch", stop))
    learn.add(Checkpoint, tmp_path, at_end=True)
    assert isinstance(learn.fit(3), Cancelled)
    assert read(latest(tmp_path)).tree["fit"]["done"] == 2
    again = small()
    again.fit(3, resume=tmp_path)
    assert again.position is None


def test_an_error_in_a_batch_is_never_gone_on_from(tmp_path: Path) -> None:
    learn = small(At("after_backward", raising(ZeroDivisionError), index=2))
    learn.add(Checkpoint, tmp_path, every_steps=1, at_end=True)
    with pytest.raises(ZeroDivisionError):
        learn.fit(1)
    assert [path.name for path in steps(tmp_path)] == ["step-00000001", "step-00000002"]
    [failed] = [path for path in tmp_path.iterdir() if path.name.startswith("failed-")]
    with pytest.raises(CheckpointError, match="failed in the middle of a batch"):
        small().fit(1, resume=failed)
    other = small()
    other.load(failed, {"At": "reset"})
    assert torch.equal(other.model.weight, learn.model.weight)


def test_two_instances_of_a_class_keep_their_own(tmp_path: Path) -> None:
    one = small(SmoothLoss(0.9), SmoothLoss(0.1))
    one.add(Checkpoint, tmp_path)
    one.fit(1)
    two = small(SmoothLoss(0.9), SmoothLoss(0.1))
    two.load(tmp_path)
    values = [callback.value for callback in one.cbs if isinstance(callback, SmoothLoss)]
    assert [callback.value for callback in two.cbs if isinstance(callback, SmoothLoss)] == values
    assert values[0] != values[1]


def test_the_newest_are_kept_and_the_best_besides(tmp_path: Path) -> None:
    stats = AvgStats()
    learn = small(stats)
    cb = learn.add(Checkpoint, tmp_path, keep_last=2, keep_best=(stats.valid_loss, "max"))
    learn.fit(5)
    assert [path.name for path in steps(tmp_path)] == ["step-00000004", "step-00000016", "step-00000020"]
    assert cb.best_name.value == "step-00000004"


def cut(folder: Path) -> None:
    (folder / "state.json").write_bytes(b"")


def flip(folder: Path) -> None:
    path = folder / "tensors.safetensors"
    text = bytearray(path.read_bytes())
    text[-1] ^= 1
    path.write_bytes(text)


def replace(folder: Path) -> None:
    (folder / "new").write_bytes(b"{}")
    (folder / "new").rename(folder / "manifest.json")


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (cut, r"state\.json has 0 bytes"),
        (flip, r"tensors\.safetensors is not what was written"),
        (replace, r"manifest\.json"),
        (lambda folder: (folder / "state.json").unlink(), r"state\.json is missing"),
    ],
)
def test_nothing_is_removed_when_the_newest_has_been_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Any, match: str
) -> None:
    learn = small()
    learn.add(Checkpoint, tmp_path, keep_last=1)
    learn.fit(1)
    learn2 = small()
    learn2.add(Checkpoint, tmp_path, keep_last=1)

    def broken(target: Path, content: Any) -> Any:
        written = write(target, content)
        spoil(target)
        return written

    monkeypatch.setattr("typedcb.callbacks.checkpoint.write", broken)
    with pytest.raises(CheckpointError, match=match):
        learn2.fit(2)
    assert latest_quietly(tmp_path).name == "step-00000004"


def test_what_was_just_written_is_not_read_again_before_older_ones_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = small()
    learn.add(Checkpoint, tmp_path, keep_last=1)
    read_again: list[Path] = []
    monkeypatch.setattr("typedcb.store.keeping.verify", read_again.append)
    learn.fit(3)
    assert [path.name for path in steps(tmp_path)] == ["step-00000012"]
    assert read_again == []
    clean(tmp_path, 1, None)
    assert read_again == [], "there is nothing to remove"
    learn.save(tmp_path / "step-00000013")
    clean(tmp_path, 1, None)
    assert read_again == [tmp_path / "step-00000013"], "who has not written it has to read it"


def test_a_file_that_has_come_out_other_than_its_tensors_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checksum is of the memory, and not of what the file came to be."""
    end = DirectFile.end

    def lies(file: DirectFile, size: int) -> None:
        end(file, size)
        flip(next(path for path in tmp_path.iterdir() if path.name.startswith(".tmp-")))

    monkeypatch.setattr(DirectFile, "end", lies)
    small().save(tmp_path / "one")
    with pytest.raises(CheckpointError, match=r"tensors\.safetensors is not what was written"):
        read(tmp_path / "one")


def latest_quietly(folder: Path) -> Path:
    with pytest.warns(CheckpointWarning):
        return latest(folder)


def test_a_thread_writes_the_same(tmp_path: Path) -> None:
    run(tmp_path / "a", every_seconds=1e-9, keep_last=100).fit(1)
    learn = run(tmp_path / "b", every_seconds=1e-9, keep_last=100, asynchronous=True)
    learn.fit(1)
    alone = run()
    alone.fit(1)
    assert differing(everything(learn), everything(alone)) == []
    assert [path.name for path in steps(tmp_path / "a")] == [path.name for path in steps(tmp_path / "b")]
    for one, other in zip(steps(tmp_path / "a"), steps(tmp_path / "b"), strict=True):
        assert (one / "tensors.safetensors").read_bytes() == (other / "tensors.safetensors").read_bytes()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("typedcb")]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_error_in_writing_ends_the_fit_or_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asynchronous: bool
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("typedcb.store.writing._write_files", full)
    learn = small()
    learn.add(Checkpoint, tmp_path / "a", every_steps=1, asynchronous=asynchronous)
    with pytest.raises(CheckpointWriteError, match="No space left on device"):
        learn.fit(2)
    learn = small()
    learn.add(Checkpoint, tmp_path / "b", asynchronous=asynchronous, on_error="warn")
    with pytest.warns(CheckpointWarning, match="No space left on device"):
        learn.fit(2)
    assert [path.name for path in (tmp_path / "b").iterdir()] == [".lock"]


def test_leftovers_of_the_dead_are_removed_and_of_the_living_are_not(tmp_path: Path) -> None:
    host = os.uname().nodename
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = {
        f".tmp-{host}-{dead.pid}-{'0' * 16}-step-00000001": False,
        f".tmp-{host}-{os.getpid()}-{'0' * 16}-step-00000001": False,
        f".tmp-{host}-{os.getppid()}-{'0' * 16}-step-00000001": True,
        f".tmp-elsewhere-{dead.pid}-{'0' * 16}-step-00000001": True,
        ".tmp-of-somebody-else": True,
    }
    for name in names:
        (tmp_path / name).mkdir()
    write(next_name(tmp_path, 1), draft({}, copy=False))
    assert {name: (tmp_path / name).exists() for name in names} == names


@pytest.mark.parametrize(
    "settings", [{"every_steps": 0}, {"keep_last": 0}, {"every_seconds": -1.0}, {"every_epochs": 0}]
)
def test_settings_that_make_no_sense_are_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="has to be above 0"):
        small().add(Checkpoint, tmp_path, **settings)
