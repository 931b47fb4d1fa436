"""What a rule has found, and where."""

from __future__ import annotations

import ast
from typing import Union

import attrs

from ..codes import Code


@attrs.frozen(order=True)
class Finding:
    """A mistake in a file."""

    line: int
    """The line, from 1."""

    column: int
    """The column, from 0."""

    code: str
    """The name of the rule's code."""

    message: str
    """What was found, what was expected, and the fix."""


def finding(node: Union[ast.stmt, ast.expr], code: Code, message: str) -> Finding:
    """A finding at a node of the syntax tree."""
    return Finding(node.lineno, node.col_offset, code.name, message)
