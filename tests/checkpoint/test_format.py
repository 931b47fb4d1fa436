"""What lies on the disk: safetensors reads it, and so is what an older release has written."""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional as F

from typedcb import DataBunch, Learner, extras
from typedcb.errors import CheckpointError, StateError
from typedcb.store import TENSORS, draft, read, verify, write
from typedcb.store.drafts import _CHUNK
from typedcb.store.manifest import MAX_MANIFEST, File, decoded, encoded

OLD = Path(__file__).parent / "format-1"
TYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.bool),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint64, torch.uint32, torch.uint16, torch.uint8),
    *(torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz),
]


def of_all_types() -> dict[str, Tensor]:
    one = torch.arange(24, dtype=torch.uint8)
    return {
        **{str(kind): (one % 2 if kind is torch.bool else one).view(kind) for kind in TYPES},
        "nothing": torch.zeros(0, 3),
        "a number": torch.tensor(1.5),
        "ü and a part": torch.arange(12.0).view(3, 4)[:, 1],
        "channels last": torch.arange(24.0).view(1, 2, 3, 4).to(memory_format=torch.channels_last),
        "conjugate": torch.tensor([1 + 2j]).to(torch.complex64).conj(),
    }


def bits(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.dtype, tuple(tensor.shape), tensor.resolve_conj().contiguous().view(-1).view(torch.uint8).tolist()


@pytest.mark.parametrize("copy", [False, True])
def test_safetensors_reads_every_type_that_it_has(tmp_path: Path, copy: bool) -> None:
    tensors = of_all_types()
    write(tmp_path / "one", draft(tensors, copy=copy))
    found = load_file(tmp_path / "one" / TENSORS)
    assert {name: bits(tensor) for name, tensor in found.items()} == {name: bits(t) for name, t in tensors.items()}
    stored = read(tmp_path / "one")
    loaded = stored.load(stored.tree)
    assert {name: bits(tensor) for name, tensor in loaded.items()} == {name: bits(t) for name, t in tensors.items()}


def test_the_tensors_lie_as_safetensors_itself_lays_them(tmp_path: Path) -> None:
    tensors = {name: tensor.contiguous() for name, tensor in of_all_types().items() if not tensor.is_complex()}
    write(tmp_path / "one", draft(tensors, copy=True))
    ours, theirs = (tmp_path / "one" / TENSORS).read_bytes(), save({name: t.clone() for name, t in tensors.items()})
    data = sum(tensor.nbytes for tensor in tensors.values())
    assert len(ours) - data == 4096
    assert load_file(tmp_path / "one" / TENSORS).keys() == tensors.keys()
    assert sorted(ours[-data:]) == sorted(theirs[-data:])


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, _CHUNK - 4096, _CHUNK, 2 * _CHUNK + 5])
def test_a_copy_and_what_is_written_as_it_is_are_the_same(tmp_path: Path, size: int) -> None:
    tree = {"a": torch.arange(size, dtype=torch.int64).to(torch.uint8), "b": torch.ones(3)}
    write(tmp_path / "one", draft(tree, copy=False))
    write(tmp_path / "other", draft(tree, copy=True))
    assert (tmp_path / "one" / TENSORS).read_bytes() == (tmp_path / "other" / TENSORS).read_bytes()
    assert torch.equal(load_file(tmp_path / "one" / TENSORS)["a"], tree["a"])
    read(tmp_path / "one")


@pytest.mark.parametrize("when", ["as it is opened", "as it is written"])
def test_a_file_system_that_wants_its_cache_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    import fcntl  # noqa: PLC0415  # to have it fail

    switch, put, refused = fcntl.fcntl, os.write, []

    def fcntl_fails(descriptor: int, command: int, argument: int = 0) -> int:
        if command == fcntl.F_SETFL and argument & os.O_DIRECT and when == "as it is opened":
            refused.append(when)
            raise OSError(errno.EINVAL, "Invalid argument")
        return switch(descriptor, command, argument)

    def write_fails(descriptor: int, data: memoryview) -> int:
        if switch(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            refused.append(when)
            raise OSError(errno.EINVAL, "Invalid argument")
        return put(descriptor, data)

    monkeypatch.setattr(fcntl, "fcntl", fcntl_fails)
    monkeypatch.setattr(os, "write", write_fails)
    write(tmp_path / "one", draft({"w": torch.arange(5000.0)}, copy=True))
    monkeypatch.undo()
    assert refused == [when]
    stored = read(tmp_path / "one")
    assert torch.equal(stored.load(stored.tree)["w"], torch.arange(5000.0))


def test_a_type_that_safetensors_does_not_have_is_refused_by_the_name_of_its_tensor() -> None:
    with pytest.raises(StateError, match="model/w is a tensor of complex128, which no checkpoint can hold"):
        draft({"model": {"w": torch.zeros(1, dtype=torch.complex128)}}, copy=True)


def line() -> Learner[Any, Any, Any, Any]:
    data = DataBunch([(torch.zeros(1, 2), torch.zeros(1, 1))])
    return Learner(nn.Linear(2, 1), data, F.mse_loss, partial(torch.optim.SGD, lr=0.5))


def test_a_checkpoint_of_format_1_is_loaded() -> None:
    learn = line()
    learn.load(OLD)
    assert learn.model.weight.tolist() == [[1.0, -2.5]]
    assert learn.model.bias.tolist() == [0.125]


def test_a_manifest_has_room_for_the_shards_of_thousands_of_processes(tmp_path: Path) -> None:
    names = [f"shard-{rank:05}-model-00000-of-00001.safetensors" for rank in range(4096)]
    text = encoded({name: File(1 << 40, blake3=64 * "0") for name in names})
    assert len(text) < MAX_MANIFEST
    assert set(decoded(text, tmp_path).files) == set(names)


@pytest.mark.parametrize("opens", [read, verify])
def test_a_checkpoint_is_opened_without_what_its_format_needs_not_and_says_what_it_needs(
    opens: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "one", draft({"a": torch.ones(3)}, copy=False))
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "blake3" else importlib.util.find_spec(name))
    opens(OLD)
    with pytest.raises(ModuleNotFoundError, match=r"this needs blake3: pip install 'typedcb\[checkpoint\]'"):
        opens(tmp_path / "one")


def test_a_bit_that_is_flipped_in_format_1_is_found(tmp_path: Path) -> None:
    for name in ("manifest.json", "state.json", TENSORS):
        text = (OLD / name).read_bytes()
        for at in range(0, len(text), 7):
            path = tmp_path / "one"
            shutil.copytree(OLD, path, dirs_exist_ok=True)
            (path / name).write_bytes(text[:at] + bytes([text[at] ^ 4]) + text[at + 1 :])
            with pytest.raises(CheckpointError):
                read(path)
            shutil.rmtree(path)
