"""The command line, run as people run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from typedcb.cli import main


def test_the_demo_shows_its_callbacks_and_epochs_and_draws_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--epochs", "1", "--out", str(tmp_path / "out")]) == 0

    first, header, row, last, how, page = capsys.readouterr().out.splitlines()
    assert first.endswith("GradientClip → ParamScheduler → Recorder → Progress")
    assert how.endswith(f"typedcb trace show {tmp_path / 'out' / 'fit.trace'}")
    assert page.endswith(f"--html {tmp_path / 'out' / 'trace.html'}")
    assert main(page.split(": typedcb ")[1].split()) == 0
    assert (tmp_path / "out" / "trace.html").exists()
    capsys.readouterr()
    assert main(["trace", "show", str(tmp_path / "out" / "fit.trace")]) == 0
    assert "Completed after" in capsys.readouterr().out
    assert header.split() == ["epoch", "train_loss", "valid_loss", "accuracy", "seconds"]
    assert float(row.split()[3]) > 0.8
    assert last.endswith(f"{tmp_path / 'out' / 'fit.png'}")
    assert (tmp_path / "out" / "fit.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_seed_gives_the_same_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for _ in range(2):
        main(["demo", "--epochs", "1", "--seed", "3", "--out", str(tmp_path)])
        shown.append(capsys.readouterr().out.splitlines()[2].split()[:4])

    assert shown[0] == shown[1]


def test_it_runs_as_a_module_and_says_what_there_is() -> None:
    run = subprocess.run([sys.executable, "-m", "typedcb", "--help"], capture_output=True, text=True, check=False)

    assert run.returncode == 0
    assert "demo" in run.stdout
    assert "check" in run.stdout
