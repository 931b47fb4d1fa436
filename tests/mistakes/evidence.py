"""What shows that a mistake is caught: marked lines in `cases/`, and tests that are named for it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from checkers import Place, name_of
from mistake import Mistake

CASES = tuple(sorted((Path(__file__).parent / "cases").glob("*.py")))


@dataclass
class Marks:
    """The marked lines of one mistake."""

    errors: list[Place] = field(default_factory=list)
    some: list[Place] = field(default_factory=list)
    codes: set[tuple[Place, str]] = field(default_factory=set)


def marks() -> dict[str, Marks]:
    """The marked lines by mistake."""
    found: dict[str, Marks] = defaultdict(Marks)
    for file in CASES:
        current = ""
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if heading := re.match(r"# -- ([\w-]+)$", line):
                current = heading[1]
            elif current:
                place = Place(name_of(file), number)
                comment = re.search(r"# ((?:typedcb-[\w-]+ ?)*)(?:# )?(error|some)?$", line)
                if comment and comment[2]:
                    (found[current].errors if comment[2] == "error" else found[current].some).append(place)
                for code in re.findall(r"typedcb-[\w-]+", comment[1]) if comment else ():
                    found[current].codes.add((place, code))
    return found


MARKS = marks()


def evidence_of(mistake: Mistake, names: Iterable[str]) -> list[object]:
    """What shows that a mistake is caught where the table says so.

    Args:
        mistake: The mistake.
        names: The names in a module of tests.
    """
    mark = MARKS.get(mistake.id, Marks())
    if mistake.caught == "checkers":
        return [*mark.errors]
    if mistake.caught == "plugin":
        return [*mark.codes]
    start = f"test_{mistake.id.lower().replace('-', '_')}_"
    return [name for name in names if name.startswith(start)]
