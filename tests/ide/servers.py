"""What each language server offers at a place, in one form: pyright, ty and pyrefly by their protocol, jedi by its API.

The order is the one that an editor shows: the names that begin with what has been typed, those of the same case first,
then by the text that the server gives to sort by.
"""

from __future__ import annotations

import os
import re
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Callable, Final, Mapping

import attrs
import jedi
from lsp import Client
from marks import Mark
from typing_extensions import Self, override

_BIN: Final = Path(sys.executable).parent


@attrs.frozen
class Offer:
    """One line of the list that an editor shows."""

    name: str
    """What is inserted; a keyword ends in `=`."""

    code: str
    """What is shown of its type or signature."""

    prose: str
    """Its documentation."""

    more: Callable[[], Offer] = attrs.field(repr=False, eq=False)
    """The same with what the server tells of it when it is asked once more."""


@attrs.frozen
class Shown:
    """What is shown of a name or a call that stands in the code."""

    code: str
    """Its type or signature."""

    prose: str
    """Its documentation."""

    parameters: Mapping[str, tuple[str, str]] = attrs.field(factory=dict)
    """Of a call: its parameters, each with its type and its documentation."""


class Server(ABC):
    """A language server at work on some files."""

    @abstractmethod
    def offers(self, mark: Mark, typed: str = "") -> list[Offer]:
        """What it offers at a mark, in the order of an editor.

        Args:
            mark: The place.
            typed: What is typed there first.
        """

    @abstractmethod
    def hover(self, mark: Mark, typed: str = "") -> Shown:
        """What it shows of the name at a mark, once `typed` has been typed there."""

    @abstractmethod
    def signature(self, mark: Mark) -> Shown:
        """What it shows of the call that is open at a mark."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def _in_order(offers: list[tuple[str, str, Offer]], prefix: str) -> list[Offer]:
    """The offers that fit what has been typed: each with what it is filtered by, and sorted by."""
    fitting = [
        (not filtered.startswith(prefix), order, offer.name, offer)
        for filtered, order, offer in offers
        if filtered.lower().startswith(prefix.lower())
    ]
    return [offer for *_, offer in sorted(fitting, key=lambda found: found[:3])]


def _split(text: str) -> tuple[str, str]:
    """The code and the prose of Markdown that begins with code."""
    found = re.match(r"\s*```+\w*\n(.*?)\n```+(.*)", text, re.S)
    return (found[1], found[2].strip().removeprefix("---").strip()) if found else ("", text.strip())


def _markup(value: Any) -> str:
    """The text of what a server gives as documentation or as contents of a hover."""
    if isinstance(value, list):
        return "\n".join(map(_markup, value))
    return str(value.get("value", "")) if isinstance(value, dict) else value or ""


# ------------------------------------------------------------------------------------------------------- by protocol


class Protocol(Server):
    """A server that speaks the Language Server Protocol.

    Args:
        command: What starts it.
        root: A folder with the marked files.
        settings: Its settings.
    """

    def __init__(self, command: tuple[str, ...], root: Path, settings: Mapping[str, Any]) -> None:
        env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MYPYPATH")}
        env["VIRTUAL_ENV"] = sys.prefix
        env["PATH"] = os.pathsep.join([str(_BIN), env.get("PATH", "")])
        self._root = root
        self._client = Client([str(_BIN / command[0]), *command[1:]], root, env, settings)
        self._resolves = bool((self._client.capabilities.get("completionProvider") or {}).get("resolveProvider"))

    @override
    def __exit__(self, *_: object) -> None:
        self._client.close()

    @override
    def offers(self, mark: Mark, typed: str = "") -> list[Offer]:
        answer = self._ask("completion", mark, typed, len(typed))
        items = answer["items"] if isinstance(answer, dict) else answer or []
        found = [
            (item.get("filterText") or item["label"], item.get("sortText") or item["label"], self._offer(item))
            for item in items
        ]
        return _in_order(found, mark.prefix + typed)

    @override
    def hover(self, mark: Mark, typed: str = "") -> Shown:
        answer = self._ask("hover", mark, typed, max(len(typed.rstrip("=")) - 1, 0))
        return Shown(*_split(_markup((answer or {}).get("contents"))))

    @override
    def signature(self, mark: Mark) -> Shown:
        answer = self._ask("signatureHelp", mark, "", 0) or {}
        code: list[str] = []
        prose: list[str] = []
        parameters: dict[str, tuple[str, str]] = {}
        for signature in answer.get("signatures", ()):
            label = signature["label"]
            code.append(label)
            prose.append(_markup(signature.get("documentation")))
            for parameter in signature.get("parameters") or ():
                of = parameter["label"]
                text = of if isinstance(of, str) else label[of[0] : of[1]]
                if name := re.match(r"\w+", text):
                    prose_of_it = _markup(parameter.get("documentation")).strip()
                    parameters.setdefault(name[0], (text, prose_of_it))
        return Shown("\n".join(code), "\n".join(prose).strip(), parameters)

    def _ask(self, method: str, mark: Mark, typed: str, further: int) -> Any:
        path = self._root / mark.file.name
        self._client.open(path, mark.text(typed))
        return self._client.at(method, path, mark.line, mark.column + further)

    def _offer(self, item: Any) -> Offer:
        name = re.match(r"\w+=?", item["label"])
        code, prose = _split(_markup(item.get("documentation")))
        details = item.get("labelDetails") or {}
        shown = (
            item.get("detail"),
            details.get("detail"),
            details.get("description"),
            (item.get("textEdit") or {}).get("newText"),
            code,
        )

        def more() -> Offer:
            return self._offer(self._client.request("completionItem/resolve", item)) if self._resolves else offer

        offer = Offer(name[0] if name else item["label"], "\n".join(filter(None, shown)), prose, more)
        return offer


# ------------------------------------------------------------------------------------------------------------ by API


class Jedi(Server):
    """Jedi, as Jupyter and IPython use it.

    Args:
        root: A folder with the marked files.
    """

    def __init__(self, root: Path) -> None:
        self._project = jedi.Project(root)
        self._environment = jedi.InterpreterEnvironment()
        self._root = root

    def _script(self, mark: Mark, typed: str) -> Any:
        path = self._root / mark.file.name
        return jedi.Script(mark.text(typed), path=path, project=self._project, environment=self._environment)

    @override
    def offers(self, mark: Mark, typed: str = "") -> list[Offer]:
        found = self._script(mark, typed).complete(mark.line + 1, mark.column + len(typed))
        offers = [(name.name, f"{place:06}", self._offer(name)) for place, name in enumerate(found)]
        return _in_order(offers, mark.prefix + typed)

    def _offer(self, name: Any) -> Offer:
        def more() -> Offer:
            return Offer(offer.name, _hint(name), name.docstring(raw=True), more)

        offer = Offer(name.name_with_symbols, "", "", more)
        return offer

    @override
    def hover(self, mark: Mark, typed: str = "") -> Shown:
        further = max(len(typed.rstrip("=")) - 1, 0)
        names = self._script(mark, typed).help(mark.line + 1, mark.column + further)
        code = "\n".join(map(_hint, names))
        return Shown(code, "\n".join(name.docstring(raw=True) for name in names).strip())

    @override
    def signature(self, mark: Mark) -> Shown:
        found = self._script(mark, "").get_signatures(mark.line + 1, mark.column)
        parameters = {
            param.name: (param.to_string(), param.docstring(raw=True))
            for signature in found
            for param in signature.params
        }
        code = "\n".join(signature.to_string() for signature in found)
        return Shown(code, "\n".join(signature.docstring(raw=True) for signature in found), parameters)


def _hint(name: Any) -> str:
    """What jedi says of a name's type."""
    try:
        return str(name.get_type_hint() or name.description)
    except TypeError:  # jedi stumbles over some type variables
        return str(name.description)


_PYTHON: Final = {"pythonPath": sys.executable}
_SETTINGS: Final[Mapping[str, Any]] = {"": _PYTHON, "python": _PYTHON, "pyright": {}, "python.analysis": {}}

SERVERS: Final[Mapping[str, Callable[[Path], Server]]] = {
    "pyright": lambda root: Protocol(("pyright-langserver", "--stdio"), root, _SETTINGS),
    "ty": lambda root: Protocol(("ty", "server"), root, _SETTINGS),
    "pyrefly": lambda root: Protocol(("pyrefly", "lsp"), root, _SETTINGS),
    "jedi": Jedi,
}
