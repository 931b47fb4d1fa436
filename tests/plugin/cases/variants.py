"""The kinds of mistakes that people make with callbacks, each made in another way than in the other files."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from typedcb import (
    AfterBatch,
    AfterEpoch,
    AfterLoss,
    AnyCallback,
    AnyLearnerCallback,
    BatchEvent,
    BeginBatch,
    BeginEpoch,
    BeginFit,
    BeginValidate,
    Callback,
    CancelBatch,
    CancelEpoch,
    CancelTrain,
    Cell,
    LossEvent,
    Phase,
    Readable,
    Series,
    SkipBackward,
    SkipStep,
    cell,
    series,
)
from typedcb.callbacks import EarlyStopping, MixUp, SmoothLoss

HISTORY: list[object] = []
LAST: dict[str, object] = {}
n_batches = 0


# ------------------------------------------------------------------------------------------------------------ names


@dataclass(frozen=True)
class Saves(AnyCallback):
    def state_dict(self) -> dict[str, int]:  # typedcb-unknown-hook
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None: ...  # typedcb-unknown-hook


@dataclass(frozen=True)
class OfAnotherTrainer(AnyCallback):
    def epoch_end(self, state: object, logger: object) -> None: ...  # typedcb-unknown-hook

    def on_test_batch_end(self, *args: object) -> None: ...  # typedcb-unknown-hook

    on_epoch_begin = lambda self, event: None  # noqa: E731  # typedcb-unknown-hook


@dataclass(frozen=True)
class BelowAnIf(AnyCallback):
    if hasattr(torch, "compile"):

        def after_epochs(self, event: object) -> None: ...  # typedcb-unknown-hook

    else:

        def on_epoch_end(self, event: object) -> None: ...  # typedcb-unknown-hook

    try:
        weights = {"a": 1.0}  # typedcb-mutable-field
    finally:
        pass


class Counting:
    """No callback, and yet its methods are one's."""

    seen = []  # noqa: RUF012  # typedcb-mutable-field

    def after_step(self, event: BatchEvent) -> None:
        self.count = event.step  # typedcb-self-assignment

    def on_step_end(self, event: BatchEvent) -> None: ...  # typedcb-unknown-hook


@dataclass(frozen=True)
class Counts(Counting, AnyCallback): ...


@dataclass(frozen=True)
class Twice(AnyCallback):
    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        print("epoch", event.epoch)

    @override
    def after_epoch(self, event: AfterEpoch) -> None:  # noqa: F811  # typedcb-defined-twice
        print("and again")


# ----------------------------------------------------------------------------------------------- what a class says


@dataclass(frozen=True)
class PhaseOfAnotherName(AnyCallback):
    phases = ("validation",)  # typedcb-unknown-setting
    order = "last"  # typedcb-unknown-setting


@dataclass(frozen=True)
class NoTuple(AnyCallback):
    phases: ClassVar[tuple[Phase, ...]] = "train"  # typedcb-unknown-setting


@dataclass(frozen=True)
class OneForAll(AnyCallback):
    count: Cell[int] = Cell(0)  # typedcb-mutable-field
    seen: Series[int] = field(default_factory=Series)  # typedcb-mutable-field
    best: Cell[float] = field(default_factory=lambda: Cell(0.0))  # typedcb-mutable-field


class Meter:
    def __init__(self) -> None:
        self.total = 0.0

    def add(self, value: float) -> None:
        self.total += value


@dataclass(frozen=True)
class Meters(AnyCallback):
    meter: Meter = field(default_factory=Meter)  # typedcb-mutable-field


# ------------------------------------------------------------------------------------------------- state elsewhere


@dataclass(frozen=True)
class Global(AnyCallback):
    def after_step(self, event: BatchEvent) -> None:
        global n_batches
        n_batches += 1  # typedcb-shared-state
        HISTORY.append(event.index)  # typedcb-shared-state
        LAST["index"] = event.index  # typedcb-shared-state


@dataclass(frozen=True)
class OfTheClass(AnyCallback):
    total: ClassVar[int] = 0

    def after_step(self, event: BatchEvent) -> None:
        OfTheClass.total += 1  # typedcb-shared-state
        type(self).total = 3  # typedcb-shared-state
        self.__class__.total = 3  # typedcb-shared-state


@dataclass(frozen=True)
class ByForce(AnyCallback):
    count: int = 0

    def after_step(self, event: BatchEvent) -> None:
        object.__setattr__(self, "count", self.count + 1)  # typedcb-self-assignment
        setattr(self, "other", 1)  # noqa: B010  # typedcb-self-assignment

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", 3)


@dataclass(frozen=True)
class InPlace(AnyCallback):
    total: Tensor
    table: Cell[Mapping[str, int]] = cell({})  # typedcb-mutable-field
    kept: Cell[Any] = cell(None)
    sums: Cell[Tensor] = cell(torch.zeros(2))

    def after_step(self, event: BatchEvent) -> None:
        self.total.add_(1)  # typedcb-mutable-field
        self.total[0] = 3.0  # typedcb-mutable-field
        self.table.value["a"] = 1  # typedcb-mutable-field
        self.kept.value.append(event.index)  # typedcb-mutable-field
        self.sums.value[0] += 1


# --------------------------------------------------------------------------------------------------------- answers


@dataclass(frozen=True)
class Forgets(Callback):
    def after_batch(self, event: AfterBatch) -> None:
        if event.reached.index > 99:
            CancelTrain("enough")  # typedcb-unused-answer

    def after_backward(self, event: LossEvent) -> None:
        skip = SkipStep()  # typedcb-unused-answer

    def after_loss(self, event: AfterLoss) -> None:
        if event.loss.isnan():
            SkipBackward  # noqa: B018  # typedcb-unused-answer

    def begin_batch(self, event: BeginBatch) -> None:
        xb = event.xb + torch.randn_like(event.xb)  # typedcb-unused-with

    def after_pred(self, event: Any) -> None:
        pred, scale = event.pred.softmax(1), 3  # typedcb-unused-with


@dataclass(frozen=True)
class ForgetsWhatAHelperMade(Callback):
    def begin_batch(self, event: BeginBatch) -> None:
        self._noisy(event)  # typedcb-unused-with

    def _noisy(self, event: BeginBatch) -> BeginBatch:
        return event.with_batch(event.xb + 1, event.yb)


@dataclass(frozen=True)
class Untyped(AnyCallback):
    def begin_validate(self, event):
        return True  # typedcb-illegal-answer

    def after_epoch(self, event):
        return {"stop_training": True}  # typedcb-illegal-answer

    def after_step(self, event):
        return SkipStep()  # typedcb-illegal-answer

    def after_backward(self, event) -> Any:
        return SkipStep if event.loss.isnan() else None  # typedcb-illegal-answer

    def after_loss(self, event):
        return event.with_batch(event.xb, event.yb)  # typedcb-illegal-answer

    def after_batch(self, event):
        return CancelBatch() if event.reached.index else None  # typedcb-illegal-cancel

    def begin_epoch(self, event):
        return event  # typedcb-illegal-answer

    def begin_fit(self, event):
        return event.n_epochs > 3  # typedcb-illegal-answer


def stop(reason: str) -> None:
    raise CancelEpoch(reason)


class Stopping:
    def _stop(self) -> None:
        error = CancelBatch("by a mixin")
        raise error  # typedcb-illegal-cancel


@dataclass(frozen=True)
class StopsElsewhere(Stopping, AnyCallback):
    def after_batch(self, event: AfterBatch[object, object, object]) -> None:
        self._stop()

    def after_epoch(self, event: AfterEpoch) -> None:
        stop_epoch("too late")


def stop_epoch(reason: str) -> None:
    raise CancelEpoch(reason)  # typedcb-illegal-cancel


@dataclass(frozen=True)
class Patient(EarlyStopping):
    @override
    def after_epoch(self, event: AfterEpoch) -> None:  # typedcb-no-super
        print("waiting", self.wait.value)


@dataclass(frozen=True)
class Loud(EarlyStopping):
    @override
    def after_epoch(self, event: AfterEpoch) -> None:
        super().after_epoch(event)  # typedcb-unused-answer
        print("waiting", self.wait.value)


# -------------------------------------------------------------------------------------------------- the event's own


@dataclass(frozen=True)
class Reads(AnyCallback):
    def begin_batch(self, event: Any) -> None:
        print(getattr(event, "loss", 0.0))  # typedcb-too-early
        print(event["xb"])  # typedcb-unknown-field
        self._show(event)

    def _show(self, happening: Any) -> None:
        print(happening.pred)  # typedcb-too-early

    def after_pred(self, event):
        print(event.global_step)  # typedcb-unknown-field
        return event.with_loss(event.pred)  # typedcb-too-early typedcb-illegal-answer

    def after_epoch(self, event: Any) -> None:
        print(event.logs["loss"])  # typedcb-unknown-field
        print(hasattr(event, "loss"))  # typedcb-too-late

    def after_fit(self, event: Any) -> None:
        print(event.exception)  # typedcb-unknown-field


@dataclass(frozen=True)
class Spoils(Callback):
    def begin_batch(self, event: BeginBatch) -> None:
        event.xb.mul_(2)  # typedcb-event-assignment
        event.xb[:, 0] = 0  # typedcb-event-assignment
        event.yb.data.add_(1)  # typedcb-event-assignment

    def after_pred(self, event: Any) -> None:
        event.pred["logits"] = event.pred["logits"] * 2  # typedcb-event-assignment
        event.pred.update(extra=1)  # typedcb-event-assignment


# ------------------------------------------------------------------------------------------------------ conditions


@dataclass(frozen=True)
class NeverTrue(AnyCallback):
    monitor: Readable[float]
    done: Cell[bool] = cell(False)
    best: Cell[float | None] = cell(None)

    def after_batch(self, event: AfterBatch[object, object, object]) -> None:
        if event.reached.phase == "val":  # typedcb-dead-condition
            print("never")
        if event.reached.phase in ("train", "test"):  # typedcb-dead-condition
            print("half")
        match event.reached.phase:  # typedcb-dead-condition
            case "validation":
                print("never")

    def after_epoch(self, event: AfterEpoch) -> None:
        if event.epoch == event.n_epochs:  # typedcb-dead-condition
            print("never")
        if event.epoch + 1 == event.n_epochs:
            print("last")
        if self.done:  # typedcb-dead-condition
            print("always")
        if self.best is None:  # typedcb-dead-condition
            print("never")
        if not self.monitor or event.epoch:  # typedcb-dead-condition typedcb-dead-condition
            print("never")
        if self.done.value and self.best.value is None:
            print("sometimes")


# ---------------------------------------------------------------------------------------------- memory and weights


@dataclass(frozen=True)
class KeepsGraphs(AnyLearnerCallback):
    phases: ClassVar[tuple[Phase, ...]] = ("train",)
    losses: Series[Tensor] = series()

    def after_loss(self, event: LossEvent) -> None:
        HISTORY.append(event.loss)  # typedcb-graph-in-cell typedcb-shared-state
        LAST["loss"] = event.loss  # typedcb-graph-in-cell typedcb-shared-state
        self.learn.model.last_loss = event.loss  # typedcb-graph-in-cell
        self._keep(event.loss)  # typedcb-graph-in-cell
        losses = self.losses
        losses.append(event.loss * 2)  # typedcb-graph-in-cell
        self.losses.append(event.loss.detach())
        with torch.no_grad():
            self.losses.append(event.loss * 2)

    def _keep(self, loss: Tensor) -> None:
        self.losses.append(loss)


@dataclass(frozen=True)
class Best(AnyLearnerCallback):
    weights: Cell[Any] = cell(None)
    all: Series[Any] = series()

    def after_epoch(self, event: AfterEpoch) -> None:
        self.weights.value = self.learn.model.state_dict()  # typedcb-live-weights
        self.weights.value = dict(self.learn.model.state_dict())  # typedcb-live-weights
        self.all.append(list(self.learn.model.parameters()))  # typedcb-live-weights
        self.weights.value = copy.deepcopy(self.learn.model.state_dict())


# --------------------------------------------------------------------------------------------------------- the loop


@dataclass(frozen=True)
class DoesItToo(AnyLearnerCallback):
    def after_loss(self, event: LossEvent) -> None:
        event.loss.backward()  # typedcb-against-the-loop

    def after_backward(self, event: LossEvent) -> None:
        self.learn.opt.zero_grad()  # typedcb-against-the-loop
        self.learn.opt.step()  # typedcb-against-the-loop

    def begin_epoch(self, event: BeginEpoch) -> None:
        self.learn.model.eval()  # typedcb-against-the-loop


@dataclass(frozen=True)
class Instead(AnyLearnerCallback):
    @override
    def after_backward(self, event: LossEvent) -> SkipStep:
        self.learn.opt.step()
        return SkipStep()

    @override
    def begin_validate(self, event: BeginValidate) -> None:
        self.learn.model.eval()
        print(nn.utils.parameters_to_vector(self.learn.model.parameters()).norm())
        self.learn.model.train()


# ------------------------------------------------------------------------------------------------- which batches


@dataclass(frozen=True)
class CountsAtTheBeginning(AnyCallback):
    n: Cell[int] = cell(0)
    seen: Cell[tuple[int, ...]] = cell(())

    def begin_batch(self, event: BatchEvent) -> None:
        self.n.value += 1  # typedcb-both-phases

    def after_batch(self, event: AfterBatch[object, object, object]) -> None:
        self.seen.value = (*self.seen.value, event.reached.index)  # typedcb-both-phases


@dataclass(frozen=True)
class BeginsAnewForValidation(AnyCallback):
    n: Cell[int] = cell(0)

    @override
    def begin_validate(self, event: BeginValidate) -> None:
        self.n.value = 0

    @override
    def after_batch(self, event: AfterBatch[object, object, object]) -> None:
        self.n.value += 1


@dataclass(frozen=True)
class MixesAndCounts(MixUp):
    smooth: SmoothLoss | None = None
    mixed: Cell[int] = cell(0)

    @override
    def begin_fit(self, event: BeginFit) -> CancelTrain | None:
        return super().begin_fit(event)
