"""Means of the loss and of metrics over an epoch, right for an uneven last batch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Callable, Generic, Protocol, Union

import attrs
import torch
from torch import Tensor
from typing_extensions import Never, TypeAlias, TypeIs, TypeVar, override

from ..callback import Callback
from ..cell import Cell, View, cell
from ..data import batch_size
from ..errors import EngineError
from ..events import AfterEpoch, AfterLoss, AfterValidate, BeginEpoch, BeginValidate, P, Y
from ..ranks import here
from ..several import as_tuple

Number: TypeAlias = Union[Tensor, float]

# Unlike the hooks' own, these default to object: AvgStats() without a metric fits every loop.
P_contra = TypeVar("P_contra", contravariant=True, default=object)
Y_contra = TypeVar("Y_contra", contravariant=True, default=object)


class StatefulMetric(Protocol[P_contra, Y_contra]):
    """A metric that keeps its own sums, as those of torchmetrics do."""

    def update(self, preds: P_contra, target: Y_contra, /) -> object:
        """Takes a batch into account."""
        ...

    def compute(self) -> Number:
        """The metric over all batches since the last reset."""
        ...

    def reset(self) -> object:
        """Forgets all batches."""
        ...


MetricFunc: TypeAlias = Callable[[P_contra, Y_contra], Number]
"""A metric that is a mean over samples: called with the prediction and the targets of a batch."""

Metric: TypeAlias = Union[MetricFunc[P_contra, Y_contra], StatefulMetric[P_contra, Y_contra]]


@attrs.frozen
class Sums:
    """What has been added up in a pass over the data."""

    samples: int = 0
    """How many samples."""

    loss: Number = 0.0
    """The sum over batches of loss times size, on the loss's device."""

    metrics: tuple[Number, ...] = ()
    """The same sums of the metrics that are functions, in their order."""


@dataclass(frozen=True)
class AvgStats(Callback[object, Y_contra, P_contra], Generic[Y_contra, P_contra]):
    """The mean loss and metrics of each epoch, in training and in validation.

    A batch's loss, and a metric that is a function, is weighted by the batch's size: the mean is over samples, so that
    an uneven last batch counts for what it holds. A metric with `update`, `compute` and `reset`, such as those of
    torchmetrics, keeps its own sums and is used in validation alone. The training means are over weights that move
    during the epoch. Sums stay on their device until the pass ends.

    Over several processes all of it is over the samples of all ranks, the same on each; a metric that keeps its own
    sums has to bring its ranks together itself when it computes, as those of torchmetrics do.

    Type parameters:
        Y_contra: The targets that the metrics take.
        P_contra: The predictions that the metrics take.
    """

    metrics: Union[Metric[P_contra, Y_contra], tuple[Metric[P_contra, Y_contra], ...]] = ()
    """One metric or a tuple of them: functions of (pred, yb), or objects with update, compute and reset."""

    train_loss: Cell[float] = cell(math.nan)
    """The mean training loss of the last epoch; nan before."""

    valid_loss: Cell[float] = cell(math.nan, phase="valid")
    """The mean loss of the last validation; nan before."""

    train_metrics: Cell[tuple[float, ...]] = cell(())
    """The training means of the metrics that are functions; nan for the others."""

    valid_metrics: Cell[tuple[float, ...]] = cell((), phase="valid")
    """The metrics of the last validation, in their order."""

    train_sums: Cell[Sums] = cell(Sums(), reset="epoch")
    """What has been added up in this epoch's training."""

    valid_sums: Cell[Sums] = cell(Sums(), reset="epoch")
    """What has been added up in this epoch's validation."""

    @property
    def all_metrics(self) -> tuple[Metric[P_contra, Y_contra], ...]:
        """The metrics as a tuple."""
        return as_tuple(self.metrics)

    @property
    def header(self) -> tuple[str, ...]:
        """The names of what `row` holds."""
        return ("train_loss", "valid_loss", *map(metric_name, self.all_metrics))

    @property
    def row(self) -> tuple[float, ...]:
        """The figures of the last epoch: both mean losses, then the metrics of the validation."""
        metrics = self.valid_metrics.value or (math.nan,) * len(self.all_metrics)
        return (self.train_loss.value, self.valid_loss.value, *metrics)

    def valid(self, metric: Metric[Never, Never]) -> View[float]:
        """A metric of the validation, to be watched: `EarlyStopping(stats.valid(accuracy), mode="max")`.

        Args:
            metric: One of `metrics`, the very object.

        Raises:
            ValueError: It is none of them.
        """
        places = [place for place, known in enumerate(self.all_metrics) if known is metric]
        if not places:
            names = ", ".join(map(metric_name, self.all_metrics)) or "none"
            raise ValueError(f"{metric_name(metric)} is no metric of this AvgStats; its metrics are: {names}.")
        return self.valid_metrics.map(lambda values: values[places[0]] if values else math.nan)

    @override
    def begin_epoch(self, event: BeginEpoch) -> None:
        """Forgets what the last validation left in metrics that keep their own sums."""
        self._reset_stateful()

    @override
    def begin_validate(self, event: BeginValidate) -> None:
        """Settles the training means, and begins the validation's."""
        self._settle_train()
        self._reset_stateful()
        self.valid_sums.value = Sums()

    @override
    def after_loss(self, event: AfterLoss[object, Y_contra, P_contra]) -> None:
        """Adds a batch up."""
        sums = self.train_sums if event.phase == "train" else self.valid_sums
        with torch.no_grad():
            size = here().counted(batch_size(event.yb))
            if not size:
                return  # another rank has counted what stands in here
            metrics = tuple(_measure(metric, event) for metric in self.all_metrics)
            old = sums.value.metrics or (0.0,) * len(metrics)
            sums.value = Sums(
                samples=sums.value.samples + size,
                loss=sums.value.loss + event.loss.detach() * size,
                metrics=tuple(total + value * size for total, value in zip(old, metrics, strict=True)),
            )

    @override
    def after_validate(self, event: AfterValidate) -> None:
        """Settles the validation's means."""
        sums = self._over_ranks(self.valid_sums.value)
        self.valid_loss.value = _mean(sums.loss, sums.samples)
        self.valid_metrics.value = tuple(
            float(metric.compute()) if _is_stateful(metric) else _mean(total, sums.samples)
            for metric, total in zip(self.all_metrics, sums.metrics or (0.0,) * len(self.all_metrics), strict=True)
        )

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        """Settles the training means of an epoch without validation."""
        self._settle_train()

    def _settle_train(self) -> None:
        sums = self._over_ranks(self.train_sums.value)
        self.train_loss.value = _mean(sums.loss, sums.samples)
        self.train_metrics.value = tuple(_mean(total, sums.samples) for total in sums.metrics)

    def bring_together(self) -> None:
        """Has the main rank's sums be those of all ranks, before they are saved. Collective."""
        for sums in (self.train_sums, self.valid_sums):
            total = self._over_ranks(sums.value)
            sums.value = Sums() if here().rank else total

    def part_again(self) -> None:
        """Leaves the sums that were saved to the main rank."""
        if here().rank:
            self.train_sums.value = self.valid_sums.value = Sums()

    def _over_ranks(self, sums: Sums) -> Sums:
        """The sums over all ranks."""
        ranks = here()
        if ranks.world_size == 1:
            return sums
        metrics = sums.metrics or (0.0,) * len(self.all_metrics)
        samples, loss, *totals = ranks.total((sums.samples, float(sums.loss), *map(float, metrics)))
        return Sums(int(samples), loss, tuple(totals))

    def _reset_stateful(self) -> None:
        for metric in self.all_metrics:
            if _is_stateful(metric):
                _check_ranks(metric)
                metric.reset()


def accuracy(pred: Tensor, yb: Tensor) -> Tensor:
    """The share of samples whose largest score is the target's.

    Args:
        pred: Scores of shape (samples, classes).
        yb: Class indices of shape (samples,).

    Returns:
        A scalar in [0, 1].

    Raises:
        ValueError: There is not one target to each prediction: torch would compare all with all.
    """
    best = pred.argmax(dim=1)
    if best.shape != yb.shape:
        raise ValueError(
            f"accuracy has a prediction of shape {tuple(pred.shape)} and targets of shape {tuple(yb.shape)}, and needs "
            f"class indices of shape {tuple(best.shape)}: yb.squeeze(1) where they are a column, yb.argmax(dim=1) "
            f"where they are one-hot."
        )
    return (best == yb).float().mean()


def metric_name(metric: object) -> str:
    """The name of a metric: a function's own, else its class's."""
    name: object = getattr(metric, "__name__", None)
    return name if isinstance(name, str) else type(metric).__name__


def _is_stateful(metric: Metric[P, Y]) -> TypeIs[StatefulMetric[P, Y]]:
    # as isinstance with the Protocol has it, which takes 20 µs, and this is asked in each batch
    return hasattr(metric, "update") and hasattr(metric, "compute") and hasattr(metric, "reset")


def _measure(metric: Metric[P, Y], event: AfterLoss[object, Y, P]) -> Number:
    """What a metric says of a batch; nan for one that keeps its own sums."""
    try:
        if not _is_stateful(metric):
            return metric(event.pred, event.yb)
        if event.phase == "valid":
            metric.update(event.pred, event.yb)
        return math.nan
    except Exception as error:
        error.add_note(f"the metric is {metric_name(metric)}")
        raise


def _check_ranks(metric: object) -> None:
    """Refuses a metric that would be of one rank's samples alone."""
    if here().world_size > 1 and not hasattr(metric, "sync"):
        raise EngineError(
            f"{metric_name(metric)} keeps sums of its own, and has no sync() by which its processes come together: "
            f"each would show the figure of its own samples. Metrics of torchmetrics do; a function of (pred, yb) that "
            f"is a mean over samples needs nothing."
        )


def _mean(total: Number, samples: int) -> float:
    return float(total / samples) if samples else math.nan
