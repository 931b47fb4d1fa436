"""Typed callbacks in other trainers: what must pass. The trainers themselves are for the checkers alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD
from typing_extensions import override

from typedcb import AfterLoss, Callback
from typedcb.callbacks import LR, AvgStats, GradientClip, ParamScheduler, Recorder, SmoothLoss, accuracy, linear
from typedcb.interop.hosting import BatchFormat
from typedcb.needs import HasModelAndOpt


@dataclass(frozen=True)
class OfTexts(Callback[dict[str, Tensor], Tensor, Tensor]):
    """Fits batches of dicts."""

    @override
    def after_loss(self, event: AfterLoss[dict[str, Tensor], Tensor, Tensor]) -> None:
        """Reads the batch."""
        _ = event.xb["ids"]


def recorder(parts: HasModelAndOpt) -> Recorder:
    """A factory."""
    return Recorder(parts)


TEXTS = BatchFormat[dict[str, Tensor], Tensor](
    lambda batch: (batch["x"], batch["y"]), lambda xb, yb: {"x": xb, "y": yb}
)

if TYPE_CHECKING:
    import lightning as L
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from keras import Sequential
    from skorch import NeuralNetClassifier
    from transformers import TrainingArguments

    from typedcb.interop import fastai, ignite, keras, lightning, skorch, transformers

    stats = AvgStats(accuracy)
    hosted = lightning.host(
        stats,
        SmoothLoss(),
        recorder,
        partial(GradientClip, clip=0.1),
        partial(ParamScheduler, param=LR, schedule=linear(0.1, 0.2)),
    )
    L.Trainer(callbacks=[hosted], max_epochs=3)
    clip: GradientClip = hosted.get(GradientClip)
    lightning.host(OfTexts(), SmoothLoss(), batches=TEXTS)
    lightning.host(SmoothLoss(), forward=lambda module: module)

    model = nn.Linear(4, 3)
    handlers = ignite.host(stats, partial(GradientClip, clip=0.1))
    trainer = handlers.trainer(model, SGD(model.parameters(), lr=0.1), F.cross_entropy)
    trainer.run([], max_epochs=1)
    handlers.evaluator().run([])

    class Net(skorch.TypedNet, NeuralNetClassifier):
        """A classifier that hosts typed callbacks."""

    Net(nn.Linear(4, 3), callbacks=[skorch.host(SmoothLoss(), recorder)])

    texts = transformers.host(
        OfTexts(),
        SmoothLoss(),
        batches=TEXTS,
        outputs=transformers.OutputFormat[Tensor](lambda out: out[1], lambda out, p: p),
    )
    transformers.TypedTrainer(model, TrainingArguments("runs"), callbacks=[texts]).train()
    Learner(DataLoaders(), model, cbs=[fastai.host(stats, partial(GradientClip, clip=0.1))]).fit(3)

    class Dense(keras.TypedModel, Sequential):
        """A model that hosts typed callbacks."""

    Dense([]).fit([], callbacks=[keras.host(stats, recorder)])
