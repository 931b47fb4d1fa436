"""What an adapter says that its trainer can do is what was measured, and what the documents' table is made of."""

from __future__ import annotations

import json

import pytest
from driving import ALONE, DRIVERS, driver
from measuring import MEASURED, declared, measure

KNOWN = json.loads(MEASURED.read_text())


@pytest.mark.parametrize("name", [*DRIVERS, *ALONE])
def test_what_a_trainer_does_is_what_its_adapter_says_and_what_is_written_down(name: str) -> None:
    host = driver(name)
    measured = measure(host)
    assert measured == declared(host)
    assert KNOWN[name] == {"host": host.host.name, "hooks": measured}, "run tests/interop/hosting/measuring.py"


def test_every_trainer_is_written_down() -> None:
    assert list(KNOWN) == [*DRIVERS, *ALONE]
