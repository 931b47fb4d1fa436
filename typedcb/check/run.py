"""Runs the rules over classes, files and folders."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Callable, Final, Iterable, Iterator, Optional

import attrs
from typing_extensions import override

from .class_rules import mutable_field, not_frozen, self_assignment, unknown_hook, unknown_setting
from .codes import chosen
from .findings import Finding
from .graph_rule import graph_in_cell
from .hook_rules import (
    both_phases,
    device_sync,
    event_assignment,
    illegal_cancel,
    undeclared_dependency,
    unused_with,
    wrong_time,
)
from .source import Definition, Module, Sources, first_of, own_package
from .subject import Subject

RULES: Final[tuple[Callable[[Subject], Iterator[Finding]], ...]] = (
    unknown_hook,
    unknown_setting,
    not_frozen,
    self_assignment,
    mutable_field,
    event_assignment,
    illegal_cancel,
    unused_with,
    wrong_time,
    graph_in_cell,
    undeclared_dependency,
    both_phases,
    device_sync,
)


class SourceError(Exception):
    """A file or folder that cannot be read, or that is no Python."""


@attrs.frozen
class FileFinding:
    """A finding, and the file that it is in."""

    path: Path
    """The file, as it was asked for."""

    finding: Finding
    """What was found in it."""

    @override
    def __str__(self) -> str:
        return f"{self.path}:{self.finding.line}: error: {self.finding.message} [{self.finding.code}]"


def check_class(definition: Definition, sources: Sources, codes: frozenset[str]) -> list[Finding]:
    """What is wrong with a callback class, in the order of its lines.

    Args:
        definition: The class; that it is a callback is taken for granted.
        sources: What is known of other files.
        codes: The names of the codes that are to be reported.
    """
    subject = Subject(definition, sources)
    found = {finding for rule in RULES for finding in rule(subject) if finding.code in codes}
    return sorted(finding for finding in found if not _ignored(definition.module, finding))


_IGNORE: Final = re.compile(r"#\s*typedcb:\s*ignore(?:\[([^\]]*)\])?")


def _ignored(module: Module, finding: Finding) -> bool:
    """Whether the line says `# typedcb: ignore[code]`."""
    line = module.lines[finding.line - 1] if finding.line <= len(module.lines) else ""
    comment = _IGNORE.search(line)
    if comment is None:
        return False
    return comment[1] is None or finding.code in re.split(r"[\s,]+", comment[1])


def check_module(module: Module, sources: Sources, codes: frozenset[str]) -> list[Finding]:
    """What is wrong with the callback classes of a file, in the order of its lines."""
    found: list[Finding] = []
    for nodes in module.classes.values():
        for node in nodes:
            definition = Definition(module, node)
            if sources.is_callback(definition):
                found += check_class(definition, sources, codes)
    return sorted(found)


def check_text(text: str, codes: Optional[frozenset[str]] = None) -> list[Finding]:
    """What is wrong with the callback classes of a source, in the order of its lines.

    Args:
        text: The source.
        codes: The names of the codes that are to be reported; those that are on by default.

    Raises:
        SyntaxError: It is no Python.
    """
    module = Module("__main__", text)
    return check_module(module, Sources(own_package()), chosen() if codes is None else codes)


def check_paths(paths: Iterable[Path], codes: Optional[frozenset[str]] = None) -> Iterator[FileFinding]:
    """What is wrong with the callback classes of files and folders, which may build on each other.

    Args:
        paths: Files, and folders whose Python files are meant; hidden folders and virtual environments are left out.
        codes: The names of the codes that are to be reported; those that are on by default.

    Raises:
        SourceError: There is no such file, or one cannot be read.
    """
    files = {file: _module(file) for path in paths for file in _files(path)}
    sources = Sources(first_of({module.name: module for module in files.values()}, own_package()))
    for file, module in files.items():
        for finding in check_module(module, sources, chosen() if codes is None else codes):
            yield FileFinding(file, finding)


def _files(path: Path) -> Iterator[Path]:
    """The Python files of a folder, or the file itself."""
    if not path.exists():
        raise SourceError(f"{path}: there is no such file or folder.")
    if not path.is_dir():
        yield path
        return
    for inner in sorted(path.iterdir()):
        if inner.is_dir():
            if not (inner.name.startswith((".", "__pycache__", "node_modules")) or (inner / "pyvenv.cfg").exists()):
                yield from _files(inner)
        elif inner.suffix == ".py":
            yield inner


def _module(file: Path) -> Module:
    try:
        return Module(_name(file), file.read_text(encoding="utf-8-sig"), is_package=file.stem == "__init__")
    except SyntaxError as error:
        raise SourceError(f"{file}:{error.lineno}: this is no Python: {error.msg}.") from error
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a null byte
        raise SourceError(f"{file}: this cannot be read: {error}.") from error


def _name(file: Path) -> str:
    """The full name that a file has as a module: folders with an `__init__` are its packages."""
    full = file.resolve()
    parts = [] if full.stem == "__init__" else [full.stem]
    for folder in full.parents:
        if not (folder / "__init__.py").is_file():
            break
        parts.insert(0, folder.name)
    return ".".join(parts) or full.parent.name
