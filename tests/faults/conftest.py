"""A disk that is really full, for tests that may have one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SIZE = 256 * 1024
"""How much the disk holds, in bytes."""


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Makes a small file system in memory, and fills it up to so many bytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, timeout=10, check=False).returncode:
        pytest.skip("only root may make a file system, and not in every container")

    def fill(left: int = 16 * 1024) -> Path:
        (folder / "filler").write_bytes(bytes(SIZE - left))
        return folder

    try:
        yield fill
    finally:
        subprocess.run(["umount", "-l", str(folder)], capture_output=True, timeout=10, check=True)
