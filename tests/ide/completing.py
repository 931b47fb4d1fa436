"""What a server offers at each mark, beside what is wanted there."""

from __future__ import annotations

import re
import shutil
import time
from functools import cache
from pathlib import Path
from typing import Callable, Final, Iterable, Optional

import attrs
from documented import is_documentation, is_documentation_of
from marks import FILES, PLAIN, Mark
from servers import Offer, Server, Shown
from typing_extensions import override

from typedcb.hooks import HOOKS

FIRST: Final = 5
"""How many places count as the first ones."""

_LETTERS: Final = 3
_UNTYPED: Final = re.compile(r"\b(Any|Unknown|Todo)\b")


@attrs.frozen
class Found:
    """What a server made of one wanted name."""

    name: str
    """The name; a keyword ends in `=`."""

    place: Optional[int] = None
    """Where it stands in the list, from 1; None where it is not offered."""

    others: int = 0
    """How many names that are not wanted stand before it."""

    letters: Optional[int] = None
    """How many more letters of it are to be typed until it is among the first five, beyond those that all names that
    are wanted here begin with; None where three do not help."""

    documented: str = ""
    """Where its own documentation is shown: in the list, for the choice in it, for the call that is open (all of the
    function's, or of the class alone), on hover; empty where it is nowhere."""

    code: str = ""
    """What is shown of its type or signature."""

    @property
    def shortfalls(self) -> tuple[str, ...]:
        """What is not as it should be."""
        if self.place is None:
            return ("not offered",)
        return tuple(
            text
            for text, wrong in (
                ("not among the first five after a letter", self.letters is None or self.letters > 1),
                ("no documentation", not self.documented),
                ("documented by its class alone", self.documented == "class"),
                ("untyped", bool(_UNTYPED.search(self.code))),
                ("no signature", self.documented != "" and self._lacks_signature()),
            )
            if wrong
        )

    def _lacks_signature(self) -> bool:
        return False


@attrs.frozen
class FoundHook(Found):
    """What a server made of a hook that is to be overridden."""

    @override
    def _lacks_signature(self) -> bool:
        event = HOOKS[self.name].event.__name__
        return not re.search(rf"\bevent: {event}\b.*->", self.code, re.S)


@attrs.frozen
class Result:
    """What a server made of a mark."""

    mark: Mark
    """The place."""

    found: tuple[Found, ...]
    """The names that are wanted there."""

    seconds: float
    """How long the answer took."""

    @property
    def shortfalls(self) -> dict[str, tuple[str, ...]]:
        """What is not as it should be, by name."""
        return {found.name: found.shortfalls for found in self.found if found.shortfalls}


def copy_files(root: Path) -> Path:
    """Copies the marked files.

    Args:
        root: An empty folder.
    """
    for file in (*FILES, PLAIN):
        shutil.copy(file, root / file.name)
    return root


def measure(server: Server, marks: Iterable[Mark]) -> list[Result]:
    """Asks a server at each mark.

    Args:
        server: It runs, and has the marked files.
        marks: The marks.
    """
    measures = {"complete": _complete, "override": _complete, "hover": _hover, "signature": _signature}
    return [measures[mark.kind](server, mark) for mark in marks]


def _complete(server: Server, mark: Mark) -> Result:
    began = time.perf_counter()
    offers = server.offers(mark)
    seconds = time.perf_counter() - began

    places = {name: _place(offers, name) for name in mark.wanted}

    @cache
    def call() -> Shown:
        return server.signature(mark)

    told = {name: _told(server, mark, offers[place - 1], call) for name, place in places.items() if place is not None}

    @cache
    def narrowed(typed: str) -> list[Offer]:
        return server.offers(mark, typed) if typed else offers

    shared = _shared(mark.wanted) - len(mark.prefix) if len(mark.wanted) > 1 else 0
    kind = FoundHook if mark.kind == "override" else Found
    found: list[Found] = []
    for name, place in places.items():
        if place is None:
            found.append(kind(name))
            continue
        others = sum(offer.name not in places for offer in offers[: place - 1])
        rest = name[len(mark.prefix) :]
        steps = (0, *range(shared + 1, shared + _LETTERS + 1))
        typed = (n for n in steps if (_place(narrowed(rest[:n]), name) or FIRST + 1) <= FIRST)
        letters = next((max(n - shared, 0) for n in typed), None)
        found.append(kind(name, place, others, letters, *told[name]))
    return Result(mark, tuple(found), seconds)


def _shared(names: tuple[str, ...]) -> int:
    """How many letters the names begin with in common."""
    return next((n for n, letters in enumerate(zip(*names, strict=False)) if len(set(letters)) > 1), 0)


def _place(offers: list[Offer], name: str) -> Optional[int]:
    return next((place for place, offer in enumerate(offers, 1) if offer.name == name), None)


def _told(server: Server, mark: Mark, offer: Offer, signature: Callable[[], Shown]) -> tuple[str, str]:
    """Where a name's documentation is shown, and what is shown of its type."""
    plain, rest = offer.name.rstrip("="), offer.name[len(mark.prefix) :]
    if is_documentation_of(plain, offer.prose):
        return "list", offer.code
    more = offer.more()
    if is_documentation_of(plain, more.prose):
        return "choice", more.code
    call = signature() if offer.name.endswith("=") else Shown("", "")
    code, prose = call.parameters.get(plain, ("", ""))
    code = "\n".join([more.code, code])
    if is_documentation_of(plain, prose) or is_documentation_of(plain, call.prose):
        return "call", code
    if is_documentation_of(plain, server.hover(mark, rest).prose):
        return "hover", code
    return "class" if is_documentation(call.prose) else "", code


def _hover(server: Server, mark: Mark) -> Result:
    return _shown(mark, server.hover, lambda shown, text: text in shown.code or text in _plain(shown.prose))


def _signature(server: Server, mark: Mark) -> Result:
    return _shown(mark, server.signature, lambda shown, name: name in shown.parameters)


def _shown(mark: Mark, ask: Callable[[Mark], Shown], holds: Callable[[Shown, str], bool]) -> Result:
    began = time.perf_counter()
    shown = ask(mark)
    seconds = time.perf_counter() - began
    found = (
        Found(text, 1, 0, 0, *(("hover", shown.code) if mark.kind == "hover" else _parameter(shown, text)))
        if holds(shown, text)
        else Found(text)
        for text in mark.wanted
    )
    return Result(mark, tuple(found), seconds)


def _parameter(shown: Shown, name: str) -> tuple[str, str]:
    """Where a parameter's documentation is shown, and its type."""
    code, prose = shown.parameters[name]
    if is_documentation_of(name, prose) or is_documentation_of(name, shown.prose):
        return "call", code
    return ("class" if is_documentation(shown.prose) else ""), code


def _plain(prose: str) -> str:
    return re.sub(r"[\\`]", "", prose)
