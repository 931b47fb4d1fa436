"""Kills a writer of checkpoints at random moments, and looks at what is left: `python killing.py 200`."""

# ruff: noqa: T201  # it is run as a program, and says what it does

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

from typedcb.store import latest, read, steps

HERE = Path(__file__).resolve().parent


def kill_once(folder: Path, seconds: float) -> int:
    """Lets a writer run for a while, kills it, and checks that what it said is there; says how many it had written."""
    command = [sys.executable, str(HERE / "writing.py"), "forever", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout is not None
        first = process.stdout.readline()  # it has started
        time.sleep(seconds)
        process.kill()
        said = [int(line) for line in (first, *process.stdout)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no checkpoint is ever broken
        newest = read(latest(folder))
    for path in steps(folder):
        read(path)
    state = newest.load(newest.tree)
    assert state["step"] >= said[-1], "what was said to be safe is there"
    assert all(bool((state[name] == state["step"]).all()) for name in ("w", "b"))
    return len(said)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(HERE.parent), str(HERE)])}


def kill(times: int, seed: int = 0) -> tuple[int, int]:
    """Kills so many writers; says how many checkpoints they had written, and how many half ones were found."""
    draws = random.Random(seed)
    written = half = 0
    for _ in range(times):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            written += kill_once(folder, draws.uniform(0, 0.05))
            left = [path for path in folder.iterdir() if path.name.startswith(".tmp-")]
            half += bool(left)
            written += kill_once(folder, draws.uniform(0, 0.02))
            assert not any(path in left for path in folder.iterdir()), "the next writer removes what the last has left"
    return written, half


def trained(folder: Path, seconds: float | None) -> str | None:
    """Lets a process train for a while, or to its end; what came of it, when it came to its end."""
    command = [sys.executable, str(HERE / "writing.py"), "training", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        if seconds is not None:
            time.sleep(seconds)
            process.kill()
        out = process.stdout.read()
    assert process.returncode in ((0,) if seconds is None else (0, -9))
    return out.partition("result ")[2].strip() or None


def kill_training(times: int, seed: int = 0) -> int:
    """Kills a training process so many times, and lets the last one end; says how many were killed in its middle."""
    draws = random.Random(seed)
    killed = 0
    with tempfile.TemporaryDirectory() as alone:
        expected = trained(Path(alone), None)
    while killed < times:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            result = None
            while result is None and killed < times:
                result = trained(folder, draws.uniform(0.05, 0.3))
                killed += result is None
            result = result or trained(folder, None)
            assert result == expected, "it is what the process that was left alone has come to"
    return killed


if __name__ == "__main__":
    kills = int(sys.argv[1])
    total, found = kill((kills + 1) // 2, seed=int(time.time()))
    print(f"{kills} kills, {total} checkpoints, {found} left half written: every one that was said to be safe is whole")
    print(f"{kill_training(kills // 10, seed=int(time.time()))} training processes killed: the last comes to the same")
