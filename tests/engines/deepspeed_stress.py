"""DeepSpeed beside processes without it, where it is installed: the same figures, weights and checkpoints.

python tests/engines/deepspeed_stress.py

DeepSpeed compiles a part of itself on the CPU when it is used first, for which it wants a compiler.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from launching import launch

_BOUND: Final = 600
"""How many seconds a start of the processes may take, on a busy machine."""

_IN_FLOAT16: Final = ("half", "half, Adam")
"""What rounds differently where a batch is split over other processes."""

ZERO: Final = ("1", "2", "2 at once", "1 apart")


def with_deepspeed() -> None:
    """All of it."""
    if find_spec("deepspeed") is None or find_spec("transformers") is None:
        _report("DeepSpeed: left out, since it is not installed, or transformers is not, which accelerate asks for")
        return
    os.environ["DS_ACCELERATOR"] = "cpu"
    _figures()
    _checkpoints()
    _checks()


def _figures() -> None:
    (alone,) = _run(1, "alike", "torch")
    for n, configs in ((1, ("0", "1", "2")), (2, ("0", *ZERO))):
        begun = time.monotonic()
        for found in _run(n, "alike", "torch", *configs):
            for config in configs:
                for name, figures in found[config].items():
                    of_torch = found if n == 1 or name in (*_IN_FLOAT16, "decisions") else alone
                    _expect_equal(of_torch["torch"][name], figures, f"{n} processes, config {config}, {name}")
        _report(f"  {time.monotonic() - begun:5.1f} s  DeepSpeed in {n} processes has the figures of one without it")


def _checkpoints() -> None:
    begun = time.monotonic()
    configs = ("0", "1", "2")
    with tempfile.TemporaryDirectory() as folder:
        ranks = _run(2, "saving", folder, *configs)
        (alone,) = _run(1, "taking_up", folder, *configs)
    for config in configs:
        for found in ranks:
            saved = found[config]
            assert saved["whole"] != saved["early"], config
            for name in ("again", "back"):
                assert saved[name] == saved["whole"], (config, name)  # to the bit
        assert alone[config]["early"] == ranks[0][config]["early"], config
        _expect_equal(ranks[0][config]["whole"], alone[config]["again"], f"{config}, taken up without DeepSpeed")
    _report(f"  {time.monotonic() - begun:5.1f} s  DeepSpeed goes on from its checkpoints, and so does torch")


def _checks() -> None:
    begun = time.monotonic()
    (found,) = _run(1, "checks")
    for name, words in (
        ("direct", "EngineError: AdamW.step() was called, and ZeRO has its state"),
        ("added", "EngineError: AdamW had 1 parameter groups when ZeRO laid them out, and has 2"),
        (
            "apart",
            "EngineError: the parameters in group 0 of AdamW have been stepped on differently often (0, 6 times)",
        ),
        ("spoiled", "NonFiniteError: gradients are nan or infinite, and DeepSpeed has left the step out"),
    ):
        assert found[name].startswith(words), found[name]
    assert found["autocast"] == ["torch.bfloat16"]
    for how, words in (
        ("alone", ("EngineError: SavesAlone runs on the main rank alone", "PeerError: rank 0 failed")),
        ("fails", ("PeerError: rank 1 failed in FailsOnOne.after_loss", "ValueError: bad luck")),
    ):
        for ended, said in zip(_run(2, "ending", how), words, strict=True):
            assert ended["ended"].startswith(said), ended
    _report(f"  {time.monotonic() - begun:5.1f} s  what ZeRO would do wrong in silence is refused, and none waits")


def _run(n: int, program: str, *args: object) -> list[dict[str, Any]]:
    """What the ranks of a program have found: in files, since DeepSpeed has words of its own for the output."""
    with tempfile.TemporaryDirectory() as folder:
        ended = launch(n, folder, program, *args, seconds=_BOUND, script="deepspeed_programs.py")
        for rank, one in enumerate(ended):
            assert one.code == 0, f"rank {rank}: {one.out}"
        return [json.loads((Path(folder) / f"{rank}.json").read_text()) for rank in range(n)]


def _expect_equal(wanted: Any, found: Any, where: str) -> None:
    """Says where two results differ, of which numbers may do so by what float32 does not tell apart."""
    if isinstance(wanted, dict):
        assert wanted.keys() == found.keys(), where
        for name in wanted:
            _expect_equal(wanted[name], found[name], f"{where}, {name}")
    elif isinstance(wanted, list):
        assert len(wanted) == len(found), where
        for place, (old, new) in enumerate(zip(wanted, found, strict=True)):
            _expect_equal(old, new, f"{where}, {place}")
    elif isinstance(wanted, float):
        assert math.isclose(wanted, found, rel_tol=1e-4, abs_tol=1e-5), f"{where}: {wanted} and {found}"
    else:
        assert wanted == found, f"{where}: {wanted} and {found}"


def _report(words: str) -> None:
    print(words, flush=True)  # noqa: T201  # the report


if __name__ == "__main__":
    with_deepspeed()
