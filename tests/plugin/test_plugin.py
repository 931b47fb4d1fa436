"""The rules over a callback's source: `typedcb check` and the mypy plugin report the marked lines, and no others."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from checkers import python_of
from running import CASES, HERE, ROOT, Found, marks, mypy, reported

from typedcb.check import CODES, check_paths, check_text
from typedcb.cli import main
from typedcb.codes import chosen

GOOD = (ROOT / "typedcb", ROOT / "examples", *sorted((ROOT / "tests" / "typing").glob("good*.py")))


@pytest.fixture(scope="module")
def by_mypy() -> dict[Found, str]:
    return reported(mypy(*map(str, CASES), cache="plugin"))


def by_check(*paths: Path) -> dict[Found, str]:
    return {
        (found.path.name, found.finding.line, found.finding.code): found.finding.message
        for found in check_paths(paths, chosen(["all"]))
    }


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_check_reports_the_marked_lines_and_no_others(file: Path) -> None:
    assert set(by_check(file)) == marks(file)


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_the_plugin_reports_the_marked_lines_and_no_others(file: Path, by_mypy: dict[Found, str]) -> None:
    assert {found for found in by_mypy if found[0] == file.name} == marks(file)


def test_both_say_the_same(by_mypy: dict[Found, str]) -> None:
    assert by_mypy == by_check(*CASES)


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_case(code: str) -> None:
    assert any(code == found[2] for file in CASES for found in marks(file))


def test_check_has_no_false_alarm() -> None:
    assert [str(found) for found in check_paths(GOOD)] == []


SHOWN = {
    ("docs_errors_md.py", "typedcb-illegal-answer"),
    ("docs_errors_md.py", "typedcb-unknown-hook"),
    ("docs_gradient_clip_md.py", "typedcb-not-frozen"),
    ("docs_gradient_clip_md.py", "typedcb-unknown-hook"),
}
"""What documents show to be refused."""


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The Python code of the documents, each as a file whose lines are the document's."""
    folder = tmp_path_factory.mktemp("documents")
    files = []
    for document in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        name = re.sub(r"\W", "_", document.relative_to(ROOT).as_posix()) + ".py"
        (folder / name).write_text(python_of(document.read_text(encoding="utf-8")))
        files.append(folder / name)
    return files


def test_check_has_no_false_alarm_over_the_documents(documents: list[Path]) -> None:
    assert {(found.path.name, found.finding.code) for found in check_paths(documents)} == SHOWN


def test_the_plugin_has_no_false_alarm(documents: list[Path]) -> None:
    found = reported(mypy(*map(str, (*GOOD, *documents)), cache="plugin"))
    default = {place: message for place, message in found.items() if CODES[place[2]].default}
    assert {(file, code) for file, _, code in default} == SHOWN, default


# ------------------------------------------------------------------------------------------- where a class is found


BASE = """
from dataclasses import dataclass
from typing import ClassVar
from typedcb import AnyCallback, Phase


@dataclass(frozen=True)
class Base(AnyCallback):
    phases: ClassVar[tuple[Phase, ...]] = ("train",)
"""
CHILD = """
from typedcb import Cell, cell
from bases import Base


class Child(Base):
    count: Cell[int] = cell(0)

    def after_batch(self, event: object) -> None:
        self.count.value += 1

    def on_epoch_end(self) -> None: ...
"""


def test_check_knows_a_base_in_a_file_beside_the_one_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "bases.py").write_text(BASE)
    child = tmp_path / "child.py"
    child.write_text(CHILD)
    assert set(by_check(child)) == {("child.py", 6, "typedcb-not-frozen"), ("child.py", 12, "typedcb-unknown-hook")}


def test_check_knows_a_base_that_python_would_import_and_imports_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, project = tmp_path / "library", tmp_path / "project"
    library.mkdir()
    project.mkdir()
    (library / "bases.py").write_text(BASE + "\nraise ImportError('this was run')\n")
    (project / "child.py").write_text(CHILD)
    monkeypatch.syspath_prepend(library)
    assert {code for _, _, code in by_check(project)} == {"typedcb-not-frozen", "typedcb-unknown-hook"}
    assert "bases" not in sys.modules


@pytest.mark.parametrize(("needs", "found"), [("typedcb>=0.1", 2), ("numpy", 0)])
def test_check_looks_into_installed_packages_that_need_typedcb(
    needs: str, found: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site-packages"
    facts = site / "bases-1.0.dist-info"
    facts.mkdir(parents=True)
    (site / "bases.py").write_text(BASE)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: bases\nVersion: 1.0\nRequires-Dist: {needs}\n")
    (facts / "RECORD").write_text("bases.py,,\n")
    (tmp_path / "child.py").write_text(CHILD)
    monkeypatch.syspath_prepend(site)
    assert len(by_check(tmp_path / "child.py")) == found


def test_a_mixin_is_looked_at_in_its_own_file(tmp_path: Path) -> None:
    (tmp_path / "mixin.py").write_text(
        "class Counts:\n    seen = []\n\n    def after_step(self, event: object) -> None:\n        self.count = 1\n"
    )
    (tmp_path / "child.py").write_text(
        "from dataclasses import dataclass\nfrom mixin import Counts\nfrom typedcb import AnyCallback\n\n\n"
        "@dataclass(frozen=True)\nclass Child(Counts, AnyCallback): ...\n"
    )
    expected = {("mixin.py", 2, "typedcb-mutable-field"), ("mixin.py", 5, "typedcb-self-assignment")}
    assert set(by_check(tmp_path)) == expected


def notebook(*cells: str) -> str:
    code = [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]
    return json.dumps({"cells": [{"cell_type": "markdown", "source": ["# class A(AnyCallback)"]}, *code]})


def test_the_cells_of_a_notebook_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = (
        "%matplotlib inline\n!pip list\nfrom typedcb import AnyCallback\nAnyCallback?\nfiles = !ls",
        "%%bash\nls -la\n",
        "",
        "%%time\nclass Thawed(AnyCallback):\n    def on_epoch_end(self) -> None: ...\n",
    )
    file = tmp_path / "training.ipynb"
    file.write_text(notebook(*cells))
    assert main(["check", str(tmp_path)]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{file}:cell 4:2: error: Thawed is no frozen dataclass")
    assert second.startswith(f"{file}:cell 4:3: error: Thawed.on_epoch_end is no hook")


@pytest.mark.parametrize("text", ["{}", "[]", '{"cells": 3}', "no JSON", notebook("def f(:")])
def test_a_notebook_that_is_none_is_named(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "odd.ipynb").write_text(text)
    assert main(["check", str(tmp_path)]) == 2
    assert "odd.ipynb" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cells", "place"),
    [
        (("x = 1\ny = 2\n", "z = 3\nz z\n"), "cell 2:2"),
        (("a = 1\n", "y = (\n", "2)\n"), "cell 2:1"),
        (("%%bash\nls (\n", "!ls (\nx = 'a\n"), "cell 2:2"),
    ],
)
def test_a_cell_that_is_no_python_is_said_with_its_line(
    cells: tuple[str, ...], place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd.ipynb").write_text(notebook(*cells))
    assert main(["check", str(tmp_path)]) == 2
    assert f"odd.ipynb:{place}: this is no Python: " in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------- the plugin itself


def switched(folder: Path, *arguments: str, lines: tuple[str, ...] = ()) -> str:
    """What mypy writes with these lines in its settings; each setting has a cache of its own."""
    config = plugin_config(folder, *lines)
    return mypy(*arguments, cache="-".join(["plugin", *(re.sub(r"\W+", "-", line) for line in lines)]), config=config)


def plugin_config(folder: Path, *lines: str) -> Path:
    config = folder / "mypy.ini"
    config.write_text(
        "\n".join(["[mypy]", "plugins = typedcb.mypy", *lines, "[mypy-torch.*]", "follow_imports = skip"])
    )
    return config


BAD = """
from dataclasses import dataclass
from typedcb import AnyCallback, LossEvent


class Thawed(AnyCallback):
    def on_epoch_end(self, event: object) -> None: ...

    def after_loss(self, event: LossEvent) -> None:
        print(event.loss.item())
"""


@pytest.mark.parametrize(
    ("lines", "codes"),
    [
        ((), {"typedcb-not-frozen", "typedcb-unknown-hook"}),
        (("disable_error_code = typedcb-not-frozen",), {"typedcb-unknown-hook"}),
        (("disable_error_code = typedcb",), set()),
        (
            ("enable_error_code = typedcb-device-sync",),
            {"typedcb-not-frozen", "typedcb-unknown-hook", "typedcb-device-sync"},
        ),
    ],
    ids=["by default", "one off", "all off", "the optional one on"],
)
def test_each_code_can_be_switched(lines: tuple[str, ...], codes: set[str], tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text(BAD)
    output = switched(tmp_path, str(file), lines=lines)
    assert {code for _, _, code in reported(output)} == codes


def test_a_type_ignore_with_the_code_silences_it(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text(BAD.replace("AnyCallback):", "AnyCallback):  # type: ignore[typedcb-not-frozen]"))
    output = switched(tmp_path, str(file), lines=("warn_unused_ignores = True",))
    assert {code for _, _, code in reported(output)} == {"typedcb-unknown-hook"}
    assert "unused" not in output


def test_a_base_in_another_file_makes_a_callback(tmp_path: Path) -> None:
    package = tmp_path / "project"
    package.mkdir()
    (package / "__init__.py").write_text("from .bases import Base as Base, frozen as frozen\n")
    (package / "bases.py").write_text(
        "import dataclasses\nfrom typing import Any\nfrom typedcb import AnyCallback\n"
        "frozen: Any = dataclasses.dataclass(frozen=True)\n"
        "@dataclasses.dataclass(frozen=True)\nclass Base(AnyCallback): ...\n"
    )
    (package / "one.py").write_text(
        "from . import Base, frozen\n\n\n@frozen\nclass One(Base):\n    def on_epoch_end(self) -> None: ...\n"
    )
    expected = {("one.py", 6, "typedcb-unknown-hook")}
    assert set(by_check(package)) == expected
    assert set(reported(switched(tmp_path, str(package)))) == expected


def test_a_snippet_on_the_command_line_is_no_stumbling_block(tmp_path: Path) -> None:
    switched(tmp_path, "-c", "from typedcb import AnyCallback\nclass A(AnyCallback): ...")


def test_an_editors_unsaved_text_is_read(tmp_path: Path) -> None:
    saved, unsaved = tmp_path / "saved.py", tmp_path / "unsaved.py"
    saved.write_text("x = 1\n")
    unsaved.write_text(BAD)
    output = switched(tmp_path, "--shadow-file", str(saved), str(unsaved), str(saved))
    assert {code for _, _, code in reported(output)} == {"typedcb-not-frozen", "typedcb-unknown-hook"}


# ------------------------------------------------------------------------------------------------ the command line


def test_check_prints_a_line_for_each_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bad.py"
    file.write_text(BAD)
    assert main(["check", str(file)]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith(f"{file}:6: error: Thawed is no frozen dataclass: write @dataclass(frozen=True)")
    assert printed[0].endswith("[typedcb-not-frozen]")
    assert printed[1].startswith(f"{file}:7: error: Thawed.on_epoch_end is no hook; did you mean after_epoch?")
    assert len(printed) == 2


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["--select", "unknown-hook"], [7]),
        (["--select", "typedcb-device-sync, typedcb-not-frozen"], [6, 10]),
        (["--select", "all"], [6, 7, 10]),
        (["--ignore", "typedcb-not-frozen"], [7]),
        (["--select", "all", "--ignore", "not-frozen,unknown-hook"], [10]),
        (["--ignore", "all"], []),
    ],
)
def test_codes_are_selected_and_ignored(
    arguments: list[str], lines: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.py"
    file.write_text(BAD)
    assert main(["check", str(file), *arguments]) == int(bool(lines))
    assert [int(line[len(str(file)) :].split(":")[1]) for line in capsys.readouterr().out.splitlines()] == lines


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("missing.py", None, "there is no such file"),
        ("broken.py", b"def f(:\n", "broken.py:1: this is no Python"),
        ("latin.py", b"x = '\xe4'\n", "this cannot be read"),
    ],
)
def test_what_cannot_be_read_is_named(
    name: str, text: bytes | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (tmp_path / name).write_bytes(text)
    assert main(["check", str(tmp_path / name)]) == 2
    assert words in capsys.readouterr().err


def test_a_code_that_does_not_exist_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path), "--select", "nothing"]) == 2
    assert "there is no code nothing; the codes are typedcb-unknown-hook" in capsys.readouterr().err


def test_hidden_folders_and_environments_are_left_out(tmp_path: Path) -> None:
    for folder in (".hidden", "venv/lib", "seen"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "bad.py").write_text(BAD)
    (tmp_path / "venv" / "pyvenv.cfg").write_text("")
    assert {found.path.parent.name for found in check_paths([tmp_path])} == {"seen"}


def test_a_file_that_is_given_twice_is_reported_once(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(BAD)
    assert len(list(check_paths([tmp_path, tmp_path / "bad.py"]))) == 2


def test_text_is_checked_as_files_are() -> None:
    assert [(found.line, found.code) for found in check_text(BAD)] == [
        (6, "typedcb-not-frozen"),
        (7, "typedcb-unknown-hook"),
    ]


@pytest.mark.parametrize("module", ["typedcb.check", "typedcb.mypy", "typedcb.cli"])
def test_the_checks_load_no_torch(module: str) -> None:
    program = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=HERE, check=False).returncode == 0


def test_a_warm_cache_reports_the_same(tmp_path: Path) -> None:
    (tmp_path / "base.py").write_text(
        "from dataclasses import dataclass\nfrom typedcb import AnyCallback\n\n\n"
        "@dataclass(frozen=True)\nclass Base(AnyCallback): ...\n"
    )
    child = tmp_path / "child.py"
    child.write_text("from base import Base\n\n\nclass Child(Base): ...\n")
    files = [str(tmp_path / "base.py"), str(child)]
    expected = {("child.py", 4, "typedcb-not-frozen")}
    assert set(reported(switched(tmp_path, *files))) == expected
    assert set(reported(switched(tmp_path, *files))) == expected
    child.write_text("from base import Base\n\n\n\nclass Child(Base): ...\n")
    assert set(reported(switched(tmp_path, *files))) == {("child.py", 5, "typedcb-not-frozen")}
