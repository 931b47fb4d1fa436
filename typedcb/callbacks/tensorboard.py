"""Curves in TensorBoard."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, ClassVar, Optional, Protocol

from typing_extensions import override

from ..callback import AnyCallback
from ..cell import Cell, cell
from ..events import AfterEpoch, AfterFit, BeginFit, LossEvent, Phase
from ..extras import require
from ..needs import HasOpt
from ..ranks import Where
from .hyper import LR, Hyper
from .progress import Tabular
from .unwritten import OnLogError, check_on_error, not_written


class ScalarWriter(Protocol):
    """What is used of torch's SummaryWriter, whose methods have no types."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """Writes a point of a curve."""
        ...

    def close(self) -> None:
        """Writes what is left, and closes the file."""
        ...


@dataclass(frozen=True)
class TensorBoard(AnyCallback):
    """Writes the loss and a hyperparameter every few batches, and the figures of each epoch, for TensorBoard.

    Fetching a loss from its device waits for it, so that `every` is also how often training waits.
    """

    order: ClassVar[int] = 80

    ranks: ClassVar[Where] = "main"

    phases: ClassVar[tuple[Phase, ...]] = ("train",)

    learn: HasOpt
    """Whose optimizer is read; `learn.add` and `cb_funcs` fill it in."""

    folder: Path
    """Where the event files go."""

    stats: Optional[Tabular] = None
    """Where the figures of an epoch come from, such as an `AvgStats`."""

    every: int = 10
    """Every how many batches the loss is written."""

    param: Hyper = LR
    """Which hyperparameter is written, of each parameter group."""

    on_error: OnLogError = "warn"
    """Whether the fit goes on, with a warning, when nothing can be written; a file that cannot be opened ends it."""

    batches: Cell[int] = cell(0)
    """How many training batches have had a loss."""

    writer: Cell[Optional[ScalarWriter]] = cell(None, saved=False)
    """The open writer."""

    def __post_init__(self) -> None:
        require("tensorboard", extra="tensorboard")
        check_on_error("TensorBoard", self.on_error)
        if self.every < 1:
            raise ValueError(f"TensorBoard.every is {self.every}, and has to be at least 1 batch.")

    @override
    def begin_fit(self, event: BeginFit) -> None:
        """Opens the writer."""
        from torch.utils.tensorboard.writer import SummaryWriter  # noqa: PLC0415  # tensorboard is an extra

        self.writer.value = SummaryWriter(self.folder)

    @override
    def after_loss(self, event: LossEvent) -> None:
        """Writes the loss and the hyperparameter, when it is their turn."""
        if self.batches.value % self.every == 0:
            self._write("loss/batch", float(event.loss.detach()), self.batches.value)
            for place, group in enumerate(self.learn.opt.param_groups):
                self._write(f"{self.param.key}/group{place}", self.param.read(group), self.batches.value)
        self.batches.value += 1

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        """Writes the figures of the epoch."""
        if self.stats is not None:
            for name, figure in zip(self.stats.header, self.stats.row, strict=True):
                self._write(f"epoch/{name}", figure, event.epoch)

    @override
    def after_fit(self, event: AfterFit) -> None:
        """Closes the writer."""
        self._use(lambda writer: writer.close())

    def _write(self, name: str, figure: float, step: int) -> None:
        self._use(lambda writer: writer.add_scalar(name, figure, step))

    def _use(self, act: Callable[[ScalarWriter], None]) -> None:
        """Does something with the writer, and does without it once that has failed."""
        writer = self.writer.value
        if writer is None:
            return
        try:
            act(writer)
        except OSError as error:  # its thread writes: the error is that of an earlier figure
            self.writer.value = None
            not_written(f"TensorBoard's file in {self.folder}", error, self.on_error)
