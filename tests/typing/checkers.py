"""Runs type checkers over a copy of the project, and says of what they complain, by file and line.

The copy holds the package, the examples, the files of this folder and the Python code of the documents. It uses the
project's own settings, and is thrown away afterwards, so that all that a run leaves is mypy's cache.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Callable, Iterable, Mapping

import attrs

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent

GOOD = tuple(sorted(HERE.glob("good*.py")))
BAD = tuple(sorted(HERE.glob("bad*.py")))
TYPED = (*sorted((ROOT / "tests" / "ide" / "markers").glob("*.py")), ROOT / "tests" / "ide" / "plain.py")
"""The programs in which completion is measured: they must pass as well."""

MARK = "# error"

_SETTINGS = ("mypy.ini", "pyproject.toml")
_FOLDERS = ("typedcb", "examples", "stubs")


@attrs.frozen(order=True)
class Place:
    """A line of a file of the project, a document included."""

    file: str
    """The file, relative to the project."""

    line: int
    """The line, from 1."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@attrs.frozen
class Project:
    """A copy of the project, for checkers to read."""

    root: Path
    """Where the copy is."""

    sources: Mapping[str, Path]
    """What is checked: each file of the copy, relative to its root, and what it is a copy of."""

    @property
    def expected(self) -> set[Place]:
        """The lines that are marked as mistakes."""
        return {
            Place(name_of(source), number)
            for source in set(self.sources.values())
            for number, line in enumerate(source.read_text().splitlines(), 1)
            if line.rstrip().endswith(MARK)
        }


def name_of(source: Path) -> str:
    """A file's path relative to the project."""
    return source.relative_to(ROOT).as_posix()


def marked(files: Iterable[Path]) -> int:
    """How many lines of these files are marked as mistakes."""
    return sum(line.rstrip().endswith(MARK) for file in files for line in file.read_text().splitlines())


def copy_project(root: Path) -> Project:
    """Makes the copy.

    Args:
        root: An empty folder.
    """
    sources: dict[str, Path] = {}
    for name in _SETTINGS:
        shutil.copy(ROOT / name, root / name)
    for folder in _FOLDERS:
        if (ROOT / folder).is_dir():
            shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
            for source in (ROOT / folder).rglob("*.py"):
                sources[name_of(source)] = source
    for source in (*GOOD, *BAD, *TYPED):
        shutil.copy(source, root / source.name)
        sources[source.name] = source
    for document in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        if document.is_file() and (code := python_of(document.read_text())).strip():
            name = re.sub(r"\W", "_", name_of(document)) + ".py"
            (root / name).write_text(code)
            sources[name] = document
    return Project(root, sources)


def python_of(document: str) -> str:
    """The Python code blocks of a Markdown document, each at the lines where it stands in the document."""
    code: list[str] = []
    fence: str | None = None
    is_python = False
    for line in document.splitlines():
        found = re.match(r"\s*(```+|~~~+)\s*(\w*)", line)
        if fence is None and found:
            fence, is_python = found[1], found[2] == "python"
            code.append("")
        elif fence is not None and line.strip() == fence:
            fence = None
            code.append("")
        else:
            code.append(line if fence is not None and is_python else "")
    return "\n".join(code) + "\n"


def complaints(checker: str, project: Project) -> dict[Place, str]:
    """Of what a checker complains, with its words for it.

    Args:
        checker: One of CHECKERS.
        project: The copy to check.

    Raises:
        FileNotFoundError: The checker is not installed.
        RuntimeError: It failed, or complained of something that is no line of a file.
    """
    return CHECKERS[checker](project)


def _run(project: Project, name: str, *arguments: str) -> str:
    """What a checker writes."""
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    executable = shutil.which(name, path=folders)
    if executable is None:
        raise FileNotFoundError(f"{name} is not installed: pip install -e '.[dev]' brings all four type checkers.")
    # Paths of the caller's own would lead checkers to another copy of the package.
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MYPYPATH")}
    done = subprocess.run(
        [executable, *arguments],
        cwd=project.root,
        env={**env, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},  # no word of newer versions
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{name} failed with exit status {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def _places(project: Project, found: Iterable[tuple[str, int, str]]) -> dict[Place, str]:
    """Complaints by the places that they are about in the project itself; several on one line are put together."""
    places: dict[Place, str] = {}
    for file, line, message in found:
        copied = Path(file)
        relative = copied.relative_to(project.root) if copied.is_absolute() else copied
        source = project.sources.get(relative.as_posix())
        place = Place(str(relative) if source is None else name_of(source), line)
        places[place] = f"{places[place]}\n{message}" if place in places else message
    return places


def _mypy(project: Project) -> dict[Place, str]:
    output = _run(
        project, "mypy", "--strict", "--output", "json", "--cache-dir", str(ROOT / ".mypy_cache" / "typing"),
        "--python-executable", sys.executable, *project.sources,
    )  # fmt: skip
    found = [_read(line) for line in output.splitlines()]
    return _places(project, ((d["file"], d["line"], d["message"]) for d in found if d["severity"] == "error"))


def _pyright(project: Project) -> dict[Place, str]:
    settings = tomllib.loads((project.root / "pyproject.toml").read_text())["tool"]["pyright"]
    own = {"include": list(project.sources), "typeCheckingMode": "strict", "exclude": []}
    (project.root / "pyrightconfig.json").write_text(json.dumps({**settings, **own}))
    found = _read(_run(project, "pyright", "--outputjson", "--pythonpath", sys.executable))["generalDiagnostics"]
    return _places(project, ((d["file"], d["range"]["start"]["line"] + 1, d["message"]) for d in found))


def _ty(project: Project) -> dict[Place, str]:
    output = _run(
        project, "ty", "check", "--python", sys.executable, "--output-format", "gitlab", *project.sources
    )  # fmt: skip
    return _places(
        project,
        ((d["location"]["path"], _ty_line(d["location"]), d["description"]) for d in _read(output)),
    )


def _ty_line(location: Mapping[str, Any]) -> int:
    start: int = location["positions"]["begin"]["line"]
    return start


def _pyrefly(project: Project) -> dict[Place, str]:
    output = _run(
        project, "pyrefly", "check", "--python-interpreter-path", sys.executable, "--output-format", "json",
        *project.sources,
    )  # fmt: skip
    return _places(project, ((d["path"], d["line"], d["description"]) for d in _read(output)["errors"]))


def _read(text: str) -> Any:  # Any: what a checker writes is its own affair
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise RuntimeError(f"a checker says what is no JSON: {text}") from error


CHECKERS: Mapping[str, Callable[[Project], dict[Place, str]]] = {
    "mypy": _mypy,
    "pyright": _pyright,
    "ty": _ty,
    "pyrefly": _pyrefly,
}
