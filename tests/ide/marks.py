"""Places in Python code where somebody is typing, and what an editor is to offer there.

A mark is a comment under the line, its caret under the cursor:

    total += event.loss.item()
    #              ^ complete: loss, pred

What stands before the caret has been typed, and nothing after it: the client cuts the line there, closes its brackets
as an editor does, and leaves out the block that the line would open. So the files are sound programs, which are
type-checked and run, and a language server sees each of them as it is in the midst of being written.

The kinds of marks:
    complete    names that are offered: `clip=` is a keyword, `loss` a name
    override    hooks that are offered with their signatures
    hover       what is shown of the name under the caret; nothing is cut
    signature   the parameters that are shown for the call that is open
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import attrs

FOLDER: Final = Path(__file__).resolve().parent / "markers"
FILES: Final = tuple(sorted(FOLDER.glob("*.py")))
PLAIN: Final = FOLDER.parent / "plain.py"

_MARK: Final = re.compile(r"\s*#\s*\^ (complete|override|hover|signature): (.+)")
_PAIRS: Final = {"(": ")", "[": "]", "{": "}"}


@attrs.frozen
class Mark:
    """A cursor in a file."""

    file: Path
    """The file that it is in."""

    line: int
    """Its line, from 0."""

    column: int
    """How many characters stand before it."""

    kind: str
    """What is asked for: complete, override, hover or signature."""

    wanted: tuple[str, ...]
    """What is to be there."""

    lines: tuple[str, ...] = attrs.field(repr=False)
    """The whole file."""

    @property
    def id(self) -> str:
        """Its name in tables, such as `events.Everything.after_loss: event.|`."""
        kind = f" ({self.kind})" if self.kind in ("hover", "signature") else ""
        return f"{'.'.join([self.file.stem, *self._scopes()])}: {self.before.lstrip()}|{kind}"

    @property
    def before(self) -> str:
        """The line up to the cursor."""
        return self.lines[self.line][: self.column]

    @property
    def prefix(self) -> str:
        """What has been typed of the name."""
        found = re.search(r"\w*$", self.before)
        return found[0] if found else ""

    @property
    def name(self) -> str:
        """The name under the cursor, as the finished file has it; a keyword ends in `=`."""
        rest = re.match(r"\w*(=(?!=))?", self.lines[self.line][self.column :])
        return self.prefix + (rest[0] if rest else "")

    def text(self, typed: str = "") -> str:
        """The file in the midst of being written.

        Args:
            typed: What is typed on from the cursor.
        """
        if self.kind == "hover":
            return "\n".join(self.lines)
        line = self.before + typed
        rest = self.lines[self.line + 1 :]
        indent = len(line) - len(line.lstrip())
        opened = 0
        for later in rest:
            if later.strip() and len(later) - len(later.lstrip()) <= indent and not _MARK.match(later):
                break
            opened += 1
        return "\n".join([*self.lines[: self.line], line + _closing(line), *rest[opened:]])

    def _scopes(self) -> list[str]:
        """The class and the function that it is in."""
        found: list[str] = []
        indent = len(self.before) - len(self.before.lstrip())
        for line in reversed(self.lines[: self.line]):
            outer = re.match(r"( *)(?:def|class) (\w+)", line)
            if outer and len(outer[1]) < indent:
                found.insert(0, outer[2])
                indent = len(outer[1])
        return found


def _closing(line: str) -> str:
    """The brackets that close those that a line leaves open."""
    open_brackets: list[str] = []
    for character in re.sub(r"\"[^\"]*\"|'[^']*'", "", line):
        if character in _PAIRS:
            open_brackets.append(_PAIRS[character])
        elif open_brackets and character == open_brackets[-1]:
            open_brackets.pop()
    return "".join(reversed(open_brackets))


def marks_of(file: Path) -> list[Mark]:
    """The marks of a file, in order."""
    lines = tuple(file.read_text(encoding="utf-8").splitlines())
    found: list[Mark] = []
    marked = 0
    for number, line in enumerate(lines):
        if mark := _MARK.match(line):
            wanted = tuple(name.strip() for name in mark[2].split(","))
            found.append(Mark(file, marked, line.index("^"), mark[1], wanted, lines))
        elif line.strip():
            marked = number
    return found


def all_marks() -> list[Mark]:
    """The marks of all files."""
    return [mark for file in FILES for mark in marks_of(file)]
