"""Runs mypy with the plugin, and reads the marks of the cases."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CASES = tuple(sorted((HERE / "cases").glob("*.py")))

Found = tuple[str, int, str]
"""A file's name, a line and a code."""


def marks(file: Path) -> set[Found]:
    """The mistakes that a file says that it has: lines that end in the names of codes."""
    return {
        (file.name, number, code)
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if (found := re.search(r"# (typedcb-[\w-]+(?: typedcb-[\w-]+)*)$", line))
        for code in found[1].split()
    }


def mypy(*arguments: str, cache: str, config: Path = HERE / "mypy.ini", python: str = sys.executable) -> str:
    """What mypy writes about files, one JSON object a line.

    Args:
        arguments: Files, and whatever else mypy takes.
        cache: The name of the cache; each configuration has one of its own.
        config: The configuration.
        python: The Python that runs mypy.
    """
    _forget_if_older(ROOT / ".mypy_cache" / cache)
    done = subprocess.run(
        [
            python, "-m", "mypy", "--config-file", str(config), "--output", "json",
            "--cache-dir", str(ROOT / ".mypy_cache" / cache), "--python-executable", sys.executable, *arguments,
        ],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def _forget_if_older(cache: Path) -> None:
    """Removes what mypy has kept of files if a rule is newer: mypy asks for the version, and not for the rules."""
    stamp = cache / "rules"
    newest = max(file.stat().st_mtime_ns for file in (ROOT / "typedcb").rglob("*.py"))
    if not stamp.exists() or int(stamp.read_text()) < newest:
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir(parents=True)
        stamp.write_text(str(newest))


def reported(output: str) -> dict[Found, str]:
    """The plugin's own messages, by where they are and their code."""
    lines = [json.loads(line) for line in output.splitlines() if line]
    return {
        (Path(line["file"]).name, line["line"], line["code"]): line["message"]
        for line in lines
        if (line["code"] or "").startswith("typedcb")
    }
