"""Good programs over batches and predictions of all kinds, with no cast, no ignore and no Any: each is also run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam
from typing_extensions import assert_type, override

from typedcb import (
    AfterLoss,
    AfterPred,
    AfterStep,
    BeginBatch,
    Callback,
    Cell,
    DataBunch,
    Learner,
    LearnerCallback,
    Loop,
    Series,
    cell,
    series,
)
from typedcb.callbacks import AvgStats, GradientClip
from typedcb.needs import Parts

adam = partial(Adam, lr=1e-2)


# ------------------------------------------------------------------------------------------- dicts in, a tensor out

Text = dict[str, Tensor]


class Reader(nn.Module):
    """A model of tokens."""

    embed: nn.Embedding

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 4)

    @override
    def forward(self, xb: Text) -> Tensor:
        """Scores of shape (samples, 4)."""
        tokens: Tensor = self.embed(xb["ids"])
        return (tokens * xb["mask"].unsqueeze(-1)).mean(1)


@dataclass(frozen=True)
class DropTokens(LearnerCallback[Text, Tensor, Tensor, Reader]):
    """Hides some tokens, and shows the embedding's size."""

    share: float
    sizes: Series[int] = series()

    @override
    def begin_batch(self, event: BeginBatch[Text, Tensor]) -> BeginBatch[Text, Tensor]:
        self.sizes.append(self.learn.model.embed.num_embeddings)
        keep = (torch.rand_like(event.xb["mask"]) > self.share).float()
        return event.with_batch({**event.xb, "mask": event.xb["mask"] * keep}, event.yb)


def of_dicts() -> None:
    """Trains on dicts."""
    text: Text = {"ids": torch.tensor([[1, 2, 3]]), "mask": torch.ones(1, 3)}
    data = DataBunch[Text, Tensor]([(text, torch.tensor([1]))] * 2)
    learn = Learner(Reader(), data, F.cross_entropy, adam)
    assert_type(learn, Learner[Text, Tensor, Tensor, Reader])
    drop = learn.add(DropTokens, share=0.2)
    learn.fit(1)
    assert drop.sizes.value == (10, 10)
    assert_type(learn.model.embed, nn.Embedding)


# -------------------------------------------------------------------------- tuples in, several outputs as a NamedTuple

Pair = tuple[Tensor, Tensor]


class Outputs(NamedTuple):
    """What a model with two heads makes."""

    scores: Tensor
    boxes: Tensor


class Detector(nn.Module):
    """Two inputs, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Linear(3, 2)
        self.boxes = nn.Linear(3, 4)

    @override
    def forward(self, xb: Pair) -> Outputs:
        """Of two tensors of shape (samples, 3)."""
        image, context = xb
        return Outputs(self.scores(image), self.boxes(image + context))


def detection(pred: Outputs, yb: Pair) -> Tensor:
    """The sum of both heads' losses."""
    classes, boxes = yb
    return F.cross_entropy(pred.scores, classes) + F.mse_loss(pred.boxes, boxes)


@dataclass(frozen=True)
class ClampBoxes(Callback[Pair, Pair, Outputs]):
    """Changes one of several outputs."""

    @override
    def after_pred(self, event: AfterPred[Pair, Pair, Outputs]) -> AfterPred[Pair, Pair, Outputs]:
        return event.with_pred(event.pred._replace(boxes=event.pred.boxes.clamp(0, 1)))


@dataclass(frozen=True)
class HeadLosses(Callback[Pair, Pair, Outputs]):
    """Keeps one head's own loss."""

    best: Cell[Optional[float]] = cell(None)
    of_boxes: Series[Tensor] = series()

    @override
    def after_step(self, event: AfterStep[Pair, Pair, Outputs]) -> None:
        self.of_boxes.append(F.mse_loss(event.pred.boxes, event.yb[1]))
        last = float(self.of_boxes[-1])
        self.best.value = last if self.best.value is None else min(self.best.value, last)


def accuracy_of_scores(pred: Outputs, yb: Pair) -> Tensor:
    """A metric of one output."""
    return (pred.scores.argmax(1) == yb[0]).float().mean()


def of_tuples() -> None:
    """Trains on tuples."""
    xb, yb = (torch.ones(2, 3), torch.ones(2, 3)), (torch.tensor([0, 1]), torch.zeros(2, 4))
    data = DataBunch[Pair, Pair]([(xb, yb)] * 2, [(xb, yb)])
    losses = HeadLosses()
    stats = AvgStats(accuracy_of_scores)
    learn = Learner[Pair, Pair, Outputs, Detector](Detector(), data, detection, adam, cbs=[ClampBoxes(), losses, stats])
    learn.fit(1)
    assert len(losses.of_boxes) == 2
    assert losses.best.value is not None
    assert 0 <= stats.valid_metrics.value[0] <= 1
    assert_type(learn.predict(), list[Outputs])


# ------------------------------------------------------------------------------ a dataclass in, a dict of tensors out


@dataclass(frozen=True)
class Graph:
    """A batch as a class of one's own."""

    nodes: Tensor
    edges: Tensor
    names: tuple[str, ...] = ()

    def to(self, device: torch.device) -> Graph:
        """The same graph on a device."""
        return replace(self, nodes=self.nodes.to(device), edges=self.edges.to(device))


Levels = dict[str, Tensor]


class GraphNet(nn.Module):
    """A model over graphs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    @override
    def forward(self, xb: Graph) -> Levels:
        """Levels of nodes, and of the graph."""
        nodes: Tensor = self.layer(xb.nodes)
        return {"nodes": nodes, "graph": nodes.mean(0)}


def level_loss(pred: Levels, yb: Tensor) -> Tensor:
    """The graph's own loss."""
    return F.mse_loss(pred["graph"], yb)


@dataclass(frozen=True)
class Jitter(Callback[Graph, Tensor, Levels]):
    """Changes a field of a batch that is a class."""

    scale: float = 0.1
    names: Series[str] = series()

    @override
    def begin_batch(self, event: BeginBatch[Graph, Tensor]) -> BeginBatch[Graph, Tensor]:
        self.names.append(" ".join(event.xb.names))
        nodes = event.xb.nodes + self.scale * torch.randn_like(event.xb.nodes)
        return event.with_batch(replace(event.xb, nodes=nodes), event.yb)

    @override
    def after_loss(self, event: AfterLoss[Graph, Tensor, Levels]) -> AfterLoss[Graph, Tensor, Levels]:
        return event.with_loss(event.loss + 0.01 * event.pred["nodes"].pow(2).mean())


def of_classes() -> None:
    """Trains on a class of one's own."""
    graph = Graph(torch.ones(3, 2), torch.zeros(2, 3), ("a", "b", "c"))
    data = DataBunch[Graph, Tensor]([(graph, torch.zeros(1))] * 2)
    jitter = Jitter()
    learn = Learner[Graph, Tensor, Levels, GraphNet](GraphNet(), data, level_loss, adam, cbs=[jitter])
    learn.fit(1)
    assert jitter.names.value == ("a b c", "a b c")


def own_loop() -> None:
    """The same in a loop of one's own, with a callback that needs a model and an optimizer."""
    graph = Graph(torch.ones(3, 2), torch.zeros(2, 3))
    batches = [(graph, torch.zeros(1))] * 2
    net = GraphNet()
    opt = adam(net.parameters())
    jitter = Jitter()
    loop = Loop[Graph, Tensor, Levels]([jitter, GradientClip(Parts(net, opt), clip=1.0)])
    with loop.fit(n_epochs=2) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(batches):
                out = batch.pred(net(batch.xb))
                loss = out.loss(level_loss(out.pred, out.yb))
                loss.backward().step(opt)
    assert len(jitter.names) == 4


def run() -> None:
    """All of them."""
    of_dicts()
    of_tuples()
    of_classes()
    own_loop()
