"""What explain says of callbacks."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from recording import Recorder
from rich.console import Console
from tiny import learner

from typedcb import AfterLoss, BeginBatch, Callback, Cell, Phase, Readable, SkipBackward, cell
from typedcb.callbacks import AvgStats, EarlyStopping, GradientClip, SmoothLoss, accuracy
from typedcb.cli import main
from typedcb.events import BatchEvent
from typedcb.explain import Explained, Explanation, Need, explain


@dataclass(frozen=True)
class Weigh(Callback):
    """Weighs batches. By a factor."""

    phases: ClassVar[tuple[Phase, ...]] = ("train",)

    smooth: SmoothLoss
    factor: float = 2.0
    seen: Cell[int] = cell(0, reset="epoch")

    def begin_batch(self, event: BeginBatch) -> BeginBatch | None:
        return event.with_batch(event.xb * self.factor, event.yb) if event.index else None

    def after_loss(self, event: AfterLoss) -> AfterLoss | SkipBackward:
        return event.with_loss(event.loss * self.factor)

    def after_step(self, event: BatchEvent):  # type: ignore[no-untyped-def]
        self.seen.value += event.step


@dataclass(frozen=True)
class One(Callback):
    other: Readable[int]
    own: Cell[int] = cell(0)


def of(explanation: Explanation, name: str) -> Explained:
    return next(callback for callback in explanation.callbacks if callback.name == name)


def test_it_is_in_running_order_and_says_why() -> None:
    stats, smooth = AvgStats(accuracy), SmoothLoss()
    learn = learner(EarlyStopping(stats.valid_loss, mode="min"), Weigh(smooth), smooth, stats, Recorder(), SmoothLoss())
    explanation = explain(learn)

    assert [type(callback).__name__ for callback in learn.cbs] == [
        callback.name.partition("#")[0] for callback in explanation.callbacks
    ]
    assert of(explanation, "Weigh").why == ("after SmoothLoss, which is its field smooth",)
    assert of(explanation, "EarlyStopping").why == ("after AvgStats, which has the cell that its field monitor reads",)
    assert of(explanation, "Recorder").why == ("order -1000",)
    assert of(explanation, "Weigh").needs == (Need("smooth", "SmoothLoss", "callback"),)
    assert explanation.refused == ()


def test_each_hook_says_what_it_asks_reads_answers_and_replaces() -> None:
    smooth = SmoothLoss()
    weigh = of(explain([smooth, Weigh(smooth)]), "Weigh")

    assert weigh.does == "Weighs batches."
    assert (weigh.settings, weigh.phases) == ({"smooth": "SmoothLoss", "factor": "2.0"}, ("train",))
    begin, loss, step = weigh.hooks
    assert (begin.name, begin.asks, set(begin.reads)) == ("begin_batch", "BeginBatch", {"xb", "yb", "index"})
    assert (begin.answers, begin.replaces) == (("BeginBatch",), ("xb", "yb"))
    assert (loss.answers, loss.replaces) == (("AfterLoss", "SkipBackward"), ("loss",))
    assert step.answers == ("SkipZeroGrad", "CancelBatch", "CancelEpoch", "CancelTrain")  # without a return type
    assert [(held.name, held.reset, held.saved) for held in weigh.cells] == [("seen", "epoch", True)]


def test_who_hears_what_is_in_order() -> None:
    smooth = SmoothLoss()
    explanation = explain([Weigh(smooth), smooth])
    assert explanation.listeners == {
        "begin_batch": ("Weigh",),
        "after_loss": ("SmoothLoss", "Weigh"),
        "after_step": ("Weigh",),
    }


def test_what_would_be_refused_is_said_with_the_rest() -> None:
    smooth, alone = SmoothLoss(), SmoothLoss()
    explanation = explain([smooth, smooth, GradientClip, 3, Weigh(alone)])

    assert [callback.name for callback in explanation.callbacks] == ["SmoothLoss", "Weigh"]
    assert len(explanation.refused) == 4
    text = "\n".join(explanation.refused)
    for words in ("stands there twice", "GradientClip in cbs is a class", "3 in cbs is no callback", "Weigh.smooth"):
        assert words in text


def test_a_circle_is_said() -> None:
    nowhere: Cell[int] = Cell(0)
    one, other = One(nowhere), One(nowhere)
    object.__setattr__(one, "other", other.own)  # there is no other way to make a circle
    object.__setattr__(other, "other", one.own)

    [refused] = explain([one, other]).refused
    assert "in a circle: One → One → One" in refused


def test_a_terminal_shows_all_of_it() -> None:
    smooth = SmoothLoss()
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(explain([smooth, Weigh(smooth), 3]))
    text = console.export_text()
    for words in ("Weigh(smooth=SmoothLoss, factor=2.0)", "Weigh (train)", "xb, yb", "SkipBackward", "refused:"):
        assert words in text


MODULE = """
from functools import partial
import torch.nn.functional as F
from torch import nn, ones
from torch.optim import SGD
from typedcb import DataBunch, Learner, Loop
from typedcb.callbacks import AvgStats, EarlyStopping, GradientClip
stats = AvgStats()
cbs = [EarlyStopping(stats.valid_loss, "min"), stats]
lonely = [EarlyStopping(AvgStats().valid_loss, "min")]
loop = Loop(cbs)
def make():
    return Learner(nn.Linear(2, 1), DataBunch([(ones(1, 2), ones(1, 1))]), F.mse_loss, partial(SGD, lr=0.1),
                   cb_funcs=[partial(GradientClip, clip=1.0)])
def broken():
    return Learner(nn.Linear(2, 1), DataBunch([(ones(1, 2), ones(1, 1))]), F.mse_loss, partial(SGD, lr=0.1),
                   cbs=[GradientClip])
number = 3
"""


@pytest.fixture
def module(tmp_path: Path) -> str:
    (tmp_path / "explained_module.py").write_text(MODULE)
    return str(tmp_path / "explained_module.py")


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("make", 0, "Learner of Linear: 1 callbacks"),
        ("loop", 0, "Loop: 2 callbacks"),
        ("cbs", 0, "after AvgStats, which has the cell"),
        ("lonely", 1, "whose AvgStats is not attached"),
        ("broken", 1, "GradientClip in cbs is a class"),
    ],
)
def test_the_command_explains(
    name: str, status: int, said: str, module: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", f"{module}:{name}"]) == status
    assert said in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("{}:number", "is an int"),
        ("{}:none", "there is no none"),
        ("{}", "names no object"),
        ("no_such:x", "explain: there is no module no_such, neither here nor among what is installed"),
        ("typedcb.no_such:x", "explain: there is no module typedcb.no_such, neither here"),
    ],
)
def test_what_cannot_be_explained_is_said(
    target: str, said: str, module: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", target.format(module)]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["needy", "needy.py"])
def test_a_module_that_imports_what_is_not_there_says_on_which_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "needy.py").write_text("x = 1\nimport not_installed\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["explain", f"{name}:x"]) == 2
    said = capsys.readouterr().err
    assert "cannot be imported: ModuleNotFoundError: No module named 'not_installed'" in said
    assert said.rstrip().endswith("needy.py:2)")


def test_a_picture_that_cannot_be_written_is_said(
    module: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", f"{module}:cbs", "--png", str(tmp_path / "none" / "e.png")]) == 2
    assert "e.png cannot be written: No such file or directory." in capsys.readouterr().err


def test_json_and_pictures(module: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = [tmp_path / "e.svg", tmp_path / "e.png"]
    assert main(["explain", f"{module}:cbs", "--svg", str(pictures[0]), "--png", str(pictures[1])]) == 0
    assert pictures[0].read_text().lstrip().startswith("<?xml")
    assert pictures[1].read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == ""

    assert main(["explain", f"{module}:cbs", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [callback["name"] for callback in told["callbacks"]] == ["AvgStats", "EarlyStopping"]
