"""What may go wrong while a checkpoint is written, one fault at a time."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from recording import At
from torch import nn
from torch.nn import functional as F

from typedcb import DataBunch, Learner
from typedcb.callbacks import Checkpoint
from typedcb.errors import CheckpointWarning, CheckpointWriteError, StateError
from typedcb.store import draft, latest, read, steps, write, writing


def small(*cbs: Any) -> Learner[Any, Any, Any, Any]:
    torch.manual_seed(0)
    x = torch.linspace(-1, 1, 8).reshape(-1, 1)
    return Learner(
        nn.Linear(1, 1), DataBunch([(x, x)] * 4), F.mse_loss, partial(torch.optim.SGD, lr=0.1), cbs=list(cbs)
    )


def test_everything_is_forced_to_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, rename = os.fsync, os.rename

    def synced(descriptor: int) -> None:
        done.append(f"sync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name.partition('-')[0]}")
        fsync(descriptor)

    def renamed(old: Path, new: Path) -> None:
        assert old.parent == new.parent, "no other file system is gone through"
        done.append(f"rename to {new.name}")
        rename(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    write(tmp_path / "step-00000001", draft({"w": torch.ones(3)}, copy=False))
    *files, folder, named, parent = done
    assert sorted(files) == ["sync manifest.json", "sync state.json", "sync tensors.safetensors"]
    assert (folder, named) == ("sync .tmp", "rename to step-00000001")
    assert parent == f"sync {tmp_path.name.partition('-')[0]}"


def test_the_folder_for_temporary_files_is_never_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/proc/nowhere")
    write(tmp_path / "step-00000001", draft({"w": torch.ones(3)}, copy=False))
    read(tmp_path / "step-00000001")


def test_a_folder_that_vanishes_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "run"

    def vanish(event: Any) -> None:
        if event.reached.index == 1:
            shutil.rmtree(folder)

    learn = small(At("after_batch", vanish))
    learn.add(Checkpoint, folder, every_steps=1, keep_last=9)
    learn.fit(1)
    names = [path.name.removeprefix("step-0000000") for path in steps(folder)]
    assert names == ["2", "3", "4", "4-1"]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_old_one_that_cannot_be_removed_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asynchronous: bool
) -> None:
    def busy(path: Path, *args: Any, **kwargs: Any) -> None:
        if not kwargs:
            raise OSError(16, "Device or resource busy")

    learn = small()
    learn.add(Checkpoint, tmp_path, every_steps=1, every_epochs=None, keep_last=1, asynchronous=asynchronous)
    monkeypatch.setattr(shutil, "rmtree", busy)
    with pytest.warns(CheckpointWarning, match="step-0000000. could not be removed: .*busy"):
        learn.fit(1)
    monkeypatch.undo()
    assert latest(tmp_path).name == "step-00000004"


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, ZeroDivisionError])
def test_an_error_inside_a_save_goes_on_and_leaves_nothing_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    first = small()
    first.add(Checkpoint, tmp_path)
    first.fit(1)

    def fails(*_: Any) -> bytes:
        raise error

    monkeypatch.setattr(writing, "encoded", fails)
    learn = small()
    learn.add(Checkpoint, tmp_path)
    with pytest.raises(error if error is KeyboardInterrupt else CheckpointWriteError) as caught:
        learn.fit(2)
    assert error is KeyboardInterrupt or isinstance(caught.value.__cause__, error)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "step-00000004"]
    read(latest(tmp_path))


def test_a_save_is_the_state_of_its_moment_whatever_becomes_of_the_model(tmp_path: Path) -> None:
    """A thread writes while training goes on, and the model is changed in place, in type and in size."""
    learn = small()
    learn.add(Checkpoint, tmp_path / "a", every_steps=1, keep_last=100)
    learn.fit(1)
    asynchronous = small()
    cb = asynchronous.add(Checkpoint, tmp_path / "b", every_steps=1, keep_last=100, asynchronous=True)
    seen: list[bool] = []

    def disturb(event: Any) -> None:
        model, path = asynchronous.model, cb.last.value
        if path is None:
            return
        kept = model.weight.detach().clone()
        with torch.no_grad():
            model.weight.fill_(torch.nan)
        model.double()
        if cb.pending.value is not None:
            cb.pending.value.result()
        model.float()
        with torch.no_grad():
            model.weight.copy_(kept)
        stored = read(path)
        seen.append(bool(stored.load(stored.tree["model"])["weight"].isfinite().all()))

    asynchronous._attach((At("begin_batch", disturb),))
    asynchronous.fit(1)
    assert seen == [True] * 3
    assert [path.name for path in steps(tmp_path / "a")] == [path.name for path in steps(tmp_path / "b")]
    for one, other in zip(steps(tmp_path / "a"), steps(tmp_path / "b"), strict=True):
        assert (one / "tensors.safetensors").read_bytes() == (other / "tensors.safetensors").read_bytes()


def test_the_memory_of_the_last_copy_is_used_again() -> None:
    tree = {"w": torch.ones(1000), "part": torch.ones(10, 10)[:, 3], "n": torch.ones(3)}
    first = draft(tree, copy=True)
    tree["w"].fill_(2)
    tree["n"] = torch.ones(4)
    second = draft(tree, copy=True, into=first)
    assert second.copied is first.copied
    assert second.copied is not None
    assert len(b"".join(second.chunks())) == len(second.copied.view)
    assert bool((second.tensors["w"] == 2).all())
    assert second.tensors["part"].tolist() == [1.0] * 10
    assert second.tensors["part"].is_contiguous()


def test_a_step_that_is_half_done_is_never_saved(tmp_path: Path) -> None:
    """Each checkpoint is of a moment between two batches, whatever asks for it in the middle of one."""
    positions: list[Any] = []
    learn = small()
    cb = learn.add(Checkpoint, tmp_path, every_seconds=1e-9, keep_last=100, at_end=True)

    def ask(event: Any) -> None:
        before = cb.last.value
        os.kill(os.getpid(), 15)
        assert cb.last.value == before
        positions.append(learn.position)

    learn._attach((At("after_backward", ask, index=2),))
    with pytest.raises(SystemExit):
        learn.fit(1)
    fit = read(latest(tmp_path)).tree["fit"]
    assert (fit["done"], fit["steps"]) == (3, 3)
    assert len(positions) == 1
    assert [read(path).tree["fit"]["done"] for path in steps(tmp_path)] == [1, 2, 3]


def test_what_only_pickle_could_write_is_refused_with_its_place(tmp_path: Path) -> None:
    class Strange:
        pass

    learn = small()
    learn.model.register_state_dict_post_hook(
        lambda module, state, prefix, _: state.update(extra={"deep": [Strange()]})
    )
    learn.add(Checkpoint, tmp_path)
    with pytest.raises(StateError, match=r"model\.extra\.deep\.0 is a Strange, which no checkpoint can hold"):
        learn.fit(1)
    assert steps(tmp_path) == []
    learn.remove(*learn.cbs)
    learn.add(Checkpoint, tmp_path, on_error="warn")
    with pytest.warns(CheckpointWarning, match="goes on without a checkpoint: .*Strange"):
        learn.fit(1)
