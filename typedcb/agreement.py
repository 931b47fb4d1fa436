"""What callbacks of several processes decide, they decide together.

A Cancel or a Skip that one rank alone took up would leave the others waiting for it in the next collective for ever. So
behind each hook whose return type says that it may answer one, all ranks vote: the farthest answer of any of them is
everybody's, before the next hook is called, which may ask for a collective itself. A hook that only reads, or only
replaces what its event has, costs no vote.

A callback of `ranks = "main"` is called on the first rank alone, and its answers are voted on as any other's.
"""

from __future__ import annotations

from typing import Callable, Final, Generic, Optional, Protocol, Union, cast

import attrs
import msgspec
from typing_extensions import override

from .answers import answers_of
from .callback import SomeCallback, field_values, is_callback
from .cell import State, View
from .dispatch import BatchPlan, E, Listeners, Plan, batch_watched, watched
from .errors import EngineError, HookError
from .events import P, X, Y
from .hooks import HOOKS, HookSpec
from .outcomes import Cancel, CancelBatch, CancelEpoch, CancelTrain, Skip
from .ranks import Ranks
from .several import as_tuple

_ANSWERS: Final = (None, Skip, CancelBatch, CancelEpoch, CancelTrain)
"""By how far they reach: what a rank votes for is the place in this."""

_NUMBERS: Final = {name: number for number, name in enumerate(HOOKS)}
_NAMES: Final = tuple(HOOKS)


class Electorate(Ranks, Protocol):
    """Ranks that can be kept from collectives while one of them does something alone."""

    def alone(self, who: str, /) -> None:
        """From now on a collective is refused, since `who` runs on this rank alone; "" ends that."""
        ...

    def in_hook(self, begins: bool, /) -> None:
        """A hook begins, or ends: the batches that it draws are its own, which the others may draw or not."""
        ...


def agreed(plan: Plan[X, Y, P], ranks: Electorate) -> Plan[X, Y, P]:
    """The plan of a rank: its hooks vote, and those of the main rank's callbacks are there alone.

    Args:
        plan: The plan, which is the same on all ranks.
        ranks: The ranks.
    """
    return plan if ranks.world_size == 1 else watched(plan, _Agreement(ranks))


def agreed_turn(plan: BatchPlan[X, Y, P], ranks: Electorate) -> BatchPlan[X, Y, P]:
    """The same for the turns of an objective.

    Args:
        plan: The plan of its turns in one phase, which is the same on all ranks.
        ranks: The ranks.
    """
    return plan if ranks.world_size == 1 else batch_watched(plan, _Agreement(ranks))


def check_ranks(callbacks: tuple[SomeCallback, ...]) -> None:
    """Refuses a callback of all ranks that reads what the main rank alone knows.

    Args:
        callbacks: All callbacks.

    Raises:
        EngineError: It names both.
    """
    for callback in callbacks:
        if callback.ranks == "main":
            continue
        for name, value in field_values(callback).items():
            for part in as_tuple(value):
                owner = _main_owner(part, callbacks)
                if owner is not None:
                    raise EngineError(
                        f"{type(callback).__name__}.{name} reads {type(owner).__name__}, which runs on the main rank "
                        f'alone: on the others it would read what the fit began with. Write ranks: ClassVar = "main" '
                        f"in {type(callback).__name__} too, or leave it out of {type(owner).__name__}."
                    )


def _main_owner(value: object, callbacks: tuple[SomeCallback, ...]) -> Optional[SomeCallback]:
    """The callback of the main rank that a field's value belongs to; None where it belongs to none."""
    if isinstance(value, View):
        value = cast("object", value.source)
    for callback in callbacks:
        if callback.ranks != "main":
            continue
        if value is callback or (isinstance(value, State) and any(value is held for held in _held(callback))):
            return callback
    return None


def _held(callback: SomeCallback) -> list[State]:
    """The cells that a callback declares itself, in its class or in a base of it."""
    names = {owner.__name__ for owner in type(callback).__mro__}
    states = [value for value in field_values(callback).values() if isinstance(value, State)]
    return [state for state in states if state.declared_as.partition(".")[0] in names]


class _Agreement:
    """Stands around the hooks of a plan."""

    def __init__(self, ranks: Electorate) -> None:
        self._ranks = ranks

    def around(self, spec: HookSpec, listeners: Listeners[E], /) -> Listeners[E]:
        """The hooks that this rank calls, and a vote behind each that may decide something."""
        called: list[Callable[[E], object]] = []
        for listener in listeners:
            owner = _owner(listener)
            ballot = _Ballot() if owner is not None and _decides(owner, spec) else None
            if owner is None or owner.ranks == "all" or self._ranks.rank == 0:
                called.append(_Heard(listener, owner, spec, ballot, self._ranks))
            if ballot is not None:
                called.append(_Vote[E](spec, ballot, self._ranks))
        return tuple(called)


def _owner(listener: object) -> Optional[SomeCallback]:
    owner: object = getattr(listener, "__self__", None)
    return owner if is_callback(owner) else None


def _decides(callback: SomeCallback, spec: HookSpec) -> bool:
    """Whether a callback's hook may answer what all ranks have to do together."""
    return any(issubclass(answer, Cancel) or answer is spec.skip for answer in answers_of(type(callback), spec))


@attrs.define
class _Ballot:
    """What this rank's hook has answered."""

    answer: Union[Cancel, Skip, None] = None


class _Heard(Generic[E]):
    """A hook whose Cancel or Skip waits for the vote."""

    def __init__(
        self,
        hook: Callable[[E], object],
        owner: Optional[SomeCallback],
        spec: HookSpec,
        ballot: Optional[_Ballot],
        ranks: Electorate,
    ) -> None:
        self._hook = hook
        self._spec = spec
        self._ballot = ballot
        self._ranks = ranks
        self.__self__: object = getattr(hook, "__self__", None)  # what errors name
        self.__name__: str = getattr(hook, "__name__", "hook")
        self._alone = f"{type(owner).__name__}.{spec.name}" if owner is not None and owner.ranks == "main" else ""

    def __call__(self, event: E) -> object:
        """Calls the hook."""
        if self._alone:
            self._ranks.alone(self._alone)
        self._ranks.in_hook(True)
        try:
            answer = self._hook(event)
        except Cancel as cancel:
            if not isinstance(cancel, self._spec.cancels):
                raise
            answer = cancel
        finally:
            self._ranks.in_hook(False)
            if self._alone:
                self._ranks.alone("")
        decision = self._decision(answer)
        if decision is None:
            return answer
        self._take(decision)
        return None

    def _decision(self, answer: object) -> Union[Cancel, Skip, None]:
        """The answer, where it is a Cancel or a Skip that is legal here."""
        if isinstance(answer, self._spec.cancels):
            return answer
        if self._spec.skip is not None and isinstance(answer, self._spec.skip):
            return answer
        return None

    def _take(self, answer: Union[Cancel, Skip]) -> None:
        if self._ballot is not None:
            self._ballot.answer = answer
            return
        name = type(answer).__name__
        raise HookError(
            f"{type(self.__self__).__name__}.{self.__name__} answered or raised {name}, and its return type does not "
            f"say so: over several processes all ranks have to agree on it, and those that cannot know that it may "
            f"come would wait for this one for ever. Write -> Optional[{name}]."
        ) from (answer if isinstance(answer, Cancel) else None)


class _Vote(Generic[E]):
    """The listener behind a hook: what all ranks have decided there."""

    def __init__(self, spec: HookSpec, ballot: _Ballot, ranks: Electorate) -> None:
        self._spec = spec
        self._ballot = ballot
        self._ranks = ranks
        self.__self__ = self
        self.__name__ = spec.name

    def __call__(self, event: E) -> Union[Cancel, Skip, None]:
        """Votes. A batch that failed is not voted on: the others will hear of the failure."""
        answer, self._ballot.answer = self._ballot.answer, None
        if getattr(event, "error", None) is not None:
            return None
        votes = self._ranks.gather((_place(answer), *_moment(self._spec, event)))
        self._check_moments(votes)
        farthest = max(vote[0] for vote in votes)
        if not farthest:
            return None
        if farthest == 1:
            return self._spec.skip() if self._spec.skip is not None else None
        reason = answer.reason if isinstance(answer, Cancel) and _place(answer) == farthest else ""
        return self._cancel(farthest, reason, [vote[0] for vote in votes])

    def _cancel(self, farthest: int, reason: str, votes: list[int]) -> Cancel:
        """The Cancel of all ranks, with the reason of the first that asked for it."""
        who = [rank for rank, vote in enumerate(votes) if vote == farthest]
        said = self._ranks.exchange(reason)[who[0]]
        if len(who) < len(votes):
            said = f"{said} (asked for by rank {', '.join(map(str, who))} of {len(votes)})".lstrip()
        kind = (CancelBatch, CancelEpoch, CancelTrain)[farthest - 2]
        return kind(said)

    def _check_moments(self, votes: tuple[tuple[int, ...], ...]) -> None:
        if len({vote[1:] for vote in votes}) == 1:
            return
        words = "; ".join(
            f"rank {rank} at {_NAMES[number]}, epoch {epoch}, batch {index}"
            for rank, (_, number, epoch, index) in enumerate(votes)
        )
        raise EngineError(
            f"the ranks are not at the same event: {words}. Every rank has to train on as many batches, and to leave "
            f"its loops in the same way."
        )

    @override
    def __repr__(self) -> str:
        return f"the vote of {self._spec.name}"


def _place(answer: Union[Cancel, Skip, None]) -> int:
    """How far an answer reaches."""
    if answer is None:
        return 0
    return _ANSWERS.index(type(answer)) if isinstance(answer, Cancel) else 1


def _moment(spec: HookSpec, event: msgspec.Struct) -> tuple[int, int, int]:
    """Where in the fit a vote is: the hook, the epoch and the batch, as numbers."""
    at: object = getattr(event, "reached", event)
    epoch: int = getattr(at, "epoch", 0)
    index: int = getattr(at, "index", 0)
    return _NUMBERS[spec.name], epoch, index
