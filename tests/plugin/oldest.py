"""Runs the plugin's cases under the oldest mypy that pyproject.toml admits, and under any others: `make oldest-mypy`.

Each version is installed into a folder of its own below build/, once.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from running import CASES, HERE, ROOT, marks, reported

FOLDER = ROOT / "build"


def oldest() -> str:
    """The oldest mypy that pyproject.toml admits: the first in which a plugin's codes can be switched in settings."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    found = re.fullmatch(r"mypy>=(\d+\.\d+)", extras["mypy"][0])
    assert found is not None
    return f"{found[1]}.0"


def installed(version: str) -> Path:
    """A folder from which a version of mypy can be imported."""
    folder = FOLDER / f"mypy-{version}"
    ready = folder / "ready"
    if not ready.exists():
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"]
        subprocess.run([*install, "--target", str(folder), f"mypy=={version}"], check=True, stderr=subprocess.DEVNULL)
        ready.touch()
    return folder


def check(version: str) -> list[str]:
    """What a version of mypy reports and should not, and what it does not report."""
    folder = installed(version)
    env = {**os.environ, "PYTHONPATH": str(folder)}
    said = subprocess.run(
        [sys.executable, "-m", "mypy", "--version"], env=env, capture_output=True, text=True, check=True
    )
    done = subprocess.run(
        [
            sys.executable, "-m", "mypy", "--config-file", str(HERE / "mypy.ini"), "--output", "json",
            "--cache-dir", str(folder / "cache"), *map(str, CASES),
        ],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode not in (0, 1):
        return [done.stdout + done.stderr]
    wrong = [] if said.stdout.startswith(f"mypy {version}") else [f"this was {said.stdout}"]
    found, expected = set(reported(done.stdout)), {mark for file in CASES for mark in marks(file)}
    wrong += [f"not reported: {place}" for place in sorted(expected - found)]
    return wrong + [f"reported, and not marked: {place}" for place in sorted(found - expected)]


if __name__ == "__main__":
    failed = False
    for asked in sys.argv[1:] or (oldest(), "2.0.0"):
        problems = check(asked)
        failed = failed or bool(problems)
        print(f"mypy {asked}: {'as expected' if not problems else ''}", *problems, sep="\n  ")  # noqa: T201
    sys.exit(failed)
