"""How far a batch, or a turn in one, has come; from SKIPPED on, nothing that its body calls does anything more."""

from __future__ import annotations

from typing import Final

BEGUN: Final = 0
PREDICTED: Final = 1
LOSS: Final = 2
BACKWARD: Final = 3
STEPPED: Final = 4
SKIPPED: Final = 5
CANCELLED: Final = 6
ENDED: Final = 7
