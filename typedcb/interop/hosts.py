"""What each trainer can do for typed callbacks. No trainer is imported here.

The tests in tests/interop/hosting hold each of these against what happens when the trainer runs, and write the table in
docs/hosts.md from what they have measured.
"""

from __future__ import annotations

from typing import Final

from ..hosted import EVERYTHING, Host
from ..outcomes import CancelBatch, CancelEpoch, CancelTrain, SkipBackward, SkipStep, SkipValidate, SkipZeroGrad

LIGHTNING: Final = Host("Lightning's Trainer.fit", EVERYTHING)
"""Lightning on one device: every hook, and whatever it may answer."""

_DECISIONS: Final = frozenset[type](
    {CancelBatch, CancelEpoch, CancelTrain, SkipBackward, SkipStep, SkipZeroGrad, SkipValidate}
)

LIGHTNING_SEVERAL: Final = Host(
    "Lightning's Trainer.fit over several processes",
    {name: answers - _DECISIONS for name, answers in EVERYTHING.items()},
    dict.fromkeys(EVERYTHING, "The other processes would not hear of it, and would wait for ever."),
)
"""Lightning over several processes: what one process decides alone, the others do not hear of."""
