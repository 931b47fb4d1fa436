"""How checkpoints are named in their folder, and what has a name there while somebody is at work on it."""

from __future__ import annotations

import os
import platform
import re
import secrets
import shutil
from pathlib import Path
from typing import Final, Union

from typing_extensions import TypeAlias

STEP: Final = re.compile(r"step-(\d{8,18})(?:-(\d{1,9}))?")
_TEMPORARY: Final = re.compile(r"\.tmp-(?P<host>[\w.-]*)-(?P<pid>\d+)-(?P<token>[0-9a-f]{16})-.*")
TOKEN: Final = secrets.token_hex(8)  # a process of the same number may have died before this one, in a container say

AnyPath: TypeAlias = Union[str, "os.PathLike[str]"]


def steps(folder: Path) -> list[Path]:
    """The checkpoints in a folder, whatever state they are in, the oldest first."""
    found: list[tuple[int, int, Path]] = []
    if folder.is_dir():
        for path in folder.iterdir():
            if name := STEP.fullmatch(path.name):
                found.append((int(name[1]), int(name[2] or 0), path))
    return [path for _, _, path in sorted(found)]


def next_name(folder: Path, step: int) -> Path:
    """Where the next checkpoint after so many steps goes."""
    plain = f"step-{step:08d}"
    taken = [path.name for path in steps(folder) if path.name == plain or path.name.startswith(f"{plain}-")]
    if not taken:
        return folder / plain
    _, _, last = taken[-1].removeprefix("step-").partition("-")
    return folder / f"{plain}-{int(last or 0) + 1}"


def temporary_name(path: Path) -> Path:
    """A name beside a path that tells who is at work there."""
    return path.parent / f".tmp-{_host()}-{os.getpid()}-{TOKEN}-{path.name}"


def _host() -> str:
    return re.sub(r"[^\w.-]", "_", platform.node())


def remove_leftovers(folder: Path) -> None:
    """Removes what writers that are dead were at: directories, and files."""
    for path in list(folder.iterdir()):
        found = _TEMPORARY.fullmatch(path.name)
        if found and not path.is_symlink() and _is_dead(found["host"], int(found["pid"]), found["token"]):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _is_dead(host: str, pid: int, token: str) -> bool:
    if host != _host():
        return False  # on a file system that machines share nobody knows
    if pid == os.getpid():
        return token != TOKEN
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
