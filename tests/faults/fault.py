"""What the catalogue of faults says of each of them.

An entry is written so:

    Fault(
        "C3",
        "a loader that gives no batch",                      # the fault, in words of one's own
        "refused",                                           # or "survived"
        "`BatchError` before the first epoch ...",           # what happens here, in a line
        tests=("tests/test_data.py::test_a_stream_...",),    # what holds it: node ids without parameters, or
        reason="...",                                        # why there is nothing to test: one of the two
        peers=Peers("wrong: ...", ..., "-"),                 # what the others do, where it has been tried
    )

`python tests/faults/catalogue.py` writes docs/reliability.md of all entries; a test compares the two.
"""

from __future__ import annotations

from typing import Literal

import attrs

Verdict = Literal["survived", "refused"]


@attrs.frozen
class Peers:
    """What other trainers do: `ok`, `partly: ...` or `wrong: ...`; `-` where it has not been tried or cannot be."""

    lightning: str
    hugging_face: str
    ignite: str
    keras: str
    skorch: str
    torchtnt: str
    fastai: str


@attrs.frozen
class Fault:
    """A fault, and what holds that it does no harm."""

    id: str
    """Its section, A to F, and its number."""

    fault: str
    """What goes wrong."""

    meant: Verdict
    """Whether the fit is to live through it, or to be refused with an error that says what to do."""

    here: str
    """What typedcb does."""

    tests: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    """The tests that hold it, as `file::function`."""

    reason: str = attrs.field(default="", kw_only=True)
    """Why no test holds it."""

    peers: Peers | None = attrs.field(default=None, kw_only=True)
    """What other trainers do."""
