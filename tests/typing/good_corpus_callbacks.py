"""Good callbacks of many kinds, as users write them, with no cast, no ignore and no Any: each is also run."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Callable, ClassVar, Generic, Literal, Mapping, NamedTuple, Optional, Protocol

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD
from typing_extensions import TypeVar, override

from typedcb import (
    AfterBatch,
    AfterEpoch,
    AfterFit,
    AfterLoss,
    AfterStep,
    AnyCallback,
    AnyLearnerCallback,
    BatchEvent,
    BeginBatch,
    BeginFit,
    Callback,
    CancelEpoch,
    CancelTrain,
    Cell,
    DataBunch,
    Learner,
    LearnerCallback,
    LossEvent,
    Phase,
    Readable,
    Series,
    SkipStep,
    cell,
    series,
)
from typedcb.callbacks import AvgStats, EarlyStopping, GradientClip, SmoothLoss

PAIRS: list[tuple[Tensor, Tensor]] = [(torch.ones(4, 3), torch.zeros(4, 2)) for _ in range(2)]
DATA = DataBunch(PAIRS, PAIRS)
sgd = partial(SGD, lr=0.1)


# ---------------------------------------------------------------------------------------- a model of one's own class


class Net(nn.Module):
    """A model with fields of its own."""

    body: nn.Linear
    head: nn.Linear
    temperature: float

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(3, 5)
        self.head = nn.Linear(5, 2)
        self.temperature = 1.0

    @override
    def forward(self, xb: Tensor) -> Tensor:
        """Scores of shape (samples, 2)."""
        hidden: Tensor = self.body(xb)
        scores: Tensor = self.head(hidden.relu())
        return scores / self.temperature


@dataclass(frozen=True)
class Anneal(LearnerCallback[Tensor, Tensor, Tensor, Net]):
    """Lowers the temperature of its learner's model, whose class it knows."""

    rate: float = 0.5
    norms: Series[float] = series()

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        self.learn.model.temperature *= self.rate
        self.norms.append(float(self.learn.model.head.weight.detach().pow(2).sum()))


# ------------------------------------------------------------------------- settings: Optional, Literal and functions


@dataclass(frozen=True)
class Stop(AnyCallback):
    """Stops by one of several rules."""

    rule: Literal["epochs", "loss"]
    limit: Optional[float] = None
    on_stop: Optional[Callable[[str], None]] = None
    weights: Mapping[str, float] = field(default_factory=lambda: {"loss": 1.0})
    stopped_at: Cell[Optional[int]] = cell(None)

    @override
    def after_epoch(self, event: AfterEpoch) -> CancelTrain | None:
        if self.limit is None or self.rule != "epochs" or event.epoch < self.limit:
            return None
        self.stopped_at.value = event.epoch
        return self._stopped(f"epoch {event.epoch}")

    @override
    def after_batch(self, event: AfterBatch[object, object, object]) -> CancelTrain | None:
        match event.reached:
            case AfterStep(loss=loss) if self.rule == "loss" and self.limit is not None:
                return self._stopped("loss") if float(loss) < self.limit else None
            case _:
                return None

    def _stopped(self, why: str) -> CancelTrain:
        if self.on_stop is not None:
            self.on_stop(why)
        return CancelTrain(why)


# ----------------------------------------------------------------------------------- cells of tuples, tensors, classes


class Extremes(NamedTuple):
    """What a fit has seen."""

    low: float
    high: float


@attrs.frozen
class Window:
    """The last losses."""

    size: int
    losses: tuple[float, ...] = ()

    def with_loss(self, loss: float) -> Window:
        """The window with one more."""
        return attrs.evolve(self, losses=(*self.losses, loss)[-self.size :])


@dataclass(frozen=True)
class Remember(AnyCallback):
    """Keeps all kinds of values in cells."""

    phases: ClassVar[tuple[Phase, ...]] = ("train",)
    order: ClassVar[int] = 10

    extremes: Cell[Extremes] = cell(Extremes(float("inf"), float("-inf")))
    window: Cell[Window] = cell(Window(3), reset="never")
    total: Cell[Tensor] = cell(torch.zeros(()), reset="epoch")
    last: Cell[Optional[tuple[int, Tensor]]] = cell(None)
    names: Cell[frozenset[str]] = cell(frozenset[str]())

    @override
    def after_backward(self, event: LossEvent) -> None:
        loss = float(event.loss)
        seen = self.extremes.value
        self.extremes.value = Extremes(min(seen.low, loss), max(seen.high, loss))
        self.window.value = self.window.value.with_loss(loss)
        self.total.value += event.loss
        self.last.value = (event.index, event.loss)
        self.names.value |= {f"batch {event.index}"}


# ------------------------------------------------------------------------------- inheritance, mixins, abstract, attrs


@dataclass(frozen=True)
class EveryNth(AnyCallback):
    """Does something at every nth training step; a base for others."""

    n: int

    @override
    def after_step(self, event: BatchEvent) -> None:
        if event.step % self.n == 0:
            self.act(event)

    def act(self, event: BatchEvent) -> None:
        """What to do; nothing here."""


@dataclass(frozen=True)
class Sample(EveryNth):
    """Notes the steps at which it acted."""

    steps: Series[int] = series()

    @override
    def act(self, event: BatchEvent) -> None:
        self.steps.append(event.step)

    @override
    def after_fit(self, event: AfterFit) -> None:
        super().after_fit(event)


class SaysIts:
    """A mixin that is no callback."""

    def headline(self, text: str) -> str:
        """A headline of the class's own name."""
        return f"{type(self).__name__}: {text}"


@dataclass(frozen=True)
class WatchesEpochs:
    """A mixin with a hook and a cell of its own."""

    watched: Series[int] = series()

    def after_epoch(self, event: AfterEpoch) -> None:
        """Notes the epoch."""
        self.watched.append(event.epoch)


@dataclass(frozen=True)
class Watch(WatchesEpochs, SaysIts, AnyCallback):
    """Made of mixins."""

    headlines: Series[str] = series()

    @override
    def begin_fit(self, event: BeginFit) -> None:
        self.headlines.append(self.headline(f"{event.n_epochs} epochs"))


@attrs.frozen
class Scaled(Callback):
    """An attrs class: scales the inputs."""

    factor: float = attrs.field(default=0.5, validator=attrs.validators.gt(0.0))
    count: Cell[int] = cell(0)

    @override
    def begin_batch(self, event: BeginBatch) -> BeginBatch:
        self.count.value += 1
        return event.with_batch(event.xb * self.factor, event.yb)


@dataclass(frozen=True)
class Patient(EarlyStopping):
    """A ready-made callback with a word of its own."""

    words: Series[str] = series()

    @override
    def after_epoch(self, event: AfterEpoch) -> CancelTrain | None:
        answer = super().after_epoch(event)
        self.words.append(f"waiting since {self.wait.value}")
        return answer


# ----------------------------------------------------------------------------- needs that are Protocols, dependencies


class HasHead(Protocol):
    """Whatever has a head."""

    @property
    def head(self) -> nn.Linear:
        """The last layer."""
        ...


@dataclass(frozen=True)
class HeadNorm(AnyCallback):
    """Needs something with a head, whatever else it is."""

    of: HasHead
    value_: Cell[float] = cell(0.0)

    @override
    def after_step(self, event: BatchEvent) -> None:
        self.value_.value = float(self.of.head.weight.detach().pow(2).sum())


@dataclass(frozen=True)
class Compare(AnyCallback):
    """Depends on two others, one of them as anything that can be read."""

    smooth: SmoothLoss
    monitor: Readable[float]
    gaps: Series[float] = series()

    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        self.gaps.append(self.smooth.value - self.monitor.value)


# -------------------------------------------------------------------------------------------------- generic callbacks


X = TypeVar("X", default=Tensor)
Y = TypeVar("Y", default=Tensor)
P = TypeVar("P", default=Tensor)


@dataclass(frozen=True)
class KeepFirst(Callback[X, Y, P], Generic[X, Y, P]):
    """Keeps something of the first batch of a fit, whatever batches are."""

    read: Callable[[X, Y], str]
    first: Cell[str] = cell("")

    @override
    def begin_batch(self, event: BeginBatch[X, Y]) -> None:
        if not self.first.value:
            self.first.value = self.read(event.xb, event.yb)


@dataclass(frozen=True)
class Weigh(Callback[object, Y, P], Generic[Y, P]):
    """Adds a term to the training loss that a function of the user's computes."""

    phases: ClassVar[tuple[Phase, ...]] = ("train",)
    term: Callable[[P, Y], Tensor]

    @override
    def after_loss(self, event: AfterLoss[object, Y, P]) -> AfterLoss[object, Y, P]:
        return event.with_loss(event.loss + self.term(event.pred, event.yb))


@dataclass(frozen=True)
class SkipTiny(AnyLearnerCallback):
    """Answers now this, now that."""

    limit: float

    @override
    def after_backward(self, event: LossEvent) -> SkipStep | CancelEpoch | None:
        if event.loss.isnan():
            return CancelEpoch("nan")
        return SkipStep() if float(event.loss) < self.limit else None


def small(pred: Tensor, yb: Tensor) -> Tensor:
    """A term of a loss."""
    return (pred - yb).abs().mean() * 1e-3


def shape(xb: Tensor, yb: Tensor) -> str:
    """The shapes of a batch."""
    return f"{tuple(xb.shape)} {tuple(yb.shape)}"


def run() -> None:
    """A fit with all of them."""
    net = Net()
    said: list[str] = []
    stats = AvgStats(F.l1_loss)
    smooth = SmoothLoss()
    remember, sample, watch, scaled = Remember(), Sample(2), Watch(), Scaled()
    first = KeepFirst(shape)
    compare = Compare(smooth, stats.train_loss)
    patient = Patient(stats.valid_loss, mode="min", patience=5)
    learn = Learner(
        net,
        DATA,
        F.mse_loss,
        sgd,
        cbs=[remember, sample, watch, scaled, first, stats, smooth, compare, patient],
        cb_funcs=[partial(GradientClip, clip=0.1), Anneal, lambda learn: SkipTiny(learn, -1.0)],
    )
    norm = learn.add(lambda learn: HeadNorm(learn.model))
    anneal = learn.get(Anneal)
    learn.fit(4, cbs=[Weigh(small), Stop("epochs", 1, said.append)])
    assert said == ["epoch 1"]
    assert remember.extremes.value.low <= remember.extremes.value.high
    assert len(remember.window.value.losses) == 3
    assert remember.last.value is not None
    assert remember.last.value[0] == 1
    assert sample.steps.value == (0, 2)
    assert watch.watched.value == (0, 1)
    assert watch.headlines.value == ("Watch: 4 epochs",)
    assert scaled.count.value == 2 * 2 * len(PAIRS)
    assert first.first.value == "(4, 3) (4, 2)"
    assert len(compare.gaps) == len(anneal.norms) == len(patient.words) == 2
    assert net.temperature == 0.25
    assert norm.value_.value > 0
