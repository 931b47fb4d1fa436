"""The page of the plugin: it has each code, an example that is reported with this code alone, and one that is not."""

from __future__ import annotations

import re

import pytest
from running import ROOT

from typedcb.check import CODES, check_text
from typedcb.codes import chosen

_PAGE = (ROOT / "docs" / "mypy-plugin.md").read_text(encoding="utf-8")
_SECTIONS = dict(re.findall(r"^### (typedcb-[\w-]+)\n(.*?)(?=^##|\Z)", _PAGE, re.M | re.S))
_PRELUDE = re.findall(r"```python\n(.*?)```", _PAGE, re.S)[0]


def test_it_has_each_code_in_order() -> None:
    assert list(_SECTIONS) == list(CODES)


@pytest.mark.parametrize("code", CODES)
def test_its_examples_are_reported_and_not(code: str) -> None:
    [bad] = re.findall(r"```text\n(.*?)```", _SECTIONS[code], re.S)
    [good] = re.findall(r"```python\n(.*?)```", _SECTIONS[code], re.S)
    assert {finding.code for finding in check_text(_PRELUDE + bad, chosen(["all"]))} == {code}
    assert check_text(_PRELUDE + good, chosen(["all"])) == []


def test_it_says_which_are_off_by_default() -> None:
    off = {code for code, section in _SECTIONS.items() if section.strip().startswith("Off by default.")}
    assert off == {name for name, code in CODES.items() if not code.default}
