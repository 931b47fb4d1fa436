"""A class's name with its article, in messages: an Adam, an SGD, a list, a UNet."""

from __future__ import annotations

import re
from typing import Final

_SPELT: Final = re.compile(r"[A-Z]+(?![a-z])")
"""Capitals that are read one by one, as in `LSTM` and in `MLPMixer`; a capital that begins a word is none of them."""

_LIKE_A_VOWEL: Final = "AEFHILMNORSX"
"""The letters whose own names begin with a vowel: an L, an S."""


def with_article(name: str) -> str:
    """A name with the article that it is spoken with.

    Args:
        name: A class's name, or another word; underscores before it are not spoken.
    """
    spoken = name.lstrip("_")
    spelt = _SPELT.match(spoken)
    if spelt is not None and len(spelt.group()) > 1:
        vowel = spoken[0] in _LIKE_A_VOWEL
    else:
        word = spoken.lower()
        vowel = word.startswith(("a", "e", "i", "o", "u")) and not word.startswith(("eu", "one", "uni", "use", "unet"))
    return f"{'an' if vowel else 'a'} {name}"


def an_instance(value: object) -> str:
    """What a value is, by its class: `an Adam`, `a list`.

    Args:
        value: The value.
    """
    return with_article(type(value).__name__)
