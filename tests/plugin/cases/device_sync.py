"""A wait for the device at every batch; off where nobody asks for it."""

from dataclasses import dataclass
from typing import Any

from typedcb import AnyCallback, Cell, LossEvent, cell


@dataclass(frozen=True)
class Waits(AnyCallback):
    mean: Cell[Any] = cell(0.0)

    def after_loss(self, event: LossEvent) -> None:
        print(event.loss.item())  # typedcb-device-sync
        print(float(event.loss))  # typedcb-device-sync
        print(float(event.step), int("3"))
        self.mean.value = event.loss.detach()

    def after_batch(self, event: Any) -> None:
        self._show()

    def after_epoch(self, event: Any) -> None:
        print(self.mean.value.item())

    def _show(self) -> None:
        print(self.mean.value.item())  # typedcb-device-sync
