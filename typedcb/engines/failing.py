"""How the failure of one rank ends all of them, and how each learns whose failure it was.

The rank that fails first leaves word in the store, and breaks its connections: whoever waits for it in a collective is
woken by an error, reads the word, and does the same. A rank that is told to end, by SIGTERM or Ctrl-C, or that ends by
sys.exit leaves a word that counts less: whoever ends all of them may do so since one of them has failed. A rank that
ends without a word (killed, or its machine is gone) is found by a roll call, which a thread of each rank answers, also
while the rank waits in a collective: who does not is named.

Ranks that wait for each other in different places for ever, one of them having fewer batches, are found by the same
thread (`Position`).
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
from contextlib import suppress
from typing import Final, Mapping, Optional, Union

import msgspec
import torch.distributed as dist

from ..errors import EngineError, PeerError
from .in_words import listed
from .lost import is_lost
from .processes import LostError, Processes, polls

_FAILED: Final = "failed"
_ENDED: Final = "ended"
_CALLED: Final = "called"
_STANDS: Final = "stands"
_GRACE: Final = 6.0
"""How many seconds a rank waits for the others to hear of a failure, or to answer the roll call."""

_LOOKS: Final = 0.5
"""Every how many seconds a rank looks whether the roll is called."""

_STILL: Final = 2.0
"""After how many seconds without a batch or a collective a rank asks where the others are."""

_HEARS: Final = 2.0
"""How many seconds a rank, which may hold the store, stays for the others to read what has been found."""

_BY_SIGTERM: Final = 128 + signal.SIGTERM
"""The code of the SystemExit that stands for SIGTERM (`ending`)."""


class _Failure(msgspec.Struct, frozen=True):
    """What is left for the others: by the first rank that failed, or by the first that has found out who is gone."""

    ranks: tuple[int, ...]
    """Whose failure it is; nobody's where the ranks differ from each other."""

    words: str


class Position(msgspec.Struct, frozen=True):
    """How far a rank has come, in batches and collectives, which come in the same order on all ranks.

    So of two ranks one is behind the other in both, or in neither: a rank that has had fewer batches and more
    collectives has gone another way.
    """

    batches: int = 0
    """How many batches it has been handed, of any loader."""

    collectives: int = 0
    """How many times it has waited for the others."""

    batches_before: int = 0
    """How many of the batches were those of earlier fits."""

    loader: str = ""
    """Of which loader the last batch was."""

    @property
    def words(self) -> str:
        """The position as a predicate: what a rank has done."""
        n = self.batches - self.batches_before
        of = f", the last of {self.loader}" if n and self.loader else ""
        return f"has been handed {n} batch{'es' if n != 1 else ''}{of}"

    def contradicts(self, other: Position) -> bool:
        """Whether no two ranks can have come so far which do the same.

        Args:
            other: How far another rank has come, at any other time.
        """
        more, further = self.batches - other.batches, self.collectives - other.collectives
        return more * further < 0


def different_batches(positions: Mapping[int, Position]) -> str:
    """That ranks have been handed different numbers of batches, in words.

    Args:
        positions: How far they have come, by rank.
    """
    each = "; ".join(f"rank {rank} {position.words}" for rank, position in positions.items())
    return f"the ranks do not have as many batches in this fit or validation: {each}. {_AS_MANY}"


_AS_MANY: Final = (
    "Every rank has to go through as many batches, and to leave its loops in the same way: a loader is to give all "
    "ranks the same batches, each of which the engine splits"
)


class Failures:
    """What goes wrong on this rank and on the others.

    Args:
        processes: The processes.
    """

    def __init__(self, processes: Processes) -> None:
        self.position: Position = Position()
        """How far this rank has come; replaced as a whole, since another thread reads it."""

        self._processes = processes
        self._told: Optional[BaseException] = None
        self._failure: Optional[_Failure] = None
        self._ended = threading.Event()
        self._watching = threading.Thread(target=self._watch, name="typedcb-ranks", daemon=True)
        if processes.world_size > 1:
            self._watching.start()
            atexit.register(self.close)

    def count_batch(self, loader: str) -> None:
        """Counts a batch of a fit or a validation, so that others can be told how far this rank has come.

        Args:
            loader: What its loader is called.
        """
        at = self.position
        self.position = Position(at.batches + 1, at.collectives, at.batches_before, loader)

    def count_collective(self) -> None:
        """Counts a time that this rank waits for the others."""
        at = self.position
        self.position = Position(at.batches, at.collectives + 1, at.batches_before, at.loader)

    def count_from_here(self) -> None:
        """A fit begins: its batches are counted from here on, in words."""
        at = self.position
        self.position = Position(at.batches, at.collectives, at.batches)

    def any(self) -> bool:
        """Whether a rank has failed, or has been ended."""
        return self._is_there(_FAILED) or self._is_there(_ENDED)

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
        if self._told is not None or self._processes.over or isinstance(error, PeerError):
            return error
        try:
            self._told = self._found(error)
        except (dist.DistError, ConnectionError, LostError) as gone:
            failure = self._failure or _Failure(
                (0,), f"rank 0, which holds the store of the processes, is gone ({gone})"
            )
            self._told = self._in_truth(failure, error) if self._is_lost(error) else error
        finally:
            self._processes.abandon()
        return self._told

    def _watch(self) -> None:
        """Answers the roll call, and keeps what it comes to: the store may be gone when this rank is woken."""
        store, rank = self._processes.store, self._processes.rank
        stood, since = self.position, time.monotonic()
        with suppress(RuntimeError):  # the store is gone
            while not self._ended.wait(_LOOKS):
                now = self.position
                if now is not stood:
                    stood, since = now, time.monotonic()
                if self._is_there(_CALLED):
                    store.set(f"alive/{rank}", now.words)
                self._compare_positions(now, still=time.monotonic() - since > _STILL)
                if self._is_there(_FAILED):
                    self._failure = self._read(_FAILED)
                elif self._is_there(_ENDED):
                    self._failure = self._read(_ENDED)

    def _compare_positions(self, now: Position, *, still: bool) -> None:
        """Finds out whether this rank and the first have gone different ways, once one of them comes no further."""
        store, rank = self._processes.store, self._processes.rank
        if still and not self._is_there(_STANDS):
            store.set(_STANDS, "")
        if not self._is_there(_STANDS) or self._failure is not None:
            return
        if rank == 0:
            store.set("position", msgspec.json.encode(now).decode())
            return
        if not still or not self._is_there("position"):
            return
        first = msgspec.json.decode(store.get("position"), type=Position)
        if now.contradicts(first):
            self._leave(_Failure((), different_batches({0: first, rank: now})))
            self._processes.disconnect()

    def _found(self, error: BaseException) -> BaseException:
        lost = self._is_lost(error)
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            self._leave(_ending(self._processes.rank, error), _ENDED)
        elif not lost:
            self._leave(_failure(self._processes.rank, error))
        self._processes.store.set(f"here/{self._processes.rank}", "")
        self._processes.abandon()
        self._wait_for_others(lost=lost)
        if lost and not self._is_there(_FAILED):
            self._leave(self._roll())
        found = self._read(_FAILED) if lost else None
        self._wait_until_heard()
        return error if found is None else self._in_truth(found, error)

    def _is_lost(self, error: BaseException) -> bool:
        """Whether an error says no more than that another rank does not answer; one that is told to end knows why."""
        return not isinstance(error, (SystemExit, KeyboardInterrupt)) and is_lost(error)

    def _leave(self, failure: _Failure, key: str = _FAILED) -> None:
        """Leaves word for the others, unless somebody has before."""
        self._processes.store.compare_set(key, "", msgspec.json.encode(failure).decode())

    def _read(self, key: str) -> _Failure:
        return msgspec.json.decode(self._processes.store.get(key), type=_Failure)

    def _is_there(self, *keys: str) -> bool:
        return bool(self._processes.store.check([*keys]))

    def _wait_for_others(self, *, lost: bool) -> None:
        """Waits until all others have heard of a failure, or until it is clear what it was."""
        if lost:
            self._processes.store.set(_CALLED, "")
        for _ in polls(_GRACE):
            if not self._missing("here") or (lost and (self._is_there(_FAILED) or not self._missing("here", "alive"))):
                return

    def _wait_until_heard(self) -> None:
        """Stays until the others have read what has been found: this process may hold the store."""
        self._processes.store.set(f"heard/{self._processes.rank}", "")
        there = [rank for rank in range(self._processes.world_size) if rank not in self._missing("here", "alive")]
        for _ in polls(_HEARS):
            if self._is_there(*(f"heard/{rank}" for rank in there)):
                return

    def _roll(self) -> _Failure:
        """Who is missing, in words."""
        missing = self._missing("here", "alive")
        if missing:
            gone = "ended without a word: killed, out of memory, or its machine is gone or stuck"
            return _Failure(missing, f"rank {listed(missing)} {gone}")
        if self._is_there(_ENDED):
            return self._read(_ENDED)
        late = self._missing("here")
        if late:
            where = "; ".join(f"it {self._processes.store.get(f'alive/{rank}').decode()}" for rank in late)
            here = f"rank {self._processes.rank}, which waits for it, {self.position.words}"
            return _Failure(
                late,
                f"rank {listed(late)} is there, and does not come to where the others wait for it: {where}; {here}",
            )
        return _Failure((), "the ranks have lost each other, and all of them are there")

    def _missing(self, *kinds: str) -> tuple[int, ...]:
        """The ranks that have given no sign of life of any of some kinds."""
        ranks = range(self._processes.world_size)
        return tuple(rank for rank in ranks if not any(self._is_there(f"{kind}/{rank}") for kind in kinds))

    def _in_truth(self, failure: _Failure, error: BaseException) -> EngineError:
        me = self._processes
        this = f"This is rank {me.rank} of {me.world_size} (process {os.getpid()}), which ends too."
        words = f"{failure.words}. {this}"
        made = PeerError(words, failure.ranks) if failure.ranks else EngineError(words)
        made.__cause__ = error
        return made


def _failure(rank: int, error: BaseException) -> _Failure:
    """An error of a rank, in words."""
    said = f"{type(error).__name__}: {error}".rstrip(": \n")
    return _Failure((rank,), f"rank {rank} failed{_place(error)}: {said}")


def _ending(rank: int, error: Union[SystemExit, KeyboardInterrupt]) -> _Failure:
    """That a rank was told to end, or has ended itself, in words."""
    if isinstance(error, KeyboardInterrupt):
        what = "was told to end by Ctrl-C (KeyboardInterrupt)"
    elif error.code == _BY_SIGTERM:
        what = f"was told to end by SIGTERM (SystemExit: {error.code})"
    else:
        what = f"ended itself (SystemExit: {error.code})"
    return _Failure((rank,), f"rank {rank} {what}{_place(error)}")


def _place(error: BaseException) -> str:
    """Where an error happened, as `errors.place` has noted it, behind a space."""
    notes: list[str] = getattr(error, "__notes__", [])
    return next((f" {note.removeprefix('typedcb: ')}" for note in notes if note.startswith("typedcb: ")), "")
