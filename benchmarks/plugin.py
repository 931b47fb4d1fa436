"""What the mypy plugin adds to a run of mypy over the package: `python -m benchmarks.plugin`.

Runs with and without the plugin take turns, each with a cache of its own. A warm run finds nothing changed; in the
other kind one file of the package has changed, as before a commit. Processor time is measured beside the time on the
clock, since it is the same on a busy machine.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Final

from .task import ROOT, table

ROUNDS: Final = 9
CHANGED: Final = "typedcb/callbacks/stopping.py"


def settings(folder: Path, *, plugin: bool) -> Path:
    """The project's own settings for mypy, with the plugin or without."""
    text = (ROOT / "mypy.ini").read_text().replace("mypy_path = stubs", f"mypy_path = {ROOT / 'stubs'}")
    file = folder / f"{'with' if plugin else 'without'}.ini"
    file.write_text(text.replace("[mypy]\n", "[mypy]\nplugins = typedcb.mypy\n", 1) if plugin else text)
    return file


def run(project: Path, config: Path) -> tuple[float, float]:
    """Seconds on the clock, and of processor time, of one run."""
    before, start = os.times(), perf_counter()
    command = [sys.executable, "-m", "mypy", "--config-file", str(config), "--cache-dir", str(config.with_suffix(""))]
    done = subprocess.run(
        [*command, "--python-executable", sys.executable, "typedcb"],
        cwd=project, env={**os.environ, "PYTHONPATH": str(project)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    seconds, after = perf_counter() - start, os.times()
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stdout + done.stderr)
    used = after.children_user - before.children_user + after.children_system - before.children_system
    return seconds, used


def rows(project: Path, configs: tuple[Path, Path], name: str, *, change: bool) -> list[str]:
    """The medians of one kind of run, and of what the plugin adds to it."""
    clock: dict[Path, list[float]] = {config: [] for config in configs}
    used: dict[Path, list[float]] = {config: [] for config in configs}
    file = project / CHANGED
    text = file.read_text()
    for number in range(ROUNDS):
        if change:
            file.write_text(f"{text}\n_CHANGED = {number}\n")
        for config in configs if number % 2 else configs[::-1]:
            seconds, processor = run(project, config)
            clock[config].append(seconds)
            used[config].append(processor)
    file.write_text(text)
    cells = [name]
    for measured in (clock, used):
        without, with_plugin = (measured[config] for config in configs)
        added = [new / old - 1 for old, new in zip(without, with_plugin, strict=True)]
        cells += [f"{statistics.median(without):.2f}", f"{statistics.median(with_plugin):.2f}"]
        cells.append(f"{statistics.median(added):+.1%} ({min(added):+.1%} to {max(added):+.1%})")
    return cells


def main() -> None:
    """Prints the table."""
    with tempfile.TemporaryDirectory() as name:
        project = Path(name)
        shutil.copytree(ROOT / "typedcb", project / "typedcb", ignore=shutil.ignore_patterns("__pycache__"))
        configs = settings(project, plugin=False), settings(project, plugin=True)
        for config in configs:
            run(project, config)
        head = ["mypy typedcb", "without, s", "with, s", "added", "without, s of CPU", "with, s of CPU", "added"]
        kinds = (("nothing changed", False), (f"{Path(CHANGED).name} changed", True))
        print(table(head, [rows(project, configs, kind, change=change) for kind, change in kinds]))


if __name__ == "__main__":
    main()
