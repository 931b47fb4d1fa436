"""What the tests of engines run in several processes; each program prints what it has found as JSON."""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Optional, Union

import sharded_callbacks
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassConfusionMatrix

from typedcb import (
    AnyCallback,
    CancelBatch,
    CancelEpoch,
    CancelTrain,
    Completed,
    DataBunch,
    EngineError,
    Learner,
    Loop,
    Objective,
    ObjectiveParts,
    Series,
    SkipBackward,
    SkipStep,
    SkipValidate,
    series,
)
from typedcb.callbacks import (
    AvgStats,
    Checkpoint,
    CSVLogger,
    EarlyStopping,
    GradientAccumulation,
    GradientClip,
    SmoothLoss,
    accuracy,
)
from typedcb.engine import ONE_DEVICE
from typedcb.engines import DDP, FSDP, TorchEngine
from typedcb.ranks import here
from typedcb.trace import Trace, read

SAMPLES = torch.randn(53, 6, generator=torch.Generator().manual_seed(1))
CLASSES = SAMPLES[:, :3].argmax(1)


def model() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 3))


def data() -> DataBunch[Tensor, Tensor]:
    """Batches that ranks cannot share evenly; the last one of each pass has 3 samples, and 1."""
    train = DataLoader(TensorDataset(SAMPLES, CLASSES), batch_size=10, shuffle=True)
    return DataBunch(train, DataLoader(TensorDataset(SAMPLES[:33], CLASSES[:33]), batch_size=8))


def learner(engine: Any, *cbs: Any, cb_funcs: Any = (), opt: Any = None) -> Learner[Tensor, Tensor, Tensor]:
    opt = opt or partial(torch.optim.SGD, lr=0.5, momentum=0.9)
    return Learner(model(), data(), F.cross_entropy, opt, cbs=list(cbs), cb_funcs=list(cb_funcs), engine=engine)


def weights(learn: Learner[Any, Any, Any]) -> list[float]:
    """All weights of a model, whole, to the bit."""
    whole = [p.full_tensor() if isinstance(p, DTensor) else p for p in learn.model.parameters()]
    return torch.cat([p.detach().flatten() for p in whole]).tolist()


class Confusion(MulticlassConfusionMatrix):
    """Of a matrix the share of the right, so that it is a number."""

    def compute(self) -> Tensor:
        matrix = super().compute()
        return matrix.diagonal().sum() / matrix.sum()


def figures(engine: TorchEngine, folder: Path) -> dict[str, Any]:
    stats, smooth = AvgStats((accuracy, Confusion(3))), SmoothLoss(0.5)
    learn = learner(
        engine, stats, smooth, CSVLogger(stats, folder / "log.csv"), cb_funcs=[partial(GradientClip, clip=1.0)]
    )
    learn.model[2].p = 0.0  # masks are drawn by each rank for its own samples
    learn.fit(2)
    lists = [(SAMPLES[:5], CLASSES[:5]), (SAMPLES[5:6], CLASSES[5:6])]
    return {
        "row": stats.row,
        "train": stats.train_metrics.value[:1],
        "smooth": smooth.value,
        "validate": learn.validate(),
        "lists": learn.validate(lists),
        "weights": weights(learn),
        "shapes": [list(p.to_local().shape if isinstance(p, DTensor) else p.shape) for p in learn.model.parameters()],
        "sharded": all(isinstance(p, DTensor) for p in learn.model.parameters()),
    }


@dataclass(frozen=True)
class Decides(AnyCallback):
    """Answers on one rank alone, in one hook, once."""

    rank: int
    hook: str
    make: Callable[[], Any]
    raises: bool = False
    heard: Series[str] = series()

    def _decide(self, hook: str, once: bool) -> Any:
        self.heard.append(hook)
        if hook != self.hook or not once or self.rank != 1:
            return None
        if self.raises:
            raise self.make()
        return self.make()

    def begin_batch(self, event: Any) -> Optional[Union[CancelBatch, CancelEpoch]]:
        return self._decide("begin_batch", event.index == 1)

    def after_loss(self, event: Any) -> Optional[Union[SkipBackward, CancelBatch]]:
        return self._decide("after_loss", event.index == 1)

    def after_backward(self, event: Any) -> Optional[SkipStep]:
        return self._decide("after_backward", event.index == 1)

    def after_batch(self, event: Any) -> Optional[Union[CancelEpoch, CancelTrain]]:
        return self._decide("after_batch", event.reached.index == 1)

    def begin_validate(self, event: Any) -> Optional[SkipValidate]:
        return self._decide("begin_validate", True)


CASES: dict[str, tuple[str, Callable[[], Any], bool]] = {
    "batch": ("begin_batch", lambda: CancelBatch("odd"), False),
    "epoch": ("begin_batch", lambda: CancelEpoch("odd"), False),
    "train": ("after_batch", lambda: CancelTrain("enough"), False),
    "raised": ("after_loss", lambda: CancelBatch("deep"), True),
    "backward": ("after_loss", SkipBackward, False),
    "step": ("after_backward", SkipStep, False),
    "validate": ("begin_validate", SkipValidate, False),
}


def decisions(engine: TorchEngine) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, (hook, make, raises) in CASES.items():
        callback = Decides(engine.rank, hook, make, raises)
        learn = learner(engine, callback)
        outcome = learn.fit(2)
        ended = "completed" if isinstance(outcome, Completed) else outcome.cancel.reason  # type: ignore[union-attr]
        found[name] = {"ended": ended, "heard": list(callback.heard), "weights": weights(learn)}
    stats = AvgStats()
    stopping = EarlyStopping(stats.valid_loss, mode="min", patience=1, min_delta=1e3)
    found["stopping"] = str(learner(engine, stats, stopping).fit(9))
    return found


@dataclass(frozen=True)
class MainStops(AnyCallback):
    """Stops the fit, and is asked on the main rank alone."""

    ranks: ClassVar = "main"
    asked: Series[int] = series()

    def after_epoch(self, event: Any) -> Optional[CancelTrain]:
        self.asked.append(event.epoch)
        return CancelTrain("main") if event.epoch == 1 else None


@dataclass(frozen=True)
class Peeks(AnyCallback):
    """Looks at a batch, of another size than the one under way, on one rank alone."""

    dl: Any
    sizes: Series[int] = series()

    def after_loss(self, event: Any) -> None:
        if here().rank == 1:
            xb, _ = next(iter(self.dl))
            self.sizes.append(len(xb))


def peeking(engine: TorchEngine) -> dict[str, Any]:
    """A fit with and without a callback that looks at a batch."""
    ends: list[list[float]] = []
    peeks: list[Peeks] = []
    for looks in (False, True):
        train = DataLoader(TensorDataset(SAMPLES, CLASSES), batch_size=10)  # the same order in both
        learn: Any = Learner(
            model(), DataBunch(train, data().valid_dl), F.cross_entropy, partial(torch.optim.SGD, lr=0.5), engine=engine
        )
        learn.model[2].p = 0.0
        peeks = [Peeks(learn.data.valid_dl)] if looks else []
        learn.fit(2, cbs=peeks)
        ends.append(weights(learn))
    return {"sizes": list(peeks[0].sizes), "weights": ends}


def of_main(engine: TorchEngine) -> dict[str, Any]:
    callback = MainStops()
    outcome = learner(engine, callback).fit(5)
    return {"outcome": str(outcome), "asked": list(callback.asked)}


def end_of_batch(engine: TorchEngine) -> dict[str, Any]:
    """One rank cancels as a batch ends; a callback behind the one that does so cancels more."""
    first = Decides(engine.rank, "after_batch", lambda: CancelEpoch("little"))
    behind = Decides(engine.rank, "after_batch", lambda: CancelTrain("much"))
    outcome = learner(engine, first, behind).fit(2)
    heard = [list(callback.heard).count("after_batch") for callback in (first, behind)]
    return {"outcome": str(outcome), "heard": heard}


def traced(engine: TorchEngine, path: Path) -> dict[str, Any]:
    """What is in the trace of a fit."""
    learner(engine, cb_funcs=[partial(Trace, path=path)]).fit(1)
    engine.exchange("it is written")
    (run,) = read(path).runs
    assert run.end is not None
    return {"ended": run.end.outcome, "steps": sum(event.hook == "after_step" for event in run.events)}


def accumulated(engine: TorchEngine) -> list[float]:
    """Steps on two batches each, the last of an epoch having 3 samples."""
    learn = learner(engine, cb_funcs=[partial(GradientAccumulation, n=2)])
    learn.model[2].p = 0.0
    learn.fit(2)
    return weights(learn)


@dataclass(frozen=True)
class SkipsOneStep(AnyCallback):
    """Skips a step, and cancels a turn, as one rank alone decides."""

    decides: bool
    heard: Series[str] = series()

    def after_loss(self, event: Any) -> Optional[CancelBatch]:
        self.heard.append("loss")
        return CancelBatch("odd") if self.decides and event.index == 1 else None

    def after_backward(self, event: Any) -> Optional[SkipStep]:
        self.heard.append("backward")
        return SkipStep() if self.decides and event.index == 3 else None


class Partly(nn.Sequential):
    """A network one of whose layers has a part in some samples alone, and so none in the loss of some ranks."""

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self[0](x)
        with_more = x[:, 0] > 0.5
        return made.index_add(0, with_more.nonzero()[:, 0], self[1](made[with_more])) if with_more.any() else made


def objective(name: str, net: nn.Module, *cbs: Any, cb_funcs: Any = ()) -> Objective[Any, Any, Any, Any]:
    opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    return Objective(net, opt, list(cbs), list(cb_funcs), name=name)


def mean_score(pred: Tensor, yb: Tensor) -> Tensor:
    return pred.mean()


class Adversaries:
    """Two objectives of a GAN, whose noise is in the data, so that any number of ranks has the same."""

    def __init__(self, engine: Any, kind: type[nn.Sequential] = Partly, *cbs: AnyCallback) -> None:
        torch.manual_seed(4 + engine.rank)
        self.engine = engine
        self.critic_net, self.maker_net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)), kind()
        self.maker_net.extend([nn.Linear(3, 3), nn.Linear(3, 3)])
        self.inside: list[str] = []
        self.critic_net[0].register_forward_hook(lambda *args: self.inside.append(str(args[2].dtype)))
        for net in (self.critic_net, self.maker_net):
            engine.prepare(net, None)
        torch.manual_seed(0)
        self.skips = SkipsOneStep(engine.rank == engine.world_size - 1)
        self.smooth, self.stats = SmoothLoss(0.5), AvgStats(mean_score)
        clips, sums = partial(GradientClip, clip=0.5), partial(GradientAccumulation, n=2)
        self.critic = objective("critic", self.critic_net, self.skips, self.smooth, *cbs, cb_funcs=[clips])
        self.maker = objective("maker", self.maker_net, self.stats, cb_funcs=[sums])
        loop: Loop[Any, Any, Any] = Loop([], objectives=[self.critic, self.maker], engine=engine)
        real_and_noise: Any = TensorDataset(SAMPLES[:, :3].exp(), SAMPLES[:, 3:])
        dl = DataLoader(real_and_noise, batch_size=10, shuffle=True, generator=torch.Generator().manual_seed(6))
        self.train_dl: Any = engine.split("train_dl", dl)
        self.parts = ObjectiveParts(loop, DataBunch(self.train_dl))

    def train(self, resume: Optional[Path] = None) -> None:
        resumed = None if resume is None else self.parts.resumption(resume)
        with self.engine.running(), self.parts.loop.fit(2, resume=resumed) as fit:
            for epoch in fit.epochs():
                for batch in epoch.train(self.train_dl):
                    turn = batch.turn(self.critic, batch.xb, batch.yb)
                    made = self.maker_net(turn.yb).detach()
                    real, fake = turn.pred((self.critic_net(turn.xb), self.critic_net(made))).pred
                    turn.cursor.loss(F.softplus(-real).mean() + F.softplus(fake).mean()).backward().step()
                    other = batch.turn(self.maker, batch.xb, batch.yb)
                    seen = other.pred(self.critic_net(self.engine.forward(self.maker_net)(other.yb)))
                    seen.loss(F.softplus(-seen.pred).mean()).backward().step()

    def weights(self) -> list[float]:
        parameters = [p.detach() for net in (self.critic_net, self.maker_net) for p in net.parameters()]
        return torch.cat([(p.full_tensor() if isinstance(p, DTensor) else p).flatten() for p in parameters]).tolist()

    def found(self) -> dict[str, Any]:
        parameters = [*self.critic_net.parameters(), *self.maker_net.parameters()]
        return {
            "weights": self.weights(),
            "smooth": self.smooth.value,
            "means": [self.stats.train_loss.value, *self.stats.train_metrics.value],
            "heard": list(self.skips.heard),
            "steps": [self.critic.steps, self.maker.steps],
            "sharded": all(isinstance(parameter, DTensor) for parameter in parameters),
            "inside": sorted(set(self.inside)),
        }


def adversaries(
    engine: Any, saves: Optional[Path] = None, resume: Optional[Path] = None, kind: type[nn.Sequential] = Partly
) -> dict[str, Any]:
    """What two objectives come to."""
    both = Adversaries(engine, kind)
    if saves is not None:
        both.parts.loop.add(Checkpoint(both.parts, saves, every_steps=5, keep_last=99))
    both.train(resume)
    return both.found()


def objectives(engine: TorchEngine, folder: Path) -> dict[str, Any]:
    """Turns on several ranks, and taken up again in the middle of an epoch."""
    found: dict[str, Any] = {"whole": adversaries(engine, folder)}
    found["names"] = sorted(path.name for path in folder.iterdir()) if engine.rank == 0 else []
    found["again"] = adversaries(engine, folder, folder / "step-00000010")
    return found


def sharded_objectives(sharding: TorchEngine, folder: Path) -> dict[str, Any]:
    """The same of models in shards: two ranks save, and any number takes that up."""
    saves = folder if sharding.world_size == 2 else None
    found: dict[str, Any] = {"whole": adversaries(sharding, saves, kind=nn.Sequential)}
    found["again"] = adversaries(sharding, saves, folder / "step-00000010", nn.Sequential)
    engines: list[Any] = [sharding] if sharding.world_size > 1 else [sharding, ONE_DEVICE]
    found["loaded"] = []
    for engine in engines:
        both = Adversaries(engine, nn.Sequential)
        both.parts.load(folder / "step-00000010")
        found["loaded"].append(both.weights())
    if sharding.world_size == 1:
        found["no engine"] = adversaries(ONE_DEVICE, kind=nn.Sequential)
    return found


ADAM = partial(torch.optim.AdamW, lr=0.05)


def saving(engine: TorchEngine, folder: Path) -> dict[str, Any]:
    """A fit that saves, and one that takes it up in the middle of an epoch."""
    torch.manual_seed(5 + engine.rank)
    make = partial(Checkpoint, folder=folder, every_steps=4, keep_last=9)
    whole_stats, stats = AvgStats(accuracy), AvgStats(accuracy)
    whole = learner(engine, whole_stats, cb_funcs=[make], opt=ADAM)
    torch.manual_seed(7 + engine.rank)  # other masks on each rank
    whole.fit(2)
    torch.manual_seed(99)
    again = learner(engine, stats, opt=ADAM)
    again.fit(2, resume=folder / "step-00000008")
    return {"whole": [weights(whole), whole_stats.row], "again": [weights(again), stats.row]}


def loading(engine: TorchEngine, folder: Path) -> dict[str, Any]:
    """A checkpoint that others have saved, with a hostile pickle beside it."""
    seen: list[str] = []

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if event == "pickle.find_class" or (event == "open" and str(args[0]).endswith(".metadata")):
            seen.append(f"{event} {args}")

    learn = learner(engine, opt=ADAM, *[AvgStats(accuracy)])
    sys.addaudithook(watch)
    learn.load(folder / "step-00000012")
    return {"weights": weights(learn), "seen": list(seen), "moment": first_moment(learn)}


def first_moment(learn: Learner[Any, Any, Any]) -> list[float]:
    state = learn.opt.state[next(learn.model.parameters())]["exp_avg"]
    return (state.full_tensor() if isinstance(state, DTensor) else state).flatten().tolist()


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (open, (str(self.mark), "w"))


def several(folder: Path) -> dict[str, Any]:
    """All that needs no end of its own, in one start of the processes."""
    found: dict[str, Any] = {}
    with TorchEngine(DDP(), timeout=60) as engine, TorchEngine(FSDP(), timeout=60) as sharding:
        n = engine.world_size
        found["ddp"], found["fsdp"] = figures(engine, folder), figures(sharding, folder)
        found["accumulated"] = [accumulated(engine), accumulated(sharding)]
        found["objectives"] = objectives(engine, folder / f"objectives-{n}")
        found["sharded objectives"] = sharded_objectives(sharding, folder / "sharded-objectives")
        found["averages"] = sharded_callbacks.averages(sharding, folder / "averages", {2: [2], 1: [2], 4: [1]}[n])
        if n == 2:
            found["callbacks"] = sharded_callbacks.callbacks(sharding)
        if n == 2:
            found |= {"decisions": decisions(engine), "main": of_main(engine), "end of batch": end_of_batch(engine)}
            found["peeking"] = peeking(engine)
            found["traced"] = [traced(engine, folder / "ddp.trace"), traced(sharding, folder / "fsdp.trace")]
            found["saving"] = saving(engine, folder / "ddp")
            found["sharded"] = saving(sharding, folder / "fsdp")
            last = learner(sharding, AvgStats(accuracy), opt=ADAM)
            last.load(folder / "fsdp" / "step-00000012")
            found["loaded"] = {"weights": weights(last), "moment": first_moment(last)}
            if engine.rank == 0:
                hostile = folder / "fsdp" / "step-00000012" / ".metadata"
                hostile.write_bytes(pickle.dumps(Evil(folder / "pwned")))
        else:
            found["loaded"] = loading(sharding, folder / "fsdp")
    return found


@dataclass(frozen=True)
class Trouble(AnyCallback):
    """Goes wrong on one rank, in the middle of an epoch."""

    rank: int
    how: str

    def after_loss(self, event: Any) -> None:
        if self.rank != 1 or event.step != 3:
            return
        if self.how == "raises":
            raise ValueError("bad luck")
        if self.how == "words":
            raise RuntimeError("[/gloo/pair.cc:1] Connection closed by peer, says the server that it asks")
        if self.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "stuck":
            os.kill(os.getpid(), signal.SIGSTOP)
        if self.how == "undeclared":
            raise CancelTrain("deep")


def failing(how: str, timeout: str = "60") -> dict[str, Any]:
    with TorchEngine(timeout=float(timeout)) as engine:
        cbs: list[Any] = [Trouble(engine.rank, how)]
        if how == "differs" and engine.rank == 1:
            cbs.append(SmoothLoss())
        learner(engine, *cbs).fit(2)
    return {}


def accelerated() -> dict[str, Any]:
    from accelerate import Accelerator  # noqa: PLC0415  # the other programs need none of it
    from accelerate.state import AcceleratorState  # noqa: PLC0415  # as said
    from accelerate.utils import FullyShardedDataParallelPlugin  # noqa: PLC0415  # as said

    from typedcb.engines import AccelerateEngine  # noqa: PLC0415  # as said

    found: dict[str, Any] = {}
    plugin: Any = FullyShardedDataParallelPlugin(fsdp_version=2)
    try:
        AccelerateEngine(Accelerator(cpu=True, fsdp_plugin=plugin), processes=2, timeout=60)
    except EngineError as error:
        found["fsdp"] = str(error)
    for variable in [name for name in os.environ if "FSDP" in name]:
        del os.environ[variable]
    for precision in ("no", "bf16"):
        AcceleratorState._reset_state()  # and not the processes
        torch.manual_seed(0)
        engine = AccelerateEngine(Accelerator(cpu=True, mixed_precision=precision), processes=2, timeout=60)
        stats = AvgStats(accuracy)
        learn: Any = learner(engine, stats, cb_funcs=[partial(GradientClip, clip=1.0)])
        learn.model[2].p = 0.0
        inside: list[str] = []
        learn.model[0].register_forward_hook(lambda *args, inside=inside: inside.append(str(args[2].dtype)))
        learn.fit(2)
        found[precision] = {"row": stats.row, "weights": weights(learn), "inside": sorted(set(inside))}
        found[f"{precision} objectives"] = adversaries(engine)
    return found


def turns(kind: str, how: str = "") -> dict[str, Any]:
    """Objectives by an engine of some kind; one rank of which fails in a turn, where it is said how."""
    if kind == "accelerate":
        from accelerate import Accelerator  # noqa: PLC0415  # the other kinds need none of it

        from typedcb.engines import AccelerateEngine  # noqa: PLC0415  # as said

        accelerator = Accelerator(cpu=True)
        engine: Any = AccelerateEngine(accelerator, processes=int(os.environ["WORLD_SIZE"]), timeout=60)
    else:
        engine = TorchEngine(FSDP() if kind == "fsdp" else DDP(), timeout=60)
    with engine:
        both = Adversaries(engine, nn.Sequential, *([Trouble(engine.rank, how)] if how else []))
        both.train()
        found: dict[str, Any] = both.found()
    return found


def launched() -> dict[str, Any]:
    from accelerate import Accelerator  # noqa: PLC0415  # the other programs need none of it

    from typedcb.engines import AccelerateEngine  # noqa: PLC0415  # as said

    AccelerateEngine(Accelerator(cpu=True), processes=2)
    return {}


def machines(folder: str) -> dict[str, Any]:
    with TorchEngine(timeout=60) as engine:
        found: dict[str, Any] = figures(engine, Path(folder))
    return found


if __name__ == "__main__":
    torch.manual_seed(0)  # the order of the samples comes of it
    name, *arguments = sys.argv[1:]
    programs: dict[str, Callable[..., dict[str, Any]]] = {
        "several": lambda folder: several(Path(folder)),
        "failing": failing,
        "accelerated": accelerated,
        "launched": launched,
        "turns": turns,
        "machines": machines,
    }
    print(json.dumps(programs[name](*arguments)))  # noqa: T201  # what the tests read
