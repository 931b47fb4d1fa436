"""What counts as a difference, and what does not."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from many import header
from planted import fit, second_epoch
from recording import At, raising
from tiny import learner

from typedcb import Callback, Cell, TraceError, cell
from typedcb.callbacks import Checkpoint, StopAfterNBatches
from typedcb.cli import main
from typedcb.trace import Difference, Equal, Rules, Trace, diff
from typedcb.trace.framing import Writer

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pair")
    fit(folder / "a")
    fit(folder / "b", schedule=second_epoch)
    return folder / "a", folder / "b"


def small(path: Path, *cbs: Any, n_epochs: int = 1, n_train: int = 6, **options: Any) -> Path:
    learn = learner(*cbs, n_train=n_train, lr=0.01)
    learn.add(Trace, path, **options)
    learn.fit(n_epochs)
    return path


def test_names_can_be_passed_over(pair: tuple[Path, Path]) -> None:
    found = diff(*pair, Rules(ignore=("hypers:*",)))
    assert isinstance(found, Difference)
    assert (found.event.hook, found.name) == ("after_loss", "cells:Recorder.params")

    found = diff(*pair, Rules(ignore=("hypers:*", "cells:*")))
    assert isinstance(found, Difference)
    assert (found.event.hook, found.event.epoch, found.event.index) == ("after_step", 1, 0)


def test_a_tolerance_compares_statistics(tmp_path: Path) -> None:
    def nudge(event: Any) -> Any:
        return event.with_pred(event.pred * (1 + 1e-6))

    def same(event: Any) -> Any:
        return event.with_pred(event.pred * 1.0)

    a = small(tmp_path / "a", At("after_pred", same))
    b = small(tmp_path / "b", At("after_pred", nudge))

    assert isinstance(diff(a, b), Difference)
    assert isinstance(diff(a, b, Rules(tolerance=1e-4)), Equal)
    assert isinstance(diff(a, b, Rules(tolerance=1e-9)), Difference)


def test_common_events_alone(tmp_path: Path) -> None:
    a = small(tmp_path / "a", events=("begin_batch", "after_loss", "after_step"))
    b = small(tmp_path / "b", every_batches=2)

    found = diff(a, b, Rules(common=True))

    assert isinstance(found, Equal), str(found)
    assert found.events >= 3 * 3
    assert isinstance(diff(a, b), Difference)


def test_a_run_that_was_cut_differs_where_it_was_cut(tmp_path: Path) -> None:
    whole = small(tmp_path / "whole")
    content = whole.read_bytes()
    cut = small(tmp_path / "cut", block=0)
    cut.write_bytes(cut.read_bytes()[:-600])

    found = diff(whole, cut)
    assert isinstance(found, Difference)
    assert (found.name, found.b) == ("event", None)
    assert isinstance(diff(whole, cut, Rules(common=True)), Equal)
    assert whole.read_bytes() == content


@pytest.mark.parametrize("stop", [2, 3, 5])
def test_a_fit_that_was_taken_up_again_equals_one_that_was_not(stop: int, tmp_path: Path) -> None:
    def run(path: Path, folder: Path, *cbs: Any, **how: Any) -> Path:
        learn = learner(*cbs, n_train=4, lr=0.01)
        learn.add(Checkpoint, folder, every_steps=1, every_epochs=None)
        learn.add(Trace, path)
        with suppress(ZeroDivisionError):
            learn.fit(3, **how)
        return path

    whole = run(tmp_path / "whole", tmp_path / "c1", At("after_backward", lambda event: None))
    dying = At("after_backward", raising(ZeroDivisionError), epoch=1, index=stop % 4)
    first = run(tmp_path / "first", tmp_path / "c2", dying)
    second = run(tmp_path / "second", tmp_path / "c2", At("after_backward", lambda e: None), resume=tmp_path / "c2")

    rules = Rules(ignore=("cells:Checkpoint.*",))
    found = diff(whole, [first, second], rules)
    assert isinstance(found, Equal), str(found)
    assert isinstance(diff(whole, first, rules), Difference)


def test_callbacks_by_their_places(tmp_path: Path) -> None:
    def counting(name: str) -> Any:
        def after_step(self: Any, event: Any) -> None:
            self.count.value += 1

        body = {"after_step": after_step, "count": cell(0), "__annotations__": {"count": Cell[int]}}
        return dataclass(frozen=True)(type(name, (Callback,), body))()

    a = small(tmp_path / "a", counting("Old"))
    b = small(tmp_path / "b", counting("New"))

    assert isinstance(diff(a, b), Difference)
    found = diff(a, b, Rules(callback_names=False))
    assert isinstance(found, Equal), str(found)
    assert found.notes == ("the callbacks: Old and New",)


def test_beginnings_count_where_they_are_asked_for(tmp_path: Path) -> None:
    a, b = small(tmp_path / "a", StopAfterNBatches(99)), small(tmp_path / "b", StopAfterNBatches(98))

    found = diff(a, b)
    assert isinstance(found, Equal)
    assert found.notes == ("StopAfterNBatches.n_batches: 99 and 98",)
    assert isinstance(diff(a, b, Rules(beginnings=True)), Difference)


def test_in_another_process_it_is_the_same(tmp_path: Path) -> None:
    script = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'trace')!r}]\n"
        "import torch; torch.set_num_threads(1)\n"
        "from pathlib import Path; from planted import fit; fit(Path(sys.argv[1]))"
    )
    fit(tmp_path / "a")
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "b")], check=True, timeout=120)

    found = diff(tmp_path / "a", tmp_path / "b")
    assert isinstance(found, Equal), str(found)


def test_the_command_says_it_by_its_exit_status(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = map(str, pair)
    assert main(["trace", "diff", a, a]) == 0
    assert capsys.readouterr().out.startswith("equal in all")
    assert main(["trace", "diff", a, b]) == 1
    assert "begin_batch, epoch 1, batch 0, train, after ParamScheduler: hypers:lr" in capsys.readouterr().out
    assert main(["trace", "diff", a, b, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["equal"], told["found"]["name"], told["found"]["a"]) == (False, "hypers:lr", 0.1)
    (tmp_path / "t").write_text("no trace")
    assert main(["trace", "diff", a, str(tmp_path / "t")]) == 2
    assert "is no trace" in capsys.readouterr().err


def test_nothing_is_compared_with_nothing(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "t")
    writer.write(header())
    writer.close()
    with pytest.raises(TraceError, match="no run with an event"):
        diff(tmp_path / "t", tmp_path / "t")
