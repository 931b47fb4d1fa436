"""One process of accelerate's, in this one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Optional

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import DistributedType
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn import functional as F
from torch.optim import SGD
from torch.utils.data import DataLoader, TensorDataset

from typedcb import (
    AnyCallback,
    DataBunch,
    EngineError,
    Learner,
    Loop,
    NonFiniteError,
    Objective,
    Series,
    SkipStep,
    series,
)
from typedcb.callbacks import AvgStats, Checkpoint
from typedcb.engines import AccelerateEngine
from typedcb.engines.deepspeed import DeepSpeed

XB = torch.randn(32, 4, generator=torch.Generator().manual_seed(1))
YB = XB[:, :3].argmax(1)

Make = Callable[..., AccelerateEngine]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes an engine; what accelerate and torch keep for the process is dropped in the end."""
    engines: list[AccelerateEngine] = []

    def made(scale: Optional[float] = None, **settings: Any) -> AccelerateEngine:
        accelerator = Accelerator(cpu=True, **settings)
        if scale is not None:  # what accelerate does for fp16, which it refuses on the CPU
            accelerator.scaler = GradScaler("cpu", init_scale=scale)
        engines.append(AccelerateEngine(accelerator, processes=1))
        return engines[-1]

    yield made
    for engine in engines:
        engine.close()
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@dataclass(frozen=True)
class Watches(AnyCallback):
    """The gradients that callbacks see, and how batches end; skips the step of each even batch where it is asked to."""

    learn: Any
    skips: bool = False
    seen: Series[float] = series()
    cancelled: Series[str] = series()

    def after_backward(self, event: Any) -> Optional[SkipStep]:
        self.seen.append(float(self.learn.model.weight.grad.norm()))
        return SkipStep() if self.skips and event.index % 2 == 0 else None

    def after_cancel_batch(self, event: Any) -> None:
        self.cancelled.append(event.cancel.reason)


def fitted(engine: Optional[AccelerateEngine], *, skips: bool = False, weight: float = 1.0) -> tuple[Any, Watches]:
    torch.manual_seed(0)
    dl = DataLoader(TensorDataset(XB, YB), batch_size=8)

    def loss_func(pred: Tensor, yb: Tensor) -> Tensor:
        return weight * F.cross_entropy(pred, yb)

    learn: Any = Learner(
        nn.Linear(4, 3), DataBunch(dl, dl), loss_func, partial(SGD, lr=0.1 / weight), cbs=[AvgStats()], engine=engine
    )
    watches = learn.add(Watches, skips=skips)
    learn.fit(2)
    return learn, watches


def test_one_process_of_accelerate_is_the_same_as_no_engine(make: Make) -> None:
    alone, seen_alone = fitted(None)
    learn, seen = fitted(make())
    assert torch.equal(learn.model.weight, alone.model.weight)
    assert list(seen.seen) == list(seen_alone.seen)
    assert learn.get(AvgStats).row == alone.get(AvgStats).row


@pytest.mark.parametrize("skips", [False, True])
def test_callbacks_see_true_gradients_where_accelerate_scales_them(make: Make, skips: bool) -> None:
    alone, seen_alone = fitted(None, skips=skips)
    learn, seen = fitted(make(scale=2.0**12), skips=skips)
    assert list(seen.seen) == list(seen_alone.seen)  # to the bit: a power of 2 scales them
    assert torch.equal(learn.model.weight, alone.model.weight)


def test_a_batch_whose_scaled_gradients_overflow_is_cancelled_and_the_scale_lowered(make: Make) -> None:
    _, seen = fitted(make(scale=2.0**121), weight=2.0**10)
    # inf down to a scale of 2 ** 118: 3 batches of 8, and all others are stepped on
    assert seen.cancelled[0] == f"the gradients overflowed float16 at a scale of {2.0**121:g}"
    assert 0 < len(seen.cancelled) < 8
    assert len(seen.seen) == 8 - len(seen.cancelled)
    assert all(map(torch.isfinite, map(torch.tensor, seen.seen)))


def test_accelerates_precision_holds_in_training_and_in_validations_before_and_after(make: Make) -> None:
    inside: list[torch.dtype] = []
    model = nn.Sequential(nn.Linear(4, 3))
    model[0].register_forward_hook(lambda *args: inside.append(args[2].dtype))
    dl = DataLoader(TensorDataset(XB, YB), batch_size=8)
    learn = Learner(
        model, DataBunch(dl, dl), F.cross_entropy, partial(SGD, lr=0.1), engine=make(mixed_precision="bf16")
    )
    learn.validate()
    learn.fit(1)
    assert set(inside) == {torch.bfloat16}
    assert len(inside) == 12
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_an_optimizer_that_accelerate_needs_and_was_not_told_of_is_asked_for(make: Make) -> None:
    engine = make(scale=2.0)
    model = nn.Linear(4, 3)
    engine.prepare(model, None)
    loop = Loop[Tensor, Tensor, Tensor](engine=engine)
    with pytest.raises(EngineError, match=r"opt = engine\.steps\(opt\)"), loop.fit(1) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train([(XB, YB)]):
                out = batch.pred(model(batch.xb))
                out.loss(F.cross_entropy(out.pred, out.yb)).backward()


def test_accumulation_by_accelerate_is_refused_for_the_callback_that_does_it(make: Make) -> None:
    with pytest.raises(EngineError, match=r"divide each loss by 4.*partial\(GradientAccumulation, n=4\)"):
        make(gradient_accumulation_steps=4)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (DistributedType.FSDP, r"TorchEngine\(FSDP\(\)\)"),
        (DistributedType.MEGATRON_LM, "forward, backward and step of its own"),
    ],
)
def test_what_contradicts_what_callbacks_are_promised_is_refused(make: Make, kind: Any, why: str) -> None:
    accelerator = make()._accelerator
    accelerator.state.distributed_type = kind
    with pytest.raises(EngineError, match=f"accelerate does {kind.value} here, and .*{why}"):
        AccelerateEngine(accelerator, processes=1)


def with_deepspeed(make: Make, stage: int, config: dict[str, Any]) -> Accelerator:
    """An Accelerator that says of itself that it does DeepSpeed, which need not be installed."""
    accelerator = make()._accelerator
    plugin = SimpleNamespace(zero_stage=stage, selected=True, deepspeed_config=config, is_auto=lambda name: True)
    accelerator.state.distributed_type = DistributedType.DEEPSPEED
    accelerator.state.deepspeed_plugins = {"only": plugin}
    return accelerator


@pytest.mark.parametrize(
    ("stage", "config", "why"),
    [
        (0, {"bf16": {"enabled": True}}, r"turns the model itself into bf16: .* a MixedPrecision callback"),
        (2, {"fp16": {"enabled": True}}, r"turns the model itself into fp16"),
        (2, {"torch_autocast": {"enabled": True}}, r"torch_autocast knows nothing of validations: .* MixedPrecision"),
        (3, {}, r"stage 3 leaves the model without weights .*TorchEngine\(FSDP\(\)\)"),
        (2, {"zero_optimization": {"offload_optimizer": {"device": "cpu"}}}, r"offload_optimizer on cpu"),
        (2, {"zero_optimization": {"offload_param": {"device": "nvme"}}}, r"offload_param on nvme"),
        (1, {"zero_optimization": {"round_robin_gradients": True}}, r"one parameter's gradient for another's"),
    ],
)
def test_deepspeed_is_refused_where_callbacks_or_checkpoints_would_be_wrong(
    make: Make, stage: int, config: dict[str, Any], why: str
) -> None:
    with pytest.raises(EngineError, match=why):
        AccelerateEngine(with_deepspeed(make, stage, config), processes=1)


def test_accelerates_clipping_by_deepspeed_which_nobody_has_asked_for_is_taken_back(make: Make) -> None:
    config: dict[str, Any] = {"gradient_clipping": "auto", "train_micro_batch_size_per_gpu": "auto"}
    AccelerateEngine(with_deepspeed(make, 2, config), processes=1)
    assert config["gradient_clipping"] == 0.0


def test_how_accelerate_has_deepspeed_run_several_processes_on_cpus_is_said(make: Make) -> None:
    with pytest.raises(
        EngineError, match=r'2 processes .* accelerate runs 1: .*InitProcessGroupKwargs\(backend="gloo"\)'
    ):
        AccelerateEngine(with_deepspeed(make, 2, {}), processes=2)


def test_a_checkpoint_of_what_an_error_has_left_is_refused_where_zero_has_it_in_parts(
    make: Make, tmp_path: Path
) -> None:
    accelerator = with_deepspeed(make, 2, {})
    deepspeed = DeepSpeed(accelerator, print)
    learn: Any = fitted(None)[0]
    saves = Checkpoint(learn, tmp_path, at_end=True)
    deepspeed.check([saves], show=False)  # one process has all of it
    accelerator.state._shared_state["num_processes"] = 2
    with pytest.raises(EngineError, match=r"Checkpoint\(at_end=True\) saves what an error has left"):
        deepspeed.check([saves], show=False)


@pytest.mark.parametrize(
    ("opt_func", "dtype", "why"),
    [
        (torch.optim.Adafactor, torch.float32, "Adafactor looks at the shape of each parameter"),
        (torch.optim.Adagrad, torch.float32, "Adagrad has its state from the beginning"),
        (torch.optim.Muon, torch.float32, "Muon looks at the shape of each parameter"),
        (torch.optim.AdamW, torch.bfloat16, "a parameter is in bfloat16, and ZeRO is run in float32"),
    ],
)
def test_zero_is_refused_for_an_optimizer_that_it_would_make_something_else_of(
    make: Make, opt_func: Any, dtype: torch.dtype, why: str
) -> None:
    model = nn.Linear(4, 3, bias=False, dtype=dtype)
    with pytest.raises(EngineError, match=why):
        DeepSpeed(with_deepspeed(make, 1, {}), print).prepared(model, opt_func(model.parameters()))


def stepping_by(accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch, *, stage: int = 0, **settings: Any) -> Any:
    """Has accelerate prepare what DeepSpeed makes of a model, by a stand-in of it: that engine."""
    engine: Any = SimpleNamespace(dp_world_size=1, was_step_applied=lambda: True, step=lambda: None)
    own = settings.pop("own", None)
    engine.__dict__.update(settings)

    def prepare(model: nn.Module, opt: torch.optim.Optimizer) -> tuple[Any, Any]:
        engine.module = model
        steps = opt if own is None else own
        return engine, SimpleNamespace(optimizer=SimpleNamespace(optimizer=steps) if stage else steps)

    monkeypatch.setattr(accelerator, "prepare", prepare)
    return engine


@pytest.mark.parametrize("stage", [0, 2])
def test_an_optimizer_that_deepspeed_puts_in_place_of_the_one_that_there_is_is_refused(
    make: Make, monkeypatch: pytest.MonkeyPatch, stage: int
) -> None:
    model = nn.Linear(4, 3)
    accelerator = with_deepspeed(make, stage, {"optimizer": {"type": "Adam"}})
    stepping_by(accelerator, monkeypatch, stage=stage, own=torch.optim.Adam(model.parameters()))
    with pytest.raises(EngineError, match=r"^DeepSpeed has put an Adam in place of SGD, .* out of its config\.$"):
        DeepSpeed(accelerator, print).prepared(model, SGD(model.parameters(), lr=0.1))


def test_deepspeed_with_fewer_parts_of_the_data_than_processes_is_refused(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = nn.Linear(4, 3)
    accelerator = with_deepspeed(make, 0, {})
    stepping_by(accelerator, monkeypatch, dp_world_size=2)
    with pytest.raises(EngineError, match="has 2 parts of the data for 1 processes, by tensor or sequence parallelism"):
        DeepSpeed(accelerator, print).prepared(model, SGD(model.parameters(), lr=0.1))


def test_a_step_that_deepspeed_leaves_out_ends_the_fit_and_not_in_silence(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = nn.Linear(4, 3)
    accelerator = with_deepspeed(make, 0, {})
    engine = stepping_by(accelerator, monkeypatch)
    deepspeed = DeepSpeed(accelerator, print)
    deepspeed.prepared(model, SGD(model.parameters(), lr=0.1))
    deepspeed.step()
    engine.was_step_applied = lambda: False
    with pytest.raises(NonFiniteError, match=r"DeepSpeed has left the step out\. Attach CheckFinite\(learn\) to see"):
        deepspeed.step()


class Recording:
    """What steps, and is no optimizer of torch."""

    def step(self) -> None: ...

    def zero_grad(self) -> None: ...


def test_where_accelerate_has_to_know_the_optimizer_another_kind_of_one_is_refused(make: Make) -> None:
    assert isinstance(make().steps(Recording()), Recording)  # it works on no gradients here
    with pytest.raises(EngineError, match=r"gradients of an optimizer of torch here, and Recording is none\.$"):
        make(scale=2.0).steps(Recording())


def on_xla(make: Make, monkeypatch: pytest.MonkeyPatch, devices: int) -> Accelerator:
    """An Accelerator that says of itself that it is on XLA, by a stand-in of torch_xla, which need not be there."""
    monkeypatch.setitem(sys.modules, "torch_xla", SimpleNamespace(device_count=lambda: devices, sync=lambda: None))
    accelerator = make()._accelerator
    accelerator.state.distributed_type = DistributedType.XLA
    return accelerator


def test_ranks_of_xla_that_are_threads_of_one_process_are_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    accelerator = on_xla(make, monkeypatch, devices=2)
    accelerator.state._shared_state["num_processes"] = 2
    with pytest.raises(
        EngineError, match=r"^accelerate counts 2 processes, and 2 of their devices belong to this one: "
    ):
        AccelerateEngine(accelerator, processes=2)


@pytest.fixture
def of_kind(make: Make, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], AccelerateEngine]:
    """Makes an engine that does more than data parallelism."""

    def made(kind: str) -> AccelerateEngine:
        if kind == "fp16":
            return make(scale=2.0)
        if kind == "xla":
            return AccelerateEngine(on_xla(make, monkeypatch, devices=1), processes=1)
        return AccelerateEngine(with_deepspeed(make, 2, {}), processes=1)

    return made


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (
            "fp16",
            "scales the gradients for float16, of one optimizer at a time here, and a turn computes those of its own "
            'objective\'s parameters: take mixed_precision="bf16", or "no" and a MixedPrecision callback for each '
            "objective, which has its own scale.",
        ),
        (
            "deepspeed",
            "has DeepSpeed compute the gradients of all of a model's parameters here, and a turn computes those of its "
            "own objective's parameters: take TorchEngine(DDP()), or accelerate without that.",
        ),
        (
            "xla",
            "sums up the gradients of one optimizer on XLA here, and a turn computes those of its own objective's "
            "parameters: take TorchEngine(DDP()), or accelerate without that.",
        ),
    ],
)
def test_objectives_are_refused_where_accelerate_computes_more_than_a_turns_gradients(
    of_kind: Callable[[str], AccelerateEngine], kind: str, why: str
) -> None:
    engine = of_kind(kind)
    model = nn.Linear(4, 3)
    with pytest.raises(EngineError) as refused:
        Loop[Any, Any, Any](objectives=[Objective(model, SGD(model.parameters(), lr=0.1))], engine=engine)
    assert str(refused.value) == f"accelerate {why}"
    Loop[Any, Any, Any](engine=engine)  # a loop of one model is all right


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("ACCELERATE_USE_FSDP", "FSDP"),
        ("ACCELERATE_USE_DEEPSPEED", "DEEPSPEED"),
        ("ACCELERATE_USE_MEGATRON_LM", "MEGATRON_LM"),
        ("ACCELERATE_USE_PARALLELISM_CONFIG", "PARALLELISM_CONFIG"),
    ],
)
def test_what_was_asked_of_accelerate_and_is_not_done_is_refused(
    make: Make, monkeypatch: pytest.MonkeyPatch, name: str, what: str
) -> None:
    accelerator = make()._accelerator
    monkeypatch.setenv(name, "true")
    said = (
        rf"^{what} was asked for \({name} is set\), and accelerate does NO on the CPU: it passes over what it cannot do"
    )
    with pytest.raises(EngineError, match=said):
        AccelerateEngine(accelerator, processes=1)


def test_another_number_of_processes_than_was_asked_for_is_refused(make: Make) -> None:
    accelerator = make()._accelerator
    with pytest.raises(EngineError, match="3 processes were asked for, and accelerate runs 1"):
        AccelerateEngine(accelerator, processes=3)
