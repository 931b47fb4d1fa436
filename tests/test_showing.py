"""Learners, events, traces and the like show themselves: by rich on a terminal, as HTML in a notebook."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from rich.console import Console
from tiny import Weight, learner
from torch import nn

from typedcb import AfterBatch, AnyCallback, BeginBatch, Cell, DataBunch, Learner, Readable, cell
from typedcb.callbacks import EarlyStopping, GradientClip, SmoothLoss
from typedcb.explain import explain
from typedcb.showing import Sheet, brief
from typedcb.trace import Trace, read


def drawn(thing: Any) -> str:
    """What rich draws of it."""
    console = Console(file=io.StringIO(), width=160)
    console.print(thing)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO of the line before
    return text


class Texts(HTMLParser):
    """The text of a piece of HTML, and its tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def in_notebook(thing: Any) -> list[str]:
    """The texts that a notebook shows of it."""
    return Texts(thing._repr_html_()).texts


def batch(**changes: Any) -> BeginBatch[Any, Any]:
    event = BeginBatch("train", 0, 3, 10, 7, torch.zeros(64, 1, 28, 28), torch.zeros(64, dtype=torch.int64))
    return msgspec.structs.replace(event, **changes)


@pytest.mark.parametrize("shown", [drawn, lambda thing: " ".join(in_notebook(thing))])
def test_an_event_shows_its_fields_and_tensors_by_their_shapes(shown: Any) -> None:
    text = shown(batch())
    assert all(word in text for word in ("BeginBatch", "index", "3", "float32[64, 1, 28, 28]", "int64[64]"))
    nested = shown(AfterBatch(batch(xb=torch.zeros(2))))
    assert "BeginBatch(phase='train'" in nested
    assert "tensor(" not in nested


def test_a_learner_shows_its_parts_and_its_callbacks_with_settings_and_cells() -> None:
    smooth = SmoothLoss()
    learn = learner(smooth, cb_funcs=[partial(GradientClip, clip=0.25)])
    learn.fit(1)
    texts = in_notebook(learn)
    assert {"Weight, 1 parameters", "SGD, learning rate 1", "list, 2 batches", "cpu"} <= set(texts)
    assert texts.index("SmoothLoss") < texts.index("GradientClip")
    assert any("clip = 0.25" in text.splitlines() for text in texts)
    assert any(text.startswith("value: ") or "mean: " in text for text in texts)
    assert "GradientClip" in drawn(learn)


def test_a_setting_that_is_another_callback_is_shown_by_its_name() -> None:
    smooth = SmoothLoss()

    @dataclass(frozen=True)
    class Watches(AnyCallback):
        source: SmoothLoss
        seen: Readable[float]
        count: Cell[int] = cell(0)

    watched = Watches(smooth, Cell(1.0).map(abs))
    texts = " ".join(in_notebook(learner(smooth, watched)))
    assert "source = SmoothLoss" in texts
    assert "count: 0" in texts


def test_frozen_parameters_and_endless_loaders_are_told() -> None:
    class Endless:
        def __iter__(self) -> Any:
            while True:
                yield torch.zeros(1), torch.zeros(1)

    model = nn.Sequential(Weight(), Weight())
    model[0].requires_grad_(False)
    learn: Learner[Any, Any, Any] = Learner(model, DataBunch(Endless()), nn.MSELoss(), partial(torch.optim.SGD, lr=0.1))
    texts = in_notebook(learn)
    assert "Sequential, 2 parameters, 1 of them train" in texts
    assert {"Endless", "none"} <= set(texts)


def test_a_summary_an_explanation_and_a_trace_show_themselves(tmp_path: Path) -> None:
    stop = SmoothLoss()
    learn = learner(stop, EarlyStopping(stop.mean, mode="min", patience=3))
    learn.add(Trace, tmp_path / "fit.trace")
    learn.fit(2)
    trace = read(tmp_path / "fit.trace")
    assert {"SmoothLoss", "EarlyStopping", "What each callback cost"} <= set(in_notebook(trace))
    assert {"epochs", "2"} <= set(in_notebook(trace.runs[0]))
    assert "Completed" in drawn(trace)
    assert "Weight" in " ".join(in_notebook(learn.summary()))
    explained = " ".join(in_notebook(explain(learn)))
    assert "SmoothLoss" in explained
    assert "after_loss" in explained


def test_what_is_shown_is_text_and_never_markup() -> None:
    wicked = "<script>alert(1)</script>[bold]x[/bold]"
    sheet = Sheet(wicked, (wicked,), ((wicked,),))
    assert "script" not in Texts(sheet.html()).tags
    assert drawn(sheet).count("[bold]x[/bold]") == 3


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (torch.tensor(0.25), "0.25 (float32)"),
        (torch.zeros(2, 3, dtype=torch.bfloat16), "bfloat16[2, 3]"),
        ((torch.zeros(1), 1), "(float32[1], 1)"),
        ({"text": torch.zeros(1)}, "{'text': float32[1]}"),
        (list(range(9)), "[0, 1, 2, 3, 4, 5, …]"),
        ("x" * 200, "'" + "x" * 78 + "…"),
        (torch.zeros((), device="meta"), "float32[] on meta"),
        (torch.nn.Sequential(torch.nn.ReLU()), "Sequential( (0): ReLU() )"),
    ],
)
def test_values_are_shown_on_one_line(value: object, text: str) -> None:
    assert brief(value) == text
