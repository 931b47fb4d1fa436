"""The documents are tested as code is: what stands in them runs, what they point to exists, and nothing is left out."""

from __future__ import annotations

import importlib
import io
import re
import sys
import warnings
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import attrs
import pytest
import torch

import typedcb.callbacks
from typedcb.callback import Callback
from typedcb.hooks import HOOKS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))
REFERENCE = "::: typedcb.callbacks."

HOSTED = ("lightning", "ignite", "skorch", "transformers", "fastai", "keras")
TRAINERS = {f"docs/hosts/{name}.md": name for name in HOSTED}
"""The pages whose code runs another trainer, and what that is imported as; without it their code is not run."""

OUTPUT = 'text title="prints"'
"""What a fence says that holds what the block before it prints."""


@attrs.frozen
class Fence:
    """A block between fences."""

    info: str
    """What stands behind the opening fence."""

    line: int
    """The line of the opening fence, from 1."""

    text: str
    """What stands between."""


def fences(page: Path) -> list[Fence]:
    """The fenced blocks of a page, in their order."""
    found: list[Fence] = []
    opened: tuple[str, str, int] | None = None
    lines: list[str] = []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = re.match(r"(```+|~~~+)(.*)", line)
        if opened is None and fence:
            opened, lines = (fence[1], fence[2].strip(), number), []
        elif opened is not None and line.strip() == opened[0]:
            found.append(Fence(opened[1], opened[2], "\n".join(lines)))
            opened = None
        else:
            lines.append(line)
    assert opened is None, f"{name_of(page)}:{opened and opened[2]} opens a fence that nothing closes"
    return found


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^(```+|~~~+).*?^\1\s*$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def table_rows(page: Path) -> list[list[str]]:
    """The rows of a page's tables, by their cells."""
    rows = [line for line in prose(page).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_its_code_runs_and_prints_what_it_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if trainer := TRAINERS.get(name_of(page)):
        if not find_spec(trainer):
            pytest.skip(f"{trainer} is not installed: make hosts tests its page in an environment of its own")
        warnings.simplefilter("ignore")  # what a trainer has to say is its own affair; pytest puts the filters back
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    printed = io.StringIO()
    try:
        for fence in fences(page):
            if fence.info == "python":
                printed = io.StringIO()
                code = compile("\n" * fence.line + fence.text, name_of(page), "exec", dont_inherit=True)
                with redirect_stdout(printed):
                    exec(code, vars(module))
            elif fence.info == OUTPUT:
                shown = "\n".join(line.rstrip() for line in printed.getvalue().splitlines())
                assert shown.rstrip() == fence.text.rstrip(), f"{name_of(page)}:{fence.line} is not what is printed"
    finally:
        torch.random.set_rng_state(state)


def test_blocks_say_what_they_are() -> None:
    known = {"python", "text", 'text title="prints, for example"', OUTPUT, "", "shell", "toml", "ini"}
    unknown = [(name_of(page), fence.line, fence.info) for page in PAGES for fence in fences(page)]
    assert [place for place in unknown if place[2] not in known] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_it_links_to_exists(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    missing: list[str] = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        linked = page if not path else (page.parent / path).resolve()
        if not linked.exists() or (anchor and not has_anchor(linked, anchor)):
            missing.append(target)
    assert missing == []


def has_anchor(page: Path, anchor: str) -> bool:
    """Whether a page has an anchor: a heading, or something that its reference shows."""
    heads = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    slugs = {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", head.lower()).strip()) for head in heads}
    shown = re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)
    return anchor in slugs or any(
        anchor == name
        or (anchor.startswith(f"{name}.") and hasattr(importlib.import_module(name), anchor[len(name) + 1 :]))
        for name in shown
    )


def test_every_picture_is_shown_and_small() -> None:
    shown = {
        (page.parent / target).resolve()
        for page in PAGES
        for target in re.findall(r"!\[[^\]]+\]\(([^)\s]+)\)", prose(page))
    }
    pictures = set((DOCS / "img").iterdir())
    assert shown == pictures
    assert [picture.name for picture in pictures if picture.stat().st_size > 60_000] == []


def test_every_picture_has_its_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS)
    drawn = importlib.import_module("pictures").PICTURES
    taken = {"trace-page.png"}  # by docs/screenshots.py, in a browser
    assert {f"{name}.png" for name in drawn} | taken == {picture.name for picture in (DOCS / "img").iterdir()}


def test_every_public_callback_has_a_section() -> None:
    public = {name for name in vars(typedcb.callbacks) if not name.startswith("_")}
    public -= {name for name, value in vars(typedcb.callbacks).items() if isinstance(value, ModuleType)}
    sections = [
        line.removeprefix(REFERENCE)
        for page in (DOCS / "callbacks").glob("*.md")
        for line in page.read_text().splitlines()
        if line.startswith(REFERENCE)
    ]
    assert sorted(section for section in sections if "." not in section) == sorted(public)


def test_the_overview_links_to_every_page_of_callbacks() -> None:
    overview = (DOCS / "callbacks" / "index.md").read_text()
    pages = {page.name for page in (DOCS / "callbacks").glob("*.md")} - {"index.md"}
    assert {name for name in pages if f"]({name}" not in overview} == set()


def test_every_page_has_its_place_in_the_navigation() -> None:
    named = re.findall(r"^\s*- (?:[^:\n]+: )?([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))


def test_the_tables_say_what_the_package_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS)
    tables = importlib.import_module("tables")
    for name in tables.TABLES:
        assert tables.written(name) == (DOCS / name).read_text(), "run python docs/tables.py"


def test_the_table_of_orders_is_that_of_the_classes() -> None:
    rows = {cells[0]: re.findall(r"`(\w+)`", cells[1]) for cells in table_rows(DOCS / "order-and-dependencies.md")[2:]}
    said = {name: int(order.replace("\N{MINUS SIGN}", "-")) for order, names in rows.items() for name in names}
    classes = {name: value for name, value in vars(typedcb.callbacks).items() if isinstance(value, type)}
    orders = {name: value.order for name, value in classes.items() if issubclass(value, Callback) and value.order}
    assert said == orders


@pytest.mark.parametrize("page", sorted(DOCS.glob("from-*.md")), ids=name_of)
def test_what_stands_for_a_foreign_hook_is_a_hook(page: Path) -> None:
    ours = [cells[1] for cells in table_rows(page) if re.search(r"`[\w.]+`", cells[0])]
    assert len(ours) > 5
    named = [name for cell in ours for name in re.findall(r"`((?:begin|after)_\w+)`", cell)]
    assert set(named) <= set(HOOKS)
