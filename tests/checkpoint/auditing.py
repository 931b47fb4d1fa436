"""Reads checkpoints while the interpreter tells of all code that it runs: `python auditing.py sound hostile ...`."""

# ruff: noqa: T201  # it is run as a program, and says what it has seen

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from runs import run

from typedcb.errors import CheckpointError

RUNS = {
    *(
        "exec",
        "compile",
        "pickle.find_class",
        "marshal.loads",
        "marshal.load",
        "code.__new__",
        "ctypes.dlopen",
        "import",
    ),
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "socket.connect"),
}
"""What the interpreter tells of when code is made, fetched or run."""

told: list[str] = []
listening = False


def listen(event: str, arguments: object) -> None:
    if listening and event in RUNS:
        told.append(event)


def heard(act: Callable[[], object]) -> list[str]:
    """What the interpreter tells of while something is done."""
    global listening  # noqa: PLW0603  # a hook of the interpreter cannot be taken away again
    told.clear()
    listening = True
    try:
        act()
    finally:
        listening = False
    return list(told)


def take_up(path: Path) -> None:
    run().fit(1, resume=path)


class Harmless:
    """What a pickle makes by a call."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return (int, ("1",))


def main(sound: Path, hostile: list[Path]) -> None:
    """Reads all of them, and says what was heard."""
    sys.addaudithook(listen)
    dumped = pickle.dumps(Harmless())
    noticed = sorted({*heard(lambda: pickle.loads(dumped)), *heard(lambda: eval("1 + 1"))})
    take_up(sound)  # what cattrs makes of the declared classes is made now, and so is whatever is imported late
    run().load(sound)
    ran = heard(lambda: (take_up(sound), run().load(sound)))
    refused = 0
    for path in hostile:
        for read in (take_up, lambda path: run().load(path)):
            try:
                ran += heard(lambda read=read, path=path: read(path))
            except CheckpointError:
                ran += told
                refused += 1
            else:
                print(f"{path} was read", file=sys.stderr)
    print(json.dumps({"noticed": noticed, "refused": refused // 2, "ran": ran}))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
