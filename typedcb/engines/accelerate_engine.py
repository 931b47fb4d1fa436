"""Several processes by accelerate, for those who begin with it.

accelerator = Accelerator()
engine = AccelerateEngine(accelerator, processes=2)
learn = Learner(model, data, F.cross_entropy, opt_func, cbs=[AvgStats(accuracy)], engine=engine)

accelerate wraps the model and computes the gradients, in the precision that it was asked for. The loaders are the
learner's own, of each batch of which a rank has its share.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Optional

from torch import Tensor, nn
from typing_extensions import override

from ..engine import Device, Forward
from ..errors import EngineError
from ..extras import require
from .distributed import DistributedEngine
from .processes import Processes

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

_DELIVERED: Final = ("MULTI_CPU", "MULTI_GPU")
"""The kinds of distribution of accelerate's that the engine's promises hold for."""

_ASKED_FOR: Final = {
    "ACCELERATE_USE_FSDP": ("FSDP",),
    "ACCELERATE_USE_DEEPSPEED": ("DEEPSPEED",),
    "ACCELERATE_USE_MEGATRON_LM": ("MEGATRON_LM",),
    "ACCELERATE_USE_PARALLELISM_CONFIG": (),
}
"""What accelerate and its launcher leave in the environment where more than data parallelism was asked for."""


class AccelerateEngine(DistributedEngine):
    """Several processes on an `Accelerator` that has been made, with data parallelism.

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
        self._wrapped: Optional[Forward] = None
        self._model: Optional[nn.Module] = None
        self._trained: tuple[bool, ...] = ()
        super().__init__(Processes(timeout))

    @override
    def prepare(self, model: nn.Module, device: Device, /) -> torch.device:
        """Brings the model to the accelerator's device, and gives it the weights of the first rank.

        Args:
            model: The model.
            device: Where it is to be; the accelerator's device by default.
        """
        model.to(self._accelerator.device if device is None else device)
        return super().prepare(model, device)

    @override
    def forward(self, model: nn.Module, /) -> Forward:
        """What calls the model in training: what accelerate makes of it, anew when other parameters are trained.

        Args:
            model: A model that has been prepared.
        """
        trained = tuple(parameter.requires_grad for parameter in model.parameters())
        if not any(trained):
            return model
        if self._wrapped is None or self._model is not model or trained != self._trained:
            self._wrapped = self._accelerator.prepare_model(model)
            self._model, self._trained = model, trained
        return self._wrapped

    @override
    def backward(self, loss: Tensor) -> None:
        """Has accelerate compute the gradients of the mean over all samples of all ranks.

        Args:
            loss: The mean over this rank's own samples.
        """
        self._accelerator.backward(loss if self._scale == 1.0 else loss * self._scale)


def _check(accelerator: Accelerator, processes: int) -> None:
    """Compares what was asked for with what there is."""
    kind = accelerator.distributed_type.value
    for name, kinds in _ASKED_FOR.items():
        if os.environ.get(name, "false").lower() in ("1", "true") and kind not in kinds:
            what = name.removeprefix("ACCELERATE_USE_")
            where = " on the CPU" if accelerator.device.type == "cpu" else ""
            raise EngineError(
                f"{what} was asked for ({name} is set), and accelerate does {kind}{where}: it passes over what it "
                f"cannot do there. TorchEngine(FSDP()) shards parameters, on the CPU too."
            )
    if accelerator.num_processes != processes:
        raise EngineError(
            f"{processes} processes were asked for, and accelerate runs {accelerator.num_processes}: its launcher "
            f"starts one on the CPU, however many --num_processes says. torchrun --nproc-per-node {processes} "
            f"train.py starts as many, and an Accelerator takes them up."
        )
    if kind not in _DELIVERED:
        raise EngineError(
            f"accelerate does {kind} here, and this engine delivers {' and '.join(_DELIVERED)}: "
            + ("for one process leave the engine out." if processes == 1 else _WHY.get(kind, _WHY_OTHERS))
        )
    if accelerator.mixed_precision == "fp16":
        raise EngineError(
            "accelerate scales the loss for fp16 behind the callbacks' back, so that gradients would be clipped, and "
            'steps skipped, by scaled values: take mixed_precision="bf16", or a MixedPrecision callback.'
        )
    if accelerator.gradient_accumulation_steps != 1:
        raise EngineError(
            f"accelerate would accumulate gradients over {accelerator.gradient_accumulation_steps} batches behind the "
            f"loop's back: take a GradientAccumulation callback."
        )


_WHY: Final = {
    "FSDP": "TorchEngine(FSDP()) shards parameters, and writes checkpoints of them without any pickle.",
    "DEEPSPEED": "DeepSpeed steps inside of its backward, so that no SkipStep could be honoured.",
}
_WHY_OTHERS: Final = "the failure of a rank could not be told to the others there."
