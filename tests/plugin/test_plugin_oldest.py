"""The plugin under the oldest mypy that pyproject.toml admits; the other tests run it under the newest."""

from __future__ import annotations

from oldest import check, oldest
from running import ROOT


def test_the_oldest_mypy_reports_the_marked_lines_and_no_others() -> None:
    assert check(oldest()) == []


def test_the_documents_name_the_oldest_mypy() -> None:
    version = oldest().removesuffix(".0")
    assert f"works with mypy {version} and later" in (ROOT / "docs" / "mypy-plugin.md").read_text(encoding="utf-8")
