"""What people really pass: loaders, losses, optimizers and models. None of it may end in Any."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Iterable, Iterator

import torch
import torch.nn.functional as F
from good_callbacks import Every, Net, SmoothLoss, Text, ToDevice, Unsqueeze
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset, random_split
from typing_extensions import assert_type, override

from typedcb import AfterPred, BeginBatch, Callback, DataBunch, Learner

inputs, classes = torch.zeros(8, 2), torch.zeros(8, dtype=torch.long)

# Loaders of tensors.


class Pairs(Dataset[tuple[Tensor, Tensor]]):
    @override
    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return inputs[index], classes[index]

    def __len__(self) -> int:
        return len(inputs)


class Images(Dataset[tuple[Tensor, int]]):
    """An image and its class, as in torchvision."""

    @override
    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return inputs[index], 0

    def __len__(self) -> int:
        return len(inputs)


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    """Samples that come one after the other."""

    @override
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(inputs, classes, strict=True)


tensors = TensorDataset(inputs, classes)
first, second = random_split(tensors, [6, 2])

of_tensors = DataBunch(DataLoader(tensors, batch_size=4, shuffle=True), DataLoader(tensors, batch_size=4))
of_pairs = DataBunch(DataLoader(Pairs(), batch_size=4), DataLoader(Pairs()))
of_images = DataBunch(DataLoader(Images(), batch_size=4), DataLoader(Images()))
of_subsets = DataBunch(DataLoader(Subset(Pairs(), range(6))), DataLoader(Subset(Images(), [6, 7])))
of_splits = DataBunch(DataLoader(first, batch_size=2), DataLoader(second))
of_train = DataBunch(DataLoader(tensors))
assert_type(of_tensors, DataBunch[Tensor, Tensor])
assert_type(of_pairs, DataBunch[Tensor, Tensor])
assert_type(of_images, DataBunch[Tensor, Tensor])
assert_type(of_subsets, DataBunch[Tensor, Tensor])
assert_type(of_splits, DataBunch[Tensor, Tensor])
assert_type(of_train, DataBunch[Tensor, Tensor])
assert_type(DataBunch(DataLoader(tensors), [(inputs, classes)]), DataBunch[Tensor, Tensor])
assert_type(DataBunch([(inputs, classes)], DataLoader(Images())), DataBunch[Tensor, Tensor])
assert_type(DataBunch(DataLoader(ConcatDataset([tensors, tensors]))), DataBunch[Tensor, Tensor])
assert_type(DataBunch(DataLoader(Stream(), batch_size=2)), DataBunch[Tensor, Tensor])

# Iterables of one's own: a list, a tuple, a class, a class that yields.


class Repeated:
    """Its batches, several times over."""

    def __init__(self, batches: Iterable[tuple[Tensor, Tensor]], times: int) -> None:
        self._batches = tuple(batches) * times

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)


class Noise:
    """Batches that are made on the way."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(3):
            yield torch.randn(4, 2), torch.zeros(4, dtype=torch.long)


listed = [(inputs, classes)]
assert_type(DataBunch(listed), DataBunch[Tensor, Tensor])
assert_type(DataBunch(tuple(listed), listed), DataBunch[Tensor, Tensor])
assert_type(DataBunch(Repeated(listed, 2), Noise()), DataBunch[Tensor, Tensor])
assert_type(DataBunch(Noise(), listed), DataBunch[Tensor, Tensor])

# Losses: functions, a lambda, a partial, modules.


def own_loss(pred: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(pred, target)


class OwnLoss(nn.Module):
    """A loss module of one's own."""

    @override
    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(pred, target)


@dataclass
class Weighted:
    """An object that is called."""

    weight: float

    def __call__(self, pred: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(pred, target) * self.weight


by_function = Learner(nn.Linear(2, 2), of_tensors, F.cross_entropy, AdamW)
by_own = Learner(nn.Linear(2, 2), of_tensors, own_loss, AdamW)
by_partial = Learner(nn.Linear(2, 2), of_tensors, partial(F.cross_entropy, label_smoothing=0.1), AdamW)
by_object = Learner(nn.Linear(2, 2), of_tensors, Weighted(2.0), AdamW)
by_module = Learner(nn.Linear(2, 2), of_tensors, nn.CrossEntropyLoss(), AdamW)
by_own_module = Learner(nn.Linear(2, 2), of_tensors, OwnLoss(), AdamW)
assert_type(by_function, Learner[Tensor, Tensor, Tensor, nn.Linear])
assert_type(by_own, Learner[Tensor, Tensor, Tensor, nn.Linear])
assert_type(by_partial, Learner[Tensor, Tensor, Tensor, nn.Linear])
assert_type(by_object, Learner[Tensor, Tensor, Tensor, nn.Linear])
assert_type(by_module, Learner[Tensor, Tensor, Tensor, nn.Linear])
assert_type(by_own_module, Learner[Tensor, Tensor, Tensor, nn.Linear])

# A lambda says nothing of its prediction, so that the learner's type is stated, in either of two places.
by_lambda = Learner[Tensor, Tensor, Tensor, Net](
    Net(), of_tensors, lambda pred, yb: F.cross_entropy(pred, yb) / 2, AdamW
)
assert_type(by_lambda, Learner[Tensor, Tensor, Tensor, Net])
assert_type(by_lambda.predict(), list[Tensor])
annotated: Learner = Learner(
    Net(), of_tensors, lambda pred, yb: F.cross_entropy(pred, yb) / 2, AdamW, cbs=[SmoothLoss()]
)
assert_type(annotated.predict(), list[Tensor])

regression = [(inputs, torch.zeros(8, 2))]
by_mse = Learner(nn.Linear(2, 2), DataBunch(regression), F.mse_loss, partial(SGD, lr=0.1), cbs=[SmoothLoss()])
assert_type(by_mse, Learner[Tensor, Tensor, Tensor, nn.Linear])

# Optimizers: a class, a partial, a function, a lambda.


def make_opt(parameters: Iterable[nn.Parameter]) -> Optimizer:
    return SGD(parameters, lr=0.1, momentum=0.9)


assert_type(Learner(Net(), of_images, own_loss, Adam), Learner[Tensor, Tensor, Tensor, Net])
assert_type(Learner(Net(), of_images, own_loss, partial(SGD, lr=0.1)), Learner[Tensor, Tensor, Tensor, Net])
assert_type(Learner(Net(), of_images, own_loss, make_opt), Learner[Tensor, Tensor, Tensor, Net])
assert_type(
    Learner(Net(), of_images, own_loss, lambda params: AdamW(params, lr=0.1)), Learner[Tensor, Tensor, Tensor, Net]
)

# Models: of torch, of one's own, in a Sequential.
sequential = Learner(nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2)), of_pairs, nn.CrossEntropyLoss(), AdamW)
assert_type(sequential, Learner[Tensor, Tensor, Tensor, nn.Sequential])
sequential.fit(1, cbs=[Unsqueeze(), Every(2), ToDevice("cpu")])
assert_type(sequential.predict(), list[Tensor])

# Inputs that are no tensors: of the data set's elements, as torch collates them.


class Texts(Dataset[tuple[Text, Tensor]]):
    @override
    def __getitem__(self, index: int) -> tuple[Text, Tensor]:
        return {"ids": inputs[index]}, classes[index]

    def __len__(self) -> int:
        return len(inputs)


class LabelledTexts(Dataset[tuple[Text, int]]):
    @override
    def __getitem__(self, index: int) -> tuple[Text, int]:
        return {"ids": inputs[index]}, 0

    def __len__(self) -> int:
        return len(inputs)


class TextNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 2)

    @override
    def forward(self, xb: Text) -> Tensor:
        pred: Tensor = self.head(xb["ids"])
        return pred


text_data = DataBunch(DataLoader(Texts(), batch_size=4), DataLoader(LabelledTexts()))
text_learn = Learner(TextNet(), text_data, nn.CrossEntropyLoss(), AdamW, cbs=[SmoothLoss(), ToDevice("cpu")])
assert_type(text_data, DataBunch[Text, Tensor])
assert_type(text_learn, Learner[Text, Tensor, Tensor, TextNet])
text_learn.fit(1)
assert_type(DataBunch([({"ids": inputs}, classes)]), DataBunch[Text, Tensor])

# Other payloads are stated once, where the data is put together.


class Sentences(Dataset[str]):
    @override
    def __getitem__(self, index: int) -> str:
        return "a sentence"

    def __len__(self) -> int:
        return 4


def collate(sentences: list[str]) -> tuple[Text, Text]:
    """A batch of what is no batch yet."""
    return {"ids": torch.zeros(len(sentences), 2)}, {"ids": torch.zeros(len(sentences), dtype=torch.long)}


def loss_of_texts(pred: Tensor, target: Text) -> Tensor:
    return F.cross_entropy(pred, target["ids"])


sentences = DataLoader(Sentences(), batch_size=2, collate_fn=collate)
collated = Learner(TextNet(), DataBunch[Text, Text](sentences, sentences), loss_of_texts, AdamW, cbs=[SmoothLoss()])
assert_type(collated, Learner[Text, Text, Tensor, TextNet])
collated.fit(1)

Two = tuple[Tensor, Tensor]
two_data = DataBunch[Two, Tensor]([((inputs, inputs), classes)])


class TwoNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)

    @override
    def forward(self, xb: Two) -> Two:
        pred: Tensor = self.head(torch.cat(xb, dim=1))
        return pred, pred


def two_loss(pred: Two, target: Tensor) -> Tensor:
    return F.cross_entropy(pred[0], target) + F.cross_entropy(pred[1], target)


@dataclass(frozen=True)
class Swap(Callback[Two, Tensor, Two]):
    """A callback over tuples, in and out."""

    @override
    def begin_batch(self, event: BeginBatch[Two, Tensor]) -> BeginBatch[Two, Tensor]:
        left, right = event.xb
        return event.with_batch((right, left), event.yb)

    @override
    def after_pred(self, event: AfterPred[Two, Tensor, Two]) -> AfterPred[Two, Tensor, Two]:
        left, right = event.pred
        return event.with_pred((right, left))


two_learn = Learner(TwoNet(), two_data, two_loss, AdamW, cbs=[Swap(), Every(1)])
assert_type(two_data, DataBunch[tuple[Tensor, Tensor], Tensor])
assert_type(two_learn, Learner[tuple[Tensor, Tensor], Tensor, tuple[Tensor, Tensor], TwoNet])
two_learn.fit(1)
assert_type(two_learn.predict([((inputs, inputs), classes)]), list[tuple[Tensor, Tensor]])


@dataclass(frozen=True)
class Graph:
    """A payload class of one's own."""

    nodes: Tensor
    edges: Tensor


class GraphNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 2)

    @override
    def forward(self, xb: Graph) -> Tensor:
        pred: Tensor = self.head(xb.nodes)
        return pred


@dataclass(frozen=True)
class DropEdges(Callback[Graph, Tensor, Tensor]):
    @override
    def begin_batch(self, event: BeginBatch[Graph, Tensor]) -> BeginBatch[Graph, Tensor]:
        return event.with_batch(Graph(event.xb.nodes, event.xb.edges[:0]), event.yb)


graph_data = DataBunch[Graph, Tensor]([(Graph(inputs, classes), classes)])
graph_learn = Learner(GraphNet(), graph_data, own_loss, AdamW, cbs=[DropEdges(), SmoothLoss(), ToDevice("cpu")])
assert_type(graph_learn, Learner[Graph, Tensor, Tensor, GraphNet])
graph_learn.fit(1)
