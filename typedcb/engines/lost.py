"""Whether an error says no more than that another rank does not answer.

Most of torch's distributed package says so by the error's class. The collectives of gloo raise a plain RuntimeError, as
half of torch does, so that more is asked of one: it comes out of compiled code, and no line of Python has raised it;
and it is in the words of gloo's transport, which name its own source, or comes out of torch itself in the words of a
connection. What a program raises itself, in whatever words, is its own failure.
"""

from __future__ import annotations

import dis
import re
from pathlib import Path
from types import TracebackType
from typing import Final, Iterator, Optional

import torch
import torch.distributed as dist

from .processes import LostError

_TORCH: Final = str(Path(torch.__file__).parent)

_OF_GLOO: Final = re.compile(r"\[[^\]]*\bgloo/[^\]]*:\d+\]|^Application timeout caused pair closure")
"""What gloo's transport says where a connection ends, or nobody answers."""

_OF_CONNECTIONS: Final = re.compile(r"Connection closed by peer|Connection reset by peer|Broken pipe|Timed out waiting")
"""The same by whatever other backend torch has been built with."""


def is_lost(error: BaseException) -> bool:
    """Whether an error, or what it was raised from, says no more than that another rank does not answer.

    Args:
        error: What has gone wrong on this rank.
    """
    return any(_says_so(one) for one in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, and what it was raised from, or while that was handled."""
    seen: set[int] = set()
    one: Optional[BaseException] = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ if one.__cause__ is not None or one.__suppress_context__ else one.__context__


def _says_so(error: BaseException) -> bool:
    if isinstance(error, (dist.DistError, LostError)):
        return True
    if type(error) is not RuntimeError:
        return False
    place = _innermost(error.__traceback__)
    if place is None or _raised_by_python(place):
        return False
    if _OF_GLOO.search(str(error)):
        return True
    return place.tb_frame.f_code.co_filename.startswith(_TORCH) and bool(_OF_CONNECTIONS.search(str(error)))


def _innermost(trace: Optional[TracebackType]) -> Optional[TracebackType]:
    """Where Python was when an error came up."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace


def _raised_by_python(place: TracebackType) -> bool:
    """Whether a line of Python has raised an error, by the instruction that was under way."""
    return dis.opname[place.tb_frame.f_code.co_code[place.tb_lasti]] in ("RAISE_VARARGS", "RERAISE")
