"""What is run in several processes where DeepSpeed is installed; each program writes what it has found as JSON.

accelerate has DeepSpeed run several processes on CPUs where it is told by what they are to talk, and one otherwise.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Optional
from unittest.mock import patch

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DeepSpeedPlugin, InitProcessGroupKwargs
from programs import ADAM, CLASSES, SAMPLES, data, decisions, learner, model, weights
from torch import nn
from torch.nn import functional as F

from typedcb import AnyCallback, EngineError, Learner, Loop, NonFiniteError, Series, SkipStep, SkipZeroGrad, series
from typedcb.callbacks import (
    LR,
    AvgStats,
    Checkpoint,
    EarlyStopping,
    Freeze,
    GradientAccumulation,
    GradientClip,
    MixedPrecision,
    ParamScheduler,
    SmoothLoss,
    Unfreeze,
    accuracy,
    linear,
)
from typedcb.engines import AccelerateEngine, TorchEngine

CONFIGS: dict[str, dict[str, Any]] = {
    "0": {"stage": 0},
    "1": {"stage": 1},
    "2": {"stage": 2},
    "2 at once": {"stage": 2, "overlap_comm": True, "reduce_bucket_size": 20},
    "1 apart": {"stage": 1, "contiguous_gradients": False, "reduce_scatter": False, "allgather_bucket_size": 40},
}


def engine_of(config: Optional[str], **settings: Any) -> Any:
    """The engine of a config of DeepSpeed's, as a file would hold it; without one that of torch, to compare with."""
    torch.manual_seed(0)  # the order of the samples comes of it
    if config is None:
        return TorchEngine(timeout=60)
    AcceleratorState._reset_state()  # and not the processes
    auto = {"train_micro_batch_size_per_gpu": "auto", "gradient_clipping": "auto"}
    plugin = DeepSpeedPlugin(hf_ds_config={"zero_optimization": CONFIGS[config], **auto, **settings})
    handlers = [InitProcessGroupKwargs(backend="gloo")]
    accelerator = Accelerator(deepspeed_plugin=plugin, kwargs_handlers=handlers)
    return AccelerateEngine(accelerator, processes=int(os.environ["WORLD_SIZE"]), timeout=60)


@dataclass(frozen=True)
class Norms(AnyCallback):
    """The gradients that callbacks see, before a step and after it."""

    learn: Any
    before: Series[float] = series()
    after: Series[float] = series()

    def _norm(self) -> float:
        return sum(float(one.grad.norm()) for one in self.learn.model.parameters() if one.grad is not None)

    def after_backward(self, event: Any) -> None:
        self.before.append(self._norm())

    def after_step(self, event: Any) -> None:
        self.after.append(self._norm())


@dataclass(frozen=True)
class SkipsEachOther(AnyCallback):
    """Skips each other step: gradients add up."""

    def after_backward(self, event: Any) -> Optional[SkipStep]:
        return SkipStep() if event.index % 2 == 0 else None


@dataclass(frozen=True)
class KeepsEachOther(AnyCallback):
    """Keeps the gradients after each other step: they are there when the next ones come."""

    def after_step(self, event: Any) -> Optional[SkipZeroGrad]:
        return SkipZeroGrad() if event.index % 2 == 0 else None


@dataclass(frozen=True)
class Replaces(AnyCallback):
    """Puts other weights into the model, between two steps."""

    learn: Any

    def after_batch(self, event: Any) -> None:
        if event.reached.index == 1 and event.reached.phase == "train":
            with torch.no_grad():
                for parameter in self.learn.model.parameters():
                    parameter.mul_(0.9)


FACTORIES: dict[str, list[Any]] = {
    "nobody looks": [],
    "clip": [partial(GradientClip, clip=0.5), Norms],
    "sum": [partial(GradientAccumulation, n=2), Norms],
    "skip": [lambda learn: SkipsEachOther(), Norms],
    "keep": [lambda learn: KeepsEachOther()],
    "replace": [Replaces],
    "half": [lambda learn: MixedPrecision(learn, dtype=torch.float16, init_scale=2.0**8), Norms],
}


def fitted(engine: Any, factories: list[Any], opt: Any = None) -> dict[str, Any]:
    """What a fit comes to, with what is hosted beside."""
    stats, smooth = AvgStats(accuracy), SmoothLoss(0.5)
    stopping = EarlyStopping(stats.valid_loss, mode="min", patience=2)
    schedule = partial(ParamScheduler, param=LR, schedule=linear(0.05, 0.01))
    learn = learner(engine, stats, smooth, stopping, cb_funcs=[schedule, *factories], opt=opt)
    learn.model[2].p = 0.0  # masks are drawn by each rank for its own samples
    outcome = learn.fit(3)
    norms = [callback for callback in learn.cbs if isinstance(callback, Norms)]
    return {
        "outcome": type(outcome).__name__,
        "row": stats.row,
        "smooth": smooth.value,
        "rate": learn.opt.param_groups[0]["lr"],
        "weights": weights(learn),
        "validate": learn.validate(),
        "norms": [value for callback in norms for value in (*callback.before, *callback.after)],
        "state": state_of(learn),
    }


def state_of(learn: Any) -> list[float]:
    """All that the optimizer keeps, as a checkpoint would hold it."""
    kept: dict[int, dict[str, Any]] = learn.opt.state_dict()["state"]
    tensors = [value for number in sorted(kept) for _, value in sorted(kept[number].items()) if value is not None]
    return torch.cat([tensor.flatten().double() for tensor in tensors]).tolist() if tensors else []


def own_loop(engine: Any) -> list[float]:
    """A loop of one's own, which clips by itself what it steps on, and leaves out a step at times."""
    net = nn.Linear(6, 3)
    nn.init.constant_(net.weight, 0.1)
    nn.init.zeros_(net.bias)
    engine.prepare(net, None)
    opt = ADAM(net.parameters())
    batches: Any = engine.split("batches", [(SAMPLES[at : at + 9], CLASSES[at : at + 9]) for at in range(0, 45, 9)])
    loop: Loop[Any, Any, Any] = Loop([], engine=engine)
    with engine.running(), loop.fit(2) as fit:
        for epoch in fit.epochs():
            steps, forward = engine.steps(opt), engine.forward(net)
            for batch in epoch.train(batches):
                out = batch.pred(forward(batch.xb))
                done = out.loss(F.cross_entropy(out.pred, out.yb)).backward()
                if batch.cursor.index != 2:
                    done.step(steps)
    return [*net.weight.flatten().tolist(), *net.bias.tolist()]


def frozen(engine: Any) -> list[float]:
    """The last layer alone, then all: what is trained changes in the middle of a fit, and twice by two learners."""
    found: list[float] = []
    net = model()
    net[2].p = 0.0
    for _ in range(2):
        splitter: Any = lambda net: [net[0].parameters(), net[3].parameters()]  # noqa: E731  # as people write it
        learn: Any = Learner(net, data(), F.cross_entropy, ADAM, splitter=splitter, engine=engine)
        for factory in (Freeze, partial(Unfreeze, epoch=1), partial(GradientClip, clip=0.5)):
            learn.add(factory)
        learn.fit(2)
        found += [*weights(learn), *state_of(learn)]
    return found


def alike(*configs: str) -> dict[str, Any]:
    """What is the same with DeepSpeed and without, by any number of processes."""
    found: dict[str, Any] = {}
    for name_of_config in configs:
        config = None if name_of_config == "torch" else name_of_config
        engine = engine_of(config)
        of_one: dict[str, Any] = {}
        for name, factories in FACTORIES.items():
            of_one[name] = fitted(engine_of(config), factories)
            of_one[f"{name}, Adam"] = fitted(engine_of(config), factories, ADAM)
        of_one["own loop"] = own_loop(engine_of(config))
        of_one["frozen"] = frozen(engine_of(config))
        if engine.world_size == 2:
            of_one["decisions"] = decisions(engine_of(config))
        found[name_of_config] = of_one
    return found


def saving(folder: str, *configs: str) -> dict[str, Any]:
    """A fit that saves; one that takes it up in the middle of an epoch; one that is loaded into, having trained."""
    found: dict[str, Any] = {}
    for config in configs:
        engine = engine_of(config)
        saves = partial(Checkpoint, folder=Path(folder) / config, every_steps=4, keep_last=9)
        whole = learner(engine, cb_funcs=[saves], opt=ADAM)
        whole.model[2].p = 0.0
        whole.fit(2)
        again = learner(engine_of(config), opt=ADAM)
        again.model[2].p = 0.0
        again.fit(2, resume=Path(folder) / config / "step-00000008")
        found[config] = {"whole": [weights(whole), state_of(whole)], "again": [weights(again), state_of(again)]}
        again.load(Path(folder) / config / "step-00000004")
        found[config]["early"] = [weights(again), state_of(again)]
        again.fit(2, resume=Path(folder) / config / "step-00000004")
        found[config]["back"] = [weights(again), state_of(again)]
    return found


def taking_up(folder: str, *configs: str) -> dict[str, Any]:
    """A process without DeepSpeed goes on where several with it have stopped."""
    found: dict[str, Any] = {}
    for config in configs:
        early = learner(engine_of(None), opt=ADAM)
        early.load(Path(folder) / config / "step-00000004")
        found[config] = {"early": [weights(early), state_of(early)]}
        again = learner(engine_of(None), opt=ADAM)
        again.model[2].p = 0.0
        again.fit(2, resume=Path(folder) / config / "step-00000008")
        found[config]["again"] = [weights(again), state_of(again)]
    return found


def refused(run: Callable[[], object]) -> str:
    try:
        run()
    except (EngineError, NonFiniteError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def spoiled(learn: Any) -> None:
    """Gradients that are infinite: DeepSpeed would step over such a batch in silence."""
    learn.model[0].weight.register_hook(lambda grad: grad * float("inf"))
    learn.fit(1)


def checks() -> dict[str, Any]:
    """What would go wrong in silence is refused, and what DeepSpeed would take away is there."""
    found: dict[str, Any] = {}
    fresh = partial(learner, engine_of("2"), opt=ADAM)
    direct = fresh()
    direct.fit(1)
    found["direct"] = refused(direct.opt.step)
    added = fresh()
    added.fit(1)
    added.opt.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})
    found["added"] = refused(lambda: added.fit(1))
    found["spoiled"] = refused(lambda: spoiled(fresh()))
    apart = learner(engine_of("1"), opt=ADAM)
    apart.model[3].requires_grad_(False)
    apart.fit(1)
    apart.model[3].requires_grad_(True)
    found["apart"] = refused(lambda: apart.fit(1))
    found["autocast"] = autocast()
    return found


@dataclass(frozen=True)
class SavesAlone(AnyCallback):
    """Asks for what all ranks have to ask for."""

    ranks: ClassVar = "main"
    learn: Any

    def after_epoch(self, event: Any) -> None:
        self.learn.opt.state_dict()


@dataclass(frozen=True)
class FailsOnOne(AnyCallback):
    """Goes wrong on one rank, while the others are with DeepSpeed."""

    rank: int

    def after_loss(self, event: Any) -> None:
        if self.rank == 1 and event.index == 2:
            raise ValueError("bad luck")


def ending(how: str) -> dict[str, Any]:
    """How a fit ends in which one rank is alone with something."""
    engine = engine_of("2")
    learn = learner(engine, cb_funcs=[SavesAlone] if how == "alone" else [lambda learn: FailsOnOne(engine.rank)])
    return {"ended": refused(lambda: learn.fit(2))}


def autocast() -> list[str]:
    """In what a layer computes where DeepSpeed looks at autocast as it does on GPUs."""
    inside: list[str] = []
    learn: Any = learner(engine_of("2"), cb_funcs=[MixedPrecision])
    learn.model[0].register_forward_hook(lambda *args: inside.append(str(args[2].dtype)))
    with patch("torch.is_autocast_enabled", lambda kind="cpu": torch.is_autocast_cpu_enabled()):
        learn.fit(1)
    return sorted(set(inside))


if __name__ == "__main__":
    os.environ["ACCELERATE_USE_DEEPSPEED"] = "true"
    folder, name, *arguments = sys.argv[1:]
    programs: dict[str, Callable[..., dict[str, Any]]] = {
        "alike": alike,
        "saving": saving,
        "taking_up": taking_up,
        "checks": checks,
        "ending": ending,
    }
    (Path(folder) / f"{os.environ['RANK']}.json").write_text(json.dumps(programs[name](*arguments)))
