"""Interrupts fits at random moments, and looks at how each has ended: `python interrupting.py 200`."""

# ruff: noqa: T201  # it is run as a program, and says what it does

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent


def start() -> subprocess.Popen[str]:
    """A server of the programs in `interrupted.py`."""
    paths = [str(HERE.parents[1]), str(HERE.parent), str(HERE)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, str(HERE / "interrupted.py")]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)


def interrupt(server: subprocess.Popen[str], times: int, seed: int = 0) -> Counter[str]:
    """Sends Ctrl-C or SIGTERM to so many processes, each some time after its fit began; says how they ended."""
    draws = random.Random(seed)
    ended: Counter[str] = Counter()
    assert server.stdin is not None
    assert server.stdout is not None
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            fifo, errors = Path(folder, "stdout"), Path(folder, "stderr")
            os.mkfifo(fifo)
            print(json.dumps([str(fifo), str(errors), "forever"]), file=server.stdin, flush=True)
            child = int(server.stdout.readline())
            with fifo.open(encoding="utf-8") as stdout:
                assert stdout.readline() == "begun\n"
                time.sleep(draws.uniform(0, 0.05))
                os.kill(child, draws.choice((signal.SIGINT, signal.SIGTERM)))
                said = stdout.read().splitlines()[-1]
            assert int(server.stdout.readline()) == 0, errors.read_text()
            assert said in ("KeyboardInterrupt in order", "SystemExit in order"), errors.read_text()
            ended[said] += 1
    return ended


if __name__ == "__main__":
    with start() as process:
        counts = interrupt(process, int(sys.argv[1]), seed=int(time.time()))
        process.kill()
    print(", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
