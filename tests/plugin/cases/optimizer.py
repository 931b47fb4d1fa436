"""Gradients at the wrong time, an optimizer's defaults, new parts of a model, a loss without its graph."""

from dataclasses import dataclass
from typing import Any, ClassVar, Optional

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from typedcb import AfterLoss, AnyLearnerCallback, Callback, LearnerCallback, Phase, SkipStep
from typedcb.callbacks import TorchScheduler


@dataclass(frozen=True)
class TooEarly(AnyLearnerCallback):
    def begin_epoch(self, event: Any) -> None:
        for parameter in self.learn.model.parameters():
            parameter.grad = None

    def after_loss(self, event: Any) -> None:
        clip_grad_norm_(self.learn.model.parameters(), 1.0)  # typedcb-gradients
        for parameter in self.learn.model.parameters():
            print(parameter.grad)  # typedcb-gradients

    def after_backward(self, event: Any) -> None:
        clip_grad_norm_(self.learn.model.parameters(), 1.0)
        for parameter in self.learn.model.parameters():
            print(parameter.grad)

    def after_step(self, event: Any) -> None:
        nn.utils.clip_grad_value_(self.learn.model.parameters(), 1.0)  # typedcb-gradients
        for parameter in self.learn.model.parameters():
            print(parameter.grad)

    def after_batch(self, event: Any) -> None:
        self._show()

    def _show(self) -> None:
        for parameter in self.learn.model.parameters():
            print(parameter.grad)  # typedcb-gradients


@dataclass(frozen=True)
class Drops(AnyLearnerCallback):
    def after_backward(self, event: Any) -> None:
        model = self.learn.model
        for parameter in model.parameters():  # typedcb-gradients
            parameter.grad = None


@dataclass(frozen=True)
class DropsToZero(AnyLearnerCallback):
    def after_backward(self, event: Any) -> None:
        for parameter in self.learn.model.parameters():  # typedcb-gradients
            parameter.grad.zero_()  # type: ignore[union-attr,unused-ignore]  # there is one, after backward


@dataclass(frozen=True)
class DropsSome(LearnerCallback[Tensor, Tensor, Tensor, nn.Sequential]):
    def after_backward(self, event: Any) -> None:
        for parameter in self.learn.model[0].parameters():
            parameter.grad = None
        for parameter in self.learn.model.parameters():
            if parameter.ndim > 1:
                parameter.grad = None


@dataclass(frozen=True)
class GoesItsOwnWay(AnyLearnerCallback):
    def after_loss(self, event: Any) -> None:
        for parameter in self.learn.model.parameters():
            print(parameter.grad)

    def after_backward(self, event: Any) -> SkipStep:
        for parameter in self.learn.model.parameters():
            parameter.grad = None
        return SkipStep()


@dataclass(frozen=True)
class Defaults(AnyLearnerCallback):
    defaults: int = 3

    def begin_epoch(self, event: Any) -> None:
        print(self.learn.opt.defaults["lr"])  # typedcb-dead-setting
        opt = self.learn.opt
        opt.defaults["lr"] = 0.1  # typedcb-dead-setting
        print(self.defaults, opt.param_groups[0]["lr"])


@dataclass(frozen=True)
class NewPart(LearnerCallback[Tensor, Tensor, Tensor, nn.Sequential]):
    def begin_fit(self, event: Any) -> None:
        self.learn.model[0] = nn.Linear(2, 2)  # typedcb-new-weights
        model = self.learn.model
        model.head = nn.Linear(2, 2)  # typedcb-new-weights
        model.scale = torch.ones(1)
        head = nn.Linear(2, 2)
        print(head)


@dataclass(frozen=True)
class AddsThem(LearnerCallback[Tensor, Tensor, Tensor, nn.Sequential]):
    def begin_fit(self, event: Any) -> None:
        self.learn.model.head = nn.Linear(2, 2)
        self.learn.opt.add_param_group({"params": list(self.learn.model.parameters())[-2:]})


@dataclass(frozen=True)
class NoGraph(Callback):
    weight: float

    def after_loss(self, event: AfterLoss) -> AfterLoss:
        if event.phase == "valid":
            return event.with_loss(event.loss.detach())
        return event.with_loss(event.loss.detach() * 2)  # typedcb-graph-lost

    def after_pred(self, event: Any) -> Any:
        return event.with_pred(event.pred.data)  # typedcb-graph-lost


@dataclass(frozen=True)
class Graph(Callback):
    weight: float

    def after_loss(self, event: AfterLoss) -> AfterLoss:
        return event.with_loss(event.loss / event.loss.detach() + self._penalty(event.pred))

    def _penalty(self, pred: Tensor) -> Tensor:
        return pred.square().mean()


@dataclass(frozen=True)
class OnlyValid(Callback):
    phases: ClassVar[tuple[Phase, ...]] = ("valid",)

    def after_loss(self, event: AfterLoss) -> Optional[AfterLoss]:
        return event.with_loss(event.loss.detach())


@dataclass(frozen=True)
class LeavesItSo(LearnerCallback[Tensor, Tensor, Tensor, nn.Sequential]):
    schedule: TorchScheduler

    def after_step(self, event: Any) -> None:
        model = self.learn.model
        model.eval()  # typedcb-against-the-loop
        scheduler = self.schedule.scheduler.value
        if scheduler is not None:
            scheduler.step()  # typedcb-against-the-loop

    def begin_epoch(self, event: Any) -> None:
        torch.set_grad_enabled(False)  # typedcb-against-the-loop
        self.learn.validate()  # typedcb-against-the-loop


@dataclass(frozen=True)
class Samples(LearnerCallback[Tensor, Tensor, Tensor, nn.Sequential]):
    sample: Tensor

    def after_epoch(self, event: Any) -> None:
        print(self.learn.model(self.sample))  # typedcb-against-the-loop

    def begin_fit(self, event: Any) -> None:
        print(self.learn.model(self.sample))

    def after_loss(self, event: Any) -> None:
        self.learn.model.train(False)  # typedcb-against-the-loop
        with torch.set_grad_enabled(False):
            print(self.learn.model(self.sample))


@dataclass(frozen=True)
class SetsItBack(LearnerCallback[Tensor, Tensor, Tensor, nn.Sequential]):
    sample: Tensor

    def after_epoch(self, event: Any) -> None:
        model = self.learn.model
        model.eval()
        print(model(self.sample))
        model.train()

    def after_step(self, event: Any) -> None:
        self.learn.model.train(False)
        self.learn.model.train(True)
