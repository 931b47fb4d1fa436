"""Runs the rules over classes, files and folders."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Callable, Final, Iterable, Iterator, Optional

import attrs
from typing_extensions import override

from ..codes import chosen
from .answer_rules import illegal_answer, illegal_cancel, unused_answer, unused_with
from .class_rules import mutable_field, not_frozen, phases_and_order, self_assignment, unknown_setting
from .dependency_rules import undeclared_dependency
from .event_rules import dead_condition, event_assignment, wrong_time
from .findings import Finding
from .graph_rule import graph_in_cell
from .hook_rules import both_phases, device_sync
from .loop_rules import against_the_loop
from .lost_graph_rule import graph_lost
from .method_rules import defined_twice, misplaced_hook, no_super, own_init, unfilled_parameter, unknown_hook
from .notebook import Notebook, is_notebook
from .optimizer_rules import dead_setting, gradients, new_weights
from .source import Definition, Find, Module, Sources, below, first_of, importable, own_package
from .state_rules import changed_in_place, live_weights, shared_state
from .subject import Subject

RULES: Final[tuple[Callable[[Subject], Iterator[Finding]], ...]] = (
    unknown_hook,
    misplaced_hook,
    unfilled_parameter,
    unknown_setting,
    phases_and_order,
    defined_twice,
    no_super,
    not_frozen,
    own_init,
    self_assignment,
    mutable_field,
    changed_in_place,
    shared_state,
    event_assignment,
    illegal_cancel,
    illegal_answer,
    unused_answer,
    unused_with,
    wrong_time,
    dead_condition,
    graph_in_cell,
    graph_lost,
    live_weights,
    new_weights,
    gradients,
    dead_setting,
    against_the_loop,
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

    cell: str = ""
    """Of a notebook, which cell: the line is counted from its first."""

    @override
    def __str__(self) -> str:
        return f"{self.path}{self.cell}:{self.finding.line}: error: {self.finding.message} [{self.finding.code}]"


def check_class(
    definition: Definition, sources: Sources, codes: frozenset[str], of: Optional[Definition] = None
) -> list[Finding]:
    """What is wrong with a callback class, in the order of its lines.

    Args:
        definition: The class; that it is a callback, or the mixin of one, is taken for granted.
        sources: What is known of other files.
        codes: The names of the codes that are to be reported.
        of: The callback whose mixin it is; itself where it is no mixin.
    """
    subject = Subject(definition, sources, of)
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


def _callbacks(module: Module, sources: Sources) -> Iterator[Definition]:
    """The callback classes of a file."""
    for nodes in module.classes.values():
        for node in nodes:
            definition = Definition(module, node)
            if sources.is_callback(definition):
                yield definition


def check_modules(
    modules: Iterable[Module], sources: Sources, codes: frozenset[str]
) -> Iterator[tuple[Module, Finding]]:
    """What is wrong with the callback classes of files and with their mixins, file by file in the order of lines."""
    asked = tuple(modules)
    found: dict[str, set[Finding]] = {module.name: set() for module in asked}
    seen: set[ast.ClassDef] = set()
    for module in asked:
        for definition in _callbacks(module, sources):
            found[module.name].update(check_class(definition, sources, codes))
            for mixin in sources.mixins(definition):
                if mixin.module in asked and mixin.node not in seen:
                    seen.add(mixin.node)
                    found[mixin.module.name].update(check_class(mixin, sources, codes, definition))
    for module in asked:
        for finding in sorted(found[module.name]):
            yield module, finding


def check_text(text: str, codes: Optional[frozenset[str]] = None) -> list[Finding]:
    """What is wrong with the callback classes of a source, in the order of its lines.

    Args:
        text: The source.
        codes: The names of the codes that are to be reported; those that are on by default.

    Raises:
        SyntaxError: It is no Python.
    """
    module = Module("__main__", text)
    sources = Sources(first_of({}, own_package(), importable()))
    return [finding for _, finding in check_modules([module], sources, chosen() if codes is None else codes)]


def check_paths(paths: Iterable[Path], codes: Optional[frozenset[str]] = None) -> Iterator[FileFinding]:
    """What is wrong with the callback classes of files and folders, which may build on each other.

    Args:
        paths: Files, and folders whose Python files and notebooks are meant; hidden folders and virtual environments
            are left out.
        codes: The names of the codes that are to be reported; those that are on by default.

    Raises:
        SourceError: There is no such file, or one cannot be read.
    """
    files = {file: _module(file) for path in paths for file in _files(path)}
    by_name = {module.name: module for module in files.values()}
    elsewhere: list[Find] = [below(folder) for folder in dict.fromkeys(map(_top, files))]
    sources = Sources(first_of(by_name, own_package(), *elsewhere, importable()))
    file_of = {module: file for file, module in files.items()}
    for module, finding in check_modules(files.values(), sources, chosen() if codes is None else codes):
        cell, line = module.place(finding.line) if isinstance(module, Notebook) else ("", finding.line)
        yield FileFinding(file_of[module], attrs.evolve(finding, line=line), cell)


def _files(path: Path) -> Iterator[Path]:
    """The Python files of a folder, or the file itself."""
    if not path.exists():
        raise SourceError(f"{path}: there is no such file or folder.")
    if not path.is_dir():
        yield path
        return
    try:
        inside = sorted(path.iterdir())
    except OSError as error:
        raise SourceError(f"{path}: this folder cannot be read: {error.strerror or error}.") from error
    for inner in inside:
        if inner.is_dir():
            if not (inner.name.startswith((".", "__pycache__", "node_modules")) or (inner / "pyvenv.cfg").exists()):
                yield from _files(inner)
        elif inner.suffix == ".py" or is_notebook(inner):
            yield inner


def _module(file: Path) -> Module:
    try:
        if is_notebook(file):
            return Notebook(_name(file), file.read_text(encoding="utf-8-sig"))
        return Module(_name(file), file.read_text(encoding="utf-8-sig"), is_package=file.stem == "__init__")
    except SyntaxError as error:
        cell = error.filename if is_notebook(file) else ""
        raise SourceError(f"{file}{cell}:{error.lineno}: this is no Python: {error.msg}.") from error
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a null byte
        raise SourceError(f"{file}: this cannot be read: {error}.") from error


def _name(file: Path) -> str:
    """The full name that a file has as a module: folders with an `__init__` are its packages."""
    full = file.resolve()
    parts = full.relative_to(_top(full)).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def _top(file: Path) -> Path:
    """The folder from which a file is imported: the nearest that is no package."""
    return next(folder for folder in file.resolve().parents if not (folder / "__init__.py").is_file())
