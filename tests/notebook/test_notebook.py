"""In a notebook everything shows itself, progress is one output, and plots are pictures: a notebook is executed."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.filterwarnings("ignore")  # the kernel's own process warns for itself

CELLS = {
    "make": """
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD

from typedcb import AfterLoss, DataBunch, Learner
from typedcb.callbacks import AvgStats, GradientClip, Progress, Recorder, SmoothLoss, accuracy
from typedcb.explain import explain
from typedcb.trace import Trace, read

torch.manual_seed(0)
batches: list[tuple[Tensor, Tensor]] = [(torch.randn(8, 4), torch.arange(8) % 3) for _ in range(30)]
stats, smooth = AvgStats(accuracy), SmoothLoss()
learn = Learner(
    nn.Linear(4, 3), DataBunch(batches, batches[:5]), F.cross_entropy, partial(SGD, lr=0.1),
    cbs=[stats, smooth, Progress(stats, smooth)],
    cb_funcs=[Recorder, partial(GradientClip, clip=0.1), partial(Trace, path=Path("fit.trace"))],
)
""",
    "fit": "outcome = learn.fit(3)",
    "learner": "learn",
    "outcome": "outcome",
    "plot": "learn.get(Recorder).plot()",
    "event": "AfterLoss('train', 0, 1, 30, 1, *batches[0], torch.zeros(8, 3), torch.tensor(0.5))",
    "trace": "read('fit.trace')",
    "explain": "explain(learn)",
    "summary": "learn.summary()",
    "failing": "learn.fit(1, cbs=[learn.get(AvgStats)])",
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[Any]]]:
    """The outputs of each cell of a notebook that a real kernel has executed."""
    folder: Path = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS.values()])
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", allow_errors=True, resources={"metadata": {"path": str(folder)}}
    ).execute()
    yield {name: cell.outputs for name, cell in zip(CELLS, notebook.cells, strict=True)}


def html_of(outputs: list[Any]) -> str:
    assert len(outputs) == 1, outputs
    html: str = outputs[0]["data"]["text/html"]
    return html


def test_the_progress_of_a_fit_is_one_output_which_ends_as_the_table_of_its_epochs(outputs: Any) -> None:
    html = html_of(outputs["fit"])
    assert html.count("<tr>") == 4, "a head and three epochs"
    assert "accuracy" in html
    assert "<progress" not in html, "the bar is gone when the fit is over"
    assert outputs["make"] == []


def test_a_learner_shows_its_parts_and_its_callbacks(outputs: Any) -> None:
    html = html_of(outputs["learner"])
    assert all(
        word in html for word in ("Linear, 15 parameters", "SGD, learning rate 0.1", "GradientClip", "clip = 0.1")
    )


def test_events_and_outcomes_show_their_fields(outputs: Any) -> None:
    assert "float32[8, 4]" in html_of(outputs["event"])
    assert "Completed" in html_of(outputs["outcome"])


def test_a_plot_is_a_picture(outputs: Any) -> None:
    picture = base64.b64decode(outputs["plot"][0]["data"]["image/png"])
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 10_000


def test_a_trace_shows_its_runs_and_what_the_callbacks_cost(outputs: Any) -> None:
    html = html_of(outputs["trace"])
    assert "A traced fit" in html
    assert "GradientClip" in html


def test_an_explanation_and_a_summary_show_themselves(outputs: Any) -> None:
    assert "GradientClip" in html_of(outputs["explain"])
    assert "15 parameters" in html_of(outputs["summary"])


def test_an_error_is_shown_with_its_fix(outputs: Any) -> None:
    (error,) = outputs["failing"]
    assert error["ename"] == "CallbackError"
    assert "attached to this learner twice" in error["evalue"] or "attached to this loop twice" in error["evalue"]
