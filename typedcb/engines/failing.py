"""How the failure of one rank ends all of them, and how each learns whose failure it was.

The rank that fails first leaves word in the store, and breaks its connections: whoever waits for it in a collective is
woken by an error, reads the word, and does the same. A rank that ends without a word (killed, or its machine is gone)
is found by a roll call, which a thread of each rank answers, also while the rank waits in a collective: who does not is
named.
"""

from __future__ import annotations

import atexit
import os
import threading
from contextlib import suppress
from typing import Final, Optional

import msgspec
import torch.distributed as dist

from ..errors import PeerError
from .lost import is_lost
from .processes import LostError, Processes, polls

_FAILED: Final = "failed"
_CALLED: Final = "called"
_GRACE: Final = 6.0
"""How many seconds a rank waits for the others to hear of a failure, or to answer the roll call."""

_LOOKS: Final = 0.5
"""Every how many seconds a rank looks whether the roll is called."""


class _Failure(msgspec.Struct, frozen=True):
    """What is left for the others: by the first rank that failed, or by the first that has found out who is gone."""

    ranks: tuple[int, ...]
    words: str


class Failures:
    """What goes wrong on this rank and on the others.

    Args:
        processes: The processes.
    """

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._told: Optional[BaseException] = None
        self._failure: Optional[_Failure] = None
        self._ended = threading.Event()
        self._watching = threading.Thread(target=self._watch, name="typedcb-ranks", daemon=True)
        if processes.world_size > 1:
            self._watching.start()
            atexit.register(self.close)

    def any(self) -> bool:
        """Whether a rank has failed."""
        return bool(self._processes.store.check([_FAILED]))

    def close(self) -> None:
        """Answers no more."""
        atexit.unregister(self.close)
        self._ended.set()
        if self._watching.is_alive():
            self._watching.join(2 * _LOOKS)

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
            failure = self._failure or _Failure(
                (0,), f"rank 0, which holds the store of the processes, is gone ({gone})"
            )
            self._told = self._peer_error(failure, error) if is_lost(error) else error
        finally:
            self._processes.abandon()
        return self._told

    def _watch(self) -> None:
        """Answers the roll call, and keeps what it comes to: the store may be gone when this rank is woken."""
        store, rank = self._processes.store, self._processes.rank
        with suppress(RuntimeError):  # the store is gone
            while not self._ended.wait(_LOOKS):
                if store.check([_CALLED]):
                    store.set(f"alive/{rank}", "")
                if self._failure is None and self.any():
                    self._failure = msgspec.json.decode(store.get(_FAILED), type=_Failure)

    def _found(self, error: BaseException) -> BaseException:
        lost = is_lost(error)
        if not lost and not isinstance(error, SystemExit):  # SIGTERM, from whoever ends all processes
            place = f" {where}" if (where := _place(error)) else ""
            rank = self._processes.rank
            self._leave(_Failure((rank,), f"rank {rank} failed{place}: {type(error).__name__}: {error}"))
        self._processes.store.set(f"here/{self._processes.rank}", "")
        self._processes.abandon()
        self._wait_for_others(lost=lost)
        if not lost:
            return error
        if not self.any():
            self._leave(self._roll())
        found = msgspec.json.decode(self._processes.store.get(_FAILED), type=_Failure)
        self._ended.wait(2 * _LOOKS)  # the others hear of it before this process, which may hold the store, is gone
        return self._peer_error(found, error)

    def _leave(self, failure: _Failure) -> None:
        """Leaves word for the others, unless somebody has before."""
        self._processes.store.compare_set(_FAILED, "", msgspec.json.encode(failure).decode())

    def _wait_for_others(self, *, lost: bool) -> None:
        """Waits until all others have heard of a failure, or until one of them says what it was."""
        store = self._processes.store
        here = self._names("here")
        if lost:
            store.set(_CALLED, "")
        for _ in polls(_GRACE):
            if store.check(here) or (lost and (self.any() or store.check(self._names("alive")))):
                return

    def _roll(self) -> _Failure:
        """Who is missing, in words."""
        missing = self._missing("alive")
        if missing:
            gone = "ended without a word: killed, out of memory, or its machine is gone or stuck"
            return _Failure(missing, f"rank {_listed(missing)} {gone}")
        late = self._missing("here")
        if late:
            return _Failure(late, f"rank {_listed(late)} is there, and does not come to where the others wait for it")
        return _Failure((), "the ranks have lost each other, and all of them are there")

    def _missing(self, kind: str) -> tuple[int, ...]:
        names = self._names(kind)
        return tuple(rank for rank, name in enumerate(names) if not self._processes.store.check([name]))

    def _names(self, kind: str) -> list[str]:
        return [f"{kind}/{rank}" for rank in range(self._processes.world_size)]

    def _peer_error(self, failure: _Failure, error: BaseException) -> PeerError:
        me = self._processes
        this = f"This is rank {me.rank} of {me.world_size} (process {os.getpid()}), which ends too."
        made = PeerError(f"{failure.words}. {this}", failure.ranks)
        made.__cause__ = error
        return made


def _listed(ranks: tuple[int, ...]) -> str:
    return ", ".join(map(str, ranks))


def _place(error: BaseException) -> str:
    """Where an error happened, as `errors.place` has noted it."""
    notes: list[str] = getattr(error, "__notes__", [])
    return next((note.removeprefix("typedcb: ") for note in notes if note.startswith("typedcb: ")), "")
