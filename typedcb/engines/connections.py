"""The connections that gloo makes to the other processes, so that they can be broken.

torch has no way to end a collective of gloo that waits for another process: `abort` leaves it waiting, on this side and
on the other, and a process that wants to end waits for it too. A connection that is shut down wakes both sides at once.
Where the sockets of a process cannot be listed, as on Windows, the others are woken when this process has ended.
"""

from __future__ import annotations

import os
import socket
import stat
from contextlib import contextmanager, suppress
from typing import Final, Generator

_OPEN: Final = "/dev/fd"
"""Where Linux and macOS list what a process has open."""


class Connections:
    """The sockets that were opened while process groups were made, apart from those of the store."""

    def __init__(self) -> None:
        self._sockets: set[tuple[int, int]] = set()

    @contextmanager
    def made(self) -> Generator[None, None, None]:
        """A process group is made, which connects to all others."""
        before = _open_sockets()
        yield
        self._sockets |= _open_sockets() - before

    def shut_down(self) -> None:
        """Breaks them: whoever waits for this process, and whatever here waits for others, is woken by an error."""
        store = int(os.environ.get("MASTER_PORT", "0"))
        for number, which in self._sockets & _open_sockets():
            with suppress(OSError), socket.socket(fileno=os.dup(number)) as found:
                if found.family in (socket.AF_INET, socket.AF_INET6) and store not in _ports(found):
                    found.shutdown(socket.SHUT_RDWR)
            self._sockets.discard((number, which))


CONNECTIONS: Final = Connections()
"""Those of this process."""


def _ports(connected: socket.socket) -> tuple[int, int]:
    """The ports at both ends of a connection."""
    return int(connected.getsockname()[1]), int(connected.getpeername()[1])


def _open_sockets() -> set[tuple[int, int]]:
    """The sockets that this process has open: their numbers, and what tells them from others of the same number."""
    found: set[tuple[int, int]] = set()
    with suppress(OSError):  # no such list on this system
        for name in os.listdir(_OPEN):
            with suppress(OSError):  # closed meanwhile, as that of the list itself
                seen = os.fstat(int(name))
                if stat.S_ISSOCK(seen.st_mode):
                    found.add((int(name), seen.st_ino))
    return found
