"""What our step functions do with a batch, between the events inside it."""

from __future__ import annotations

from typing import Callable, Generic, Optional, TypeVar, Union, cast

import torch
from torch import Tensor, autograd, nn
from torch.optim import Optimizer

from ...events import P, X, Y
from ...extras import require
from ...hosted import Hosted, HostedCursor

require("ignite", extra="ignite")

from ignite.utils import convert_tensor  # noqa: E402

T = TypeVar("T")


class Steps(Generic[X, Y, P]):
    """What is done with a batch, as `create_supervised_trainer` and `create_supervised_evaluator` do it.

    Args:
        model: Called with the inputs.
        opt: The optimizer.
        loss_func: Called with the prediction and the targets; gives a scalar.
        device: Where batches are brought; None for nowhere.
        non_blocking: Whether that goes on while the host computes.
        every: How many batches make a step.
    """

    def __init__(
        self,
        model: nn.Module,
        opt: Optimizer,
        loss_func: Callable[[P, Y], Tensor],
        device: Union[str, torch.device, None],
        non_blocking: bool,
        every: int,
    ) -> None:
        self.model = model
        self.opt = opt
        self.loss_func = loss_func
        self.device = device
        self.non_blocking = non_blocking
        self.every = every

    def moved(self, part: T) -> T:
        """Inputs or targets on the device.

        Args:
            part: Tensors, or what holds them.
        """
        there: object = convert_tensor(part, device=self.device, non_blocking=self.non_blocking)
        return cast(T, there)

    def train(self, fit: Hosted[X, Y, P], batch: HostedCursor[X, Y, P], iteration: int) -> Optional[Tensor]:
        """Trains on the batch under way; its loss, where it came as far as that.

        Args:
            fit: The fit.
            batch: Its cursor.
            iteration: The engine's count of batches, this one included.
        """
        self.model.train()
        pred = fit.predicted(self.model(batch.xb))
        if not fit.goes_on:
            return None
        loss = fit.lost(self.loss_func(pred, batch.yb))
        self._step_on(fit, loss, iteration)
        return loss.detach()

    def _step_on(self, fit: Hosted[X, Y, P], loss: Tensor, iteration: int) -> None:
        if not fit.goes_on:
            return
        autograd.backward((loss if self.every == 1 else loss / self.every,))
        if fit.backward_done():
            if not iteration % self.every:
                self.opt.step()
                if fit.stepped():
                    self.opt.zero_grad()
        elif fit.batch.drops_gradients():
            self.opt.zero_grad()

    def validate(self, fit: Hosted[X, Y, P], batch: HostedCursor[X, Y, P]) -> Optional[tuple[P, Y]]:
        """Validates the batch under way; its prediction and targets.

        Args:
            fit: The fit.
            batch: Its cursor.
        """
        pred = fit.predicted(self.model(batch.xb))
        if not fit.goes_on:
            return None
        fit.lost(self.loss_func(pred, batch.yb))
        return pred, batch.yb
