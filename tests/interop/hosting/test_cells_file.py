"""The cells' own file: whole on the disk or not there, and an error that says which it is."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from typedcb.errors import CheckpointError, CheckpointWriteError, CorruptCheckpointError
from typedcb.interop.cells_file import SUFFIX, read_cells, write_cells
from typedcb.store import names

STATE = {"typedcb": '{"a": 1}', "tensors": {"t0": torch.arange(6.0).reshape(2, 3).T}}


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    path = tmp_path / f"model{SUFFIX}"
    write_cells(STATE, path)
    write_cells({**STATE, "typedcb": "{}"}, path)
    found: Any = read_cells(path)
    assert found["typedcb"] == "{}"
    assert torch.equal(found["tensors"]["t0"], torch.arange(6.0).reshape(2, 3).T)
    assert os.listdir(tmp_path) == [path.name]


def test_nothing_is_written_of_nothing(tmp_path: Path) -> None:
    write_cells({}, tmp_path / "empty")
    assert os.listdir(tmp_path) == []


def test_a_file_that_is_missing_is_not_called_corrupt(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing does not exist") as raised:
        read_cells(tmp_path / "nothing")
    assert not isinstance(raised.value, CorruptCheckpointError)


def test_a_file_that_is_cut_short_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "cut"
    write_cells(STATE, path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CorruptCheckpointError, match="cut: "):
        read_cells(path)


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def syncs(descriptor: int) -> None:
        order.append("sync " + ("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file"))
        fsync(descriptor)

    def renames(self: Path, target: Path) -> Path:
        order.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", syncs)
    monkeypatch.setattr(Path, "replace", renames)
    write_cells(STATE, tmp_path / "cells")
    assert order == ["sync file", "rename", "sync folder"]


@pytest.mark.parametrize("where", ["save", "sync", "rename"])
def test_a_write_that_fails_leaves_what_was_there(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cells"
    write_cells(STATE, path)
    before = path.read_bytes()
    save = safetensors.torch.save_file

    def full(*args: Any, **kwargs: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    def half(*args: Any) -> Any:
        save(*args)
        full()

    if where == "save":
        monkeypatch.setattr(safetensors.torch, "save_file", half)
    elif where == "sync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(CheckpointWriteError, match=r"cells could not be written: .*No space left.* MB are free there"):
        write_cells({**STATE, "typedcb": "{}"}, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["cells"]


def test_a_folder_that_is_missing_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointWriteError, match="cells could not be written"):
        write_cells(STATE, tmp_path / "nowhere" / "cells")


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_cells(STATE, tmp_path / "cells")
    assert os.listdir(tmp_path) == []


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cells"
    with monkeypatch.context() as another:
        another.setattr(names, "TOKEN", "0" * 16)  # a process of the same number, before this one
        left = names.temporary_name(path)
    left.write_bytes(b"half")
    write_cells(STATE, path)
    assert os.listdir(tmp_path) == ["cells"]
