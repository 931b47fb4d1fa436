"""Source files, and what the names in them stand for: imports and aliases are followed from file to file."""

from __future__ import annotations

import ast
import builtins
from collections import defaultdict
from pathlib import Path
from typing import Callable, Final, Iterator, Mapping, Optional, Union

import attrs
from typing_extensions import TypeAlias

_CALLBACK: Final = "typedcb.callback.Callback"
_MAX_STEPS: Final = 40  # imports and aliases may go round in a circle


def dotted(node: Optional[ast.AST]) -> str:
    """A name as it is written, such as `nn.Module`, without brackets behind it; empty where it is none."""
    while isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        try:
            return dotted(ast.parse(node.value, mode="eval").body)
        except SyntaxError:
            return ""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([node.id, *reversed(parts)])


class Module:
    """A parsed file.

    Args:
        name: The module's full name, such as `project.callbacks`.
        text: The source.
        is_package: Whether it is an `__init__`.

    Raises:
        SyntaxError: The source is no Python.
    """

    name: str
    """The module's full name."""

    tree: ast.Module
    """The syntax tree."""

    lines: list[str]
    """The source, line by line."""

    def __init__(self, name: str, text: str, *, is_package: bool = False) -> None:
        self.name = name
        self.tree = ast.parse(text)
        self.lines = text.splitlines()
        self._package = name if is_package else name.rpartition(".")[0]
        self.classes: dict[str, list[ast.ClassDef]] = defaultdict(list)
        self.imports: dict[str, str] = {}
        self.stars: list[str] = []
        self.aliases: dict[str, ast.expr] = {}
        for node in ast.walk(self.tree):
            self._note(node)
        for statement in self.tree.body:
            self._note_alias(statement)

    def _note(self, node: ast.AST) -> None:
        if isinstance(node, ast.ClassDef):
            self.classes[node.name].append(node)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                self.imports[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom):
            source = self._absolute(node.module or "", node.level)
            for alias in node.names:
                if alias.name == "*":
                    self.stars.append(source)
                else:
                    self.imports[alias.asname or alias.name] = f"{source}.{alias.name}"

    def _absolute(self, module: str, level: int) -> str:
        if not level:
            return module
        parts = self._package.split(".")
        base = ".".join(parts[: len(parts) - level + 1])
        return ".".join(part for part in (base, module) if part)

    def _note_alias(self, statement: ast.stmt) -> None:
        target: Optional[ast.expr] = None
        value: Optional[ast.expr] = None
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target, value = statement.targets[0], statement.value
        elif isinstance(statement, ast.AnnAssign):
            target, value = statement.target, statement.value
        elif type(statement).__name__ == "TypeAlias":  # `type X = ...`, from Python 3.12 on
            target, value = getattr(statement, "name", None), getattr(statement, "value", None)
        if isinstance(target, ast.Name) and value is not None and dotted(value):
            self.aliases[target.id] = value

    def class_named(self, name: str, before: int) -> Optional[ast.ClassDef]:
        """The class of a name that somebody at a line means: the last one above it, or else the first."""
        found = self.classes.get(name, [])
        above = [node for node in found if node.lineno < before]
        return max(above, key=lambda node: node.lineno) if above else next(iter(found), None)


@attrs.frozen
class Definition:
    """A class, and the file that it is written in."""

    module: Module
    """The file."""

    node: ast.ClassDef
    """The class."""

    @property
    def fullname(self) -> str:
        """Its name with its module's, such as `typedcb.outcomes.CancelBatch`."""
        return f"{self.module.name}.{self.node.name}"


Meaning: TypeAlias = Union[Definition, str]
"""What a name stands for: a class that is known by its source, or else a full name."""

Find: TypeAlias = Callable[[str], Optional[Module]]
"""Finds a module by its full name; None where it is not known."""


def full_name(meaning: Meaning) -> str:
    """The full name of what a name stands for."""
    return meaning if isinstance(meaning, str) else meaning.fullname


@attrs.frozen
class Sources:
    """All files that are known."""

    find: Find
    """Finds one of them."""

    def meaning(self, module: Module, name: str, line: int, steps: int = 0) -> Meaning:
        """What a name stands for.

        Args:
            module: The file in which it is written.
            name: The name, such as `nn.Module`.
            line: Where it is written.
            steps: How many imports and aliases have been followed already.
        """
        head, _, rest = name.partition(".")
        if steps > _MAX_STEPS:
            return name
        if not rest and (node := module.class_named(head, line)) is not None and node.lineno != line:
            return Definition(module, node)
        if head in module.imports:
            return self._absolute(".".join(filter(None, (module.imports[head], rest))), steps + 1)
        if head in module.aliases and not rest:
            return self.meaning(module, dotted(module.aliases[head]), line, steps + 1)
        for star in module.stars:
            source = self.find(star)
            if source is not None and (head in source.imports or head in source.classes or head in source.aliases):
                return self._absolute(f"{star}.{name}", steps + 1)
        return f"builtins.{name}" if head in vars(builtins) else name

    def _absolute(self, fullname: str, steps: int) -> Meaning:
        parts = fullname.split(".")
        for length in range(len(parts) - 1, 0, -1):
            module = self.find(".".join(parts[:length]))
            if module is not None:
                name = ".".join(parts[length:])
                found = self.meaning(module, name, len(module.lines) + 1, steps)
                return fullname if found == name else found
        return fullname

    def bases(self, definition: Definition) -> Iterator[Meaning]:
        """What the bases of a class stand for."""
        for base in definition.node.bases:
            if name := dotted(base):
                yield self.meaning(definition.module, name, definition.node.lineno)

    def lineage(self, definition: Definition) -> Iterator[Definition]:
        """A class and all of its bases whose source is known, nearest first."""
        waiting, seen = [definition], set[int]()
        while waiting:
            current = waiting.pop(0)
            if id(current.node) not in seen:
                seen.add(id(current.node))
                yield current
                waiting += [base for base in self.bases(current) if isinstance(base, Definition)]

    def is_callback(self, definition: Definition) -> bool:
        """Whether a class descends from Callback, as far as the sources tell."""
        return definition.fullname != _CALLBACK and any(base.fullname == _CALLBACK for base in self.lineage(definition))


def own_package() -> Find:
    """Finds the modules of typedcb itself, which are read when they are asked for."""
    root = Path(__file__).resolve().parents[2]
    known: dict[str, Optional[Module]] = {}

    def find(name: str) -> Optional[Module]:
        if name.partition(".")[0] != "typedcb":
            return None
        if name not in known:
            known[name] = _read(name, root.joinpath(*name.split(".")))
        return known[name]

    return find


def _read(name: str, path: Path) -> Optional[Module]:
    for file, is_package in ((path.with_suffix(".py"), False), (path / "__init__.py", True)):
        if file.is_file():
            return Module(name, file.read_text(encoding="utf-8"), is_package=is_package)
    return None


def first_of(own: Mapping[str, Module], others: Find) -> Find:
    """Finds a module among some, or else elsewhere."""
    return lambda name: own.get(name) or others(name)
