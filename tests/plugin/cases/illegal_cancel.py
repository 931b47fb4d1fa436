"""A Cancel where there is nothing that it could end."""

from dataclasses import dataclass
from typing import Any, Optional

import typedcb
from typedcb import AnyCallback, CancelBatch, CancelEpoch, CancelTrain
from typedcb.outcomes import Cancel


@dataclass(frozen=True)
class Raises(AnyCallback):
    def begin_fit(self, event: Any) -> None:
        raise CancelEpoch("bad data")  # typedcb-illegal-cancel

    def begin_epoch(self, event: Any) -> None:
        if event.epoch > 3:
            raise CancelBatch  # typedcb-illegal-cancel
        raise CancelEpoch("enough")

    def begin_batch(self, event: Any) -> None:
        raise CancelBatch("enough")

    def after_batch(self, event: Any) -> None:
        try:
            raise typedcb.CancelBatch()  # typedcb-illegal-cancel
        except CancelEpoch:
            raise CancelBatch()  # typedcb-illegal-cancel

    def after_cancel_batch(self, event: Any) -> None:
        try:
            raise CancelTrain()
        except (ValueError, Cancel):
            pass
        try:
            raise CancelTrain()  # typedcb-unused-answer
        except Exception:
            pass
        else:
            raise CancelTrain()  # typedcb-illegal-cancel

    def after_epoch(self, event: Any) -> None:
        self._check()

    def after_fit(self, event: Any) -> None:
        self._stop()
        raise ValueError("no cancel")

    def _check(self) -> None:
        self._stop()
        raise CancelEpoch()  # typedcb-illegal-cancel

    def _stop(self) -> None:
        raise CancelTrain()  # typedcb-illegal-cancel

    def uncalled(self) -> None:
        raise CancelBatch()


@dataclass(frozen=True)
class Answers(AnyCallback):
    def after_batch(self, event):  # type: ignore[no-untyped-def]
        return CancelBatch()  # typedcb-illegal-cancel

    def after_loss(self, event):  # type: ignore[no-untyped-def]
        return CancelBatch()

    def after_epoch(self, event: Any) -> Optional[CancelTrain]:
        return CancelTrain()

    def begin_fit(self, event):  # type: ignore[no-untyped-def]
        def inner():  # type: ignore[no-untyped-def]
            return CancelBatch()

        return None
