"""Settings of all tests."""

from __future__ import annotations

import signal

from hypothesis import settings

settings.register_profile("any machine", deadline=None, print_blob=True)  # a busy machine is no failure
settings.load_profile("any machine")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # what a shell starts in the background, Ctrl-C does not reach
    signal.signal(signal.SIGINT, signal.default_int_handler)  # and what tests start would have inherited that
