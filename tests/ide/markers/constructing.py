"""Making callbacks, data and learners: the keywords that each takes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, int64, nn, zeros
from torch.optim import SGD
from typing_extensions import override

from typedcb import AfterBatch, AnyCallback, Cell, DataBunch, Learner, Loop, cell
from typedcb.callbacks import (
    LR,
    AvgStats,
    Checkpoint,
    EarlyStopping,
    GradientClip,
    ParamScheduler,
    SaveBest,
    SmoothLoss,
    StopAfterNBatches,
    accuracy,
    combine,
    cosine,
    one_cycle,
)
from typedcb.needs import Parts


@dataclass(frozen=True)
class EveryNth(AnyCallback):
    """A callback of one's own."""

    n: int
    """Which batches are counted."""

    first: int = 0
    """The first that is."""

    seen: Cell[int] = cell(0)
    """How many were."""

    @override
    def after_batch(self, event: AfterBatch[object, object, object]) -> None:
        self.seen.value += 1


def batches() -> list[tuple[Tensor, Tensor]]:
    """A few pairs."""
    return [(zeros(2, 4), zeros(2, dtype=int64)) for _ in range(2)]


def data() -> DataBunch[Tensor, Tensor]:
    """For training and validation."""
    return DataBunch(train_dl=batches(), valid_dl=batches())
    #                ^ complete: train_dl=, valid_dl=
    #                ^ signature: train_dl, valid_dl


def learner() -> Learner[Tensor, Tensor, Tensor, nn.Linear]:
    """A learner with all its keywords."""
    model = nn.Linear(4, 3)
    sgd = partial(SGD, lr=0.1)
    return Learner(model=model, data=data(), loss_func=F.cross_entropy, opt_func=sgd, cbs=[], cb_funcs=[])
    #              ^ complete: model=, data=, loss_func=, opt_func=, cbs=, cb_funcs=, splitter=, device=
    #              ^ signature: model, data, loss_func, opt_func, cbs, cb_funcs
    #                                        ^ complete: loss_func=, opt_func=, cbs=, cb_funcs=
    #                                         ^ complete: loss_func=
    #                                                                    ^ complete: opt_func=
    #                                                                                 ^ complete: cbs=, cb_funcs=


def add(learn: Learner[Tensor, Tensor, Tensor, nn.Linear]) -> None:
    """A callback for a learner that is there."""
    learn.add(GradientClip, clip=0.1, by="norm")
    #      ^ complete: add, added
    #                       ^ complete: clip=, by=
    #                        ^ complete: clip=
    learn.add(lambda learn: GradientClip(learn, clip=0.1, by="norm"))
    #                                           ^ complete: clip=, by=
    #                                            ^ complete: clip=
    learn.fit(n_epochs=1, cbs=[EveryNth(n=2, first=1)])
    #         ^ complete: n_epochs=, cbs=, cb_funcs=, resume=, on_mismatch=
    #                                   ^ complete: n=, first=, seen=
    learn.fit_one_cycle(1, lr=0.1, warm_up=0.5)
    #                   ^ signature: n_epochs, lr, warm_up, momentum
    #                       ^ complete: lr=
    #                               ^ complete: warm_up=


def by_hand(learn: Learner[Tensor, Tensor, Tensor, nn.Linear]) -> GradientClip:
    """The callback itself."""
    return GradientClip(learn=learn, clip=0.1)
    #                   ^ complete: learn=, clip=, by=
    #                   ^ signature: learn, clip, by


def factories() -> None:
    """Factories for cb_funcs."""
    Learner(nn.Linear(4, 3), data(), F.cross_entropy, SGD, cb_funcs=[partial(GradientClip, clip=0.1)])
    #                                                                                      ^ complete: clip=, by=
    Learner(
        nn.Linear(4, 3),
        data(),
        F.cross_entropy,
        SGD,
        cb_funcs=[lambda learn: GradientClip(learn, clip=0.1)],
        #                                           ^ complete: clip=, by=
    )


def parts() -> None:
    """For a loop of one's own."""
    model = nn.Linear(4, 3)
    opt = SGD(model.parameters(), lr=0.1)
    loop = Loop[Tensor, Tensor, Tensor](callbacks=[GradientClip(Parts(model, opt), by="value", clip=1.0)])
    #                                   ^ complete: callbacks=
    #                                                                              ^ complete: by=, clip=
    assert loop.cbs
    #           ^ complete: cbs, add, fit, validation, running


def watching(learn: Learner[Tensor, Tensor, Tensor, nn.Linear]) -> None:
    """Callbacks that watch others."""
    stats = AvgStats(metrics=accuracy)
    #                ^ complete: metrics=
    stopping = EarlyStopping(monitor=stats.valid_loss, mode="min", patience=2)
    #                        ^ complete: monitor=, mode=, patience=, min_delta=
    #                                                              ^ complete: patience=, min_delta=
    best = SaveBest(learn, stats.valid_loss, mode="min")
    #                                         ^ complete: mode=
    smooth = SmoothLoss(beta=0.9)
    #                   ^ complete: beta=
    limit = StopAfterNBatches(n_batches=2)
    #                         ^ complete: n_batches=
    assert [stopping, best, smooth, limit]


def schedules(learn: Learner[Tensor, Tensor, Tensor, nn.Linear]) -> None:
    """Schedules and checkpoints."""
    up = cosine(start=0.1, end=1.0)
    #           ^ complete: start=, end=
    both = combine((0.3, up), (0.7, cosine(1.0, 0.0)))
    scheduler = ParamScheduler(learn, param=LR, schedule=both)
    #                                 ^ complete: schedule=, param=
    checkpoint = Checkpoint(learn, folder=Path("checkpoints"))
    #                              ^ complete: folder=
    assert [scheduler, checkpoint, one_cycle]
