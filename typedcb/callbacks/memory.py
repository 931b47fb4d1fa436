"""How much memory a fit takes."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import torch
from typing_extensions import override

from ..callback import AnyCallback
from ..cell import Series, series
from ..device import device_of
from ..events import AfterEpoch, BeginEpoch
from ..needs import HasModel


@dataclass(frozen=True)
class PeakMemory(AnyCallback):
    """The most memory that each epoch took, in bytes.

    On a GPU it is what torch had allocated at the epoch's peak (`torch.cuda.max_memory_allocated`). On the CPU it is
    the largest resident size that the process has ever had, which never falls.
    """

    learn: HasModel
    """Whose model's device is looked at; `learn.add` and `cb_funcs` fill it in."""

    peaks: Series[int] = series()
    """The peak of each epoch, in bytes."""

    @override
    def begin_epoch(self, event: BeginEpoch) -> None:
        """Starts anew, where the device can."""
        device = device_of(self.learn.model)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        """Keeps the epoch's peak."""
        device = device_of(self.learn.model)
        self.peaks.append(torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _peak_of_process())


def _peak_of_process() -> int:
    import resource  # noqa: PLC0415  # Windows has none

    unit = 1 if sys.platform == "darwin" else 1024  # what getrusage counts in
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
