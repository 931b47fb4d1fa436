"""What takes too long for the tests: every way for a rank to fail under every launcher, and two machines.

python tests/engines/stressing.py

Two network namespaces with a cable between them stand for the machines; that needs root and iproute2, and is left out
with a word where they are missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepspeed_stress import with_deepspeed
from launching import HERE, Ended, environment, free_port, launch, said

BOUND = 150
"""How many seconds any of these may take, from the start of the first process, on a busy machine: most of them pass
until all processes have imported torch. An engine itself gives the others up after some 15."""

SPAWN = """
import os, sys
sys.path.insert(0, {here!r})
import torch.multiprocessing as mp

def main(rank, port):
    import programs
    os.environ.update(RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    programs.failing({how!r})

if __name__ == "__main__":
    mp.spawn(main, args=({port},), nprocs=2)
"""


def expect(words: str, out: str, begun: float) -> None:
    took = time.monotonic() - begun
    assert words in out, f"{words!r} is not in:\n{out}"
    assert took < BOUND, f"it took {took:.0f} s"
    print(f"  {took:5.1f} s  {words}")  # noqa: T201  # the report


def ways_to_fail() -> None:
    print("a rank fails; all end, and say whose failure it was")  # noqa: T201  # the report
    for how, words in (
        ("raises", "PeerError: rank 1 failed in Trouble.after_loss, epoch 0, batch 3, train: ValueError: bad luck"),
        ("words", "PeerError: rank 1 failed in Trouble.after_loss, epoch 0, batch 3, train: RuntimeError: [/gloo/pair"),
        ("undeclared", "rank 1 failed in Trouble.after_loss, epoch 0, batch 3, train: HookError"),
        ("killed", "PeerError: rank 1 ended without a word"),
        ("differs", "EngineError: the ranks differ in the callbacks"),
    ):
        begun = time.monotonic()
        expect(words, launch(2, "failing", how, seconds=BOUND)[0].out, begun)
    begun = time.monotonic()
    for rank, one in enumerate(launch(4, "failing", "killed", seconds=BOUND)):
        if rank != 1:
            expect("PeerError: rank 1 ended without a word", one.out, begun)
    begun = time.monotonic()
    expect("PeerError: rank 1 ended without a word", stuck(), begun)


def stuck() -> str:
    """A rank that is stopped, and answers no more."""
    port = free_port()
    command = [sys.executable, str(HERE / "programs.py"), "failing", "stuck", "10"]
    first, second = (
        subprocess.Popen(
            command, env=environment(rank, 2, port), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for rank in range(2)
    )
    try:
        return first.communicate(timeout=BOUND)[0]
    finally:
        first.kill()
        second.kill()


def launchers() -> None:
    print("under torchrun and torch.multiprocessing.spawn")  # noqa: T201  # the report
    for how, words in (("raises", "ValueError: bad luck"), ("killed", "SIGKILL")):
        run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port"]
        begun = time.monotonic()
        done = subprocess.run(
            [*run, str(free_port()), str(HERE / "programs.py"), "failing", how],
            capture_output=True,
            text=True,
            timeout=BOUND,
            check=False,
        )
        expect(words, done.stdout + done.stderr, begun)
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder) / "spawning.py"
            script.write_text(SPAWN.format(here=str(HERE), how=how, port=free_port()))
            begun = time.monotonic()
            done = subprocess.run(
                [sys.executable, str(script)], capture_output=True, text=True, timeout=BOUND, check=False
            )
            expect(words, done.stdout + done.stderr, begun)


def objectives() -> None:
    """Turns over four processes, and a rank that fails in one."""
    alone = said(launch(1, "turns", "ddp", seconds=BOUND))[0]
    for kind in ("ddp", "fsdp", "accelerate"):
        for n in (2, 4):
            begun = time.monotonic()
            for rank in said(launch(n, "turns", kind, seconds=BOUND)):
                assert rank["steps"] == alone["steps"]
                for name in ("weights", "means"):
                    assert all(abs(a - b) < 1e-5 for a, b in zip(rank[name], alone[name], strict=True)), (kind, n, name)
            print(f"  {time.monotonic() - begun:5.1f} s  objectives by {kind}, {n} processes: the figures of one")  # noqa: T201  # the report
        for how, words in (
            ("raises", "PeerError: rank 1 failed in Trouble.after_loss"),
            ("killed", "PeerError: rank 1 ended without a word"),
        ):
            begun = time.monotonic()
            for rank, ended in enumerate(launch(4, "turns", kind, how, seconds=BOUND)):
                if rank != 1:
                    expect(words, ended.out, begun)


def example() -> None:
    """The example of the documents, as torchrun starts it."""
    begun = time.monotonic()
    script = HERE.parents[1] / "examples" / "ddp.py"
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
    done = subprocess.run([*run, str(script)], capture_output=True, text=True, timeout=BOUND, check=False)
    expect("of the held-out digits are right", done.stdout, begun)
    assert done.returncode == 0, done.stderr


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def two_machines() -> Iterator[tuple[str, str]]:
    """Two network namespaces with a cable between them, with addresses that are seen nowhere else."""
    names = tuple(f"typedcb-{os.getpid()}-{number}" for number in (1, 2))
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", "left", "netns", names[0], "type", "veth", "peer", "name", "right", "netns", names[1])
        for number, (name, end) in enumerate(zip(names, ("left", "right"), strict=True), 1):
            ip("-n", name, "addr", "add", f"10.213.7.{number}/24", "dev", end)
            ip("-n", name, "link", "set", end, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names[0], names[1]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def on_machines(names: tuple[str, str], program: str, *words: str) -> list[subprocess.Popen[str]]:
    ends = ("left", "right")
    started: list[subprocess.Popen[str]] = []
    for rank, (name, end) in enumerate(zip(names, ends, strict=True)):
        env = environment(rank, 2, 29500, "10.213.7.1") | {"LOCAL_RANK": "0", "GLOO_SOCKET_IFNAME": end}
        command = ["ip", "netns", "exec", name, sys.executable, str(HERE / "programs.py"), program, *words]
        started.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    return started


def machines() -> None:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        print("two machines: left out, since that needs root and iproute2")  # noqa: T201  # the report
        return
    print("between two machines")  # noqa: T201  # the report
    with tempfile.TemporaryDirectory() as folder, two_machines() as names:
        alone = said(launch(1, "machines", folder))[0]
        begun = time.monotonic()
        both = [
            Ended(process.wait(BOUND), process.communicate()[0]) for process in on_machines(names, "machines", folder)
        ]
        for rank in said(both):
            for name in ("row", "smooth", "validate", "weights"):
                old, new = (found[name] if isinstance(found[name], list) else [found[name]] for found in (alone, rank))
                assert all(abs(a - b) < 1e-4 for a, b in zip(old, new, strict=True)), (name, old, new)
        print(f"  {time.monotonic() - begun:5.1f} s  the figures of one process")  # noqa: T201  # the report
        for how, words in (
            ("raises", "PeerError: rank 1 failed"),
            ("killed", "PeerError: rank 1 ended without a word"),
        ):
            begun = time.monotonic()
            first, second = on_machines(names, "failing", how)
            expect(words, first.communicate(timeout=BOUND)[0], begun)
            second.wait(BOUND)
        begun = time.monotonic()
        first, second = on_machines(names, "failing", "stuck", "10")
        time.sleep(25)
        ip("-n", names[1], "link", "set", "right", "down")  # somebody pulls the cable
        expect("PeerError: rank 1 ended without a word", first.communicate(timeout=BOUND)[0], begun)
        second.kill()


if __name__ == "__main__":
    ways_to_fail()
    launchers()
    objectives()
    example()
    with_deepspeed()
    machines()
