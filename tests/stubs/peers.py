"""Compares the types in stubs/ with the packages that they are for: `make stubs`.

mypy's stubtest imports a package and reports whatever its stub says otherwise. Each package has a virtual environment
of its own, the one that `make peers` measures it in, since what one brings along would change another.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final, Mapping

ROOT: Final = Path(__file__).resolve().parents[2]
STUBS: Final = ROOT / "stubs"
ENVS: Final = ROOT / ".bench-venv"

PEERS: Final[Mapping[str, str]] = {
    "accelerate": "accelerate",
    "fastai": "fastai",
    "keras": "keras",
    "skorch": "skorch",
    "lightning": "lightning",
    "ignite": "pytorch-ignite",
    "transformers": "transformers",
}
"""The packages whose stubs are compared: how each is imported, and how it is installed."""

TYPED: Final = ("lightning", "ignite", "transformers")
"""Those that bring types: development does not install Lightning and transformers, and Ignite leaves its handlers and
batches open."""


def check(*packages: str, python: str = sys.executable, stubs: Path = STUBS) -> str:
    """What the stubs of packages say otherwise than the packages; empty where they say nothing else.

    Args:
        packages: How they are imported.
        python: A Python that has them, and mypy.
        stubs: Where the stubs are.
    """
    done = subprocess.run(
        # A stub has a part of its package: what it lacks is no mistake.
        [python, "-m", "mypy.stubtest", "--concise", "--ignore-missing-stub", *packages],
        cwd=stubs, capture_output=True, text=True, check=False,
        env={**os.environ, "MYPYPATH": str(stubs), "KERAS_BACKEND": "torch", "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    return "" if done.returncode == 0 else f"{done.stdout}{done.stderr}" or f"exit status {done.returncode}"


def pins() -> list[str]:
    """The versions of the peers, and of mypy."""
    files = (ROOT / "benchmarks" / "peers-requirements.txt", ROOT / "constraints.txt")
    return sorted({line for file in files for line in file.read_text().splitlines() if "==" in line})


def environment(distribution: str) -> str:
    """The Python of a virtual environment that has a package, mypy, and the torch that is pinned."""
    python = ENVS / distribution / "bin" / "python"
    if not python.exists():
        venv.create(python.parent.parent, with_pip=True)
    wanted = ("torch==", "scikit-learn==", "mypy==", f"{distribution}==")
    needed = [pin for pin in pins() if pin.startswith(wanted)]
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *needed]
    subprocess.run(install, check=True)
    return str(python)


if __name__ == "__main__":
    failed = False
    for name in sys.argv[1:] or PEERS:
        wrong = check(name, python=environment(PEERS[name]))
        failed = failed or bool(wrong)
        print(f"{name}: {wrong or 'as its stub says'}")  # noqa: T201
    sys.exit(failed)
