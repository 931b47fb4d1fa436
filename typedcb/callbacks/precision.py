"""Computing in half precision where that is safe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Optional, Sequence

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from typing_extensions import override

from ..callback import AnyCallback, SomeCallback
from ..cell import Cell, cell
from ..device import device_of
from ..dispatch import ChecksPlace, SeesLastLoss, overrides
from ..errors import CallbackError
from ..events import AfterBatch, BatchEvent, BeginFit, LossEvent
from ..hooks import AFTER_BACKWARD
from ..needs import HasModelAndOpt
from ..outcomes import CancelBatch


@dataclass(frozen=True)
class MixedPrecision(AnyCallback, SeesLastLoss, ChecksPlace):
    """Runs the model and the loss under autocast, and scales gradients where half precision would lose them.

    Weights and optimizer stay in float32. With float16 the gradients are computed scaled up (Micikevicius et al. 2018,
    https://arxiv.org/abs/1710.03740) and scaled down before any other callback sees them, so that clipping and
    accumulation work on true gradients; a callback whose `order` would have it see them before is refused. The loss is
    never scaled. Other callbacks may replace the loss, as `MixUp` and `LabelSmoothing` do, or add to it. A batch whose
    gradients overflow is cancelled, and the scale is lowered, by torch's `GradScaler`. bfloat16 has the range of
    float32 and needs no scaling.
    """

    order: ClassVar[int] = -100

    learn: HasModelAndOpt
    """Whose model and optimizer they are; `learn.add` and `cb_funcs` fill it in."""

    dtype: torch.dtype = torch.bfloat16
    """`torch.bfloat16` or `torch.float16`."""

    init_scale: float = 2.0**16
    """The first scale of float16's gradients; it doubles every 2,000 steps, and halves on an overflow."""

    scaler: Cell[Optional[GradScaler]] = cell(None)
    """What scales; there in a fit with float16."""

    region: Cell[Optional[torch.autocast]] = cell(None, saved=False)
    """The autocast that is open, from the batch's beginning until the last callback has seen its loss."""

    def __post_init__(self) -> None:
        if self.dtype not in (torch.bfloat16, torch.float16):
            raise ValueError(f"MixedPrecision.dtype is {self.dtype}, and has to be torch.bfloat16 or torch.float16.")

    @override
    def check_place(self, before: Sequence[SomeCallback], /) -> None:
        """Refuses callbacks that would see gradients scaled up.

        Args:
            before: Those that run before it.

        Raises:
            CallbackError: It names the callback.
        """
        for callback in before if self.dtype is torch.float16 else ():
            if "train" in callback.phases and overrides(callback, AFTER_BACKWARD):
                name = type(callback).__name__
                raise CallbackError(
                    f"{name}.after_backward would see gradients that are scaled up for float16: its order is "
                    f"{callback.order}, and so it runs before MixedPrecision, whose order is {self.order}. Give "
                    f"{name} an order above that, or the MixedPrecision as a field, which has it run behind. bfloat16 "
                    f"needs no scaling."
                )

    @property
    def device_type(self) -> str:
        """The kind of the model's device, such as `"cuda"`."""
        return device_of(self.learn.model).type

    @override
    def begin_fit(self, event: BeginFit) -> None:
        """Begins with the first scale."""
        if self.dtype is torch.float16:
            self.scaler.value = GradScaler(self.device_type, init_scale=self.init_scale)

    @override
    def begin_batch(self, event: BatchEvent) -> None:
        """Opens autocast."""
        self.region.value = torch.autocast(self.device_type, self.dtype)
        self.region.value.__enter__()  # type: ignore[no-untyped-call]  # torch leaves it without types

    @override
    def last_loss(self, event: LossEvent) -> None:
        """Closes autocast, and has the gradients of this loss, which backward begins at, computed scaled up.

        So a callback that puts another loss in its place computes that under autocast too.
        """
        self._close()
        if self.scaler.value is not None and event.phase == "train" and event.loss.requires_grad:
            _scale_gradient(event.loss, self.scaler.value, self.learn.opt)

    @override
    def after_backward(self, event: BatchEvent) -> Optional[CancelBatch]:
        """Scales the gradients down, or cancels the batch when they have overflowed."""
        scaler = self.scaler.value
        if scaler is None or all(parameter.grad is None for parameter in self.learn.model.parameters()):
            return None
        scale = scaler.get_scale()
        scaler.unscale_(self.learn.opt)
        scaler.update()
        if scaler.get_scale() >= scale:
            return None
        return CancelBatch(f"the gradients overflowed float16 at a scale of {scale:g}")

    @override
    def after_batch(self, event: AfterBatch[object, object, object]) -> None:
        """Closes autocast, when the batch had no loss."""
        self._close()

    def _close(self) -> None:
        if self.region.value is not None:
            self.region.value.__exit__(None, None, None)
            self.region.value = None


def _scale_gradient(loss: Tensor, scaler: GradScaler, opt: Optimizer) -> None:
    """Has backward start with the scale in place of 1: all gradients are scaled, and the loss is not."""

    def begin(grad: Tensor) -> Tensor:
        scaled = scaler.scale(grad)
        # those that SkipStep or SkipZeroGrad has kept are true ones, and are scaled down with those to come
        kept = [weight.grad for group in opt.param_groups for weight in group["params"] if weight.grad is not None]
        if kept:
            scale = scaler.get_scale()  # which waits for the device
            for gradient in kept:
                gradient.mul_(scale)
        return scaled

    # torch leaves register_hook without types
    loss.register_hook(begin)  # type: ignore[no-untyped-call]  # pyright: ignore[reportUnknownMemberType]
