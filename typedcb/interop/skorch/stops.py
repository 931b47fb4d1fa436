"""What ends a fit before its end: a typed callback, one of skorch's, or the user."""

from __future__ import annotations

import dis

from ...extras import require

require("skorch", extra="skorch")

from skorch.callbacks import Callback  # noqa: E402


class Cancelled(BaseException):
    """A callback has cancelled the fit; caught by `TypedNet.fit_loop`."""


def by_a_callback(stop: KeyboardInterrupt) -> bool:
    """Whether one of skorch's callbacks has raised it, which is how they stop a fit; and not the user's Ctrl-C.

    Args:
        stop: It, as it was caught.
    """
    place = stop.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    if place is None or not isinstance(place.tb_frame.f_locals.get("self"), Callback):
        return False
    # Ctrl-C comes between two instructions of whatever runs, and is raised by none of them
    return dis.opname[place.tb_frame.f_code.co_code[place.tb_lasti]] == "RAISE_VARARGS"
