"""The catalogue of faults is whole and true: every entry names tests that are there, or says why there are none."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest
from catalogue import DOCUMENT, FAULTS, ROOT, SECTIONS, document
from fault import Fault


def test_every_fault_stands_in_it_once() -> None:
    expected = [f"{letter}{n + 1}" for letter, (_, count) in SECTIONS.items() for n in range(count)]
    assert [fault.id for fault in FAULTS] == expected
    assert len(expected) == 78


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_a_fault_has_tests_or_a_reason_and_not_both(fault: Fault) -> None:
    assert bool(fault.tests) != bool(fault.reason)
    assert fault.here


def test_the_tests_that_it_names_are_collected(request: pytest.FixtureRequest) -> None:
    collected: dict[str, set[str]] = defaultdict(set)
    for item in request.session.items:
        file, _, name = item.nodeid.partition("::")
        collected[file].add(name.partition("[")[0])
    for test in {test for fault in FAULTS for test in fault.tests}:
        file, _, name = test.partition("::")
        if file not in collected or request.config.args != request.config.getini("testpaths"):  # a part of them runs
            collected[file] |= functions_of(file)
        assert name in collected[file], test


def functions_of(file: str) -> set[str]:
    """The functions of a file that pytest takes for tests."""
    assert Path(file).name.startswith("test_")
    body = ast.parse((ROOT / file).read_text(encoding="utf-8")).body
    return {node.name for node in body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_the_document_is_written_of_it() -> None:
    assert document() == DOCUMENT.read_text(encoding="utf-8"), "run python tests/faults/catalogue.py"
