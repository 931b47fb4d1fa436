"""The Python of a notebook: its code cells as one file, and where in it a line belongs."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any, Final, Iterator

from .source import Module

_MAGIC: Final = re.compile(r"^(\s*)(?:[%!?].*|.*\?\??\s*|[\w.,\s]+=\s*[%!].*)$")
"""A line that IPython takes for itself: `%timeit f()`, `!ls`, `f?`, `files = !ls`."""

_PYTHON_MAGICS: Final = ("%%time", "%%timeit", "%%capture", "%%prun")


def is_notebook(file: Path) -> bool:
    """Whether a file is a notebook, by its name."""
    return file.suffix == ".ipynb"


class Notebook(Module):
    """A notebook's code, read as one file.

    Args:
        name: The name that it has as a module.
        text: The notebook, as JSON.

    Raises:
        SyntaxError: A cell is no Python: `filename` is the cell in words, as `place` has it, and `lineno` a line of it.
        ValueError: It is no notebook.
    """

    def __init__(self, name: str, text: str) -> None:
        self._first_lines: list[tuple[int, int]] = []
        code: list[str] = []
        for number, lines in _cells(text):
            _check(number, lines)
            self._first_lines.append((len(code), number))
            code += lines
        super().__init__(name, "\n".join(code) + "\n")

    def place(self, line: int) -> tuple[str, int]:
        """The cell that a line is in, in words, and the line in that cell.

        Args:
            line: The line in the whole, from 1.
        """
        before, number = max(first for first in self._first_lines if first[0] < line)
        return _words(number), line - before


def _words(number: int) -> str:
    return f":cell {number}"


def _check(number: int, lines: list[str]) -> None:
    """Refuses a cell that is no Python by itself, whatever the next one makes of it."""
    try:
        ast.parse("\n".join(lines))
    except SyntaxError as error:
        error.filename = _words(number)
        raise


def _cells(text: str) -> Iterator[tuple[int, list[str]]]:
    """The lines of each code cell, with its number among the code cells, from 1."""
    notebook: Any = json.loads(text)  # Any: a file of somebody's
    try:
        cells: list[dict[str, Any]] = notebook["cells"]  # Any: as said
        code = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
    except (TypeError, KeyError) as error:
        raise ValueError("this is no notebook") from error
    for number, source in enumerate(code, 1):
        yield number, _python("".join(source))


def _python(cell: str) -> list[str]:
    """A cell's lines, with `pass` where a line is IPython's own."""
    lines = cell.splitlines() or [""]
    first = lines[0].strip()
    if first.startswith("%%") and first.split()[0] not in _PYTHON_MAGICS:
        return [""] * len(lines)
    return [_MAGIC.sub(r"\1pass", line) if _is_magic(line) else line for line in lines]


def _is_magic(line: str) -> bool:
    return bool(_MAGIC.match(line)) and not line.lstrip().startswith("#")
