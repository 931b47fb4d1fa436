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

LIGHTNING_SCALED: Final = Host(
    "Lightning's Trainer.fit in half precision with a GradScaler",
    {**EVERYTHING, "after_backward": frozenset()},
    {"after_backward": 'Its scaler has no way back from there: train in another precision, such as "bf16-mixed".'},
)
"""Lightning with precision="16-mixed" on a GPU: once the gradients are unscaled, the step has to be taken."""

IGNITE: Final = Host("Ignite's engine with the step function of hosted.trainer", EVERYTHING)
"""Ignite with our step functions: every hook, and whatever it may answer."""

_INSIDE: Final = "It happens inside the engine's own step function: make the engine by hosted.trainer(...)."

IGNITE_ENGINE: Final = Host(
    "Ignite's engine with a step function of its own",
    {
        name: answers - {CancelBatch}
        for name, answers in EVERYTHING.items()
        if name not in ("after_pred", "after_loss", "after_backward", "after_step", "after_cancel_batch")
    },
    dict.fromkeys(
        ("begin_batch", "after_pred", "after_loss", "after_backward", "after_step", "after_cancel_batch"), _INSIDE
    ),
)
"""Ignite with a step function of the user's: what happens inside it, no callback hears of."""

SKORCH: Final = Host("skorch's NeuralNet with TypedNet", EVERYTHING)
"""skorch with our mixin: every hook, and whatever it may answer."""
