"""The catalogue of faults is whole and true: every entry names tests that are there, or says why there are none."""

from __future__ import annotations

import subprocess
import sys

import pytest
from catalogue import DOCUMENT, FAULTS, ROOT, SECTIONS, document
from fault import Fault

UNFINISHED = "ABCDEF"
"""The sections that may still have entries to be written."""


def test_every_fault_stands_in_it_once() -> None:
    expected = [f"{letter}{n + 1}" for letter, (_, count) in SECTIONS.items() for n in range(count)]
    assert [fault.id for fault in FAULTS] == expected
    assert len(expected) == 78


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_a_fault_has_tests_or_a_reason_and_not_both(fault: Fault) -> None:
    if fault.pending:
        assert fault.id[0] in UNFINISHED, "an entry of another section is written"
        assert not fault.tests and not fault.reason, "it is written, so that it is not pending"
        return
    assert bool(fault.tests) != bool(fault.reason)
    assert fault.here


def test_the_tests_that_it_names_are_collected() -> None:
    named = {test for fault in FAULTS for test in fault.tests}
    files = sorted({test.partition("::")[0] for test in named})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    collected = {line.partition("[")[0] for line in told.stdout.splitlines() if "::" in line}
    assert sorted(named - collected) == [], told.stdout[-2000:] + told.stderr[-2000:]


def test_the_document_is_written_of_it() -> None:
    assert document() == DOCUMENT.read_text(encoding="utf-8"), "run python tests/faults/catalogue.py"
