"""Whatever is wrong with a checkpoint is said by name before any of it is used, and the learner stays as it was."""

from __future__ import annotations

import ast
import hashlib
import importlib
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from blake3 import blake3
from killing import HERE, environment
from runs import Draws, Noisy, differing, everything, run
from torch import nn

import typedcb
from typedcb import AnyCallback, Cell, cell
from typedcb.callbacks import EarlyStopping
from typedcb.errors import (
    CheckpointError,
    CheckpointWarning,
    CheckpointWriteError,
    CorruptCheckpointError,
    MismatchError,
    StateError,
)
from typedcb.store import MANIFEST, STATE, TENSORS, draft, latest, read, steps, write
from typedcb.tree import MAX_DEPTH

FILES = (MANIFEST, STATE, TENSORS)
MIDDLE = "step-00000003-1"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of checkpoints of a run."""
    folder = tmp_path_factory.mktemp("saved")
    run(folder, every_seconds=1e-9, keep_last=1000).fit(1)
    return folder


def copied(saved: Path, to: Path) -> Path:
    return Path(shutil.copytree(saved / MIDDLE, to / MIDDLE))


def resign(path: Path, **changes: Any) -> None:
    """Writes a manifest that is right about what the files hold now: what somebody who means harm would do."""
    texts = {name: (path / name).read_bytes() for name in FILES[1:]}
    files = {name: {"size": len(text), "blake3": blake3(text).hexdigest()} for name, text in texts.items()}
    contents = {"format": 2, "versions": {}, "files": files, **changes}
    text = msgspec.json.encode(contents)
    (path / MANIFEST).write_bytes(msgspec.json.encode({"sha256": digest(text), "contents": contents}))


def digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def assert_refused(path: Path, match: str, error: type[Exception] = CorruptCheckpointError, **kwargs: Any) -> None:
    learn = run()
    before = everything(learn)
    with pytest.raises(error, match=match):
        learn.fit(2, resume=path, **kwargs)
    with pytest.raises(error, match=match):
        learn.load(path, **kwargs)
    assert differing(everything(learn), before) == []


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_anywhere_is_refused(saved: Path, tmp_path: Path, name: str) -> None:
    path = copied(saved, tmp_path)
    whole = (path / name).read_bytes()
    for part in range(16):
        (path / name).write_bytes(whole[: len(whole) * part // 16])
        with pytest.raises(CorruptCheckpointError, match=name):
            read(path)
    (path / name).write_bytes(whole + b" ")
    with pytest.raises(CorruptCheckpointError, match=name):
        read(path)
    (path / name).unlink()
    assert_refused(path, f"{name} is missing")


@pytest.mark.parametrize("name", FILES)
def test_a_single_flipped_bit_anywhere_is_refused(saved: Path, tmp_path: Path, name: str) -> None:
    path = copied(saved, tmp_path)
    whole = (path / name).read_bytes()
    places = range(0, len(whole) * 8, 3 if name == MANIFEST else len(whole) // 40)
    for place in places:
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        (path / name).write_bytes(flipped)
        with pytest.raises(CheckpointError, match=name):
            read(path)
    assert_refused(path, name, CheckpointError)


def test_zeros_and_emptiness_are_refused(saved: Path, tmp_path: Path) -> None:
    for name in FILES:
        path = copied(saved, tmp_path / name)
        for text in (b"", b"\0" * (path / name).stat().st_size):
            (path / name).write_bytes(text)
            with pytest.raises(CorruptCheckpointError, match=name):
                read(path)
    with pytest.raises(CorruptCheckpointError, match=r"manifest\.json is missing"):
        (tmp_path / "step-00000001").mkdir()
        read(tmp_path / "step-00000001")
    with pytest.raises(CheckpointError, match="does not exist"):
        read(tmp_path / "step-00000009")


class Harm:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return (Path.touch, (HARMED,))


HARMED = Path("/tmp") / f"typedcb-harmed-{os.getpid()}"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("dump", [pickle.dumps, lambda harm: b"\x80\x02" + pickle.dumps(harm, 0)], ids=["new", "old"])
def test_a_pickle_in_disguise_is_never_run(saved: Path, tmp_path: Path, name: str, dump: Any) -> None:
    path = copied(saved, tmp_path)
    (path / name).write_bytes(dump(Harm()))
    if name != MANIFEST:
        resign(path)
    assert_refused(path, name)
    assert not HARMED.exists()


def test_a_torch_file_in_disguise_is_never_run(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    path = copied(saved, tmp_path)
    torch.save({"model": Harm()}, path / TENSORS)
    resign(path)
    assert_refused(path, TENSORS)
    assert not HARMED.exists()


def tampered(name: str, change: Callable[[Any], object]) -> Callable[[Path], None]:
    """A change to a JSON file, signed by somebody who knows how."""

    def tamper(path: Path) -> None:
        tree = json.loads((path / name).read_bytes())
        change(tree)
        (path / name).write_text(json.dumps(tree))
        resign(path)

    return tamper


def replaced(name: str, text: bytes) -> Callable[[Path], None]:
    def tamper(path: Path) -> None:
        (path / name).write_bytes(text)
        resign(path)

    return tamper


def header(text: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text


def linked(name: str) -> Callable[[Path], None]:
    def tamper(path: Path) -> None:
        (path / name).rename(path / "elsewhere")
        (path / name).symlink_to(path / "elsewhere")

    return tamper


def named(name: str) -> Callable[[Path], None]:
    return lambda path: resign(path, files={name: {"size": 1, "blake3": "0"}})


HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a newer format": (lambda path: resign(path, format=3), "format '3', and this typedcb reads formats up to 2"),
    "the checksums of another format": (lambda path: resign(path, format=1), "not the one checksum of"),
    "a format of another kind": (lambda path: resign(path, format="x"), "format 'x'"),
    "a file outside": (named("../../secret"), "names '../../secret'"),
    "an absolute file": (named("/etc/passwd"), "names '/etc/passwd'"),
    "no file": (lambda path: resign(path, files={}), "does not name state.json"),
    "an unknown field": (lambda path: resign(path, more=1), "manifest.json is no manifest"),
    "a link in place of the state": (linked(STATE), "state.json is a symbolic link"),
    "a link in place of the tensors": (linked(TENSORS), "tensors.safetensors is a symbolic link"),
    "a link in place of the manifest": (linked(MANIFEST), "manifest.json is a symbolic link"),
    "a huge manifest": (lambda path: os.truncate(path / MANIFEST, (1 << 24) + 1), "has 16777217 bytes"),
    "a huge header": (replaced(TENSORS, header(b"{}", 1 << 62)), "tensors.safetensors: "),
    "a huge shape": (
        replaced(TENSORS, header(b'{"w":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4]}}') + b"1234"),
        "tensors.safetensors: ",
    ),
    "offsets outside": (
        replaced(TENSORS, header(b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}') + b"1234"),
        "tensors.safetensors: ",
    ),
    "nests too deep": (replaced(STATE, b"[" * 200 + b"]" * 200), "nests deeper"),
    "nests without end": (replaced(STATE, b"[" * 100_000), "state.json: it is no tree"),
    "a number without end": (replaced(STATE, b"[" + b"1" * 10_000 + b"]"), "state.json: it is no tree"),
    "NaN that is no JSON": (replaced(STATE, b"[NaN]"), "state.json: it is no tree"),
    "another kind of value": (replaced(STATE, b'{"eval":"1"}'), "'eval' is no kind of value"),
    "a tensor that is not there": (replaced(STATE, b'{"tensor":["x","float32","cpu"]}'), "'x' is not in the file"),
    "no learner": (replaced(STATE, b"[]"), "holds no state of a learner"),
    "an empty learner": (replaced(STATE, b'{"dict":[]}'), "holds no state of a learner"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_means_harm_is_refused(saved: Path, tmp_path: Path, what: str) -> None:
    path = copied(saved, tmp_path)
    tamper, match = HOSTILE[what]
    tamper(path)
    assert_refused(path, match, CheckpointError)


def test_a_checkpoint_that_is_a_link_is_refused(saved: Path, tmp_path: Path) -> None:
    (tmp_path / MIDDLE).symlink_to(saved / MIDDLE)
    assert_refused(tmp_path / MIDDLE, "is a symbolic link")


def without(part: str, key: str) -> Callable[[Path], None]:
    """Drops what a fit or a callback needs."""

    def change(tree: Any) -> None:
        items = dict(tree["dict"])[part]["dict"]
        items[:] = [item for item in items if item[0] != key]

    return tampered(STATE, change)


@pytest.mark.parametrize("key", ["epoch", "done", "steps", "start", "now", "facts"])
def test_a_fit_without_a_part_of_it_is_refused(saved: Path, tmp_path: Path, key: str) -> None:
    path = copied(saved, tmp_path)
    without("fit", key)(path)
    learn = run()
    before = everything(learn)
    with pytest.raises(CorruptCheckpointError, match="holds no state of a learner"):
        learn.fit(2, resume=path)
    assert differing(everything(learn), before) == []


# ------------------------------------------------------------------------------------------ sound, and of another one


def differences(learn: Any, path: Path, **kwargs: Any) -> list[str]:
    """What is said to differ; the learner has to stay as it was."""
    before = everything(learn)
    with pytest.raises(MismatchError) as caught:
        learn.fit(2, resume=path, **kwargs)
    assert differing(everything(learn), before) == []
    return [f"{who}: {what}" for who, what in caught.value.differences]


def test_another_models_is_refused_before_anything_is_copied(saved: Path) -> None:
    learn = run()
    learn.model[4] = nn.Linear(8, 7)
    assert differences(learn, saved / MIDDLE) == [
        "model: 4.weight was float32 [3, 8], and is float32 [7, 8]; 4.bias was float32 [3], and is float32 [7]"
    ]
    learn = run()
    learn.model.append(nn.Linear(3, 3))
    assert differences(learn, saved / MIDDLE) == ["model: 5.weight is new; 5.bias is new"]
    learn = run()
    learn.model[0].to(torch.bfloat16)
    assert "0.weight was float32 [8, 6], and is bfloat16 [8, 6]" in differences(learn, saved / MIDDLE)[0]


def test_another_optimizer_is_refused_unless_it_may_begin_anew(saved: Path) -> None:
    adam = partial(torch.optim.Adam, lr=0.01)
    assert differences(run(opt=adam), saved / MIDDLE) == ["optimizer: it was an SGD, and is an Adam"]
    learn = run(opt=adam)
    learn.fit(2, resume=saved / MIDDLE, on_mismatch={"optimizer": "reset"})
    assert learn.opt.state


def test_other_parameter_groups_are_refused(saved: Path) -> None:
    def split(parameters: Any) -> Any:
        first, *others = parameters
        return torch.optim.SGD([{"params": [first]}, {"params": others}], lr=0.1, momentum=0.9)

    assert differences(run(opt=split), saved / MIDDLE) == ["optimizer: its groups had [6] parameters, and have [1, 5]"]


@dataclass(frozen=True)
class Drawing(Draws):
    """The same callback under another name."""


def test_a_callback_of_another_name_is_another_callback(saved: Path) -> None:
    learn = run()
    learn.remove(learn.get(Draws))
    learn._attach((Drawing(),))
    assert sorted(differences(learn, saved / MIDDLE)) == [
        "Drawing: Drawing is attached now, and was not when it was saved",
        "Draws: Draws was attached when it was saved, and is not now",
    ]
    learn.fit(1, resume=saved / MIDDLE, on_mismatch={"Draws": "reset", "Drawing": "reset"})


def test_a_callback_that_is_missing_or_new_is_refused_unless_it_may_begin_anew(saved: Path) -> None:
    learn = run()
    learn.remove(learn.get(EarlyStopping))
    assert differences(learn, saved / MIDDLE) == [
        "EarlyStopping: EarlyStopping was attached when it was saved, and is not now"
    ]
    learn.fit(1, resume=saved / MIDDLE, on_mismatch={"EarlyStopping": "reset"})
    learn = run(cbs=(Draws(),))
    assert differences(learn, saved / MIDDLE) == ["Draws: Draws no. 2 is attached now, and was not when it was saved"]
    learn.fit(1, resume=saved / MIDDLE, on_mismatch={"Draws": "reset"})


@dataclass(frozen=True)
class Counts(AnyCallback):
    n: Cell[int] = cell(3)


def counting(kind: str) -> Any:
    """The class with another cell in it."""

    @dataclass(frozen=True)
    class Counts(AnyCallback):
        if kind == "type":
            n: Cell[str] = cell("3")
        else:
            m: Cell[int] = cell(3)

    return Counts()


def test_a_cell_of_another_type_or_name_is_refused(tmp_path: Path) -> None:
    run(cbs=(Counts(),)).save(tmp_path / "a")
    for kind, match in (
        ("type", "Counts.n was saved as int, and is declared as str: it is an int"),
        ("name", "Counts.n was saved, and is no"),
    ):
        learn = run(cbs=(counting(kind),))
        before = everything(learn)
        with pytest.raises(MismatchError, match=match):
            learn.load(tmp_path / "a")
        assert differing(everything(learn), before) == []


def test_other_data_is_refused(saved: Path) -> None:
    learn = run()
    train = learn.data.train_dl
    learn._data = typedcb.DataBunch(
        torch.utils.data.DataLoader(train.dataset, batch_size=4, shuffle=True), learn.data.valid_dl
    )  # type: ignore[attr-defined]
    found = differences(learn, saved / "step-00000001")
    assert "data: batch_size of the train loader was 3, and is 4" in found


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"num_workers": 2}, "num_workers of the train loader was 0, and is 2"),
        ({"drop_last": True}, "drop_last of the train loader was False, and is True"),
        ({"shuffle": False}, "sampler of the train loader was 'RandomSampler', and is 'SequentialSampler'"),
        ({"dataset": Noisy(n=13)}, "samples of the train loader was 14, and is 13"),
        (
            {"generator": torch.Generator()},
            "the train loader: it drew from the process's generators alone, and draws from",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_data_that_cannot_be_the_same_is_refused_by_what_differs(saved: Path, changed: Any, what: str) -> None:
    learn = run()
    settings = {"dataset": learn.data.train_dl.dataset, "batch_size": 3, "shuffle": True, **changed}  # type: ignore[attr-defined]
    learn._data = typedcb.DataBunch(torch.utils.data.DataLoader(**settings), learn.data.valid_dl)
    found = differences(learn, saved / "step-00000001")
    assert any(difference.startswith(f"data: {what}") for difference in found), found


def test_a_fit_is_not_taken_up_where_none_was(tmp_path: Path) -> None:
    run().save(tmp_path / "rest")
    learn = run()
    with pytest.raises(CheckpointError, match="saved outside of a fit"):
        learn.fit(2, resume=tmp_path / "rest")
    learn.load(tmp_path / "rest")


# ------------------------------------------------------------------------------------------------------- the folder


def test_the_newest_sound_one_is_gone_on_from_and_broken_ones_are_named(saved: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved, tmp_path / "copy"))
    *_, before, last = steps(folder)
    (last / TENSORS).write_bytes(b"")
    with pytest.warns(
        CheckpointWarning, match=rf"(?s){before.name} is gone on from.*{last.name}/{TENSORS} has 0 bytes"
    ):
        assert latest(folder) == before
    for path in steps(folder):
        (path / MANIFEST).unlink()
    with pytest.raises(CheckpointError, match="each is broken"):
        latest(folder)
    with pytest.raises(CheckpointError, match="is no folder"):
        latest(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="it has none"):
        latest(tmp_path)


def test_what_no_checkpoint_can_hold_is_refused_when_it_is_saved(tmp_path: Path) -> None:
    holds = run(cbs=(Counts(),))
    holds.get(Counts).n.value = object()  # type: ignore[assignment]
    with pytest.raises(StateError, match=r"Counts.n cannot be saved"):
        holds.save(tmp_path / "a")
    deep: Any = []
    for _ in range(MAX_DEPTH + 2):
        deep = [deep]
    for tree in (deep, {"a": {1, 2}}, {"a": b"1"}, {object(): 1}):
        with pytest.raises(StateError):
            draft(tree, copy=False)
    assert list(tmp_path.iterdir()) == []


def test_no_checkpoint_is_written_over(tmp_path: Path) -> None:
    write(tmp_path / "a", draft({"a": 1}, copy=False))
    with pytest.raises(CheckpointWriteError, match="is there already"):
        write(tmp_path / "a", draft({"a": 2}, copy=False))
    assert read(tmp_path / "a").tree == {"a": 1}


# ----------------------------------------------------------------------------------------------- no code, by reading it

ROOTS = ("store", "state", "callbacks.checkpoint")
MODULES = {
    *("pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "runpy", "subprocess"),
    *("importlib", "imp", "ctypes", "code", "codeop", "builtins", "zipimport", "pty", "multiprocessing"),
}
"""What no module that loading reaches may import; `importlib.util.find_spec` alone is, which loads nothing."""

NAMES = {"eval", "exec", "compile", "__import__", "import_module", "exec_module", "Unpickler", "__builtins__"}
"""What none may name, call it or not."""

LOADERS = {"torch", "np", "numpy", "pd", "pandas", "yaml"}
"""Whose `load` none may use."""


def reachable() -> dict[str, ast.Module]:
    """The modules of the package that loading imports, by their source."""
    found: dict[str, ast.Module] = {}
    left = [f"typedcb.{name}" for name in ROOTS]
    while left:
        name = left.pop()
        if name in found:
            continue
        module = importlib.import_module(name)
        found[name] = ast.parse(Path(str(module.__file__)).read_text())
        for node in ast.walk(found[name]):
            if isinstance(node, ast.ImportFrom) and not node.level and str(node.module).startswith("typedcb"):
                left.append(str(node.module))
            if isinstance(node, ast.ImportFrom) and node.level:
                base = name.split(".")[: -node.level] if not hasattr(module, "__path__") else name.split(".")
                left.append(".".join([*base, *([node.module] if node.module else [])]))
    return found


HARMLESS = {
    ("typedcb", "from importlib"),  # of the four names of a table beside it
    ("typedcb", "import_module"),
    ("typedcb.evaluating", "model.eval"),  # torch's own, of a module
    ("typedcb.rules", "'eval', which getattr could be given"),  # a mode of ast.parse, which runs nothing
    ("typedcb.naming", "'eval', which getattr could be given"),  # a phase by another name
    ("typedcb.answers", "'eval', which getattr could be given"),
    ("typedcb.rules", "'builtins', which getattr could be given"),  # the name of where list and dict come from
    ("typedcb.store.memory", "ctypes"),  # of memory that a GPU copies into, to write from where it is
    # of shards by the reader of safetensors, as the hostile checkpoints of several processes show
    ("typedcb.together", "torch.distributed.checkpoint.state_dict_loader.load"),
}
"""What looks like it and is not, when callbacks' classes are made."""


def problem(node: ast.AST) -> str | None:
    """What a piece of source could run code of a file by."""
    if isinstance(node, ast.Import):
        named = {alias.name.split(".")[0] for alias in node.names} & MODULES
        return ", ".join(named) or None
    if isinstance(node, ast.ImportFrom):
        names = {alias.name for alias in node.names}
        module = str(node.module).split(".")[0]
        if module in MODULES and names != {"find_spec"}:
            return f"from {node.module}"
        return f"{node.module}.load" if module in LOADERS and "load" in names else ", ".join(names & NAMES) or None
    if isinstance(node, ast.Name) and node.id in NAMES:
        return node.id
    if isinstance(node, ast.Attribute):
        whole = ast.unparse(node)
        bad = whole in {f"{name}.load" for name in LOADERS} or node.attr in NAMES - {"compile"} or whole == "os.system"
        return whole if bad else None
    if isinstance(node, ast.Constant) and node.value in NAMES | MODULES:
        return f"{node.value!r}, which getattr could be given"
    return None


def test_nothing_that_loading_reaches_can_run_code() -> None:
    modules = reachable()
    assert {
        "typedcb.store.reading",
        "typedcb.tree",
        "typedcb.values",
        "typedcb.state.restore",
        "typedcb.loaders",
    } <= set(modules)
    found = {(name, what) for name, tree in modules.items() for node in ast.walk(tree) if (what := problem(node))}
    assert found == HARMLESS


@pytest.mark.parametrize(
    "source",
    [
        *("import pickle", "from pickle import loads", "import torch.serialization, pickle", "from torch import load"),
        *("torch.load(path)", "read = torch.load", "np.load(path)", "eval(text)", "run = exec", "__import__('os')"),
        *("getattr(builtins, 'eval')", "importlib.import_module(name)", "from importlib import import_module"),
        *("os.system(text)", "self.Unpickler(file)", "compile(text, '', 'exec')"),
    ],
)
def test_what_could_run_code_would_be_found(source: str) -> None:
    assert any(problem(node) for node in ast.walk(ast.parse(source)))


def test_the_interpreter_runs_no_code_while_hostile_files_are_read(saved: Path, tmp_path: Path) -> None:
    """Python's own audit, in a process of its own: whatever library is called, it would tell."""
    hostile = tmp_path / "hostile"
    for name in FILES:
        for kind, text in {
            "pickle": pickle.dumps(Harm()),
            "source": b"__import__('os').system('touch " + str(HARMED).encode() + b"')",
            "json": json.dumps({"py/reduce": [{"py/function": "os.system"}, ["true"]]}).encode(),
        }.items():
            path = copied(saved, hostile / f"{name}-{kind}")
            (path / name).write_bytes(text)
            if name != MANIFEST:
                resign(path)
    path = copied(saved, hostile / "torch")
    torch.save({"model": Harm()}, path / TENSORS)
    resign(path)
    command = [sys.executable, str(HERE / "auditing.py"), str(saved / MIDDLE), *map(str, hostile.glob(f"*/{MIDDLE}"))]
    environ = {**environment(), "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told == {"noticed": ["compile", "exec", "pickle.find_class"], "refused": 10, "ran": []}, done.stderr
    assert not HARMED.exists()


def test_warnings_are_none_of_the_ordinary(saved: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert latest(saved) == steps(saved)[-1]
