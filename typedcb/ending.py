"""SIGTERM, heard as Ctrl-C is: as an exception, so that a fit that is asked to end by it still ends in order."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Callable, Optional


def hear_sigterm() -> Callable[[], None]:
    """Has SIGTERM raise a `SystemExit` whose code is 143, as a shell reports a process that was ended by it.

    A second SIGTERM ends the process at once. Where the program has a handler of its own, nothing is changed; nor in
    another thread than the main one, where none can be installed. A forked process is ended by SIGTERM as ever.

    Returns:
        What gives the signal its default meaning back.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return _nothing
    own_process = os.getpid()

    def handle(number: int, frame: Optional[FrameType]) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != own_process:
            os.kill(os.getpid(), number)
        raise SystemExit(128 + number)

    def stop() -> None:
        if signal.getsignal(signal.SIGTERM) is handle:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, handle)
    return stop


def _nothing() -> None:
    """Nothing was changed."""
