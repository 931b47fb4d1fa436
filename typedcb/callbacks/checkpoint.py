"""Checkpoints of a fit, from which it is taken up as if it had never been left."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Callable, ClassVar, Final, Literal, Optional, Union

import attrs
from typing_extensions import TypeAlias, override

from ..callback import AnyCallback
from ..cell import Cell, Readable, cell
from ..errors import CheckpointError, CheckpointWarning, PeerError
from ..events import (
    AfterBatch,
    AfterCancelTrain,
    AfterEpoch,
    AfterFit,
    AfterStep,
    BeginEpoch,
    BeginFit,
    BeginValidate,
    Failed,
)
from ..extras import require
from ..locks import FolderLock, hold
from ..position import Position
from ..ranks import here
from ..state import InFit, bring_together, captured, in_fit, inexact_parts, instant, modes, with_ranks
from ..store import Draft, clean, draft, next_name, probe, write
from ..together import on_main
from ..tree import Tree
from .stopping import Mode, improved

_Handler: TypeAlias = Union[Callable[[int, Optional[FrameType]], Any], int, None]  # Any: what signal.signal takes

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""What asks a process to end: Ctrl-C, and a scheduler or a container that takes its machine back."""


@attrs.frozen
class _PassStart:
    """The instant at which a pass over the data began."""

    instant: Tree
    """The random states."""

    training: Tree
    """The modules that were in training mode when the epoch began."""


@dataclass(frozen=True)
class Checkpoint(AnyCallback):
    """Writes checkpoints of a fit: `learn.fit(n_epochs, resume=folder)` goes on from the newest that is sound.

    A fit that is taken up goes on bit for bit as the one that was left, also in the middle of a pass over the data: the
    batches that were over are drawn again and thrown away, so that shuffling and augmentation go on where they were. It
    runs after all other callbacks. A batch that fails is never saved.

    Each checkpoint is a directory `step-00000042`, written whole or not at all. An older one is removed when the new
    one has been forced to the disk, and its files are as they were left; whoever loads one compares all of it with its
    checksums, which are those of what was in memory.
    """

    order: ClassVar[int] = 10_000

    learn: InFit
    """Whose state it is: a learner's, which `learn.add` and `cb_funcs` fill in, or that of a loop's parts.

    These are `LoopParts`, or `ObjectiveParts` where objectives are all that is trained.
    """

    folder: Path
    """Where the checkpoints go; it is made where it is missing, and one fit at a time writes there."""

    every_steps: Optional[int] = None
    """A checkpoint after so many steps of the optimizer; of all optimizers together where there are objectives."""

    every_epochs: Optional[int] = 1
    """A checkpoint after so many epochs."""

    every_seconds: Optional[float] = None
    """A checkpoint at the first batch that ends so many seconds after the last one was written."""

    keep_last: int = 3
    """How many of the newest to keep."""

    keep_best: Optional[tuple[Readable[float], Mode]] = None
    """What to watch and which way is better, such as `(stats.valid_loss, "min")`: the best epoch's is kept besides."""

    asynchronous: bool = False
    """Whether a thread writes while training goes on. Its error comes at the next event.

    Tensors are copied first, into memory that is kept for the next checkpoint: as much as model and optimizer take.
    """

    exact: bool = True
    """Whether a fit whose checkpoints could not be gone on from bit for bit is refused when it begins.

    The message says what stands in the way, such as workers that live on from epoch to epoch, and the remedy.
    """

    at_end: bool = False
    """Whether a fit that is ended early leaves a last checkpoint.

    Ctrl-C and SIGTERM then take effect at the end of a batch, after it was saved; a second one at once. After an error
    in the middle of a batch, what is left goes into `failed-...`, which no fit is taken up from.
    """

    on_error: Literal["raise", "warn"] = "raise"
    """Whether a checkpoint that cannot be written ends the fit."""

    best: Cell[float] = cell(math.nan)
    """The best value of what `keep_best` watches."""

    best_name: Cell[Optional[str]] = cell(None)
    """The name of the best epoch's checkpoint."""

    last: Cell[Optional[Path]] = cell(None, saved=False)
    """The checkpoint that was written last; it may still be under way with `asynchronous`."""

    steps: Cell[int] = cell(0)
    """With `every_steps`, how many steps all optimizers had taken when the last batch ended."""

    start: Cell[Optional[_PassStart]] = cell(None)
    """How the pass under way began."""

    saved_at: Cell[Optional[Position]] = cell(None, saved=False)
    """Where the fit was at the last checkpoint."""

    written_at: Cell[float] = cell(0.0, saved=False)
    """When that was, by a clock that only differences are taken of."""

    writer: Cell[Optional[ThreadPoolExecutor]] = cell(None, saved=False)
    """The thread that writes."""

    pending: Cell[Optional[Future[None]]] = cell(None, saved=False)
    """What it is writing."""

    written: Cell[Optional[Draft]] = cell(None, saved=False)
    """What it has written last, whose memory the next one is copied into."""

    lock: Cell[Optional[FolderLock]] = cell(None, saved=False)
    """What keeps others from writing into the folder meanwhile."""

    handlers: Cell[tuple[tuple[int, _Handler], ...]] = cell((), saved=False)
    """The signal handlers that were there before the fit."""

    asked: Cell[Optional[int]] = cell(None, saved=False)
    """The signal that has asked for an end, until the fit ends by it."""

    ended: Cell[bool] = cell(False, saved=False)
    """Whether the fit has been ended by a signal."""

    def __post_init__(self) -> None:
        for name in ("every_steps", "every_epochs", "every_seconds", "keep_last"):
            value: Optional[float] = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"Checkpoint.{name} is {value}, and has to be above 0.")
        if self.on_error not in ("raise", "warn"):
            raise ValueError(f'Checkpoint.on_error is {self.on_error!r}, and has to be "raise" or "warn".')
        if self.keep_best is not None and self.keep_best[1] not in ("min", "max"):
            raise ValueError(f'Checkpoint.keep_best has the mode {self.keep_best[1]!r}: it has to be "min" or "max".')
        for package in ("blake3", "safetensors", "cattrs"):
            require(package, extra="checkpoint")

    @override
    def begin_fit(self, event: BeginFit) -> None:
        """Sees to it that the folder can be written into by this fit alone, and the fit taken up exactly."""
        self._check_exact()
        ranks = here()
        if self.asynchronous and ranks.mesh is not None:
            raise CheckpointError("Checkpoint(asynchronous=True) cannot write shards: leave it out.")
        if ranks.rank == 0:  # which writes for all
            probe(self.folder)
            self.lock.value = hold(self.folder)
        self.written_at.value = time.monotonic()
        if self.asynchronous and ranks.rank == 0:
            self.writer.value = ThreadPoolExecutor(1, "typedcb-checkpoint", initializer=_give_way)
        if self.at_end and threading.current_thread() is threading.main_thread():
            self._listen()

    @override
    def begin_epoch(self, event: BeginEpoch) -> None:
        """Notes the random states with which the training pass begins."""
        self.start.value = _PassStart(instant(self.learn), modes(self.learn))

    @override
    def begin_validate(self, event: BeginValidate) -> None:
        """Notes the random states with which the validation begins."""
        training = self._start().training
        self.start.value = _PassStart(instant(self.learn), training)

    @override
    def after_batch(self, event: AfterBatch[object, object, object]) -> None:
        """Saves, when it is time to; ends the fit, when a signal has asked for it."""
        self._raise_pending(wait=False)
        reached = event.reached
        stepped = isinstance(reached, AfterStep)
        if event.error is not None:
            return
        due = self.every_steps is not None and self._has_reached(self.every_steps, reached.step + stepped)
        if not due and self.every_seconds is not None:
            due = time.monotonic() - self.written_at.value >= self.every_seconds
        if self._agreed(due):
            steps = reached.step + stepped
            self._save(Position(reached.epoch, reached.phase, reached.index + 1, steps, self._objective_steps()))
            self._end_if_asked()

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        """Saves, when it is time to, and keeps the best epoch's checkpoint."""
        self._raise_pending(wait=False)
        where = self.learn.position
        better = False
        if self.keep_best is not None:
            monitor, mode = self.keep_best
            value = float(monitor.value)
            better = improved(value, self.best.value, mode, 0.0)
            if better:
                self.best.value = value
        due = self.every_epochs is not None and not (event.epoch + 1) % self.every_epochs
        if where is not None and self._agreed(due or better):
            self._save(where, best=better)
            self._end_if_asked()

    @override
    def after_cancel_train(self, event: AfterCancelTrain) -> None:
        """Leaves a last checkpoint."""
        where = self.learn.position
        if self.at_end and where is not None and where != self.saved_at.value:
            self._save(where)

    @override
    def after_fit(self, event: AfterFit) -> None:
        """Waits for what is being written, and gives the signal handlers back."""
        for number, handler in self.handlers.value:
            signal.signal(number, handler)
        lock, writer = self.lock.value, self.writer.value
        try:
            self._raise_pending(wait=True)
            failed = isinstance(event.outcome, Failed) and not isinstance(event.outcome.error, PeerError)
            if self.at_end and failed and not self.ended.value and lock is not None:
                self._save_failed()
        finally:
            self.written.value = None
            if writer is not None:
                writer.shutdown()
            if lock is not None:
                lock.release()
            if self.asked.value is not None:  # after the last batch: it is not lost
                os.kill(os.getpid(), self.asked.value)

    def _objective_steps(self) -> tuple[int, ...]:
        where = self.learn.position
        return () if where is None else where.objective_steps

    def _has_reached(self, every: int, own_steps: int) -> bool:
        """Whether a multiple of so many steps has been reached since the last batch: objectives step several times."""
        before = self.steps.value
        self.steps.value = own_steps + sum(self._objective_steps())
        return self.steps.value // every > before // every

    def _agreed(self, due: bool) -> bool:
        """Whether to save now; several ranks do what the main one's clock says, and what a signal has told any."""
        ranks = here()
        if ranks.world_size > 1 and (self.at_end or self.every_seconds is not None):
            votes = ranks.gather((int(due), self.asked.value or 0))
            due = bool(votes[0][0])
            self.asked.value = max(asked for _, asked in votes) or None
        return due or self.asked.value is not None

    def _check_exact(self) -> None:
        """Refuses what cannot be taken up exactly."""
        reasons = inexact_parts(self.learn) if self.exact else []
        if reasons:
            lines = "".join(f"\n  {reason}." for reason in reasons)
            raise CheckpointError(
                f"no checkpoint of this fit could be gone on from bit for bit:{lines}\nCheckpoint(exact=False) accepts "
                f"that: whatever else there is goes on exactly, and so does all of it if this draws no random numbers "
                f"and keeps no state."
            )

    def _end_if_asked(self) -> None:
        """Ends the fit, when a signal has asked for it and the last checkpoint is written."""
        asked, self.asked.value = self.asked.value, None
        if asked is not None:
            self.ended.value = True
            self._raise_pending(wait=True)
            raise KeyboardInterrupt if asked == signal.SIGINT else SystemExit(128 + asked)

    def _start(self) -> _PassStart:
        """How the pass under way began."""
        return self.start.value or _PassStart(instant(self.learn), modes(self.learn))

    def _save(self, where: Position, *, best: bool = False) -> None:
        """Writes a checkpoint of this moment, or has it written."""
        try:
            self._raise_pending(wait=True)
            target = self.folder / here().exchange(next_name(self.folder, where.all_steps).name)[0]
            if best:
                self.best_name.value = target.name
            begun = self._start()
            start = None if where.phase is None else begun.instant
            bring_together(self.learn)
            fit = with_ranks(in_fit(self.learn, where, start, instant(self.learn)))
            training = begun.training if where.phase == "valid" else None
            content = draft(captured(self.learn, fit, training), copy=self.asynchronous, into=self.written.value)
            self.saved_at.value, self.last.value, self.written_at.value = where, target, time.monotonic()
            job = partial(_write, target, content, self.keep_last, self.best_name.value)
            if self.asynchronous and here().rank:
                return  # the main rank's thread writes
            if content.sharded:
                job()
            elif self.writer.value is None:
                on_main(job)
            else:
                self.written.value, self.pending.value = content, self.writer.value.submit(job)
        except CheckpointError as error:
            self._failed(error)

    def _save_failed(self) -> None:
        """Writes what an error has left, beside the checkpoints that a fit can be taken up from."""
        done = "" if self.saved_at.value is None else f"{self.saved_at.value.all_steps:08d}-"
        target = self.folder / f"failed-after-{done}{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
        content = draft(captured(self.learn), copy=False)
        if content.sharded:
            return  # the other ranks, which have the other shards, are gone
        try:
            write(target, content)
        except CheckpointError as error:
            warnings.warn(f"what the error has left could not be saved: {error}", CheckpointWarning, stacklevel=2)

    def _raise_pending(self, *, wait: bool) -> None:
        """Raises the error of what was being written, if it is over."""
        pending = self.pending.value
        if pending is None or not (wait or pending.done()):
            return
        self.pending.value = None
        try:
            pending.result()
        except CheckpointError as error:
            self._failed(error)

    def _failed(self, error: CheckpointError) -> None:
        if self.on_error == "raise":
            raise error
        warnings.warn(f"the fit goes on without a checkpoint: {error}", CheckpointWarning, stacklevel=2)

    def _listen(self) -> None:
        """Has signals end the fit at the end of a batch."""
        own_process = os.getpid()
        before: dict[int, _Handler] = {}

        def handle(number: int, frame: Optional[FrameType]) -> None:
            if os.getpid() == own_process and self.asked.value is None:
                self.asked.value = number
                return
            signal.signal(number, before[number])  # a worker of a loader, or somebody who asks twice
            os.kill(os.getpid(), number)

        for number in SIGNALS:
            before[number] = signal.signal(number, handle)
        self.handlers.value = tuple(before.items())


_GIVES_WAY: Final = 5
"""A third of training's share of a processor that both want; with far less the next checkpoint waits for this one."""


def _give_way() -> None:
    """Has the thread that writes wait for training wherever both could run."""
    if sys.platform == "linux":  # a thread has a priority of its own there; elsewhere it is the process's
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _GIVES_WAY)


def _write(target: Path, content: Draft, keep: int, best: Optional[str]) -> None:
    """Writes a checkpoint, and removes those that are too many by then."""
    written = write(target, content)
    if here().rank == 0:  # also in the thread that writes, where there is but one
        clean(target.parent, keep, best, written)
