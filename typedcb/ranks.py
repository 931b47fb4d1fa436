"""The processes that a fit runs in, as a callback may ask of them: who it is, and what a figure is over all of them.

    ranks = here()
    total, samples = ranks.total((loss_sum, n_samples))  # every rank calls it at the same moment, and gets the same

Without an engine there is one process, `ALONE`, for which all of this costs nothing. An engine of several processes
(`typedcb.engines`) stands here for as long as its fit runs.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Generator, Literal, Optional, Protocol, Sequence, get_args

from typing_extensions import TypeAlias

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed.device_mesh import DeviceMesh

Where: TypeAlias = Literal["all", "main"]
"""The processes that a callback runs in: all of them, or the first one alone."""

WHERE: Final = get_args(Where)


class Ranks(Protocol):
    """The processes of a fit, each a rank from 0 on.

    What is asked of all ranks is a collective: every rank has to ask it, at the same moment, or none gets an answer.
    """

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""
        ...

    @property
    def world_size(self) -> int:
        """How many processes there are."""
        ...

    @property
    def mesh(self) -> Optional[DeviceMesh]:
        """Over what the parameters are sharded; None where each process has all of them."""
        ...

    def counted(self, size: int) -> int:
        """How many of the samples of the batch under way this rank counts.

        Args:
            size: How many it has. A batch with fewer samples than there are ranks leaves some without any: one of
                another rank's stands in there, so that the ranks stay in step, and is counted by none of them.
        """
        ...

    def whole(self, size: int) -> int:
        """How many samples the batch under way has on all ranks together, as the loader gave it; the same on each.

        Args:
            size: How many this rank has.
        """
        ...

    def total(self, values: Sequence[float]) -> tuple[float, ...]:
        """The sums of figures over all ranks, in double precision. Collective."""
        ...

    def mean(self, figure: Tensor) -> Tensor:
        """The mean of a figure of the batch under way over all samples of all ranks. Collective.

        Args:
            figure: The mean over this rank's own samples, such as the loss; a scalar.
        """
        ...

    def gather(self, values: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        """The numbers of every rank, by rank. Collective.

        Args:
            values: This rank's, as many as every other's.
        """
        ...

    def exchange(self, text: str) -> tuple[str, ...]:
        """The text of every rank, by rank. Collective, and slow: for a few times in a fit.

        Args:
            text: This rank's.
        """
        ...


class Alone:
    """One process, which is all there is."""

    @property
    def rank(self) -> int:
        """The number of this process: 0."""
        return 0

    @property
    def world_size(self) -> int:
        """How many processes there are: 1."""
        return 1

    @property
    def mesh(self) -> Optional[DeviceMesh]:
        """Over what the parameters are sharded: nothing."""
        return None

    def counted(self, size: int) -> int:
        """All samples of the batch under way."""
        return size

    def whole(self, size: int) -> int:
        """All samples of the batch under way."""
        return size

    def total(self, values: Sequence[float]) -> tuple[float, ...]:
        """The figures themselves."""
        return tuple(values)

    def mean(self, figure: Tensor) -> Tensor:
        """The figure itself."""
        return figure

    def gather(self, values: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        """The numbers of the one rank."""
        return (tuple(values),)

    def exchange(self, text: str) -> tuple[str, ...]:
        """The text of the one rank."""
        return (text,)


ALONE: Final = Alone()
"""One process, which is all there is."""

_here: Final[ContextVar[Ranks]] = ContextVar("typedcb_ranks", default=ALONE)


def here() -> Ranks:
    """The processes of the fit or the validation that is under way in this thread; one where no engine says more."""
    return _here.get()


@contextmanager
def over(ranks: Ranks) -> Generator[None, None, None]:
    """Has `here()` say `ranks` for the length of a `with` block.

    Args:
        ranks: The processes.
    """
    before = _here.get()
    _here.set(ranks)
    try:
        yield
    finally:
        _here.set(before)  # and no token, which another context would refuse: a `with` may end in one


def ranks_problem(value: object) -> Optional[str]:
    """What is wrong with what a class says of its ranks; None where nothing is.

    Args:
        value: The class attribute's value.
    """
    if value in WHERE:
        return None
    return f'is {value!r}, and has to be "all", or "main" for the first process alone.'
