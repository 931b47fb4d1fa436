"""Makes what other tests share importable: the small learners, and the runs of the type checkers."""

from __future__ import annotations

import sys
from pathlib import Path

_TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_TESTS), str(_TESTS / "typing")]
