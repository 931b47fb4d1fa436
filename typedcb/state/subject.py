"""Whose state it is: a learner, or what a loop of one's own trains with, and what of it has a state."""

from __future__ import annotations

from typing import Optional, Protocol, Sequence, Union, cast

from typing_extensions import TypeAlias

from ..attach import Group
from ..callback import SomeCallback
from ..needs import HasDataAndCallbacks, HasModelAndOpt
from ..position import Position


class _HasRest(HasDataAndCallbacks, Protocol):
    """What a learner's state is made of besides models and optimizers."""

    @property
    def loss_func(self) -> object:
        """What computes the loss; a module where it has a state of its own."""
        ...


class _KnowsPosition(Protocol):
    """Whatever knows how far its fit has come."""

    @property
    def position(self) -> Optional[Position]:
        """How far the fit has come that is under way; None where there is none."""
        ...


class _HasOneModel(HasModelAndOpt, _HasRest, Protocol):
    """Whatever has the state of one model and its optimizer, and perhaps of objectives."""


class HasObjectives(_HasRest, Protocol):
    """Whatever has the state of objectives."""

    @property
    def objectives(self) -> Sequence[Group]:
        """The objectives."""
        ...


class _OneModelInFit(_HasOneModel, _KnowsPosition, Protocol):
    """Whatever has a learner's state, and knows how far its fit has come."""


class _ObjectivesInFit(HasObjectives, _KnowsPosition, Protocol):
    """Whatever has the state of a loop's objectives, and knows how far its fit has come."""


HasState: TypeAlias = Union[_HasOneModel, HasObjectives]
"""Whatever has a state to save: a learner, or all that a loop of one's own trains with."""

InFit: TypeAlias = Union[_OneModelInFit, _ObjectivesInFit]
"""The same that knows how far its fit has come."""


class KeepsMore(Protocol):
    """A callback that keeps state outside of its cells."""

    @property
    def kept_elsewhere(self) -> tuple[str, ...]:
        """What keeps it: no checkpoint holds it."""
        ...


class DiffersByRank(Protocol):
    """A callback whose cells are not the same on all ranks: the main rank's are what is saved."""

    def bring_together(self) -> None:
        """Gives the main rank's cells what is in those of all ranks, before they are saved. Collective."""
        ...

    def part_again(self) -> None:
        """Takes out of this rank's cells, which have been given the main rank's, what the main rank has."""
        ...


class MakesState(Protocol):
    """A callback whose cell holds an object with a state of its own, which a fit makes when it begins."""

    def make_state(self) -> None:
        """Makes the object, so that it can be given a state outside of a fit."""
        ...


def trained(learner: HasState) -> dict[str, HasModelAndOpt]:
    """The models with their optimizers: that of a learner, or of a loop of one's own, under "", objectives by name."""
    own = {"": cast("HasModelAndOpt", learner)} if hasattr(learner, "model") else dict[str, HasModelAndOpt]()
    return {**own, **objectives_of(learner)}


def objectives_of(learner: HasState) -> dict[str, Group]:
    """The objectives by name; none where there are none."""
    groups = cast("HasObjectives", learner).objectives if hasattr(learner, "objectives") else ()
    return {group.name: group for group in groups}


def all_cbs(learner: HasState) -> list[SomeCallback]:
    """The callbacks of the loop and of its objectives."""
    return [*learner.cbs, *(callback for group in objectives_of(learner).values() for callback in group.cbs)]


def loaders_of(learner: HasState) -> dict[str, object]:
    """The loaders, by the phase that each is of."""
    data = learner.data
    return {"train": data.train_dl, "valid": data.valid_dl} if data.has_valid else {"train": data.train_dl}


def loader_of(learner: HasState, position: Position) -> Optional[object]:
    """The loader of the pass that is under way."""
    if position.phase is None:
        return None
    return learner.data.train_dl if position.phase == "train" else learner.data.valid_dl
