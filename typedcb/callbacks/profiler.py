"""torch.profiler over a few batches of a fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, ClassVar, Optional, cast

import torch.profiler
from torch.profiler import ProfilerAction, profile
from typing_extensions import override

from ..callback import AnyCallback
from ..cell import Cell, cell
from ..events import AfterBatch, AfterFit, BeginFit, Phase
from ..ranks import Where


@dataclass(frozen=True)
class Profiler(AnyCallback):
    """Profiles training batches, and writes a trace for each round of them.

    A round leaves `wait` batches alone, runs `warmup` under the profiler without keeping them, and keeps `active`. The
    traces are Chrome's format: chrome://tracing and Perfetto show them.
    """

    order: ClassVar[int] = 100

    ranks: ClassVar[Where] = "main"

    phases: ClassVar[tuple[Phase, ...]] = ("train",)

    folder: Path
    """Where the traces go, as `round-0.json` and so on; it is made when it is missing."""

    wait: int = 5
    """How many batches of a round are left alone."""

    warmup: int = 1
    """How many run under the profiler and are not kept."""

    active: int = 3
    """How many are kept."""

    rounds: int = 1
    """How many rounds there are."""

    profiler: Cell[Optional[profile]] = cell(None, saved=False)
    """The profiler under way."""

    written: Cell[tuple[str, ...]] = cell(())
    """The traces written so far."""

    @override
    def begin_fit(self, event: BeginFit) -> None:
        """Starts the profiler."""
        self.folder.mkdir(parents=True, exist_ok=True)
        turns = _turns(wait=self.wait, warmup=self.warmup, active=self.active, repeat=self.rounds)
        self.profiler.value = profile(schedule=turns, on_trace_ready=self._write)
        self.profiler.value.start()

    @override
    def after_batch(self, event: AfterBatch[object, object, object]) -> None:
        """Goes to the next batch."""
        if self.profiler.value is not None:
            self.profiler.value.step()

    @override
    def after_fit(self, event: AfterFit) -> None:
        """Stops the profiler, which writes a round that is not full."""
        if self.profiler.value is not None:
            self.profiler.value.stop()

    def _write(self, profiler: profile) -> None:
        path = self.folder / f"round-{len(self.written.value)}.json"
        profiler.export_chrome_trace(str(path))
        self.written.value = (*self.written.value, str(path))


def _turns(*, wait: int, warmup: int, active: int, repeat: int) -> Callable[[int], ProfilerAction]:
    # torch leaves the type of what its schedule makes out
    made = torch.profiler.schedule(wait=wait, warmup=warmup, active=active, repeat=repeat)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return cast("Callable[[int], ProfilerAction]", made)
