"""Source files, and what the names in them stand for: imports and aliases are followed from file to file."""

from __future__ import annotations

import ast
import builtins
import functools
import importlib.metadata
import importlib.util
import sys
from collections import defaultdict
from pathlib import Path
from typing import Callable, Final, Iterator, Mapping, Optional, Union

import attrs
from typing_extensions import TypeAlias

_CALLBACK: Final = "typedcb.callback.Callback"
_CONTAINERS: Final = (
    "list", "dict", "set", "defaultdict", "collections.defaultdict", "deque", "collections.deque", "Cell", "Series",
)  # fmt: skip
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
        self.functions: dict[str, Union[ast.FunctionDef, ast.AsyncFunctionDef]] = {}
        self.classes: dict[str, list[ast.ClassDef]] = defaultdict(list)
        self.imports: dict[str, str] = {}
        self.stars: list[str] = []
        self.aliases: dict[str, ast.expr] = {}
        for node in ast.walk(self.tree):
            self._note(node)
        self.containers: set[str] = set()
        for statement in self.tree.body:
            self._note_alias(statement)
            self._note_container(statement)
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self.functions[statement.name] = statement

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

    def _note_container(self, statement: ast.stmt) -> None:
        """Takes note of a list, dict, set or cell that the file itself has."""
        value = statement.value if isinstance(statement, (ast.Assign, ast.AnnAssign)) else None
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if isinstance(value, (ast.List, ast.Dict, ast.Set)) or dotted(getattr(value, "func", None)) in _CONTAINERS:
            self.containers.update(target.id for target in targets if isinstance(target, ast.Name))

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

    def mixins(self, definition: Definition) -> Iterator[Definition]:
        """The bases of a callback that are no callbacks, and not typedcb's own."""
        for base in self.lineage(definition):
            is_protocol = any(full_name(other).endswith(".Protocol") for other in self.bases(base))
            is_own = base is definition or base.fullname.startswith("typedcb.")
            if not (is_own or is_protocol or self.is_callback(base)):
                yield base

    def is_callback(self, definition: Definition) -> bool:
        """Whether a class descends from Callback, as far as the sources tell."""
        return definition.fullname != _CALLBACK and any(base.fullname == _CALLBACK for base in self.lineage(definition))


def own_package() -> Find:
    """Finds the modules of typedcb itself."""
    find = below(Path(__file__).resolve().parents[2])
    return lambda name: find(name) if name.partition(".")[0] == "typedcb" else None


def below(root: Path) -> Find:
    """Finds the modules that are imported from a folder; they are read when they are asked for.

    Args:
        root: The folder.
    """
    known: dict[str, Optional[Module]] = {}

    def find(name: str) -> Optional[Module]:
        if name not in known:
            known[name] = _read(name, root.joinpath(*name.split(".")))
        return known[name]

    return find


def importable() -> Find:
    """Finds the modules that Python would import, and imports none of them.

    What is installed is only looked into where its own requirements name typedcb: no other package has callbacks.
    """
    packages: dict[str, Optional[Find]] = {}
    installed = functools.cache(importlib.metadata.packages_distributions)  # it reads what every package has of files

    def find(name: str) -> Optional[Module]:
        top = name.partition(".")[0]
        if top not in packages:
            root = None if top in sys.stdlib_module_names or top == "typedcb" else _root_of(top, installed)
            packages[top] = None if root is None else below(root)
        package = packages[top]
        return None if package is None else package(name)

    return find


def _root_of(top: str, installed: _Distributions) -> Optional[Path]:
    """The folder from which a package is imported; None where there is none, or none whose callbacks matter."""
    try:
        spec = importlib.util.find_spec(top)  # of a package itself, this imports nothing
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    file = Path(spec.origin)
    root = file.parent.parent if file.stem == "__init__" else file.parent
    return root if root.name not in _INSTALLED or _needs_typedcb(top, installed) else None


_INSTALLED: Final = ("site-packages", "dist-packages")

_Distributions: TypeAlias = Callable[[], Mapping[str, list[str]]]
"""What is installed, by the packages that it brings."""


def _needs_typedcb(top: str, installed: _Distributions) -> bool:
    for distribution in installed().get(top, ()):
        for requirement in importlib.metadata.requires(distribution) or ():
            if requirement.lower().startswith("typedcb"):
                return True
    return False


def _read(name: str, path: Path) -> Optional[Module]:
    for file, is_package in ((path.with_suffix(".py"), False), (path / "__init__.py", True)):
        if file.is_file():
            try:
                return Module(name, file.read_text(encoding="utf-8-sig"), is_package=is_package)
            except (OSError, ValueError, SyntaxError):  # it is somebody else's affair what is wrong with it
                return None
    return None


def first_of(own: Mapping[str, Module], *others: Find) -> Find:
    """Finds a module among some, or else elsewhere."""

    def find(name: str) -> Optional[Module]:
        return own.get(name) or next(filter(None, (other(name) for other in others)), None)

    return find
