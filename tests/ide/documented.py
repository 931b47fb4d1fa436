"""The documentation of names, read from the sources: what a server shows for a name has to be this.

Some servers show the documentation of a name's type where it has none of its own, such as that of `int`.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final, Iterator, Mapping

from marks import FILES, PLAIN

import typedcb

_TORCH: Final = next(Path(folder) / "torch" for folder in sys.path if (Path(folder) / "torch").is_dir())
_TORCHS_OWN: Final = ("nn/modules/module.py", "optim/optimizer.py")
_LENGTH: Final = 40


def is_documentation_of(name: str, text: str) -> bool:
    """Whether a text is, or holds, the documentation of something of this name."""
    said = _bare(text)
    return any(known in said for known in _known().get(name, ()))


def is_documentation(text: str) -> bool:
    """Whether a text is the documentation of something."""
    said = _bare(text)
    return any(said.startswith(known) for texts in _known().values() for known in texts)


@cache
def _known() -> Mapping[str, set[str]]:
    """The beginning of the documentation of each name, bare."""
    package = Path(typedcb.__file__).parent
    known: dict[str, set[str]] = defaultdict(set)
    for file in (*package.rglob("*.py"), *FILES, PLAIN, *(_TORCH / name for name in _TORCHS_OWN)):
        for name, text in _documented(ast.parse(file.read_text(encoding="utf-8"))):
            first = re.split(r"\n\s*\n", text.strip())[0]  # servers differ in how they show what follows
            if bare := _bare(first)[:_LENGTH]:
                known[name].add(bare)
    return known


def _documented(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Each name of a module with its documentation: a docstring, a string under a field, a line of `Args:`."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and (docstring := ast.get_docstring(node)):
            yield node.name, docstring
            yield from re.findall(r"^ {4}\*{0,2}(\w+)(?: \([^)]*\))?: (.+)", docstring, re.M)
        body = getattr(node, "body", ())
        if not isinstance(body, list):  # a lambda's is an expression
            continue
        for statement, following in pairwise(body):
            if isinstance(statement, (ast.AnnAssign, ast.Assign)) and isinstance(following, ast.Expr):
                text = following.value
                if isinstance(text, ast.Constant) and isinstance(text.value, str):
                    for target in statement.targets if isinstance(statement, ast.Assign) else [statement.target]:
                        yield ast.unparse(target).split(".")[-1], text.value


def _bare(text: str) -> str:
    """Its letters and digits alone: servers change the rest, each in its own way."""
    return re.sub(r"&\w+;|[^a-z0-9]", "", text.lower())
