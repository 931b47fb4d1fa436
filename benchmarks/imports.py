"""What an import costs: `import typedcb` alone, which loads no torch, and all of its names, over torch's own import."""

from __future__ import annotations

import subprocess
import sys

from .task import ROOT, middle, table

RUNS = 9

TIMED = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
ALL_NAMES = "import torch, typedcb; [getattr(typedcb, name) for name in dir(typedcb)]"


def seconds(statement: str) -> float:
    """What a statement takes in a fresh process."""
    command = [sys.executable, "-c", TIMED.format(statement)]
    return float(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Prints the table.

    Raises:
        AssertionError: `import typedcb` loads torch.
    """
    loaded = "import sys, typedcb; sys.exit('torch' in sys.modules)"
    if subprocess.run([sys.executable, "-c", loaded], cwd=ROOT, check=False).returncode:
        raise AssertionError("import typedcb loads torch")
    seconds("import torch")  # the files are in memory from here on
    alone, torch, names = [], [], []
    for _ in range(RUNS):
        alone.append(seconds("import typedcb"))
        torch.append(seconds("import torch"))
        names.append(seconds(ALL_NAMES))
    rows = [
        [name, middle(taken, ".2f"), f"{min(taken) / min(torch):.3f}"]
        for name, taken in [
            ("import torch", torch),
            ("import typedcb", alone),
            ("both, and all of typedcb's names", names),
        ]
    ]
    print(table(["in a fresh process", "seconds", "ratio to torch's import, each at its quickest"], rows))


if __name__ == "__main__":
    main()
