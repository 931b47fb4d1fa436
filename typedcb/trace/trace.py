"""The callback that records a fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Optional, Sequence, get_args

from typing_extensions import override

from ..callback import AnyCallback, SomeCallback
from ..cell import Cell, cell
from ..dispatch import Watcher
from ..needs import HasModelAndOpt
from ..ranks import Where
from .framing import Writer
from .options import Field, HookName, Options, Watch
from .recorder import Recorder

ALL_EVENTS: Final[tuple[HookName, ...]] = get_args(HookName)
ALL_FIELDS: Final[tuple[Field, ...]] = get_args(Field)
ALL_WATCHED: Final[tuple[Watch, ...]] = get_args(Watch)


@dataclass(frozen=True)
class Trace(AnyCallback, Watcher):
    """Records every event into a file: who was called, for how long, what each answered, and what each changed.

    Tensors are kept as shape, type, mean, standard deviation and hash, and never whole. A record is in the file as soon
    as its event is over, so that a run that is killed has its trace up to the end. `typedcb trace show` shows it,
    `typedcb trace diff` compares two.

    It changes nothing: a fit with a Trace comes to the same weights as one without, bit for bit. Of several processes
    it records the main rank; parameters that are sharded are not looked at.

    Raises:
        ValueError: A setting is none.
        TraceError: The file cannot be written; raised when the fit begins.
    """

    order: ClassVar[int] = -1_000_000

    ranks: ClassVar[Where] = "main"

    learn: HasModelAndOpt
    """Whose weights and hyperparameters are watched: a learner, which `learn.add` and `cb_funcs` fill in, or Parts."""

    path: Path
    """The file. What is there is replaced by the first fit of this Trace; further fits are added."""

    every_batches: int = 1
    """Batches are recorded whose index is a multiple of this; events outside of batches always are."""

    events: tuple[HookName, ...] = ALL_EVENTS
    """The events that are recorded. Others cost nothing."""

    fields: tuple[Field, ...] = ALL_FIELDS
    """Which of a batch's fields are recorded."""

    watch: tuple[Watch, ...] = ALL_WATCHED
    """What is watched beside events: cells, weights, gradients, hyperparameters, random states."""

    hashes: bool = True
    """Whether tensors of events and cells are hashed. Weights and gradients always are."""

    stats: bool = True
    """Whether the mean and the standard deviation of tensors are computed."""

    each_weight: bool = True
    """Whether every weight and gradient is recorded by name, beside all of them together."""

    thorough: bool = False
    """Whether every weight is hashed after every turn: finds who changes one through `weight.data`. It is slow."""

    sync: bool = False
    """Whether tensors of other devices than the CPU are fetched, which waits for the device each time. Without it only
    their shapes and types are recorded, and neither weights nor gradients."""

    append: bool = False
    """Whether a trace that is there is gone on with, such as that of the fit that is taken up."""

    block: int = 1 << 16
    """How many bytes of records are held in memory, to be compressed together."""

    writer: Cell[Optional[Writer]] = cell(None, reset="never", saved=False)
    """What writes; there once a fit has begun."""

    def __post_init__(self) -> None:
        if self.every_batches < 1:
            raise ValueError(f"Trace.every_batches is {self.every_batches}, and has to be at least 1.")
        if self.block < 0:
            raise ValueError(f"Trace.block is {self.block}, and has to be at least 0.")
        _check("events", self.events, ALL_EVENTS)
        _check("fields", self.fields, ALL_FIELDS)
        _check("watch", self.watch, ALL_WATCHED)

    @override
    def watching(self, callbacks: Sequence[SomeCallback]) -> Recorder:
        """What records the turns of callbacks."""
        options = Options(
            self.every_batches,
            frozenset(self.events),
            frozenset(self.fields),
            frozenset(self.watch),
            self.hashes,
            self.stats,
            self.each_weight,
            self.thorough,
            self.sync,
        )
        watched = [callback for callback in callbacks if not isinstance(callback, Watcher)]
        return Recorder(self, self.learn, watched, options, self._open)

    def _open(self) -> Writer:
        """What the next run is written by: the first one begins the file, unless it is to be gone on with."""
        goes_on = self.append or self.writer.value is not None
        if self.writer.value is not None:
            self.writer.value.close()
        self.writer.value = Writer(Path(self.path), append=goes_on, block=self.block)
        return self.writer.value


def _check(name: str, given: Sequence[str], known: Sequence[str]) -> None:
    for word in given:
        if word not in known:
            raise ValueError(f"Trace.{name} has {word!r}, and takes {', '.join(known)}.")
