"""Starts a program in several processes on this machine, each told which it is as torchrun would."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent


class Ended(NamedTuple):
    """How a process ended."""

    code: int
    out: str


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def environment(rank: int, n: int, port: int, address: str = "127.0.0.1") -> dict[str, str]:
    """What torchrun tells a process."""
    ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(n)}
    place = {"MASTER_ADDR": address, "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    return {**os.environ, **ranks, **place}


def launch(n: int, program: str, *args: object, seconds: float = 100, script: str = "programs.py") -> list[Ended]:
    """Runs a program of a script in n processes, all of which have to end within some seconds."""
    port = free_port()
    command = [sys.executable, str(HERE / script), program, *map(str, args)]
    processes = [
        subprocess.Popen(
            command, env=environment(rank, n, port), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for rank in range(n)
    ]
    end = time.monotonic() + seconds
    try:
        return [_ended(process, end) for process in processes]
    finally:
        for process in processes:
            process.kill()


def _ended(process: subprocess.Popen[str], end: float) -> Ended:
    out, _ = process.communicate(timeout=max(0.1, end - time.monotonic()))
    return Ended(process.returncode, out)


def said(ended: list[Ended]) -> list[dict[str, Any]]:
    """What the ranks of a program have printed as JSON in their last lines; all of them ended well."""
    for rank, one in enumerate(ended):
        assert one.code == 0, f"rank {rank}: {one.out}"
    return [json.loads(one.out.strip().splitlines()[-1]) for one in ended]
