"""Typed callbacks in other trainers: what every checker must report, on the lines that are marked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import nn
from torch.optim import SGD

from typedcb.callbacks import SmoothLoss
from typedcb.needs import HasModelAndOpt

if TYPE_CHECKING:
    from typedcb.interop import fastai, ignite, keras, lightning, skorch, transformers

    def nothing(parts: HasModelAndOpt) -> int:
        return 1

    def of_text(parts: str) -> SmoothLoss:
        return SmoothLoss()

    lightning.host(3)  # error
    lightning.host(nothing)  # error
    lightning.host(of_text)  # error
    skorch.host("GradientClip")  # error
    skorch.host(SmoothLoss(), forward=None)  # error
    transformers.host(SmoothLoss(), forward=None)  # error
    transformers.host(nothing)  # error
    fastai.host(of_text)  # error
    keras.host(3)  # error
    lightning.host(SmoothLoss(), on_mismatch={"SmoothLoss": "ignore"})  # error
    hosted = ignite.host(SmoothLoss())
    hosted.get(int)  # error
    hosted.get(SmoothLoss).values  # error
    hosted.trainer(nn.Linear(4, 3), SGD, F.cross_entropy)  # error
    hosted.outcome.reason  # error
