"""What callbacks that show or log do when that fails: by default the fit goes on without them."""

from __future__ import annotations

import warnings
from typing import Literal

from typing_extensions import TypeAlias

from ..errors import LogWarning

OnLogError: TypeAlias = Literal["warn", "raise"]
"""Whether a fit goes on, with a `LogWarning`, when what is logged cannot be written, or ends by the error."""


def check_on_error(name: str, on_error: OnLogError) -> None:
    """Refuses another word.

    Args:
        name: The callback's class, for the message.
        on_error: Its `on_error`.

    Raises:
        ValueError: It is neither of the two.
    """
    if on_error not in ("warn", "raise"):
        raise ValueError(f'{name}.on_error is {on_error!r}, and has to be "warn" or "raise".')


def not_written(what: str, error: Exception, on_error: OnLogError = "warn") -> None:
    """Warns, or raises the error, and says what goes on without.

    Args:
        what: What could not be written, in words.
        error: Why.
        on_error: Whether to raise it.
    """
    if on_error == "raise":
        error.add_note(f"{what} could not be written")
        raise error
    warnings.warn(f"{what} could not be written ({error}): the fit goes on without it.", LogWarning, stacklevel=3)
