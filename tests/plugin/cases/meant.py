"""What reads as a mistake that a rule is for, and is none."""

import contextlib
import functools
from dataclasses import dataclass, field
from typing import Any, Callable, ClassVar, Iterator

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from typedcb import AnyCallback, AnyLearnerCallback, Callback, Cell, LearnerCallback, Phase, cell


@contextlib.contextmanager
def evaluated(model: nn.Module) -> Iterator[None]:
    was = model.training
    model.train(False)
    try:
        yield
    finally:
        model.train(was)


@dataclass(frozen=True)
class MakesCallbacks(AnyCallback):
    @staticmethod
    def printing(words: str) -> AnyCallback:
        @dataclass(frozen=True)
        class Prints(AnyCallback):
            def after_epoch(self, event: Any) -> None:
                print(words)

        return Prints()


def filled(hook: Callable[..., None]) -> Callable[[Any, Any], None]:
    @functools.wraps(hook)
    def call(self: Any, event: Any) -> None:
        hook(self, event, factor=3)

    return call


@filled
def after_loss(self: Any, event: Any) -> None: ...


@dataclass(frozen=True)
class FilledByADecorator(AnyCallback):
    @filled
    def after_epoch(self, event: Any, factor: int = 1) -> None:
        print(factor)


@dataclass(frozen=True)
class CallsItself(AnyCallback):
    def begin_batch(self, event: Any) -> None:
        print(event.step - self.start_step())

    def start_step(self) -> int:
        return 3


@dataclass(frozen=True)
class NothingToMake(AnyCallback):
    every: int = 5
    name: str = field(default="")

    def __init__(self) -> None:
        print("made")


class _Named:
    def __init__(self) -> None:
        print("never called: the dataclass has its own")


@dataclass(frozen=True)
class HasABase(AnyCallback, _Named):
    every: int


@dataclass(frozen=True)
class MadeByAHelper(AnyCallback):
    every: int

    def __init__(self, per_epoch: int) -> None:
        self._set(100 // per_epoch)

    def _set(self, every: int) -> None:
        vars(self)["every"] = every


@dataclass(frozen=True)
class CalledByTheProgram(AnyCallback):
    def setup(self, path: str) -> None: ...

    def initialize(self, size: int) -> None: ...


@dataclass(frozen=True)
class Probes(LearnerCallback[Tensor, Tensor, Tensor, nn.Sequential]):
    sample: Tensor

    def after_epoch(self, event: Any) -> None:
        with torch.no_grad(), evaluated(self.learn.model):
            print(self.learn.model(self.sample))

    def begin_epoch(self, event: Any) -> None:
        self.learn.model.train(False)
        print(self.learn.model(self.sample))
        self.learn.model.train(True)


@dataclass(frozen=True)
class DoesAsTheLoop(AnyLearnerCallback):
    def begin_validate(self, event: Any) -> None:
        self.learn.model.eval()  # the loop sets it back after the validation


@dataclass(frozen=True)
class OwnOptimizer(AnyCallback):
    opt: Optimizer

    def after_backward(self, event: Any) -> None:
        self.opt.step()
        self.opt.zero_grad()


@dataclass(frozen=True)
class GradientNorm(AnyCallback):
    phases: ClassVar[tuple[Phase, ...]] = ("train",)
    grad: Cell[float] = cell(0.0)

    def after_batch(self, event: Any) -> None:
        print(self.grad.value)


@dataclass(frozen=True)
class Saliency(Callback):
    def after_pred(self, event: Any) -> None:
        print(torch.func.grad(torch.sum)(event.xb))


@dataclass(frozen=True)
class NoneLeft(AnyLearnerCallback):
    def begin_batch(self, event: Any) -> None:
        assert all(parameter.grad is None for parameter in self.learn.model.parameters())
        if any(parameter.grad is not None for parameter in self.learn.model.parameters()):
            raise RuntimeError("somebody has left gradients behind")


@dataclass(frozen=True)
class ClipsThese(AnyLearnerCallback):
    clipped: Cell[tuple[nn.Parameter, ...]] = cell(())

    def begin_fit(self, event: Any) -> None:
        self.clipped.value = tuple(self.learn.model.parameters())

    def after_backward(self, event: Any) -> None:
        nn.utils.clip_grad_norm_(self.clipped.value, 1.0)


@dataclass(frozen=True)
class NeedsMomentum(AnyLearnerCallback):
    def begin_fit(self, event: Any) -> None:
        if "momentum" not in self.learn.opt.defaults:
            raise ValueError("SGD, please")


@dataclass(frozen=True)
class NothingToTrain(LearnerCallback[Tensor, Tensor, Tensor, nn.Sequential]):
    def begin_epoch(self, event: Any) -> None:
        self.learn.model[1] = nn.Identity()
        self.learn.model[2] = nn.Sequential(self.learn.model[2], nn.ReLU())
        self.learn.model[3] = nn.Sequential(nn.ReLU(), nn.Linear(2, 2))  # typedcb-new-weights
        self.learn.model[0].weight.data = nn.functional.normalize(torch.ones(2, 2))
