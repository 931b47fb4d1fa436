"""The types in stubs/ are compared with those packages that are installed here; `make stubs` has the others."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from peers import PEERS, STUBS, TYPED, check, pins

INSTALLED = ("sklearn", *(package for package in PEERS if find_spec(package)))


def test_stubs_say_what_their_packages_do() -> None:
    assert check(*INSTALLED) == ""


def test_a_wrong_signature_in_a_stub_is_found(tmp_path: Path) -> None:
    (tmp_path / "thing.py").write_text("def grow(by: int = 3, /) -> None: ...\n\nVERSION = 1\n")
    (tmp_path / "thing.pyi").write_text("def grow(by: int = 4, /) -> None: ...\n")
    assert check("thing", stubs=tmp_path).startswith("thing.grow is inconsistent")


@pytest.mark.parametrize("package", PEERS)
def test_a_stub_names_the_version_that_it_is_checked_with(package: str) -> None:
    first = (STUBS / package / "__init__.pyi").read_text().splitlines()[0]
    [pin] = [pin for pin in pins() if pin.startswith(f"{PEERS[package]}==")]
    assert first.split(",")[0] == f"# {pin.replace('==', ' ')}"


@pytest.mark.parametrize("package", [package for package in INSTALLED if package not in TYPED])
def test_no_stub_stands_before_types_that_a_package_brings(package: str) -> None:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    assert not (Path(spec.origin).parent / "py.typed").exists()
