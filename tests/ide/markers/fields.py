"""What a callback of one's own has: settings, cells, dependencies, and the learner with its model."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from typing_extensions import override

from typedcb import (
    AfterEpoch,
    AfterFit,
    AnyCallback,
    AnyLearnerCallback,
    BatchEvent,
    Cell,
    Learner,
    LearnerCallback,
    LossEvent,
    Readable,
    Series,
    View,
    cell,
    series,
)
from typedcb.callbacks import AvgStats, GradientClip, Recorder, SmoothLoss


class Net(nn.Module):
    """A model of one's own."""

    body: nn.Linear
    """Makes features of the inputs."""

    head: nn.Linear
    """Makes classes of the features."""

    depth: int
    """How many layers there are."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 8)
        self.head = nn.Linear(8, 3)
        self.depth = 2

    @override
    def forward(self, xb: Tensor) -> Tensor:
        pred: Tensor = self.head(self.body(xb).relu())
        return pred


@dataclass(frozen=True)
class Clip(AnyLearnerCallback):
    """Settings, and a learner of any model."""

    largest: float
    """The largest norm."""

    @override
    def after_backward(self, event: BatchEvent) -> None:
        nn.utils.clip_grad_norm_(self.learn.model.parameters(), self.largest)
        #                             ^ complete: learn
        #                              ^ complete: learn
        #                                   ^ complete: model
        #                                    ^ complete: model
        #                                          ^ complete: parameters
        #                                                            ^ complete: largest


@dataclass(frozen=True)
class Counts(AnyCallback):
    """Cells and a series."""

    every: int
    """After how many batches the loss is kept."""

    count: Cell[int] = cell(0, reset="epoch")
    """How many batches there were in this epoch."""
    lowest: Cell[float] = cell(float("inf"), reset="never")
    #                                        ^ complete: reset=, saved=
    """The lowest loss so far."""
    losses: Series[float] = series(reset="never", saved=False)
    #                              ^ complete: reset=, saved=
    """The losses that were kept."""

    @override
    def after_loss(self, event: LossEvent) -> None:
        self.count.value += 1
        #    ^ complete: count
        #     ^ complete: count
        #          ^ complete: value, initial, reset, map, restart
        #           ^ complete: value
        if self.count.value % self.every == 0:
            self.losses.append(float(event.loss))
            #           ^ complete: append, value, reset
            self.lowest.value = min(self.lowest.value, self.losses.value[-1])
            #     ^ complete: lowest, losses


@dataclass(frozen=True)
class Reads(AnyCallback):
    """Depends on other callbacks, and on whatever has a number to read."""

    smooth: SmoothLoss
    """The loss that is watched."""

    monitor: Readable[float]
    """The number that is watched."""

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        assert self.smooth.value >= 0
        #            ^ complete: smooth
        #                  ^ complete: value, beta
        assert self.monitor.value >= 0
        #                   ^ complete: value


@dataclass(frozen=True)
class OfNet(LearnerCallback[Tensor, Tensor, Tensor, Net]):
    """Needs a learner of this model."""

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        assert self.learn.model.body.weight.requires_grad
        #                 ^ complete: model, opt, data, loss_func, device, cbs, fit, validate, add
        #                       ^ complete: body, depth, head
        #                        ^ complete: body
        assert self.learn.model.depth == 2
        #                        ^ complete: depth
        assert self.learn.model.head.out_features == 3
        #                        ^ complete: head
        #                        ^ hover: Linear, Makes classes of the features
        self.learn.opt.step()
        #          ^ complete: opt
        #              ^ complete: step


@dataclass(frozen=True)
class NoBrackets(LearnerCallback):
    """A learner of tensors."""

    @override
    def after_fit(self, event: AfterFit) -> None:
        assert self.learn.opt.param_groups
        #                 ^ complete: model, opt, data, loss_func
        #                  ^ complete: opt


def view_of(counts: Counts) -> View[str]:
    """A view of a cell."""
    view = counts.lowest.map(str)
    #                    ^ complete: map
    assert view.value
    #           ^ complete: value, source
    return view


def ask(learn: Learner[Tensor, Tensor, Tensor, Net]) -> None:
    """What stands ready in a learner."""
    learn.fit(1)
    #     ^ complete: fit, model, opt, data, add, validate, predict, lr_find, fit_one_cycle, summary
    #      ^ complete: fit, fit_one_cycle, freeze
    learn.opt.step()
    #         ^ complete: step
    #          ^ complete: step
    learn.data.train_dl
    #          ^ complete: train_dl, valid_dl, has_valid
    learn.get(GradientClip).clip
    #                       ^ complete: clip, by
    learn.get(AvgStats).valid_loss.value
    #                   ^ complete: valid_loss, train_loss
    #                              ^ complete: value
    learn.get(Recorder).losses.value
    #                   ^ complete: losses, params, param, plot
    learn.fit(1)
    #     ^ hover: fit, n_epochs, int, Trains the model
