"""accelerate on XLA, by torch_xla's devices that are CPUs; run where torch_xla is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(find_spec("torch_xla") is None, reason="torch_xla is not installed")

EPOCHS, STEPS = 4, 6


@pytest.fixture(scope="module", params=[1, 2], ids=["one", "two"])
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one rank, or two, have come to, and what the same comes to without any engine."""
    program, folder = ("", "one", "two")[request.param], tmp_path_factory.mktemp("xla")
    env = {**os.environ, "PJRT_DEVICE": "CPU", "CPU_NUM_DEVICES": str(request.param), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).parent / "xla_programs.py"), program, str(folder)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    read: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    assert len(read["ranks"]) == request.param
    assert all(rank["device"] == "xla" for rank in read["ranks"])
    return read


def test_the_figures_and_weights_are_those_of_the_cpu(found: dict[str, Any]) -> None:
    plain = found["plain"]["whole"]
    assert plain["outcome"].startswith("Cancelled")  # EarlyStopping
    for rank in found["ranks"]:
        whole = rank["whole"]
        assert whole["outcome"] == plain["outcome"]
        assert whole["saved"] == plain["saved"]
        for name in ("row", "train", "smooth", "validate", "weights"):
            assert whole[name] == pytest.approx(plain[name], abs=2e-5), name


def test_callbacks_see_the_gradients_over_all_ranks_once_for_each_step(found: dict[str, Any]) -> None:
    plain = found["plain"]["whole"]["seen"]
    assert len(plain) == EPOCHS * STEPS
    for rank in found["ranks"]:
        seen = rank["whole"]["seen"]
        assert len(seen) == len(plain)
        for mine, theirs in zip(seen, plain, strict=True):
            assert mine == pytest.approx(theirs, abs=2e-5)


def test_all_ranks_have_the_same_to_the_bit(found: dict[str, Any]) -> None:
    first, *others = found["ranks"]
    for other in others:
        for name in ("weights", "seen", "row", "smooth"):
            assert other["whole"][name] == first["whole"][name]
        assert other["halves"] == first["halves"]
        assert other["accumulated"] == first["accumulated"]


def test_no_graph_is_compiled_any_more_once_all_sizes_of_batches_have_come(found: dict[str, Any]) -> None:
    for rank in found["ranks"]:
        compiled = rank["whole"]["compiled"]
        assert len(compiled) == EPOCHS - 1  # EarlyStopping has ended the last one before it was over
        assert 0 < compiled[-1] == compiled[-2]


def test_weights_that_are_one_stay_one_on_the_device(found: dict[str, Any]) -> None:
    assert all(rank["whole"]["tied"] for rank in found["ranks"])


def test_a_fit_is_taken_up_to_the_bit(found: dict[str, Any]) -> None:
    for rank in found["ranks"]:
        for name in ("weights", "row", "smooth", "outcome"):
            assert rank["again"][name] == rank["whole"][name]


def test_a_checkpoint_is_read_on_the_cpu_too(found: dict[str, Any]) -> None:
    assert len(set(found["plain"]["loaded"])) > 50
    for rank in found["ranks"]:
        assert rank["loaded"] == found["plain"]["loaded"]


def test_accumulated_gradients_are_those_of_the_cpu_and_half_precision_is_near(found: dict[str, Any]) -> None:
    for rank in found["ranks"]:
        assert rank["accumulated"] == pytest.approx(found["plain"]["accumulated"], abs=2e-5)
        for name, near in (("bf16", 5e-2), ("fp16", 1e-2)):
            assert rank["halves"][name] != rank["accumulated"]
            assert rank["halves"][name] == pytest.approx(rank["accumulated"], abs=near)


def test_ranks_that_are_threads_are_refused(found: dict[str, Any]) -> None:
    if "refused" in found:
        assert "2 of their devices belong to this one" in found["refused"]
    else:
        assert len(found["ranks"]) == 1
