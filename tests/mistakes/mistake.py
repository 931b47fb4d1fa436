"""A mistake with callbacks, and where it is caught."""

from __future__ import annotations

from typing import Final, Literal, Mapping

import attrs

Caught = Literal["checkers", "plugin", "class", "attach", "design"]

CAUGHT: Final[Mapping[str, str]] = {
    "checkers": "a type error in mypy, pyright, ty and pyrefly, with no plugin",
    "design": "cannot happen: a test shows that the loop does what was meant",
    "plugin": "reported by the mypy plugin and by `typedcb check`",
    "class": "an error when the class is made, and reported by the plugin before",
    "attach": "an error when the callback is attached, before the first batch",
}


@attrs.frozen
class Mistake:
    """A mistake, what it leads to where it was made, and here."""

    id: str
    """Which one; the ids say whose callbacks they were made with."""

    peer: str
    """Where it was made."""

    mistake: str
    """What was done."""

    symptom: Literal["silent", "late", "start"]
    """There: a wrong result without an error, an error in the midst of training, an error before the first batch."""

    caught: Caught
    """Here: by what it is caught."""

    here: str
    """Here: what happens."""
