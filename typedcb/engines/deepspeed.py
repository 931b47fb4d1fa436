"""DeepSpeed, as accelerate sets it up, with its step where the loop has its own.

accelerate's own backward has DeepSpeed step at once, before any callback could clip, skip or count. Here its backward
and its step are called apart, as DeepSpeed's own documents do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional, Sequence

from torch import Tensor, nn
from torch.optim import Optimizer

from ..answers import answers_of
from ..articles import an_instance
from ..callback import SomeCallback
from ..engine import Forward
from ..errors import EngineError
from ..hooks import AFTER_STEP
from ..outcomes import SkipZeroGrad

if TYPE_CHECKING:
    from accelerate import Accelerator


class DeepSpeed:
    """What steps in place of the optimizer.

    Args:
        accelerator: An Accelerator that does DeepSpeed.

    Raises:
        EngineError: DeepSpeed is to keep gradients, or the optimizer's state, where no callback reaches them.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._engine: Any = None  # Any: deepspeed is not installed where types are checked
        self._opt: Optional[Optimizer] = None
        state: Any = getattr(accelerator, "state")  # noqa: B009  # Any: accelerate leaves it without a type
        plugin: Any = state.deepspeed_plugin  # Any: as said
        if plugin.zero_stage:
            raise EngineError(
                f"ZeRO stage {plugin.zero_stage} keeps gradients and the optimizer's state in shards of its "
                f"own, where no callback finds them: GradientClip would clip nothing, and a Checkpoint hold one rank's "
                f"shard. Take zero_stage=0, or TorchEngine(FSDP()), whose shards callbacks and checkpoints know."
            )
        if accelerator.mixed_precision != "no":
            raise EngineError(
                f'DeepSpeed turns the model itself into {accelerator.mixed_precision}: take mixed_precision="no" and a '
                f"MixedPrecision callback, which keeps the weights in float32."
            )
        if plugin.is_auto("train_micro_batch_size_per_gpu"):
            plugin.deepspeed_config["train_micro_batch_size_per_gpu"] = 1  # for its own reports: it loads no batch here

    def prepared(self, model: nn.Module, opt: Optimizer) -> Forward:
        """What calls the model in training.

        Args:
            model: The model.
            opt: The optimizer over its parameters.

        Raises:
            EngineError: DeepSpeed has put another optimizer in its place.
        """
        self._engine, wrapped = self._accelerator.prepare(model, opt)
        if wrapped.optimizer is not opt:
            raise EngineError(
                f"DeepSpeed has put {an_instance(wrapped.optimizer)} in place of {type(opt).__name__}, "
                f"of which neither schedules nor checkpoints know: leave the optimizer out of its config."
            )
        self._opt = opt
        forward: Forward = self._engine
        return forward

    def backward(self, loss: Tensor) -> None:
        """Computes the gradients, and brings those of all ranks together."""
        self._engine.set_gradient_accumulation_boundary(is_boundary=True)
        self._engine.backward(loss)

    def step(self) -> None:
        """Clips by DeepSpeed's own config, if it says so, steps, and drops the gradients."""
        self._engine.step()

    def zero_grad(self) -> None:
        """Drops the gradients."""
        if self._opt is not None:
            self._opt.zero_grad()


def check_deepspeed(callbacks: Sequence[SomeCallback]) -> None:
    """Refuses a callback that keeps the gradients after a step, which DeepSpeed drops in it.

    Args:
        callbacks: The callbacks.

    Raises:
        EngineError: It names the callback.
    """
    for callback in callbacks:
        if SkipZeroGrad in answers_of(type(callback), AFTER_STEP):
            raise EngineError(
                f"{type(callback).__name__}.after_step may keep the gradients, by its return type, and DeepSpeed drops "
                f"them in its step: sum them up before, as GradientAccumulation does, by a SkipStep."
            )
