"""A validation outside of any fit, as a scope."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Iterable, Iterator, Optional

from typing_extensions import Self

from .batches import ValidBatch
from .dispatch import Plan
from .events import P, X, Y
from .run import Run, raise_all

if TYPE_CHECKING:
    from .loop import Loop


class ValidationScope(Run[X, Y, P]):
    """A validation outside of any fit; `Loop.validation` makes it.

    Args:
        loop: The loop whose callbacks are called.
        epoch: The number that the events carry.
    """

    epoch: int
    """The number that the events carry."""

    plan: Plan[X, Y, P]
    """Whom to call at each event; there once the scope is entered."""

    def __init__(self, loop: Loop[X, Y, P], epoch: int) -> None:
        super().__init__(loop)
        self.epoch = epoch

    def __enter__(self) -> Self:
        self.plan = self._loop.start()
        self._open = True
        self.restart_objectives()
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        try:
            errors = self._end_batch(error)
            self._tell(errors)
        finally:
            self._open = False
            self._loop.stop()
        raise_all(errors, error)

    def validate(self, dl: Iterable[tuple[X, Y]]) -> Iterator[ValidBatch[X, Y, P]]:
        """A pass over the validation data, between begin_validate and after_validate.

        Args:
            dl: The batches, each a pair of inputs and targets.

        Raises:
            BatchError: The loader gave no batch, or one that is no pair.
            LoopError: The scope has not been entered, or has been left.
        """
        self._check_open("scope.validate(...)", "with loop.validation() as scope")
        return self.valid_pass(dl, self.epoch)

    def predict(self, dl: Iterable[tuple[X, Y]]) -> Iterator[ValidBatch[X, Y, P]]:
        """The same batches without begin_validate and after_validate, for a body that only asks for predictions.

        Args:
            dl: The batches, each a pair of inputs and targets.

        Raises:
            BatchError: The loader gave no batch, or one that is no pair.
            LoopError: The scope has not been entered, or has been left.
        """
        self._check_open("scope.predict(...)", "with loop.validation() as scope")
        return self.valid_batches(dl, self.epoch)
