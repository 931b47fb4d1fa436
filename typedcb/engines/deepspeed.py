"""DeepSpeed, as accelerate sets it up, with its step where the loop has its own.

accelerate's own backward has DeepSpeed step at once, before any callback could clip, skip or count. Here its backward
and its step are called apart, as DeepSpeed's own documents do.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Callable, Final, Mapping, Optional, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..articles import an_instance
from ..callback import SomeCallback
from ..device import device_of
from ..engine import Forward
from ..errors import EngineError, NonFiniteError
from .zero import Zero
from .zero_gradients import ZeroGradients

if TYPE_CHECKING:
    from accelerate import Accelerator

ON_CPUS: Final = (
    "on CPUs it has DeepSpeed run as many as were started where it is told by what they are to talk: Accelerator("
    'kwargs_handlers=[InitProcessGroupKwargs(backend="gloo")], deepspeed_plugin=...), started by torchrun.'
)
"""How accelerate has DeepSpeed run several processes without a GPU."""

_PRECISION: Final = 'take mixed_precision="no" and a MixedPrecision callback, which keeps the weights in float32.'

_ENDS: Final = "looks at the shape of each parameter, and ZeRO lays parameters end to end"

_NOT_IN_PARTS: Final = {
    "Adafactor": _ENDS,
    "Adagrad": "has its state from the beginning, so that DeepSpeed makes another in its place",
    "Muon": _ENDS,
}
"""torch's optimizers that ZeRO cannot have step on parts, and why."""


class DeepSpeed:
    """What steps in place of the optimizer.

    Args:
        accelerator: An Accelerator that does DeepSpeed.
        check_all: Refuses what all ranks have to ask for, where this one is alone in it.

    Raises:
        EngineError: DeepSpeed is to do what callbacks and checkpoints would not be right with.
    """

    def __init__(self, accelerator: Accelerator, check_all: Callable[[str], None]) -> None:
        self._accelerator = accelerator
        self._check_all = check_all
        self._engine: Any = None  # Any: deepspeed is not installed where types are checked
        self._opt: Optional[Optimizer] = None
        self._zero: Optional[Zero] = None
        self._gradients: Optional[ZeroGradients] = None
        self._show = True
        state: Any = getattr(accelerator, "state")  # noqa: B009  # Any: accelerate leaves it without a type
        plugin: Any = state.deepspeed_plugin  # Any: as said
        self._stage = int(plugin.zero_stage)
        _check_config(self._stage, plugin.deepspeed_config)
        if accelerator.mixed_precision != "no":
            raise EngineError(f"DeepSpeed turns the model itself into {accelerator.mixed_precision}: {_PRECISION}")
        if plugin.is_auto("train_micro_batch_size_per_gpu"):
            plugin.deepspeed_config["train_micro_batch_size_per_gpu"] = 1  # for its own reports: it loads no batch here
        if plugin.is_auto("gradient_clipping"):
            plugin.deepspeed_config["gradient_clipping"] = 0.0  # accelerate would clip at 1, which nobody has asked for

    def prepared(self, model: nn.Module, opt: Optimizer) -> Forward:
        """What calls the model in training. Collective.

        Args:
            model: The model.
            opt: The optimizer over its parameters.

        Raises:
            EngineError: DeepSpeed has put another optimizer in its place, or cannot step by it in parts.
        """
        self._release()
        if self._stage:
            _check_for_zero(opt)
            rank, n = self._accelerator.process_index, self._accelerator.num_processes
            self._zero = Zero(opt, lambda: self._made(model, opt), rank, n, self._check_all)
            self._gradients = ZeroGradients(self._zero.trained)
        else:
            self._made(model, opt)
        if self._engine.dp_world_size != self._accelerator.num_processes:
            raise EngineError(
                f"DeepSpeed has {self._engine.dp_world_size} parts of the data for {self._accelerator.num_processes} "
                f"processes, by tensor or sequence parallelism, and a batch is split over all processes: leave that "
                f"out of its config."
            )
        self._opt = opt
        return self._forward

    def steps_by(self, opt: Optimizer) -> bool:
        """Whether this is the optimizer that it has been prepared with."""
        return self._opt is opt

    def backward(self, loss: Tensor) -> None:
        """Computes the gradients, and brings those of all ranks together."""
        if self._gradients is None:
            self._backward(loss)
        else:
            self._gradients.compute(lambda: self._backward(loss), show=self._show)

    def step(self) -> None:
        """Clips by DeepSpeed's own config, if it says so, and steps. The gradients are there until they are dropped.

        Raises:
            NonFiniteError: DeepSpeed has left the step out.
        """
        zero, gradients = self._zero, self._gradients
        if zero is not None and gradients is not None:
            gradients.step(lambda: zero.step(self._engine.step))
        elif self._opt is not None:
            _step_keeping_gradients(self._opt, self._engine)
        if not self._engine.was_step_applied():
            raise NonFiniteError(
                "gradients are nan or infinite, and DeepSpeed has left the step out. Attach CheckFinite(learn) to see "
                "where it begins, or TerminateOnNaN() to end the fit; a lower learning rate or GradientClip may keep "
                "it from happening."
            )

    def zero_grad(self) -> None:
        """Drops the gradients."""
        if self._gradients is not None:
            self._gradients.drop()
        if self._opt is not None:
            self._opt.zero_grad()

    def check(self, callbacks: Sequence[SomeCallback], *, show: bool) -> None:
        """Takes note of who looks at gradients, and refuses callbacks that would be wrong.

        Args:
            callbacks: All callbacks.
            show: Whether one of them hears of the gradients.

        Raises:
            EngineError: It names the callback.
        """
        self._show = show
        if not self._stage or self._accelerator.num_processes == 1:
            return
        for callback in callbacks:
            if vars(callback).get("at_end") is True:
                raise EngineError(
                    f"{type(callback).__name__}(at_end=True) saves what an error has left, and with ZeRO each rank has "
                    f"a part of it that the others would have to send: leave at_end out."
                )

    def _made(self, model: nn.Module, opt: Optimizer) -> Any:  # Any: as said
        """DeepSpeed's own optimizer, which is `opt` itself without ZeRO."""
        self._engine, wrapped = self._accelerator.prepare(model, opt)
        made: Any = wrapped.optimizer  # Any: as said
        steps = made.optimizer if self._stage else made
        if steps is not opt:
            raise EngineError(
                f"DeepSpeed has put {an_instance(steps)} in place of {type(opt).__name__}, "
                f"of which neither schedules nor checkpoints know: leave the optimizer out of its config."
            )
        return made

    def _release(self) -> None:
        """Takes DeepSpeed off the model and the optimizer before. Collective."""
        if self._engine is None:
            return
        if self._zero is None:
            self._accelerator.free_memory()
        else:
            self._zero.give_back(self._accelerator.free_memory)
        self._zero = self._gradients = self._opt = self._engine = None

    def _forward(self, *args: Any, **kwargs: Any) -> Any:  # Any: what a module takes and makes is its own
        """Calls the model by DeepSpeed, under the autocast that is open, which DeepSpeed would close for its own."""
        model: nn.Module = self._engine.module
        kind = device_of(model).type
        if not torch.is_autocast_enabled(kind):
            return self._engine(*args, **kwargs)
        region = torch.autocast(kind, torch.get_autocast_dtype(kind))

        def enter(*_: object) -> None:
            region.__enter__()  # type: ignore[no-untyped-call]  # torch leaves it without types

        def leave(*_: object) -> None:
            region.__exit__(None, None, None)

        with ExitStack() as stack:
            stack.enter_context(model.register_forward_pre_hook(enter, prepend=True))
            stack.enter_context(model.register_forward_hook(leave, always_call=True))
            return self._engine(*args, **kwargs)

    def _backward(self, loss: Tensor) -> None:
        self._engine.set_gradient_accumulation_boundary(is_boundary=True)
        self._engine.backward(loss)


def _step_keeping_gradients(opt: Optimizer, engine: Any) -> None:  # Any: as said
    """Steps, and has the gradients be there afterwards, as they are after any optimizer's step."""
    parameters = [one for group in opt.param_groups for one in group["params"]]
    gradients = [one.grad for one in parameters]
    engine.step()
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient


def _check_config(stage: int, config: Mapping[str, Any]) -> None:  # Any: as it stands in a file
    """Refuses what DeepSpeed is told to do that callbacks and checkpoints would not be right with."""
    zero: Mapping[str, Any] = config.get("zero_optimization", {})  # Any: as said
    if stage > 2:
        raise EngineError(
            f"ZeRO stage {stage} leaves the model without weights between two layers' turns, so that a callback or a "
            f"checkpoint that reads them would find them empty. TorchEngine(FSDP()) shards weights in the same way, "
            f"and callbacks and checkpoints know its shards; zero_stage=2 shards all but the weights."
        )
    if config.get("torch_autocast", {}).get("enabled") is True:
        raise EngineError(f"DeepSpeed's torch_autocast knows nothing of validations: {_PRECISION}")
    if stage and zero.get("round_robin_gradients") is True:
        raise EngineError(
            "with round_robin_gradients DeepSpeed hands out one parameter's gradient for another's: leave it out of "
            "its config, which costs no more than a little time."
        )
    for name in ("offload_optimizer", "offload_param"):
        offload: Mapping[str, Any] = zero.get(name) or {}  # Any: as said
        device = offload.get("device", "none")
        if stage and device != "none":
            raise EngineError(
                f"DeepSpeed is to hold what it steps on by {name} on {device}, with an optimizer of its own, of which "
                f"neither schedules nor checkpoints know: leave {name} out of its config."
            )


def _check_for_zero(opt: Optimizer) -> None:
    """Refuses an optimizer that ZeRO would make something else of."""
    name = type(opt).__name__
    if name in _NOT_IN_PARTS and type(opt).__module__.startswith("torch."):
        raise EngineError(f"{name} {_NOT_IN_PARTS[name]}: take another optimizer, such as AdamW, or zero_stage=0.")
    for group in opt.param_groups:
        for parameter in group["params"]:
            if parameter.requires_grad and parameter.dtype != torch.float32:
                raise EngineError(
                    f"a parameter is in {str(parameter.dtype).removeprefix('torch.')}, and ZeRO is run in float32 "
                    f"here: {_PRECISION}"
                )
