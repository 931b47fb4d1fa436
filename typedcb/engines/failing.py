"""How the failure of one rank ends all of them, and how each learns whose failure it was.

The rank that fails first leaves word in the store, and breaks its connections: whoever waits for it in a collective is
woken by an error, reads the word, and does the same. A rank that ends without a word (killed, or its machine is gone)
is found by a roll call: those that are still there leave their names, and who is missing is named.
"""

from __future__ import annotations

import os
from typing import Final, Optional

import msgspec
import torch.distributed as dist

from ..errors import PeerError
from .processes import LostError, Processes, polls

_FAILED: Final = "failed"
_GRACE: Final = 5.0
"""How many seconds a rank waits for the others to hear of a failure, or to answer the roll call."""

_LOST: Final = (
    "gloo",
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "Socket Timeout",
    "Timed out waiting",
)
"""What stands in the errors of collectives that another rank takes no part in; gloo's have no class of their own."""


class _Failure(msgspec.Struct, frozen=True):
    """What the first rank that failed has left."""

    rank: int
    kind: str
    message: str
    place: str


class Failures:
    """What goes wrong on this rank and on the others.

    Args:
        processes: The processes.
    """

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._told: Optional[BaseException] = None

    def any(self) -> bool:
        """Whether a rank has failed."""
        return bool(self._processes.store.check([_FAILED]))

    def failed(self, error: BaseException) -> BaseException:
        """Tells the other ranks of an error, and says what has gone wrong in truth.

        Args:
            error: What has gone wrong here.
        """
        if error is self._told or isinstance(error, PeerError) or self._processes.over:
            return error
        try:
            self._told = self._found(error)
        except (dist.DistError, ConnectionError, LostError) as gone:
            self._told = self._peer_error("rank 0, which holds the store of the processes, is gone", (0,), error)
            self._told.add_note(f"the store says: {gone}")
        finally:
            self._processes.abandon()
        return self._told

    def _found(self, error: BaseException) -> BaseException:
        store, rank = self._processes.store, self._processes.rank
        lost = _is_lost(error)
        if not lost and not isinstance(error, SystemExit):  # SIGTERM, from whoever ends all processes
            own = msgspec.json.encode(_Failure(rank, type(error).__name__, str(error), _place(error)))
            store.compare_set(_FAILED, "", own.decode())
        store.set(f"here/{rank}", "")
        self._processes.abandon()
        missing = self._roll_call(wait_for_all=not lost)
        if not lost:
            return error
        if self.any():
            failure = msgspec.json.decode(store.get(_FAILED), type=_Failure)
            return self._peer_error(_words(failure), (failure.rank,), error)
        if not missing:
            return self._peer_error("the ranks have lost each other, and all of them are there", (), error)
        names = ", ".join(map(str, missing))
        return self._peer_error(
            f"rank {names} ended without a word: killed, out of memory, or its machine is gone or stuck",
            tuple(missing),
            error,
        )

    def _roll_call(self, *, wait_for_all: bool) -> list[int]:
        """Who is missing, after a while.

        Args:
            wait_for_all: Whether all others have to come, as a rank does that holds what they will read; otherwise a
                failure that somebody has left ends the waiting.
        """
        store = self._processes.store
        names = [f"here/{rank}" for rank in range(self._processes.world_size)]
        for _ in polls(_GRACE):
            if store.check(names) or (not wait_for_all and self.any()):
                break
        return [rank for rank, name in enumerate(names) if not store.check([name])]

    def _peer_error(self, why: str, ranks: tuple[int, ...], error: BaseException) -> PeerError:
        me = self._processes
        made = PeerError(
            f"{why}. This is rank {me.rank} of {me.world_size} (process {os.getpid()}), which ends too.", ranks
        )
        made.__cause__ = error
        return made


def _words(failure: _Failure) -> str:
    place = f" {failure.place}" if failure.place else ""
    return f"rank {failure.rank} failed{place}: {failure.kind}: {failure.message}"


def _place(error: BaseException) -> str:
    """Where an error happened, as `errors.place` has noted it."""
    notes: list[str] = getattr(error, "__notes__", [])
    return next((note.removeprefix("typedcb: ") for note in notes if note.startswith("typedcb: ")), "")


def _is_lost(error: BaseException) -> bool:
    """Whether an error says no more than that another rank does not answer."""
    if isinstance(error, (dist.DistError, LostError)):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _LOST)
