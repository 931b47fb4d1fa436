"""A run of training in a thread of its own, and what it lets others see.

Two callbacks are all that stands between the loop and the service. `Publish` puts what happens into a feed, as frozen
objects; `Cancellable` looks at a `threading.Event` with each batch, and answers CancelTrain. Neither knows of the web.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Callable, ClassVar, Generator, Literal, Optional, Union

import msgspec
from typing_extensions import TypeAlias, override

from typedcb import (
    AfterEpoch,
    AnyCallback,
    BatchEvent,
    BeginFit,
    Cancelled,
    CancelTrain,
    Cell,
    Completed,
    Failed,
    FitOutcome,
    LossEvent,
    Phase,
    cell,
)
from typedcb.callbacks import AvgStats, SmoothLoss

_LOG = logging.getLogger(__name__)


class Begun(msgspec.Struct, frozen=True, tag="begun"):
    """The fit has begun."""

    n_epochs: int
    """How many epochs it is to have."""


class Trained(msgspec.Struct, frozen=True, tag="trained"):
    """So many batches have been trained on."""

    epoch: int
    """The epoch, from 0."""

    batch: int
    """The batch in it, from 0."""

    n_batches: Optional[int]
    """How many batches the epoch has."""

    loss: float
    """The smoothed loss."""


class Validated(msgspec.Struct, frozen=True, tag="validated"):
    """An epoch is over."""

    epoch: int
    """The epoch, from 0."""

    train_loss: float
    """Its mean training loss."""

    valid_loss: float
    """The mean loss of its validation."""


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """The run is over; nothing follows."""

    how: Literal["completed", "cancelled", "failed"]
    """In which way."""

    why: str = ""
    """The reason of a cancel, or the error in words."""


News: TypeAlias = Union[Begun, Trained, Validated, Ended]
"""What a run tells of itself."""


class Feed:
    """All that a run has told so far; one thread adds to it, any number of others read."""

    def __init__(self) -> None:
        self._news: list[News] = []
        self._wakes: list[Callable[[], object]] = []
        self._lock = threading.Lock()

    def publish(self, news: News) -> None:
        """Adds something, and wakes those who wait.

        Args:
            news: What has happened.
        """
        with self._lock:
            self._news.append(news)
            for wake in self._wakes:
                wake()

    def since(self, seen: int) -> tuple[News, ...]:
        """What has been told after the first `seen` items.

        Args:
            seen: How many are known.
        """
        with self._lock:
            return tuple(self._news[seen:])

    @contextmanager
    def waking(self, wake: Callable[[], object]) -> Generator[None]:
        """Has whatever is told meanwhile wake somebody: a thread for each who waits would be too many.

        Args:
            wake: Called in the thread that tells of it, and not to wait there.
        """
        with self._lock:
            self._wakes.append(wake)
        try:
            yield
        finally:
            with self._lock:
                self._wakes.remove(wake)

    @property
    def latest(self) -> Optional[News]:
        """The last item; None before the first."""
        with self._lock:
            return self._news[-1] if self._news else None


@dataclass(frozen=True)
class Publish(AnyCallback):
    """Puts a fit's progress into a feed."""

    feed: Feed
    """Where to."""

    stats: AvgStats
    """What an epoch came to; it runs before this, as does `smooth`."""

    smooth: SmoothLoss
    """How the loss is."""

    every: int = 10
    """Every so many training batches are told of, since to read a loss waits for the device."""

    @override
    def begin_fit(self, event: BeginFit) -> None:
        """Tells of the beginning."""
        self.feed.publish(Begun(event.n_epochs))

    @override
    def after_loss(self, event: LossEvent) -> None:
        """Tells of a training batch."""
        if event.phase == "train" and event.index % self.every == 0:
            self.feed.publish(Trained(event.epoch, event.index, event.n_batches, self.smooth.value))

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        """Tells of an epoch."""
        self.feed.publish(Validated(event.epoch, self.stats.train_loss.value, self.stats.valid_loss.value))


@dataclass(frozen=True)
class Cancellable(AnyCallback):
    """Cancels the fit at its next batch once somebody has asked for it, in training and in validation."""

    order: ClassVar[int] = -100
    phases: ClassVar[tuple[Phase, ...]] = ("train", "valid")

    asked: threading.Event
    """Set by whoever wants the fit to end."""

    batches: Cell[int] = cell(0)
    """How many batches had begun."""

    @override
    def begin_batch(self, event: BatchEvent) -> Optional[CancelTrain]:
        """Looks."""
        self.batches.value += 1
        return CancelTrain("asked for by a request") if self.asked.is_set() else None


def ended(outcome: FitOutcome) -> Ended:
    """How a fit ended, in plain words."""
    match outcome:
        case Completed():
            return Ended("completed")
        case Cancelled(cancel=cancel):
            return Ended("cancelled", cancel.reason)
        case Failed(error=error):
            return Ended("failed", f"{type(error).__name__}: {error}")


Fit: TypeAlias = Callable[[int, AvgStats, SmoothLoss, tuple[AnyCallback, ...]], FitOutcome]
"""Trains: with so many epochs, the figures to take, and callbacks that work in any loop. It says how that ended."""


class Run:
    """A fit in a thread of its own.

    Args:
        fit: What trains.
        n_epochs: How many epochs.
        number: Which run it is.
    """

    def __init__(self, fit: Fit, n_epochs: int, number: int) -> None:
        self.number = number
        self.feed = Feed()
        self._asked = threading.Event()
        self._fit = fit
        self._n_epochs = n_epochs
        self._thread = threading.Thread(target=self._train, name=f"run {number}", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def cancel(self) -> None:
        """Asks the fit to end at its next batch; it does not wait for that."""
        self._asked.set()

    def join(self, timeout: float) -> bool:
        """Waits for the end of the thread: whether it came.

        Args:
            timeout: For how many seconds.
        """
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return isinstance(self.feed.latest, Ended)

    def _train(self) -> None:
        """Trains, and tells of the end: a run is over when its thread is, and not when a fit in it is."""
        stats, smooth = AvgStats(), SmoothLoss(beta=0.9)
        callbacks = (Publish(self.feed, stats, smooth), Cancellable(self._asked))
        try:
            outcome = self._fit(self._n_epochs, stats, smooth, callbacks)
        except BaseException as error:  # noqa: BLE001  # the thread's last: nobody else would tell of it, or log it
            _LOG.exception("run %d failed", self.number)
            outcome = Failed(error)
        self.feed.publish(ended(outcome))
