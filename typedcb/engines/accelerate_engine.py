"""Several processes by accelerate, for those who begin with it.

accelerator = Accelerator()
engine = AccelerateEngine(accelerator, processes=2)
learn = Learner(model, data, F.cross_entropy, opt_func, cbs=[AvgStats(accuracy)], engine=engine)

accelerate says where the model is, wraps it, and computes the gradients, in the precision that it was asked for. The
loaders are the learner's own, of each batch of which a rank has its share.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, Iterator, Optional, Sequence

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from typing_extensions import override

from ..callback import SomeCallback
from ..dispatch import Plan
from ..engine import Device, Forward
from ..errors import EngineError
from ..events import P, X, Y
from ..extras import require
from ..optimizer import Steps
from ..outcomes import CancelBatch
from . import xla
from .deepspeed import ON_CPUS, DeepSpeed
from .distributed import DistributedEngine
from .processes import Processes

if TYPE_CHECKING:
    from accelerate import Accelerator

_ASKED_FOR: Final = {
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_DEEPSPEED": "DEEPSPEED",
    "ACCELERATE_USE_MEGATRON_LM": "MEGATRON_LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "",
}
"""What accelerate and its launcher leave in the environment where more than data parallelism was asked for."""

_TORCH_SHARDS: Final = (
    "TorchEngine(FSDP()) shards parameters, on the CPU too, and writes checkpoints without any pickle."
)

_REFUSED: Final = {
    "FSDP": f"its shards would be unknown to the checkpoints of typedcb. {_TORCH_SHARDS}",
    "MEGATRON_LM": "Megatron-LM brings forward, backward and step of its own, between which no callback can be called.",
}
"""The ways to distribute that contradict what callbacks are promised, and how. All others are accelerate's to do."""

_HALF: Final = (
    'take mixed_precision="bf16", or "no" and a MixedPrecision callback for each objective, which has its own scale.'
)

_PLAIN: Final = "take TorchEngine(DDP()), or accelerate without that."


class AccelerateEngine(DistributedEngine):
    """The processes of an `Accelerator` that has been made, one or more, with data parallelism.

    What was asked of accelerate and what it does are compared: some of it accelerate passes over in silence.
    """

    def __init__(self, accelerator: Accelerator, *, processes: int, timeout: float = 600.0) -> None:
        """Takes the processes over.

        Args:
            accelerator: An Accelerator.
            processes: How many processes there are to be. accelerate's launcher may start fewer than it was asked for
                without a word (`accelerate launch --cpu --num_processes 2` starts one), so that it has to be said.
            timeout: How many seconds to wait for the others before giving them up.

        Raises:
            EngineError: accelerate does not do what was asked of it, or does what this engine cannot deliver.
        """
        require("accelerate", extra="accelerate")
        _check(accelerator, processes)
        self._accelerator = accelerator
        self._on_xla = accelerator.distributed_type.value == "XLA"
        if self._on_xla:
            xla.check_devices(processes)
        self._scaler: Optional[GradScaler] = accelerator.scaler
        self._deepspeed: Optional[DeepSpeed] = None
        if accelerator.distributed_type.value == "DEEPSPEED":
            self._deepspeed = DeepSpeed(accelerator, self._check_all)
        self._opt: Optional[Steps] = None
        self._wrapped: Optional[Forward] = None
        self._model: Optional[nn.Module] = None
        self._trained: tuple[bool, ...] = ()
        super().__init__(Processes(timeout, (accelerator.process_index, accelerator.num_processes)))

    @override
    def prepare(self, model: nn.Module, device: Device, /) -> torch.device:
        """Brings the model to the accelerator's device, and gives it the weights of the first rank.

        Args:
            model: The model.
            device: Where it is to be; the accelerator's device by default.
        """
        to = self._accelerator.device if device is None else device
        if self._on_xla:
            xla.move(model, to)
        else:
            model.to(to)
        where = super().prepare(model, device)
        if self._accelerator.mixed_precision != "no":
            self.forward(model)  # accelerate has the model itself run under autocast, in validations too
        return where

    @override
    def forward(self, model: nn.Module, /) -> Forward:
        """What calls the model in training: what accelerate makes of it, anew when other parameters are trained.

        Args:
            model: A model that has been prepared.
        """
        if model in self._of_objectives:  # a turn brings its gradients together
            return model
        trained = tuple(parameter.requires_grad for parameter in model.parameters())
        if not any(trained):
            return model
        other = self._deepspeed is not None and not self._deepspeed.steps_by(self._known_opt())
        if other or self._wrapped is None or self._model is not model or trained != self._trained:
            if self._deepspeed is None:
                self._wrapped = self._accelerator.prepare_model(model)
            else:
                self._wrapped = self._deepspeed.prepared(model, self._known_opt())
            self._model, self._trained = model, trained
        return self._wrapped

    @override
    def steps(self, opt: Steps, /) -> Steps:
        """The optimizer itself, or what steps by it on XLA and with DeepSpeed.

        Args:
            opt: The optimizer over the model's parameters.

        Raises:
            EngineError: accelerate can do nothing with it.
        """
        if not (self._on_xla or self._scaler is not None or self._deepspeed is not None):
            return opt
        if not isinstance(opt, Optimizer):
            raise EngineError(
                f"accelerate works on the gradients of an optimizer of torch here, and {type(opt).__name__} is none."
            )
        self._opt = opt
        if self._on_xla:
            return xla.CutsBehind(opt)
        return opt if self._deepspeed is None else self._deepspeed

    @override
    def check_turns(self, models: Sequence[nn.Module], /) -> None:
        """Takes note of the models of a loop's objectives, which are called as they are.

        Args:
            models: The models.

        Raises:
            EngineError: accelerate does more than data parallelism and bf16.
        """
        for does, what, instead in (
            (self._scaler is not None, "scales the gradients for float16, of one optimizer at a time", _HALF),
            (self._deepspeed is not None, "has DeepSpeed compute the gradients of all of a model's parameters", _PLAIN),
            (self._on_xla, "sums up the gradients of one optimizer on XLA", _PLAIN),
        ):
            if does:
                raise EngineError(
                    f"accelerate {what} here, and a turn computes those of its own objective's parameters: {instead}"
                )
        super().check_turns(models)
        if self._model in models:
            self._wrapped = self._model = None

    @override
    def compute_gradients(self, loss: Tensor, parameters: Sequence[Tensor], /) -> None:
        """Has accelerate compute the gradients of the parameters of an objective: this rank's own.

        Args:
            loss: The mean over this rank's own samples.
            parameters: The parameters.
        """
        self._accelerator.backward(self._weighted(loss), inputs=list(parameters))

    @override
    def planned(self, plan: Plan[X, Y, P], callbacks: Sequence[SomeCallback], /) -> Plan[X, Y, P]:
        """The plan of this rank.

        Args:
            plan: Whom to call at each event.
            callbacks: All callbacks, which have to be the same on all ranks.

        Raises:
            EngineError: They are not, or one answers what accelerate cannot do.
        """
        if self._deepspeed is not None:
            self._deepspeed.check(callbacks, show=bool(plan.train.after_backward or plan.train.after_step))
        return super().planned(plan, callbacks)

    @override
    def broadcast(self, tensor: Tensor, /) -> None:
        """Gives all ranks, in place, what a tensor of the first holds, by accelerate. Collective.

        Args:
            tensor: A tensor without a graph, where the model is.
        """
        from accelerate.utils import broadcast  # noqa: PLC0415  # optional, and slow to import

        if not self._on_xla:
            broadcast(tensor)
        elif self.world_size > 1:  # accelerate would send a pickle of it, byte by byte
            held = tensor.cpu()
            self._processes.broadcast(held)
            tensor.copy_(held)

    @override
    def backward(self, loss: Tensor) -> Optional[CancelBatch]:
        """Has accelerate compute the gradients of the mean over all samples of all ranks, as true ones.

        Args:
            loss: The mean over this rank's own samples.

        Returns:
            What cancels the batch, where gradients of half precision have overflowed.
        """
        weighted = self._weighted(loss)
        if self._scaler is not None:
            return self._scaled_backward(weighted, self._scaler)
        if self._deepspeed is not None:
            self._deepspeed.backward(weighted)
            return None
        self._accelerator.backward(weighted)
        if self._on_xla:
            xla.average_gradients(self._known_opt(), self.world_size)
        return None

    @override
    def mean(self, figure: Tensor) -> Tensor:
        """The mean of a figure of the batch under way over all samples of all ranks. Collective.

        Args:
            figure: The mean over this rank's own samples; a scalar.
        """
        if self._on_xla:
            xla.cut()  # what is read before would be computed twice: for the figure, and for backward
        return super().mean(figure)

    def _weighted(self, loss: Tensor) -> Tensor:
        """A loss that weighs as much as this rank's share of the batch."""
        return loss if self._scale == 1.0 else loss * self._scale

    def _scaled_backward(self, loss: Tensor, scaler: GradScaler) -> Optional[CancelBatch]:
        """Computes gradients scaled up, and scales them down: callbacks see true ones."""
        opt = self._known_opt()
        scale = scaler.get_scale()
        for gradient in _gradients(opt):  # of a batch before this one, whose step was skipped
            gradient.mul_(scale)
        self._accelerator.backward(loss)
        if self._on_xla:
            xla.average_gradients(opt, self.world_size)
        scaler.unscale_(opt)
        scaler.update()
        if scaler.get_scale() >= scale:
            return None
        return CancelBatch(f"the gradients overflowed float16 at a scale of {scale:g}")

    @override
    def _note(self, own: int, size: int) -> None:
        """Takes note of the batch that is handed out, the one before it being over."""
        if self._on_xla:
            xla.cut()
        super()._note(own, size)

    def _known_opt(self) -> Optimizer:
        if not isinstance(self._opt, Optimizer):
            raise EngineError(
                "accelerate needs the optimizer here to compute gradients, and has none: in a loop of your own write "
                "opt = engine.steps(opt) before the batches."
            )
        return self._opt


def _parameters(opt: Optimizer) -> Iterator[Tensor]:
    groups: Any = opt.param_groups  # Any: torch says dict[str, Any]
    for group in groups:
        yield from group["params"]


def _gradients(opt: Optimizer) -> list[Tensor]:
    return [parameter.grad for parameter in _parameters(opt) if parameter.grad is not None]


def _check(accelerator: Accelerator, processes: int) -> None:
    """Compares what was asked for with what there is."""
    kind = accelerator.distributed_type.value
    for name, delivers in _ASKED_FOR.items():
        if os.environ.get(name, "false").lower() in ("1", "true") and kind != delivers:
            what = name.removeprefix("ACCELERATE_USE_")
            where = " on the CPU" if accelerator.device.type == "cpu" else ""
            raise EngineError(
                f"{what} was asked for ({name} is set), and accelerate does {kind}{where}: it passes over what it "
                f"cannot do there. {_TORCH_SHARDS}"
            )
    if accelerator.num_processes != processes:
        there_are = f"{processes} processes were asked for, and accelerate runs {accelerator.num_processes}"
        if kind == "DEEPSPEED":
            raise EngineError(f"{there_are}: {ON_CPUS}")
        raise EngineError(
            f"{there_are}: its launcher starts one on the CPU, however many --num_processes says. torchrun "
            f"--nproc-per-node {processes} train.py starts as many, and an Accelerator takes them up."
        )
    if kind in _REFUSED:
        raise EngineError(f"accelerate does {kind} here, and {_REFUSED[kind]}")
    if accelerator.gradient_accumulation_steps != 1:
        raise EngineError(
            f"accelerate would divide each loss by {accelerator.gradient_accumulation_steps}, its "
            f"gradient_accumulation_steps, and the loop steps on each batch, unless a callback skips the step: take "
            f"partial(GradientAccumulation, n={accelerator.gradient_accumulation_steps}), which does both."
        )
