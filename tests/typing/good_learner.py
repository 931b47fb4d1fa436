"""A learner: what it is made of, what it takes, and what it gives back."""

from __future__ import annotations

from functools import partial
from typing import Iterable, Sequence

import torch
import torch.nn.functional as F
from good_callbacks import (
    Clamp,
    Depth,
    DropKeys,
    EarlyStopping,
    Every,
    GradientClip,
    KeepLast,
    Limits,
    LRFinder,
    Net,
    NoBrackets,
    Report,
    Scale,
    ScaleLoss,
    SmoothLoss,
    Text,
    ToDevice,
    Unsqueeze,
)
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from typing_extensions import assert_never, assert_type, override

from typedcb import (
    AnyCallback,
    Callback,
    Cancelled,
    Completed,
    DataBunch,
    Failed,
    FitOutcome,
    Learner,
)

batches = [(torch.zeros(4, 2), torch.zeros(4, dtype=torch.long)), (torch.ones(2, 2), torch.ones(2, dtype=torch.long))]
data = DataBunch(batches, batches)
assert_type(data, DataBunch[Tensor, Tensor])
assert_type(data.train_dl, Iterable[tuple[Tensor, Tensor]])
assert_type(data.valid_dl, Iterable[tuple[Tensor, Tensor]])
assert_type(data.has_valid, bool)

# Library callbacks, which fit every learner, must not turn it into one of Any.
smooth = SmoothLoss()
learn = Learner(
    nn.Linear(2, 2),
    data,
    F.cross_entropy,
    partial(SGD, lr=0.1),
    cbs=[Unsqueeze(), smooth, Scale(3.0), EarlyStopping(smooth.smooth)],
    cb_funcs=[partial(GradientClip, clip=0.1), lambda learn: LRFinder(learn, smooth)],
)
assert_type(learn, Learner[Tensor, Tensor, Tensor, nn.Linear])
assert_type(learn.model, nn.Linear)
assert_type(learn.model.in_features, int)
assert_type(learn.opt, Optimizer)
assert_type(learn.data, DataBunch[Tensor, Tensor])
assert_type(learn.device, torch.device)
assert_type(learn.cbs, tuple[Callback[Tensor, Tensor, Tensor], ...])

# add gives the callback's own class, and takes its fields.
clip = learn.add(NoBrackets, clip=0.1)
assert_type(clip, NoBrackets)
assert_type(clip.learn, Learner[Tensor, Tensor, Tensor])
assert_type(learn.add(ScaleLoss, (1.0,)).weights, tuple[float, ...])
assert_type(learn.add(lambda learn: Scale(1.0)).factor, float)


def make_clamp(learn: Learner, low: float, high: float = 1.0) -> Clamp:
    """A factory of one's own: add takes what it takes."""
    assert_type(learn.model, nn.Module)
    return Clamp(Limits(low, high))


clamp = learn.add(make_clamp, -1.0, high=2.0)
assert_type(clamp, Clamp)

# get, remove, added.
assert_type(learn.get(GradientClip), GradientClip)
assert_type(learn.get(GradientClip).clip, float)
assert_type(learn.get(EarlyStopping).monitor.value, float)
learn.remove(clamp, clip)
with learn.added(Every(2), ToDevice("cpu")):
    learn.fit(1)

# fit, validate, predict.
finder = learn.get(LRFinder)
report = Report(finder, (smooth.smooth, smooth.count), smooth.percent, smooth.history, learn.get(GradientClip))
outcome = learn.fit(3, cbs=[report, Unsqueeze(), Every(4)], cb_funcs=[partial(NoBrackets, clip=1.0)])
assert_type(outcome, FitOutcome)
match outcome:
    case Completed():
        assert_type(outcome, Completed)
    case Cancelled(cancel=cancel):
        assert_type(cancel.reason, str)
    case Failed(error=error):
        assert_type(error, BaseException)
    case _ as unreachable:
        assert_never(unreachable)

assert_type(learn.validate(), float)
assert_type(learn.validate(batches, cbs=[Unsqueeze()]), float)
keep = KeepLast[Tensor]()
assert_type(learn.predict(cbs=[keep]), list[Tensor])
assert_type(learn.predict(batches), list[Tensor])

# A model class of one's own is kept: callbacks that need its fields fit, and so do those that do not.


def halves(model: Net) -> Sequence[Iterable[nn.Parameter]]:
    """A splitter of one's own."""
    return [model.body.parameters(), model.head.parameters()]


net_learn = Learner(
    Net(depth=2),
    DataBunch(batches),
    F.cross_entropy,
    AdamW,
    cb_funcs=[Depth, partial(NoBrackets, clip=0.1)],
    splitter=halves,
    device="cpu",
)
assert_type(net_learn, Learner[Tensor, Tensor, Tensor, Net])
assert_type(net_learn.model.depth, int)
assert_type(net_learn.get(Depth).learn.model.depth, int)
net_learn.fit(1, cb_funcs=[partial(LRFinder, loss=net_learn.add(lambda learn: SmoothLoss()))])

lambda_split = Learner(
    Net(),
    DataBunch(batches),
    nn.CrossEntropyLoss(),
    AdamW,
    cb_funcs=[Depth],
    splitter=lambda net: [net.body.parameters(), net.head.parameters()],
    device=torch.device("cpu"),
)
assert_type(lambda_split, Learner[Tensor, Tensor, Tensor, Net])

# A function over learners takes every learner of its payload, and a learner of more is one of less.


def count_parameters(learn: Learner[object, object, object]) -> int:
    return sum(parameter.numel() for parameter in learn.model.parameters())


assert_type(count_parameters(learn) + count_parameters(net_learn), int)
some_learner: Learner = net_learn

# Another payload: what is over it fits, and what is over anything does.


class TextNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 2)

    @override
    def forward(self, xb: Text) -> Tensor:
        pred: Tensor = self.head(xb["ids"])
        return pred


def text_loss(pred: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(pred, target)


text_batches = [({"ids": xb, "meta": xb}, yb) for xb, yb in batches]
text_learn = Learner(
    TextNet(),
    DataBunch(text_batches, text_batches),
    text_loss,
    AdamW,
    cbs=[DropKeys(), Every(2)],
    cb_funcs=[partial(GradientClip, clip=0.1)],
)
assert_type(text_learn, Learner[Text, Tensor, Tensor, TextNet])
assert_type(text_learn.add(GradientClip, clip=1.0).learn, Learner[object, object, object])
library: list[AnyCallback] = [SmoothLoss(), Every(3)]
text_learn.fit(1, cbs=[*library, ToDevice("cpu")])
assert_type(text_learn.predict(), list[Tensor])
