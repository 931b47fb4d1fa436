"""The type of every public symbol is declared: pyright knows each, and no checker could infer another."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def verified() -> Any:
    """What `pyright --verifytypes` reports."""
    pyright = shutil.which("pyright", path=str(Path(sys.executable).parent))
    assert pyright, "pyright is not installed: pip install -e '.[dev]' brings it"
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))  # here it asks the first python
    stubs = str(ROOT / "stubs")  # for packages without types, and for those that are not installed
    done = subprocess.run(
        [pyright, "--verifytypes", "typedcb", "--ignoreexternal", "--outputjson"],
        cwd=ROOT,
        env={**os.environ, "PATH": path, "PYTHONPATH": stubs, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return json.loads(done.stdout)["typeCompleteness"]


def test_every_symbol_has_a_known_type() -> None:
    complete = verified()
    wrong = [
        f"{symbol['name']}: {diagnostic['message']}"
        for symbol in complete["symbols"]
        if not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"]
        for diagnostic in symbol["diagnostics"]
    ]
    assert wrong == []
    assert complete["completenessScore"] == 1
    for counts in (complete["exportedSymbolCounts"], complete["otherSymbolCounts"]):
        assert counts["withKnownType"] > 0
        assert counts["withAmbiguousType"] == counts["withUnknownType"] == 0
