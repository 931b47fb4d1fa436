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


ENDINGS: dict[str, tuple[int, str, int]] = {
    "sigterm": (143, "PeerError: rank 2 was told to end by SIGTERM (SystemExit: 143) in Does.after_loss", 1),
    "sigterm all": (143, "", 143),
    "killed": (-9, "PeerError: rank 2 ended without a word", 1),
    "interrupt": (1, "PeerError: rank 2 was told to end by Ctrl-C (KeyboardInterrupt) in Does.after_loss", 1),
    "interrupt all": (1, "KeyboardInterrupt", 1),
    "exit": (3, "PeerError: rank 2 ended itself (SystemExit: 3) in Does.after_loss", 1),
    "os exit": (4, "PeerError: rank 2 ended without a word", 1),
    "both": (1, "ValueError: one", 1),
    "begin_fit": (1, "PeerError: rank 2 failed in Does.begin_fit: ValueError: bad luck", 1),
    "after_fit": (1, "PeerError: rank 2 failed in Does.after_fit: ValueError: bad luck", 1),
    "begin_fit exit": (3, "PeerError: rank 2 ended itself (SystemExit: 3) in Does.begin_fit", 1),
    "after_fit exit": (3, "PeerError: rank 2 ended itself (SystemExit: 3) in Does.after_fit", 1),
    "begin_fit killed": (-9, "PeerError: rank 2 ended without a word", 1),
    "first exit": (3, "PeerError: rank 0 ended itself (SystemExit: 3) in Does.after_loss", 1),
    "first error": (1, "PeerError: rank 0 failed in Does.after_loss, epoch 0, batch 3, train: ValueError: bad luck", 1),
    "worker": (1, "PeerError: rank 2 failed in loading batches, epoch 0, train, after batch 1: ValueError: Caught", 1),
    "stream": (1, "rank 0 has been handed 6 batches, the last of train_dl; rank 2 has been handed 5 batches", 1),
    "valid stream": (1, "rank 1 has been handed 12 batches; rank 2 has been handed 11 batches", 1),
    "own loop": (1, "rank 0: 6 batches; rank 1: 6 batches; rank 2: 5 batches", 1),
    "late": (1, "PeerError: rank 2 is there, and does not come to where the others wait for it: it has been handed", 1),
}
"""By what goes wrong on the last rank, or the first: the code that it ends with, what the others say, and theirs."""


def endings() -> None:
    print("a rank ends in some way; all end, and say which rank it was, and no other")  # noqa: T201  # the report
    for name, (code, words, others) in ENDINGS.items():
        begun = time.monotonic()
        ended = launch(3, name, seconds=BOUND, script="failing_programs.py")
        failing = ended.pop(0 if name.startswith("first") else 2)
        assert failing.code == code, f"{name}: {failing}"
        for one in ended:
            assert one.code == others, f"{name}: {one}"
            assert ("without a word" in one.out) == ("without a word" in words), f"{name}: {one}"
            assert "rank 0, 1" not in one.out, f"{name}: {one}"
        expect(words, ended[0].out, begun)


def ended_by_torchrun() -> None:
    """SIGTERM to torchrun, which hands it on to all processes: nobody is said to have failed."""
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "3", "--master-port", str(free_port())]
    begun = time.monotonic()
    command = [*run, str(HERE / "failing_programs.py"), "long"]
    agent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert agent.stdout is not None
        while "begun" not in agent.stdout.readline():
            assert time.monotonic() - begun < BOUND
        time.sleep(3)
        told = time.monotonic()
        agent.terminate()
        out = agent.communicate(timeout=BOUND)[0]
    finally:
        agent.kill()
    assert agent.returncode != 0
    assert time.monotonic() - told < 30, out
    assert "without a word" not in out and "lost each other" not in out, out
    expect("SIGTERM", out, begun)


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
    endings()
    ended_by_torchrun()
    launchers()
    objectives()
    example()
    with_deepspeed()
    machines()
