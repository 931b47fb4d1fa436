"""A trace in the terminal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from planted import fit
from recording import raising

from typedcb.cli import main


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("show") / "t"
    fit(path)
    return path


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(["trace", "show", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def test_it_says_what_a_run_comes_to(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(capsys, str(trace))
    text = "\n".join(lines)

    assert "Sequential with 9 weights and buffers, SGD" in text
    assert "AvgStats → SmoothLoss → GradientClip → ParamScheduler → Recorder → At" in text
    assert any(line.startswith("Completed after ") for line in lines)
    assert [line.split()[:3] for line in lines if line[:6].strip() in ("0", "1")] == [["0", "4", "2"], ["1", "4", "2"]]
    assert any(line.startswith("SmoothLoss.count") and line.split()[1:] == ["8", "8"] for line in lines)
    assert "\x1b" not in text


def test_events_are_filtered(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(capsys, str(trace), "--event", "after_backward", "--epoch", "1", "--batch", "2", "--phase", "train")
    heads = [line for line in lines if "  at " in line]
    assert len(heads) == 1
    assert "after_backward, epoch 1, batch 2, train" in heads[0]
    assert any("gradients:0.weight = norm" in line for line in lines)
    assert any("GradientClip" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "n"),
    [
        (["--callback", "GradientClip"], 8),
        (["--search", "smoothloss.MEAN"], 9),  # the beginning, and 8 batches
        (["--event", "after_validate"], 2),
        (["--events", "--limit", "1000"], 74),
        (["--event", "after_cancel_batch"], 0),
    ],
)
def test_each_filter_takes_what_it_says(
    arguments: list[str], n: int, trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = told(capsys, str(trace), *arguments)
    assert len([line for line in lines if ("  at " in line and "epoch" in line) or "_fit  at" in line]) == n
    assert ("no such event" in lines) is (n == 0)


def test_what_is_left_out_is_counted(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, str(trace), "--events", "--limit", "5")[-1] == "69 more events; --limit 74 shows them all"


def test_an_error_is_shown_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(tmp_path / "t", at=("after_loss", raising(ZeroDivisionError("by zero")), 0, 1))
    lines = told(capsys, str(tmp_path / "t"), "--search", "by zero")
    assert any("At" in line and "raised ZeroDivisionError: by zero (recording.py:" in line for line in lines)
    assert any(line.startswith("Failed after") for line in told(capsys, str(tmp_path / "t")))


def test_a_reader_that_has_enough_ends_it(trace: Path) -> None:
    command = (
        f"{sys.executable} -m typedcb trace show {trace} --events --limit 99999 | head -3; exit ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 3


def test_what_cannot_be_read_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "show", str(tmp_path / "none")]) == 2
    assert "cannot be read" in capsys.readouterr().err
