"""Runs the plugin's cases under the oldest mypy that it supports, and under any others: `make oldest-mypy`.

Each version is installed into a folder of its own, which is thrown away.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from running import CASES, HERE, ROOT, marks, reported

OLDEST = ("1.20.0", "2.0.0")
"""The first in which a plugin's codes can be switched in mypy's settings, and the first that typedcb itself takes."""


def check(version: str) -> list[str]:
    """What a version of mypy reports and should not, and what it does not report."""
    with tempfile.TemporaryDirectory() as folder:
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", folder]
        subprocess.run([*install, f"mypy=={version}"], check=True)
        done = subprocess.run(
            [
                sys.executable, "-m", "mypy", "--config-file", str(HERE / "mypy.ini"), "--output", "json",
                "--cache-dir", str(Path(folder) / "cache"), *map(str, CASES),
            ],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": folder}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode not in (0, 1):
        return [done.stdout + done.stderr]
    found, expected = set(reported(done.stdout)), {mark for file in CASES for mark in marks(file)}
    return [f"not reported: {place}" for place in sorted(expected - found)] + [
        f"reported, and not marked: {place}" for place in sorted(found - expected)
    ]


if __name__ == "__main__":
    failed = False
    for asked in sys.argv[1:] or OLDEST:
        wrong = check(asked)
        failed = failed or bool(wrong)
        print(f"mypy {asked}: {'as expected' if not wrong else ''}", *wrong, sep="\n  ")  # noqa: T201
    sys.exit(failed)
