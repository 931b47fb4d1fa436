"""A field that the event of this hook does not have, and another hook's has."""

from dataclasses import dataclass
from typing import Any

from typedcb import AnyCallback


@dataclass(frozen=True)
class Asks(AnyCallback):
    def begin_fit(self, event: Any) -> None:
        print(event.epoch)  # typedcb-too-early
        print(event.n_epochs, event.start_epoch)
        print(event.outcome)  # typedcb-too-early

    def begin_batch(self, event: Any) -> None:
        print(event.xb, event.yb, event.index, event.n_batches, event.with_batch)
        print(event.pred, event.loss)  # typedcb-too-early
        print(event.start_epoch)  # typedcb-too-late

    def after_pred(self, event: Any) -> None:
        print(event.pred, event.loss)  # typedcb-too-early

    def after_loss(self, event: Any) -> None:
        print(event.reached)  # typedcb-too-early
        print(event.something_else, event.__class__)  # typedcb-unknown-field

    def after_backward(this, happening: Any) -> None:
        print(happening.loss, happening.cancel)  # typedcb-too-early

    def after_batch(self, event: Any) -> None:
        print(event.loss)  # typedcb-too-late
        print(event.index)  # typedcb-too-late
        print(event.reached.loss)

    def after_epoch(self, event: Any) -> None:
        print(event.loss)  # typedcb-too-late

    def helper(self, event: Any) -> None:
        print(event.loss)
