"""The processes of a fit: how they find each other, and what they tell each other.

Numbers go through a process group of gloo, which needs no accelerator and waits for none; words go through the store by
which the processes have found each other. Nothing that comes from another process is ever unpickled here.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# torch.distributed is half without types

from __future__ import annotations

import atexit
import itertools
import math
import os
import time
from contextlib import suppress
from datetime import timedelta
from typing import Callable, Final, Iterator, Optional, Sequence

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store, _get_default_store

from ..errors import EngineError
from .connections import CONNECTIONS

_MEETING: Final = ("MASTER_ADDR", "MASTER_PORT")
_ENVIRONMENT: Final = ("RANK", "WORLD_SIZE", *_MEETING)
"""What torchrun tells a process; whoever starts processes by other means sets the same."""


_CHUNK: Final = 32
"""Numbers go in as many at a time: gloo ends the process where a rank sends more than another one expects."""

_NUMBERS: Final = itertools.count()
"""Engines are made in the same order on all ranks, and each has words of its own in the store."""


class Processes:
    """This process among the others.

    Args:
        timeout: How many seconds to wait for the others before giving them up.
        place: The number of this process and how many there are, where something else than the environment says so.

    Raises:
        EngineError: Nobody says which process this is.
    """

    rank: int
    """The number of this process, from 0."""

    world_size: int
    """How many processes there are."""

    timeout: float
    """How many seconds to wait for the others before giving them up."""

    store: Store
    """Where the processes leave words for each other."""

    def __init__(self, timeout: float, place: Optional[tuple[int, int]] = None) -> None:
        self.timeout = timeout
        self._round = 0
        self._own_group = not dist.is_initialized()
        if self._own_group:
            with CONNECTIONS.made():
                _join(timedelta(seconds=timeout), place)
        self.rank, self.world_size = dist.get_rank(), dist.get_world_size()
        # torch has no public way to the store of a process group that somebody else has made
        self.store = PrefixStore(f"typedcb/{next(_NUMBERS)}", _get_default_store())
        self._group = None if self._own_group and _has_gloo() else _numbers_group(timedelta(seconds=timeout))
        atexit.register(self.close)

    @property
    def over(self) -> bool:
        """Whether the processes have parted."""
        return not dist.is_initialized()

    def gather(self, values: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        """The numbers of every rank, by rank; a rank that has gone another way may give more or fewer of them."""
        padding = -(len(values) + 1) % _CHUNK
        own = torch.tensor((len(values), *values, *(0,) * padding), dtype=torch.int64)
        everybody: list[list[int]] = [one.tolist() for one in self._gathered(own)]
        return tuple(tuple(one[1 : one[0] + 1]) for one in everybody)

    def total(self, values: Sequence[float]) -> tuple[float, ...]:
        """The sums of figures over all ranks: each rank adds them in the same order, and gets the same to the bit."""
        own = torch.tensor(values, dtype=torch.float64)
        columns: list[list[float]] = torch.stack(self._gathered(own), dim=1).tolist()
        return tuple(math.fsum(column) if all(map(math.isfinite, column)) else sum(column) for column in columns)

    def _gathered(self, own: Tensor) -> list[Tensor]:
        self._check_together()
        everybody = [torch.empty_like(own) for _ in range(self.world_size)]
        dist.all_gather(everybody, own, group=self._group)
        return everybody

    def broadcast(self, tensor: Tensor) -> None:
        """Gives all ranks, in place, what a tensor on the CPU holds on the first. Collective."""
        self._check_together()
        dist.broadcast(tensor, 0, group=self._group)

    def exchange(self, text: str, is_over: Callable[[], bool]) -> tuple[str, ...]:
        """The text of every rank, by rank.

        Args:
            text: This rank's.
            is_over: Asked while waiting: whether one of them has failed, so that there is nothing to wait for.

        Raises:
            EngineError: Some have not answered in time.
        """
        self._check_together()
        self._round += 1
        self.store.set(f"said/{self._round}/{self.rank}", text)
        said = [f"said/{self._round}/{rank}" for rank in range(self.world_size)]
        for _ in polls(self.timeout):
            if self.store.check(said):
                break
            if is_over():
                raise LostError("another rank has failed")
        else:
            silent = [rank for rank in range(self.world_size) if not self.store.check([said[rank]])]
            raise LostError(f"rank {', '.join(map(str, silent))} has not answered in {self.timeout:g} seconds")
        texts = tuple(self.store.get(key).decode() for key in said)
        with suppress(RuntimeError, ValueError):  # nobody reads the last round any more; some stores delete nothing
            self.store.delete_key(f"said/{self._round - 1}/{self.rank}")
        return texts

    def disconnect(self) -> None:
        """Breaks the connections, so that whoever waits in a collective, here or there, is woken up."""
        if self.world_size > 1:
            CONNECTIONS.shut_down()

    def abandon(self) -> None:
        """Parts from the others out of order: whoever waits for this rank in a collective is woken up."""
        atexit.unregister(self.close)
        self.disconnect()
        if dist.is_initialized():
            with suppress(RuntimeError):
                # the public destroy_process_group waits for the others where there are GPUs
                dist.distributed_c10d._abort_process_group()

    def close(self) -> None:
        """Parts from the others in order, once all have come here; not where somebody else has made the group."""
        atexit.unregister(self.close)
        if self._own_group and dist.is_initialized():
            dist.destroy_process_group()

    def _check_together(self) -> None:
        if self.over:
            raise EngineError(
                "the processes have parted, after an error or by close(): a new fit over several processes is a new "
                "start of all of them."
            )


class LostError(EngineError):
    """The others cannot be reached; `Failures` finds out why."""


def polls(seconds: float) -> Iterator[None]:
    """Waits in ever longer steps, up to some seconds: one item before each wait."""
    end, step = time.monotonic() + seconds, 0.0005
    while time.monotonic() < end:
        yield
        time.sleep(min(step, max(0.0, end - time.monotonic())))
        step = min(step * 1.5, 0.05)


def _join(timeout: timedelta, place: Optional[tuple[int, int]]) -> None:
    """Makes torch's process group."""
    if place == (0, 1):  # nobody to find
        # torch documents the store, and does not list it among what it exports
        at = ("127.0.0.1", 0)
        store = dist.TCPStore(*at, is_master=True)  # type: ignore[attr-defined]  # pyright: ignore[reportPrivateImportUsage]
        dist.init_process_group("gloo", store=store, rank=0, world_size=1, timeout=timeout)
        return
    needed = _ENVIRONMENT if place is None else _MEETING
    missing = [name for name in needed if name not in os.environ]
    if missing:
        raise EngineError(
            f"nobody says which of several processes this is: {', '.join(missing)} is not set. Start the program by "
            f"torchrun, such as: torchrun --nproc-per-node 2 train.py; or call torch.distributed.init_process_group "
            f"before. For one process leave the engine out."
        )
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    rank, world_size = (-1, -1) if place is None else place
    dist.init_process_group(backend, timeout=timeout, rank=rank, world_size=world_size)


def _has_gloo() -> bool:
    return "gloo" in str(dist.get_backend_config())


def _numbers_group(timeout: timedelta) -> Optional[dist.ProcessGroup]:
    """A group for tensors on the CPU, whose connections are known."""
    with CONNECTIONS.made():
        made: object = dist.new_group(backend="gloo", timeout=timeout)
    return made if isinstance(made, dist.ProcessGroup) else None
