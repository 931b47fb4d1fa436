"""How far a fit has come, and what takes another one up from there."""

from __future__ import annotations

from typing import Callable, Iterable, Iterator, Optional

import attrs

from .errors import BatchError
from .events import Phase, X, Y


@attrs.frozen
class Position:
    """How far a fit has come, between two batches or two epochs."""

    epoch: int
    """The epoch that is under way, or the next one, from 0."""

    phase: Optional[Phase] = None
    """The pass over the data that is under way; None when the epoch is still to begin."""

    done: int = 0
    """How many batches of that pass are over."""

    steps: int = 0
    """How many training batches of the fit have been stepped on."""

    objective_steps: tuple[int, ...] = ()
    """How many steps each of the loop's objectives has taken, in their order."""

    @property
    def all_steps(self) -> int:
        """How many steps all optimizers have taken together: `steps`, and those of the objectives."""
        return self.steps + sum(self.objective_steps)


@attrs.frozen
class Resumption:
    """A fit that is taken up where another one was left."""

    position: Position
    """Where that was."""

    restore: Callable[[], None]
    """Called after begin_fit's hooks: gives everything the state that it had."""

    rewind: Callable[[], int]
    """Called before the interrupted pass takes its loader up; says how many batches to throw away."""

    settle: Callable[[], None]
    """Called after they have been thrown away: gives everything that drew from them the state that it had."""

    def batches(self, dl: Iterable[tuple[X, Y]]) -> Iterator[tuple[X, Y]]:
        """The batches of the interrupted pass that are still to come.

        Args:
            dl: The loader that the pass was over.

        Raises:
            BatchError: It gives fewer batches than were over.
        """
        thrown_away = self.rewind()
        batches = iter(dl)
        for index in range(thrown_away):
            if next(batches, None) is None:
                raise BatchError(
                    f"the loader gave {index} batches, and {thrown_away} of them were over when the fit was left: a "
                    f"fit is taken up on the data that it had."
                )
        self.settle()
        return batches
