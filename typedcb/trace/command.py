"""`typedcb trace show` and `typedcb trace diff`."""

from __future__ import annotations

import os
import sys
from argparse import Namespace

import msgspec

from ..errors import TraceError
from ..extras import require
from .comparison import Equal, Rules
from .diff import diff
from .figures import Filter
from .page import write_page
from .reading import read


def run_trace(options: Namespace) -> int:
    """Runs one of the two.

    Args:
        options: What the command line says.

    Returns:
        The exit status: 0; from diff 1 where the traces differ; 2 where one cannot be read.
    """
    try:
        return _diff(options) if options.action == "diff" else _show(options)
    except (TraceError, ModuleNotFoundError) as error:
        print(f"typedcb trace {options.action}: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except BrokenPipeError:  # whoever reads it has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _show(options: Namespace) -> int:
    if options.html is not None:
        return _write_page(options)
    require("rich", extra="progress")
    from .show import console_for, show  # noqa: PLC0415  # rich is an extra

    which = Filter(options.event, options.callback, options.epoch, options.batch, options.phase, options.search)
    show(read(options.file), console_for(), which, limit=options.limit, each=options.events)
    sys.stdout.flush()
    return 0


def _write_page(options: Namespace) -> int:
    trace = read(options.file)
    try:
        write_page(trace, options.html)
    except OSError as error:
        raise TraceError(f"{options.html} cannot be written: {error.strerror or error}.") from error
    print(f"{options.html}: open it in a browser; it needs no server and no network")  # noqa: T201
    return 0


def _diff(options: Namespace) -> int:
    rules = Rules(
        ignore=tuple(options.ignore),
        tolerance=options.tolerance,
        common=options.common,
        callback_names=not options.by_place,
        measured=options.measured,
        beginnings=options.strict,
    )
    found = diff(options.a, options.b, rules)
    equal = isinstance(found, Equal)
    if options.json:
        print(msgspec.json.encode({"equal": equal, "found": found}).decode())  # noqa: T201
    else:
        print(found)  # noqa: T201
    return 0 if equal else 1
